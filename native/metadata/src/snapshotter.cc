#include "snapshotter.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "borrowing.h"
#include "capability.h"
#include "control.h"
#include "log.h"
#include "object_copy.h"
#include "object_protocol.h"
#include "osd_calls.h"

namespace xos::fs::metadata {

namespace {

constexpr int workers = 4;
constexpr int attempts_max = 10;
/// Less than clients wait for an answer.
constexpr std::chrono::seconds wait_max{6};

Engine::Held held_of(const std::vector<std::string>& fences, const StripePolicy& stripes) {
  Engine::Held held;
  uint16_t index = 0;
  for (auto& bytes : fences) {
    Reader r(bytes);
    const auto length = r.get<uint64_t>();
    held.mtime_ns = std::max(held.mtime_ns, r.get<int64_t>());
    held.disk_bytes += r.get<uint64_t>();
    held.size = std::max(held.size, file_size(stripes, index++, length));
  }
  return held;
}

}  // namespace

Snapshotter::Snapshotter(Store& store, Engine& engine, Sessions& sessions, OsdTable& osds, Service& service, Moves& moves)
    : store_(store), engine_(engine), sessions_(sessions), osds_(osds), service_(service), moves_(moves) {
  for (int i = 0; i < workers; ++i) std::thread([this] { work(); }).detach();
}

int Snapshotter::call(uint16_t osd, uint16_t type, uint64_t file, uint8_t rights, uint32_t epoch, const Writer& arguments, RpcClient::Answer& answer) const {
  return call_osd(osds_, service_, osd, type, file, rights, epoch, arguments, answer, call_ms);
}

// Contents that are to be changed.

int Snapshotter::enter(uint64_t id, WriteGate::Pass& pass, bool& kept) {
  kept = false;
  const auto deadline = std::chrono::steady_clock::now() + wait_max;
  for (;;) {
    pass = gate_.enter();
    if (!pass) return ask_again;
    bool free = true;
    store_.read([&](const Txn& txn) {
      std::string_view row;
      free = !is_lent(txn, id) && (!(txn.entries(table_snapshot) || txn.entries(table_borrow)) || !txn.get(table_meta, fence_key(id), row));
    });
    if (free) return 0;
    pass = {};
    std::unique_lock lock(mutex_);
    auto& job = jobs_[id];
    if (!job) {
      job = std::make_shared<Job>();
      queue_.push_back(id);
      wanted_.notify_one();
    }
    const auto mine = job;
    if (!done_.wait_until(lock, deadline, [&] { return mine->done; })) return ask_again;
    if (mine->error != 0) return mine->error;
    kept = true;
  }
}

void Snapshotter::work() {
  for (;;) {
    uint64_t id;
    {
      std::unique_lock lock(mutex_);
      wanted_.wait(lock, [&] { return !queue_.empty(); });
      id = queue_.front();
      queue_.pop_front();
    }
    int error = EIO;
    try {
      error = keep(id);
    } catch (const std::exception& e) {  // StoreError; an answer that cannot be read
      log(Priority::error, "cannot copy file %lx for a snapshot: %s", id, e.what());
    }
    if (error != 0) log(Priority::warning, "file %lx cannot be changed, since a snapshot has its contents and they could not be copied: %s", id, strerror(error));
    std::lock_guard lock(mutex_);
    auto it = jobs_.find(id);
    it->second->error = error;
    it->second->done = true;
    jobs_.erase(it);
    done_.notify_all();
  }
}

/// Makes the objects of `lender` those of `borrower` as well, on the same OSDs. 0 or an errno.
int Snapshotter::copy_for(const Inode& lender, const Inode& borrower) {
  for (uint16_t n = 0; n < lender.r.width && n < lender.osds.size(); ++n) {
    RpcClient::Answer answer;
    const uint16_t osd = lender.osds[n];
    if (int r = call(osd, object::extent, lender.id, right_read, lender.r.epoch, {}, answer); r != 0) return r;
    const auto bytes = Reader(answer.begin(), answer.size()).get<uint64_t>();
    ObjectCopy copy{osds_, service_, lender.id, osd, osd, lender.r.epoch, borrower.r.epoch};
    copy.to_file = borrower.id;
    if (int r = copy.run(bytes); r != 0) return r;
    if (int r = call(osd, object::sync, borrower.id, right_read, borrower.r.epoch, {}, answer); r != 0) return r;
  }
  return 0;
}

/// Who reads a snapshot may have a right to what was its contents until now.
int Snapshotter::fence_lender(uint64_t id) {
  std::optional<Inode> i;
  store_.read([&](const Txn& txn) { i = load_inode(txn, id); });
  if (i)
    for (uint16_t osd : i->osds) {
      RpcClient::Answer answer;
      const int64_t until = now_ns() / 1000000 + fence_ms;
      if (int r = call(osd, object::fence, id, right_delete, i->r.epoch, Writer().put(until), answer); r != 0) return r;  // ESTALE: again
    }
  store_.write([&](Txn& txn) { txn.erase(table_meta, fence_key(id)); });
  return 0;
}

int Snapshotter::keep(uint64_t id) {
  std::shared_lock stay(moves_.copying());
  for (int attempt = 0;;) {
    std::optional<Inode> lender, keeper;
    bool fence = false;
    store_.read([&](const Txn& txn) {
      lender = load_inode(txn, id);
      std::string_view row;
      fence = txn.get(table_meta, fence_key(id), row);
      // The newest: the others may not have been there yet when it was made, and go before it more often.
      if (auto ids = borrowers_of(txn, id); lender && !ids.empty()) keeper = load_inode(txn, ids.back());
    });
    // Another snapshot that is made meanwhile raises the epoch; contents do not change.
    auto again = [&](int r) { return r == ESTALE && ++attempt < attempts_max; };
    if (!keeper) {
      const int r = fence ? fence_lender(id) : 0;
      if (again(r)) continue;
      return r;
    }
    // Its inode does not lead to the copy yet: the sweeper is not to take that for an object of nobody.
    Moves::Mark copied(moves_, {keeper->id}, false);
    if (int r = copy_for(*lender, *keeper); r != 0) {
      if (again(r)) continue;
      return r;
    }
    const std::vector<uint16_t> osds(lender->osds.begin(), lender->osds.begin() + std::min<ptrdiff_t>(lender->r.width, std::ssize(lender->osds)));
    store_.write([&](Txn& txn) { engine_.keep(txn, id, keeper->id, osds); });
    // Before anything of the file changes: a database that had forgotten it would show what is new as what was.
    store_.sync();
  }
}

// Making and removing.

std::vector<Snapshotter::Writing> Snapshotter::writing(uint64_t volume) const {
  std::vector<Writing> files;
  store_.read([&](const Txn& txn) {
    std::vector<uint64_t> ids;
    txn.scan(table_writing, "", [&](std::string_view key, std::string_view) {
      ids.push_back(id_of(key));
      return true;
    });
    txn.scan(table_meta, "late:", [&](std::string_view key, std::string_view) {
      if (!key.starts_with("late:")) return false;
      ids.push_back(id_of(key.substr(5)));
      return true;
    });
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (uint64_t id : ids) {
      auto i = load_inode(txn, id);
      if (!i || i->r.volume != volume || i->r.nlink == 0 || i->r.width == 0 || is_replicated(*i)) continue;
      files.push_back({id, i->r.epoch, i->osds, {i->r.stripe_bytes, i->r.width}});
    }
  });
  return files;
}

void Snapshotter::settle(const std::vector<Writing>& files) {
  for (auto& f : files) sessions_.settle_writers(f.id, nullptr);
}

/// Gives files the next epoch, on the disk before an OSD hears of it: a database that had forgotten it could not reach them any more.
void Snapshotter::raise_epochs(std::span<Writing> files) {
  store_.write([&](Txn& txn) {
    for (auto& f : files) {
      auto i = load_inode(txn, f.id);
      if (!i) continue;
      f.epoch = ++i->r.epoch;
      save_inode(txn, *i);
    }
  });
  store_.sync();
}

/// 0 or an errno; what the OSD says of the object.
int Snapshotter::fence_at(uint16_t osd, Writing& f, RpcClient::Answer& answer) {
  for (int attempt = 0;; ++attempt) {
    const int64_t until = now_ns() / 1000000 + fence_ms;
    const int r = call(osd, object::fence, f.id, right_delete, f.epoch, Writer().put(until), answer);
    // keep() has just copied it for an earlier snapshot, and raised the epoch as well.
    if (r != ESTALE || attempt == attempts_max) return r;
    raise_epochs({&f, 1});
  }
}

void Snapshotter::fence(std::vector<Writing>& files, const std::string& what, std::map<uint64_t, Engine::Held>& held) {
  if (files.empty()) return;
  raise_epochs(files);
  for (auto& f : files) {
    std::vector<std::string> extents;
    for (uint16_t osd : f.osds) {
      RpcClient::Answer answer;
      if (int r = fence_at(osd, f, answer); r != 0)
        throw CodedError("XOS_NO_SERVER", what + "file " + std::to_string(f.id) +
                                              " is open for writing, and an OSD that has it does not answer (" + strerror(r) + "); try again when it is back");
      Reader r(answer.begin(), answer.size());
      const auto open = r.get<uint8_t>();
      r.get<uint64_t>();
      if (open == 2)
        throw CodedError("XOS_BUSY", what + "file " + std::to_string(f.id) + " is open in a program that writes to it past its OSD " +
                                         "(passthrough); close it. From now on files of this volume are not opened that way");
      extents.emplace_back(r.rest());
    }
    held[f.id] = held_of(extents, f.stripes);
  }
}

void Snapshotter::begin(uint64_t volume, const std::string& what) {
  int status = 0;
  Effects effects;
  store_.write([&](Txn& txn) {
    effects = {};
    status = engine_.snapshots_begin(txn, volume, effects);
  });
  if (status == EOPNOTSUPP) throw CodedError("XOS_NOT_SUPPORTED", what + "the volume has files with write replicas, of which there are no snapshots yet; copy those to another volume");
  if (status == EEXIST) throw CodedError("XOS_EXISTS", what + "the root of the volume has a file '.snapshot'; rename that");
  if (status != 0) throw CodedError("XOS_NO_VOLUME", what + "the volume is gone");
  sessions_.invalidate(effects, nullptr);
}

void Snapshotter::cancel(uint64_t volume) {
  Effects effects;
  store_.write([&](Txn& txn) {
    effects = {};
    engine_.snapshots_cancel(txn, volume, effects);
  });
  sessions_.invalidate(effects, nullptr);
}

Snapshotter::Made Snapshotter::make(uint64_t volume, const std::string& name, const std::string& what) {
  settle(writing(volume));
  Made made;
  int status = 0;
  Effects effects;
  {
    std::shared_lock stay(moves_.copying());
    WriteGate::Closed closed(gate_);
    auto files = writing(volume);
    settle(files);
    std::map<uint64_t, Engine::Held> held;
    fence(files, what, held);
    made.writing = files.size();
    store_.write([&](Txn& txn) {
      effects = {};
      status = engine_.snapshot_create(txn, volume, name, held, made.files, effects);
      // Rights of before the fence are void.
      for (auto& f : files) txn.erase(table_meta, late_key(f.id));
    });
    if (status == 0) store_.sync();
  }
  if (status == EDQUOT) throw CodedError("XOS_QUOTA", what + "the volume has limits, and a snapshot counts as a copy of all files would; there is no room for one");
  if (status != 0) throw CodedError("XOS_NO_VOLUME", what + strerror(status));
  sessions_.invalidate(effects, nullptr);
  log(Priority::notice, "made snapshot '%s' of volume %lx: %lu files, %lu of them open for writing", name.c_str(), volume, made.files, made.writing);
  return made;
}

Snapshotter::Made Snapshotter::create(uint64_t volume, const std::string& name) {
  const std::string what = "cannot make snapshot '" + name + "': ";
  if (check_name(name) != 0) throw CodedError("XOS_BAD_ARGUMENT", what + "its name must be 1–255 bytes without '/', and not '.' or '..'");
  std::lock_guard one(create_mutex_);
  bool exists = false;
  store_.read([&](const Txn& txn) {
    for (auto& s : engine_.snapshots(txn, volume)) exists |= s.name == name;
  });
  if (exists) throw CodedError("XOS_EXISTS", what + "there is one of that name; 'xtfsutil snapshot ls' shows them");
  begin(volume, what);
  try {
    return make(volume, name, what);
  } catch (const CodedError& e) {
    // A file that is written past its OSD is opened in another way only as long as the volume wants snapshots: the next try is to find it so.
    if (e.code != "XOS_BUSY") cancel(volume);
    throw;
  }
}

void Snapshotter::remove(uint64_t volume, const std::string& name) {
  std::lock_guard one(create_mutex_);
  int status = 0;
  Effects effects;
  store_.write([&](Txn& txn) {
    effects = {};
    status = engine_.snapshot_remove(txn, volume, name, effects);
  });
  if (status != 0) throw CodedError("XOS_NO_SNAPSHOT", "cannot remove snapshot '" + name + "': there is none of that name; 'xtfsutil snapshot ls' shows them");
  store_.sync();  // objects go when the removal is on the disk
  sessions_.invalidate(effects, nullptr);
}

}  // namespace xos::fs::metadata
