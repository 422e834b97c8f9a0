#include "janitor.h"

#include <cerrno>
#include <chrono>
#include <thread>

#include "borrowing.h"
#include "capability.h"
#include "frame_server.h"
#include "log.h"
#include "mirrors.h"
#include "object_store.h"
#include "protocol.h"
#include "stripe.h"
#include "object_protocol.h"
#include "osd_calls.h"

namespace xos::fs::metadata {

/// Changes between two syncs: some 25 KiB of the database each, when they come one by one.
constexpr uint64_t transactions_max = 4000;

int Janitor::call(uint16_t number, uint16_t type, uint64_t file, uint8_t rights, uint32_t epoch, RpcClient::Answer& answer, int timeout_ms) {
  return call_osd(osds_, service_, number, type, file, rights, epoch, {}, answer, timeout_ms);
}

/// Deletes objects of removed files; how many files are done.
size_t Janitor::collect_objects() {
  struct Job {
    std::string key;
    uint32_t epoch;
    std::vector<uint16_t> osds;
  };
  std::vector<Job> jobs;
  // Of removals that are on the disk: a file must not come back without its contents when the machine dies.
  store_.read_synced([&](const Txn& txn) {
    txn.scan(table_deletion, "", [&](std::string_view key, std::string_view value) {
      Reader r(value);
      Job job{std::string(key), r.get<uint32_t>(), {}};
      r.get<uint32_t>();
      for (uint16_t n = r.get<uint16_t>(); n > 0; --n) job.osds.push_back(r.get<uint16_t>());
      jobs.push_back(std::move(job));
      return jobs.size() < 128;
    });
  });
  std::vector<std::string> done;
  for (auto& job : jobs) {
    bool all = true;
    for (uint16_t osd : job.osds) {
      RpcClient::Answer answer;
      int r = call(osd, object::remove, id_of(job.key), right_delete, job.epoch, answer, 2000);
      if (r != 0) {
        all = false;
        if (r != EHOSTDOWN && r != ETIMEDOUT) log(Priority::warning, "cannot delete the objects of file %lx yet: error %d", id_of(job.key), r);
      }
    }
    if (all) done.push_back(job.key);
    else if (done.empty()) break;  // an OSD is away: no use in asking for every file
  }
  if (!done.empty())
    store_.write([&](Txn& txn) {
      for (auto& key : done) txn.erase(table_deletion, key);
    });
  return done.size();
}

/// Takes the size of a file from its OSDs, after its writer has died without telling.
bool Janitor::recover_size(uint64_t id) {
  Inode i;
  int status = 0;
  store_.read([&](const Txn& txn) { status = engine_.getattr(txn, id, i); });
  if (status != 0) return true;
  if (i.mirror.on()) {
    if (int r = mirrors_->ready(id, false); r != 0) return r == ENOENT;
    store_.read([&](const Txn& txn) { status = engine_.getattr(txn, id, i); });
    if (status != 0) return true;
  }
  StripePolicy policy{i.r.stripe_bytes, i.r.width};
  uint64_t size = 0, disk_bytes = 0;
  int64_t mtime = i.r.mtime_ns, written = 0;
  uint16_t index = 0;
  for (uint16_t osd : i.osds) {
    if (index == i.r.width) break;  // replicas are the same again
    RpcClient::Answer answer;
    if (call(osd, object::extent, id, right_read, i.r.epoch, answer, 2000) != 0) return false;
    Reader r(answer.begin(), answer.size());
    uint64_t bytes = r.get<uint64_t>();
    written = std::max(written, r.get<int64_t>());
    disk_bytes += r.get<uint64_t>();
    size = std::max(size, file_size(policy, index++, bytes));
  }
  // A time that was set after the last write stays; any other change does not count.
  if (written > ((i.r.flags & inode_time_set) ? i.r.ctime_ns : i.r.mtime_ns)) mtime = written;
  Effects effects;
  store_.write([&](Txn& txn) {
    effects = {};
    // Whoever wrote is gone for us; to the OSDs he may be there still, with a right that holds for a while.
    txn.put(table_meta, late_key(id), Writer().put(now_ns() / 1000000 + late_ms).bytes());
    if (sessions_.has_writers(id)) return;  // somebody else still writes and will tell
    Inode changed;
    if (size != i.r.size || mtime != i.r.mtime_ns) engine_.update_written(txn, id, size, mtime, disk_bytes, true, changed, effects);
    engine_.end_writing(txn, id);
  });
  sessions_.settle(id);
  sessions_.invalidate(effects, nullptr);
  return true;
}

void Janitor::settle_sizes() {
  if (!sessions_.settled()) return;
  for (uint64_t id : sessions_.unsettled()) {
    if (!recover_size(id)) return;
  }
}

void Janitor::sweep_orphans() {
  if (swept_after_start_ || !sessions_.settled()) return;
  swept_after_start_ = true;
  std::vector<uint64_t> orphans;
  std::vector<Sessions::Dropped> lost;
  store_.read([&](const Txn& txn) {
    txn.scan(table_orphan, "", [&](std::string_view key, std::string_view) {
      if (!sessions_.is_open(id_of(key))) orphans.push_back(id_of(key));
      return true;
    });
    txn.scan(table_meta, "session:", [&](std::string_view key, std::string_view node) {
      if (!key.starts_with("session:")) return false;
      uint64_t instance = id_of(key.substr(8));
      if (!sessions_.knows(instance)) lost.push_back({instance, std::string(node), {}, {}});
      return true;
    });
  });
  forget(lost);
  if (orphans.empty()) return;
  store_.write([&](Txn& txn) {
    for (uint64_t id : orphans) engine_.release_orphan(txn, id);
  });
  for (uint64_t id : orphans) sessions_.bury(id);
}

/// Rows of rights that have expired.
void Janitor::forget_late() {
  const int64_t now = now_ns() / 1000000;
  std::vector<std::string> over;
  store_.read([&](const Txn& txn) {
    txn.scan(table_meta, "late:", [&](std::string_view key, std::string_view until) {
      if (!key.starts_with("late:")) return false;
      if (Reader(until).get<int64_t>() < now) over.emplace_back(key);
      return true;
    });
  });
  if (!over.empty())
    store_.write([&](Txn& txn) {
      for (auto& key : over) txn.erase(table_meta, key);
    });
}

void Janitor::forget(const std::vector<Sessions::Dropped>& dropped) {
  for (auto& d : dropped) {
    store_.write([&](Txn& txn) {
      std::string key = key_of(d.instance);
      txn.erase(table_meta, "session:" + key);
      std::vector<std::string> slots;
      txn.scan(table_reply, key, [&](std::string_view k, std::string_view) {
        if (!k.starts_with(key)) return false;
        slots.emplace_back(k);
        return true;
      });
      for (auto& k : slots) txn.erase(table_reply, k);
      for (uint64_t id : d.opened)
        if (!sessions_.is_open(id)) engine_.release_orphan(txn, id);
    });
    for (uint64_t id : d.opened) sessions_.bury(id);
  }
}

size_t Janitor::drop_node(const std::string& node) {
  auto dropped = sessions_.drop_expired(&node);
  forget(dropped);
  return dropped.size();
}

void Janitor::measure_space() {
  for (auto& osd : osds_.list()) {
    RpcClient::Answer answer;
    auto client = osds_.client(osd.number);
    if (!client) continue;
    iovec none{nullptr, 0};
    if (client->call(object::space, {&none, 1}, answer, 1000, true) != 0) {
      osds_.set_space(osd.number, 0, 0, false);
      continue;
    }
    Reader r(answer.begin(), answer.size());
    uint64_t total = r.get<uint64_t>(), free = r.get<uint64_t>();
    osds_.set_space(osd.number, total, free, true);
  }
}

void Janitor::run() {
  int64_t measured = 0, synced = 0, collected = 0, looked_late = 0;
  uint64_t synced_transactions = 0;
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    int64_t now = monotonic_ms();
    try {
      forget(sessions_.drop_expired());
      settle_sizes();
      sweep_orphans();
      if (now - collected > 1000 && collect_objects() < 128) collected = now;
      if (now - looked_late > 60000) {
        forget_late();
        looked_late = now;
      }
      if (now - measured > 2000) {
        measure_space();
        measured = now;
        BufferPool::instance().trim();
      }
      // The disk lags at most 5 s behind when nobody calls fsync, and less when much changes: no page of what is on the disk is used again.
      uint64_t transactions = store_.counters().first;
      if (transactions != synced_transactions && (now - synced > 5000 || transactions - synced_transactions > transactions_max)) {
        store_.sync();
        synced = now;
        synced_transactions = transactions;
      }
    } catch (const std::exception& e) {
      log(Priority::error, "background work failed, will go on: %s", e.what());
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  }
}

}  // namespace xos::fs::metadata
