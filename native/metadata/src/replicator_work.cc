// Replicator: what its thread does.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>

#include "capability.h"
#include "inode.h"
#include "log.h"
#include "object_copy.h"
#include "object_protocol.h"
#include "replicator.h"
#include "stripe.h"

namespace xos::fs::metadata {

namespace {

constexpr int64_t pause_ms = 2000;
constexpr int64_t rights_live_ms = 3600 * 1000 + 60 * 1000;
constexpr uint64_t block_bytes = 4096;

StripePolicy policy_of(const Inode& i) { return {i.r.stripe_bytes, i.r.width}; }

}  // namespace

int Replicator::call(uint16_t osd, uint16_t type, const Inode& i, uint8_t rights, const Writer& arguments, RpcClient::Answer& answer) const {
  return call_osd(osds_, service_, osd, type, i.id, rights, i.r.epoch, arguments, answer, call_ms);
}

/// Against writers of before; and the objects get the length that the size means for each.
int Replicator::fence_first(const Inode& i) {
  RpcClient::Answer answer;
  const int64_t until = now_ns() / 1000000 + fence_ms;
  for (uint16_t n = 0; n < i.r.width; ++n) {
    if (int r = call(i.osds[n], object::fence, i, right_delete, Writer().put(until), answer); r != 0) return r;
    const uint8_t all = right_read | right_write | right_truncate;
    if (int r = call(i.osds[n], object::truncate, i, all, Writer().put(object_bytes(policy_of(i), n, i.r.size)), answer); r != 0) return r;
    if (int r = call(i.osds[n], object::sync, i, all, {}, answer); r != 0) return r;
  }
  return 0;
}

/// 0 when nobody can read any more what is in copies that go, or it does no harm since the file stays as it is.
int Replicator::fence_dropped(const Inode& i, const Work& work) {
  const bool stays = copies_of(i) - work.dropping.size() / i.r.width > 1;
  const bool expired = now_ns() / 1000000 > work.dropping_since_ms + rights_live_ms;
  RpcClient::Answer answer;
  const int64_t until = now_ns() / 1000000 + fence_ms;
  for (uint16_t osd : work.dropping) {
    int r = call(osd, object::fence, i, right_delete, Writer().put(until), answer);
    // The kernel of that machine reads from the object itself: that ends when the file is closed there.
    if (r == 0 && Reader(answer.begin(), answer.size()).get<uint8_t>() != 0) r = EBUSY;
    if (r != 0 && !stays && (r == EBUSY || !expired)) return r;
  }
  return 0;
}

/// Makes one copy from those that are whole; object by object, each from the first copy that can be read.
int Replicator::make(const Inode& i, const Copy& copy) {
  {
    std::lock_guard lock(mutex_);
    Progress& p = progress_[i.id];
    p.running = true;
    p.bytes = 0;
    p.bytes_total = i.r.size;
  }
  RpcClient::Answer answer;
  for (uint16_t n = 0; n < i.r.width; ++n) {
    int error = EIO;
    for (size_t from = 0; from < i.r.replicas && error != 0; ++from) {
      ObjectCopy one{osds_, service_, i.id, i.osds[from * i.r.width + n], copy.osds[n], i.r.epoch, i.r.epoch};
      one.more = [&](uint64_t bytes) {
        std::lock_guard lock(mutex_);
        progress_[i.id].bytes += bytes;
        return true;
      };
      error = one.run(object_bytes(policy_of(i), n, i.r.size));
    }
    if (error != 0) return error;
    if (int r = call(copy.osds[n], object::sync, i, right_read, {}, answer); r != 0) return r;
  }
  return 0;
}

void Replicator::note(uint64_t file, int error) {
  std::lock_guard lock(mutex_);
  Progress& p = progress_[file];
  p.running = false;
  p.reason = error == EBUSY ? "a program has it open where a copy is to go" : strerror(error);
}

/// The next step of a file with work left: 0 when it was done, ENOENT when nothing is left, or why it could not be done now.
int Replicator::advance(uint64_t file) {
  // The mover must not take away what is copied from or to.
  std::lock_guard one(moves_.copying());
  Inode i;
  Work work;
  if (!load(file, i, work)) {
    store_.write([&](Txn& txn) { txn.erase(table_meta, replicate_key(file)); });
    return ENOENT;
  }
  const uint32_t version = i.r.xloc_version;
  // Stores what was done, unless the file has changed meanwhile: then it is looked at again.
  auto commit = [&](const std::function<void(Txn&, Inode&, Work&)>& change) {
    store_.write([&](Txn& txn) {
      auto now = load_inode(txn, file);
      std::string_view row;
      if (!now || now->r.xloc_version != version || !txn.get(table_meta, replicate_key(file), row)) return;
      Work w = decode(row);
      change(txn, *now, w);
      txn.put(table_meta, replicate_key(file), encode(w));
    });
    store_.sync();
  };
  if (!work.fenced && is_replicated(i)) {
    if (int r = fence_first(i); r != 0) return r;
    commit([](Txn&, Inode&, Work& w) { w.fenced = true; });
    return 0;
  }
  if (!work.dropping.empty()) {
    if (int r = fence_dropped(i, work); r != 0) return r;
    commit([&](Txn& txn, Inode& now, Work& w) {
      auto osds = now.osds;
      std::erase_if(osds, [&](uint16_t osd) { return contains(w.dropping, osd); });
      engine_.set_copies(txn, now, osds, now.r.replicas);
      w.dropping.clear();
    });
    RpcClient::Answer answer;
    for (uint16_t osd : work.dropping) call(osd, object::remove, i, right_delete, {}, answer);  // else the sweeper's
    return 0;
  }
  auto all = copies(i, work);
  int error = 0;
  for (size_t n = i.r.replicas; n < all.size(); ++n) {
    if (error = make(i, all[n]); error != 0) continue;
    commit([&](Txn& txn, Inode& now, Work&) {
      auto osds = now.osds;
      const auto whole = static_cast<long>(now.r.replicas) * now.r.width, at = static_cast<long>(n) * now.r.width;
      std::rotate(osds.begin() + whole, osds.begin() + at, osds.begin() + at + now.r.width);
      engine_.set_copies(txn, now, osds, static_cast<uint16_t>(now.r.replicas + 1));
    });
    sessions_.renew_rights(file);
    return 0;
  }
  if (error != 0) return error;
  store_.write([&](Txn& txn) {
    auto now = load_inode(txn, file);
    if (!now || now->r.xloc_version == version) txn.erase(table_meta, replicate_key(file));
  });
  return ENOENT;
}

/// Writes a block that is corrupt at `osd` anew, from another copy.
bool Replicator::repair_block(uint64_t file, uint64_t block, uint16_t osd) {
  Inode i;
  Work work;
  if (!load(file, i, work) || i.r.replicas < 2) return false;
  const auto at = static_cast<size_t>(std::find(i.osds.begin(), i.osds.end(), osd) - i.osds.begin());
  if (at >= size_t{i.r.replicas} * i.r.width) return false;
  const auto n = static_cast<uint16_t>(at % i.r.width);
  const uint64_t offset = block * block_bytes, end = object_bytes(policy_of(i), n, i.r.size);
  if (offset >= end) return false;
  const auto bytes = static_cast<uint32_t>(std::min(block_bytes, end - offset));
  for (size_t copy = 0; copy < i.r.replicas; ++copy) {
    const uint16_t from = i.osds[copy * i.r.width + n];
    RpcClient::Answer answer;
    if (from == osd || call(from, object::read, i, right_read, Writer().put(offset).put(bytes), answer) != 0 || answer.size() != bytes) continue;
    const std::string data(answer.begin(), answer.size());
    if (call(osd, object::write, i, right_read | right_write, Writer().put(offset).raw(data), answer) == 0) return true;
  }
  return false;
}

void Replicator::repair(const Osd& osd) {
  RpcClient::Answer answer;
  if (call_osd(osds_, service_, osd.number, object::damaged, 0, right_delete, 0, {}, answer, call_ms) != 0) return;
  Reader r(answer.begin(), answer.size());
  uint64_t mirrored = 0;
  for (uint32_t n = r.get<uint32_t>(); n > 0; --n) {
    const auto file = r.get<uint64_t>(), block = r.get<uint64_t>();
    Inode i;
    Work work;
    if (load(file, i, work) && i.mirror.on()) {
      if (file != mirrored && suspect) suspect(mirrored = file, osd.number);  // they come in the order of files
      continue;
    }
    if (!repair_block(file, block, osd.number)) continue;
    log(Priority::notice, "mended block %lu of file %lx at OSD '%s' from another replica", block, file, osd.name.c_str());
    std::lock_guard lock(mutex_);
    ++repaired_;
  }
}

void Replicator::run() {
  for (uint64_t next = 0;;) {
    {
      std::unique_lock lock(mutex_);
      if (next == 0) wanted_.wait_for(lock, std::chrono::milliseconds(pause_ms), [&] { return wake_; });
      wake_ = false;
    }
    try {
      for (uint64_t file : files_with_row(store_, replicate_key, next)) {
        int r;
        while ((r = advance(file)) == 0) continue;
        if (r != ENOENT) {
          note(file, r);
          continue;
        }
        std::lock_guard lock(mutex_);
        progress_.erase(file);
      }
      for (auto& osd : osds_.list())
        if (osd.up) repair(osd);
    } catch (const std::exception& e) {
      log(Priority::error, "replicating failed, will go on: %s", e.what());
      next = 0;
    }
  }
}

}  // namespace xos::fs::metadata
