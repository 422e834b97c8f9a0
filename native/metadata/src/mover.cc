#include "mover.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "capability.h"
#include "inode.h"
#include "log.h"
#include "object_copy.h"
#include "object_protocol.h"
#include "osd_calls.h"

namespace xos::fs::metadata {

namespace {

constexpr uint64_t ahead_bytes = 8u << 20;       // larger ones are copied before anybody has to wait
constexpr uint64_t waiting_bytes = 128u << 20;   // more is not copied while somebody waits
constexpr uint64_t batch_bytes = 32u << 20;
constexpr size_t batch_files = 32;
constexpr size_t portion_inodes = 4096;
constexpr int64_t pause_ms_min = 2000;

bool is_away(int error) { return error == EHOSTDOWN || error == ETIMEDOUT; }

std::string row_key(uint64_t id) { return "move:" + key_of(id); }

}  // namespace

void Mover::recover() {
  std::vector<std::pair<uint64_t, uint32_t>> begun;
  store_.read([&](const Txn& txn) {
    txn.scan(table_meta, "move:", [&](std::string_view key, std::string_view value) {
      if (!key.starts_with("move:")) return false;
      begun.emplace_back(id_of(key.substr(5)), Reader(value).get<uint32_t>());
      return true;
    });
  });
  if (begun.empty()) return;
  store_.write([&](Txn& txn) {
    for (auto& [id, epoch] : begun) {
      txn.erase(table_meta, row_key(id));
      auto i = load_inode(txn, id);
      if (!i || i->r.epoch >= epoch) continue;
      i->r.epoch = epoch;
      save_inode(txn, *i);
    }
  });
  store_.sync();
  log(Priority::notice, "%zu files were on their way to another OSD; they stay where they are and are tried again", begun.size());
}

bool Mover::drain(const std::string& osd) {
  if (!osds_.set_state(osd, OsdState::draining)) return false;
  std::lock_guard lock(mutex_);
  wake_ = true;
  wanted_.notify_one();
  return true;
}

bool Mover::use(const std::string& osd) { return osds_.set_state(osd, OsdState::used); }

Mover::Progress Mover::progress(const std::string& osd) const {
  std::lock_guard lock(mutex_);
  auto it = progress_.find(osd);
  return it == progress_.end() ? Progress{} : it->second;
}

uint64_t Mover::files_at(uint16_t osd) const {
  uint64_t files = 0;
  store_.read([&](const Txn& txn) {
    txn.scan(table_inode, "", [&](std::string_view key, std::string_view) {
      auto i = load_inode(txn, id_of(key));
      files += i && std::find(i->osds.begin(), i->osds.end(), osd) != i->osds.end();
      return true;
    });
    txn.scan(table_deletion, "", [&](std::string_view, std::string_view value) {
      Reader r(value);
      r.raw(8);
      for (uint16_t n = r.get<uint16_t>(); n > 0; --n) files += r.get<uint16_t>() == osd;
      return true;
    });
  });
  return files;
}

/// Files with something at `from`, among the next inodes.
std::vector<Mover::Move> Mover::portion(uint16_t from, uint64_t& next, bool& end) const {
  std::vector<Move> found;
  size_t seen = 0;
  end = true;
  store_.read([&](const Txn& txn) {
    txn.scan(table_inode, key_of(next), [&](std::string_view key, std::string_view) {
      next = id_of(key);
      if (++seen > portion_inodes) return end = false;
      auto i = load_inode(txn, next);
      if (!i) return true;
      auto at = std::find(i->osds.begin(), i->osds.end(), from);
      if (at == i->osds.end()) return true;
      Move m;
      m.id = next;
      m.index = static_cast<size_t>(at - i->osds.begin());
      m.epoch = i->r.epoch;
      m.width = i->r.width;
      std::string_view row;
      m.busy = txn.get(table_meta, replicate_key(next), row);  // copies of it come or go just now
      m.mirrored = i->mirror.on();
      m.spare = !m.busy && !m.mirrored && i->r.replicas > 1;
      found.push_back(m);
      return true;
    });
  });
  return found;
}

/// An OSD that has nothing of the file yet; false when there is none with room.
bool Mover::choose_target(Move& m, const Osd& from) {
  Inode i;
  bool there = false;
  store_.read([&](const Txn& txn) { there = engine_.getattr(txn, m.id, i) == 0; });
  if (!there) return false;
  VolumePolicy policy = engine_.policy_of(i.r.volume);
  policy.width = 256;
  for (uint16_t osd : osds_.place(policy, from.node)) {
    if (std::find(i.osds.begin(), i.osds.end(), osd) != i.osds.end()) continue;
    m.to = osd;
    return true;
  }
  return false;
}

int Mover::call(uint16_t osd, uint16_t type, const Move& m, uint8_t rights, uint32_t epoch, const Writer& arguments, RpcClient::Answer& answer) {
  return call_osd(osds_, service_, osd, type, m.id, rights, epoch, arguments, answer, call_ms);
}

int Mover::extent(uint16_t osd, const Move& m, Extent& e) {
  RpcClient::Answer answer;
  if (int r = call(osd, object::extent, m, right_read, m.epoch + m.fenced, {}, answer); r != 0) return r;
  Reader r(answer.begin(), answer.size());
  e.bytes = r.get<uint64_t>();
  e.mtime_ns = r.get<int64_t>();
  e.disk_bytes = r.get<uint64_t>();
  return 0;
}

/// Makes the object at the new OSD what it is at the old one now: its data, holes and length.
int Mover::copy(const Osd& from, Move& m, uint64_t bytes) {
  m.has_copy = true;
  return ObjectCopy{osds_, service_, m.id, from.number, m.to, m.epoch + m.fenced, m.epoch + 1}.run(bytes);
}

/// Copies a large object until it stayed the same meanwhile; nobody waits.
void Mover::copy_ahead(const Osd& from, Move& m) {
  Extent before, after;
  if (m.error = extent(from.number, m, before); m.error != 0) return;
  m.bytes = before.bytes;
  if (before.disk_bytes <= ahead_bytes) return;
  for (int i = 0; i < rounds_ahead; ++i) {
    if (m.error = copy(from, m, before.bytes); m.error != 0) return;
    if (m.error = extent(from.number, m, after); m.error != 0) return;
    m.bytes = after.bytes;
    m.mtime_ns = after.mtime_ns;
    if (m.copied = after.bytes == before.bytes && after.mtime_ns == before.mtime_ns; m.copied) return;
    before = after;
  }
  m.busy = after.disk_bytes > waiting_bytes;
}

/// Rows of what gets a fence, on the disk.
void Mover::begin(std::vector<Move>& batch, uint16_t from) {
  store_.write([&](Txn& txn) {
    for (auto& m : batch) {
      m.gone = m.checked = false;
      if (m.error != 0 || m.busy) continue;
      auto i = load_inode(txn, m.id);
      m.gone = !i || m.index >= i->osds.size() || i->osds[m.index] != from || i->r.epoch != m.epoch;
      m.checked = !m.gone;
      if (m.checked) txn.put(table_meta, row_key(m.id), Writer().put<uint32_t>(m.epoch + 1).bytes());
    }
  });
  store_.sync();
}

void Mover::fence(const Osd& from, Move& m) {
  // Who appends to stripes has asked the first one for a place, and then writes to all: that must not be cut in two.
  if (m.width > 1 && sessions_.has_writers(m.id)) {
    m.busy = true;
    return;
  }
  RpcClient::Answer answer;
  const int64_t until = now_ns() / 1000000 + fence_ms;
  m.error = call(from.number, object::fence, m, right_delete, m.epoch + 1, Writer().put(until), answer);
  // Perhaps it has it: the epoch grows in any case.
  m.fenced = true;
  if (m.error != 0) return;
  Reader r(answer.begin(), answer.size());
  m.busy = r.get<uint8_t>() != 0;
  const auto reserved_end = r.get<uint64_t>();
  const auto bytes = r.get<uint64_t>();
  const auto mtime_ns = r.get<int64_t>();
  const auto disk_bytes = r.get<uint64_t>();
  if (m.width > 1 && sessions_.has_writers(m.id)) m.busy = true;
  if (m.busy) return;
  if (!m.copied || m.bytes != bytes || m.mtime_ns != mtime_ns) {
    if (disk_bytes > waiting_bytes) {
      m.busy = true;
      return;
    }
    if (bytes > 0 || m.has_copy) m.error = copy(from, m, bytes);
  }
  m.bytes = bytes;
  // What an earlier try has left there must not come to light.
  if (m.error == 0 && !m.has_copy) m.error = call(m.to, object::remove, m, right_delete, m.epoch + 1, {}, answer);
  if (m.error == 0 && reserved_end > 0) m.error = call(m.to, object::reserve, m, right_write, m.epoch + 1, Writer().put(reserved_end).put<uint32_t>(0), answer);
  if (m.error == 0 && m.has_copy) m.error = call(m.to, object::sync, m, right_read, m.epoch + 1, {}, answer);
  m.moved = m.error == 0;
}

void Mover::commit(std::vector<Move>& batch, uint16_t from) {
  store_.write([&](Txn& txn) {
    for (auto& m : batch) {
      if (!m.checked) continue;
      txn.erase(table_meta, row_key(m.id));
      auto i = load_inode(txn, m.id);
      m.gone = !i || m.index >= i->osds.size() || i->osds[m.index] != from;
      if (m.gone) continue;
      if (m.moved) {
        i->osds[m.index] = m.to;
        ++i->r.xloc_version;
      }
      if (m.fenced) i->r.epoch = std::max(i->r.epoch, m.epoch + 1);
      save_inode(txn, *i);
    }
  });
  // Before the old object goes, and before anybody writes to the new one.
  store_.sync();
}

/// Takes away what is not used: the old object, or a copy that came to nothing. What cannot be removed now is the sweeper's.
void Mover::clean(const Osd& from, const std::vector<Move>& batch) {
  RpcClient::Answer answer;
  for (auto& m : batch) {
    if (m.moved && !m.gone) call(from.number, object::remove, m, right_delete, m.epoch + 1, {}, answer);
    else if (m.has_copy) call(m.to, object::remove, m, right_delete, m.epoch + 1, {}, answer);
  }
}

void Mover::move(const Osd& from, std::vector<Move>& batch) {
  std::lock_guard one(moves_.copying());
  std::vector<uint64_t> ids;
  for (auto& m : batch) ids.push_back(m.id);
  Moves::Mark copied(moves_, ids, false);
  for (auto& m : batch)
    if (m.bytes > ahead_bytes) copy_ahead(from, m);
  {
    Moves::Mark held(moves_, ids, true);
    begin(batch, from.number);
    try {
      for (auto& m : batch) {
        if (!m.checked) continue;
        fence(from, m);
        if (is_away(m.error)) break;  // the others would be held up for nothing
      }
    } catch (const std::exception& e) {  // an answer that cannot be read
      log(Priority::warning, "a move from OSD '%s' failed: %s", from.name.c_str(), e.what());
    }
    commit(batch, from.number);
  }
  clean(from, batch);
}

void Mover::note(const std::string& osd, const std::vector<Move>& batch) {
  std::lock_guard lock(mutex_);
  Progress& p = progress_[osd];
  for (auto& m : batch) {
    if (m.moved && !m.gone) {
      ++p.moved;
      p.moved_bytes += m.bytes;
    }
    if (p.left > 0 && (m.moved || m.gone)) --p.left;
    if (m.busy) ++p.busy;
    if (m.error != 0) {
      ++p.failed;
      p.reason = "file " + std::to_string(m.id) + ": " + strerror(m.error);
    }
  }
}

/// Once through all files. False when it was given up, or a server was away.
bool Mover::round(const Osd& from) {
  recover();  // of a round that could not store its end
  const uint64_t files = files_at(from.number);
  {
    std::lock_guard lock(mutex_);
    Progress& p = progress_[from.name];
    p.files = p.left = files;
    p.busy = p.failed = 0;
    p.running = files > 0;
    p.reason.clear();
  }
  bool end = files == 0;
  for (uint64_t next = 0; !end;) {
    auto found = portion(from.number, next, end);
    std::vector<uint64_t> mirrored;
    for (auto& m : found)
      if (m.mirrored) mirrored.push_back(m.id);
    std::erase_if(found, [](auto& m) { return m.mirrored; });
    if (retire_mirrors) retire_mirrors(mirrored);
    for (size_t at = 0; at < found.size();) {
      if (osds_.state(from.name) != OsdState::draining) return false;
      std::vector<Move> batch;
      for (uint64_t bytes = 0; at < found.size() && batch.size() < batch_files && (batch.empty() || bytes < batch_bytes); ++at) {
        Move& m = found[at];
        Extent e;
        m.error = extent(from.number, m, e);
        m.bytes = e.bytes;
        if (m.error == 0 && !m.busy && !choose_target(m, from)) {
          m.error = ENOSPC;
          // Its other replicas are elsewhere, and there is no place for as many as before.
          if (m.spare && give_up_replica) give_up_replica(m.id, from.name);
        }
        // A large one for itself: those beside it would wait for it.
        if (e.disk_bytes > ahead_bytes && !batch.empty()) break;
        bytes += e.disk_bytes > ahead_bytes ? batch_bytes : e.disk_bytes;
        batch.push_back(m);
      }
      move(from, batch);
      note(from.name, batch);
      if (std::all_of(batch.begin(), batch.end(), [](auto& m) { return is_away(m.error); })) return false;
    }
  }
  return true;
}

void Mover::run() {
  int64_t pause_ms = pause_ms_min;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wanted_.wait_for(lock, std::chrono::milliseconds(pause_ms), [&] { return wake_; });
      wake_ = false;
    }
    const int64_t began = monotonic_ms();
    for (auto& osd : osds_.list()) {
      if (osd.state != OsdState::draining) continue;
      try {
        round(osd);
      } catch (const std::exception& e) {
        log(Priority::error, "draining OSD '%s' failed, will go on: %s", osd.name.c_str(), e.what());
        std::lock_guard lock(mutex_);
        progress_[osd.name].reason = e.what();
      }
      std::lock_guard lock(mutex_);
      progress_[osd.name].running = false;
    }
    // A round looks at every inode: what is busy is not worth a CPU.
    pause_ms = std::max(pause_ms_min, 10 * (monotonic_ms() - began));
  }
}

}  // namespace xos::fs::metadata
