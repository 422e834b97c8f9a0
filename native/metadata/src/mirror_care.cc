// Mirrors: what its threads do.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "inode.h"
#include "log.h"
#include "mirror_session.h"
#include "mirrors.h"
#include "osd_calls.h"
#include "object_protocol.h"

namespace xos::fs::metadata {

namespace {

constexpr auto ping_every = std::chrono::milliseconds(500);
constexpr auto look_every = std::chrono::milliseconds(1000);
constexpr uint16_t nobody = 0xffff;

}  // namespace

void Mirrors::keep_leases() {
  std::set<uint16_t> kept;
  for (;;) {
    // One that is silent must not keep the others from their leases.
    for (auto& osd : osds_.list())
      if (kept.insert(osd.number).second)
        std::thread([this, number = osd.number] {
          for (;;) {
            try {
              ping(number);
            } catch (const std::exception& e) {
              log(Priority::error, "the lease of an OSD was not renewed, will go on: %s", e.what());
            }
            std::this_thread::sleep_for(ping_every);
          }
        }).detach();
    std::this_thread::sleep_for(ping_every);
  }
}

void Mirrors::suspect(uint64_t file, uint16_t osd) {
  Inode i;
  bool row, unknown;
  if (!load(file, i, row, unknown)) return;
  const auto at = std::find(i.osds.begin(), i.osds.end(), osd) - i.osds.begin();
  if (at >= i.r.replicas || i.r.replicas < 2) return;  // it is behind already, or there is no other
  log(Priority::notice, "file %lx has blocks at OSD %u that cannot be read: they are made anew from another member", file, osd);
  activate(file, {}, osd);
}

void Mirrors::retire(const std::vector<uint64_t>& files) {
  if (files.empty()) return;
  store_.write([&](Txn& txn) {
    std::string_view v;
    for (uint64_t file : files)
      if (!txn.get(table_meta, mirror_key(file), v)) txn.put(table_meta, mirror_key(file), std::string(1, '\0'));
  });
  std::lock_guard lock(mutex_);
  wanted_ = true;
  changed_.notify_all();
}

bool Mirrors::is_reachable(uint16_t osd) { return leases_.session(osd, boottime_ms(), 1500) != 0; }

/// It is away for so long, or shall be emptied, that its place is taken by another one.
bool Mirrors::is_lost(uint16_t osd) const {
  Osd known;
  if (!osds_.find(osd, known) || known.state != OsdState::used) return true;
  return leases_.silent_ms(osd, boottime_ms()) > replace_ms_;
}

/// An OSD that has nothing of the file, the one with most room.
std::optional<uint16_t> Mirrors::another(const Inode& i) const {
  std::optional<uint16_t> best;
  uint64_t most = 0;
  for (auto& o : osds_.list()) {
    if (!o.up || o.state != OsdState::used || o.free_bytes < i.r.size + room_bytes || contains(i.osds, o.number) || o.free_bytes <= most) continue;
    if (leases_.session(o.number, boottime_ms(), 1500) == 0) continue;
    best = o.number;
    most = o.free_bytes;
  }
  return best;
}

/// False when the file has changed meanwhile.
bool Mirrors::change_list(const Inode& i, std::vector<uint16_t> osds, size_t in_step) {
  bool done = false;
  store_.write([&](Txn& txn) {
    auto now = load_inode(txn, i.id);
    done = now && now->mirror.on() && now->osds == i.osds && now->r.replicas == i.r.replicas;
    if (done) engine_.set_members(txn, *now, osds, static_cast<uint16_t>(in_step));
  });
  store_.sync();
  return done;
}

/// Most of it while the file is in use, so that its writers wait for the rest only.
int Mirrors::catch_up(const Inode& i, const std::vector<uint16_t>& behind) {
  std::vector<uint16_t> joining;
  for (uint16_t osd : behind) {
    int r = 0;
    for (int round = 0; r == 0 && round < rounds_ahead; ++round) {
      Live live;
      {
        std::lock_guard lock(mutex_);
        auto it = live_.find(i.id);
        if (it == live_.end()) break;
        live = it->second;
      }
      RpcClient::Answer answer;
      r = call(live.in_step[0], object::extent, i.id, live.epoch, right_read, {}, answer, 5000);
      if (r != 0) break;
      const auto bytes = Reader(answer.begin(), answer.size()).get<uint64_t>();
      const int64_t began = boottime_ms();
      uint16_t failed = 0;
      r = mirror_equal(*this, i.id, live.epoch, live.in_step[0], bytes, osd, true, failed);
      if (r == 0) r = sync(osd, i.id, live.epoch);
      if (boottime_ms() - began < 200) break;  // what is left is as quick
    }
    if (r == 0) joining.push_back(osd);
  }
  if (joining.empty()) return EHOSTDOWN;
  const int r = activate(i.id, joining, nobody);
  if (r == 0) {
    std::lock_guard lock(mutex_);
    caught_up_ += joining.size();
  }
  return r;
}

/// One step for a file with a row: 0 when there may be another, ENOENT when nothing is left, else why not now.
int Mirrors::look_after(uint64_t file) {
  Inode i;
  bool row = false, unknown = false;
  const bool there = load(file, i, row, unknown);
  if (!row) return ENOENT;
  if (unknown) return activate(file, {}, nobody);
  const auto step = static_cast<size_t>(std::min<size_t>(i.r.replicas, i.osds.size()));
  const std::vector<uint16_t> in_step(i.osds.begin(), i.osds.begin() + static_cast<long>(step)), behind(i.osds.begin() + static_cast<long>(step), i.osds.end());
  const size_t copies = i.mirror.copies;
  std::vector<uint16_t> stay;
  for (uint16_t osd : in_step) {
    Osd known;
    if (osds_.find(osd, known) && known.state == OsdState::used) stay.push_back(osd);
  }
  if (!there || (behind.empty() && stay.size() == copies && step == copies)) {
    store_.write([&](Txn& txn) {
      auto now = load_inode(txn, file);
      if (!now || now->r.xloc_version == i.r.xloc_version) txn.erase(table_meta, mirror_key(file));
    });
    return ENOENT;
  }
  // One that shall be emptied, and that is not needed any more.
  if (step > copies || (stay.size() < step && stay.size() >= copies)) {
    const uint16_t goes = stay.size() < step ? *std::find_if(in_step.begin(), in_step.end(), [&](uint16_t osd) { return !contains(stay, osd); }) : in_step.back();
    return activate(file, {}, goes, true);
  }
  // Who is behind comes first; what is lost, or too many, leaves the list.
  std::vector<uint16_t> kept = in_step, reachable;
  for (uint16_t osd : behind) {
    if (stay.size() >= copies || (is_lost(osd) && another(i))) continue;
    kept.push_back(osd);
    if (is_reachable(osd) && !is_lost(osd)) reachable.push_back(osd);
  }
  if (kept.size() < i.osds.size()) {
    if (!change_list(i, kept, step)) return EAGAIN;
    RpcClient::Answer answer;
    for (uint16_t osd : behind)  // where it does not answer the sweeper finds it
      if (!contains(kept, osd)) call(osd, object::remove, file, i.r.epoch, right_delete, {}, answer, 2000);
    return 0;
  }
  if (!reachable.empty()) return catch_up(i, reachable);
  // Another one in the place of what is missing.
  const size_t coming = behind.size() + stay.size();
  if (coming < copies)
    if (auto osd = another(i)) {
      kept.push_back(*osd);
      return change_list(i, kept, step) ? 0 : EAGAIN;
    }
  return EHOSTDOWN;
}

void Mirrors::care() {
  for (uint64_t next = 0;;) {
    if (next == 0) {
      std::unique_lock lock(mutex_);
      if (!wanted_) changed_.wait_for(lock, look_every, [&] { return wanted_; });
      wanted_ = false;
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    try {
      for (uint64_t file : files_with_row(store_, mirror_key, next))
        for (int step = 0; step < 8 && look_after(file) == 0; ++step) continue;
    } catch (const std::exception& e) {
      log(Priority::error, "looking after files with write replicas failed, will go on: %s", e.what());
      next = 0;
    }
  }
}

}  // namespace xos::fs::metadata
