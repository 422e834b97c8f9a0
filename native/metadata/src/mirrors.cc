#include "mirrors.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "inode.h"
#include "log.h"
#include "mirror_session.h"
#include "object_protocol.h"
#include "osd_calls.h"

namespace xos::fs::metadata {

namespace {

constexpr int64_t ready_ms = 6000;          // less than clients wait for an answer
constexpr int64_t fresh_ms = 1200;          // an OSD that answered within that is there
constexpr size_t live_max = 100'000;
constexpr int64_t replace_default_ms = 60'000;

int64_t replace_after_ms() {
  const char* text = getenv("XOS_MIRROR_REPLACE_MS");
  const int64_t ms = text ? strtoll(text, nullptr, 10) : 0;
  return ms > 0 ? ms : replace_default_ms;
}

}  // namespace

Mirrors::Mirrors(Store& store, Engine& engine, OsdTable& osds, Service& service)
    : store_(store), engine_(engine), osds_(osds), service_(service), replace_ms_(replace_after_ms()),
      leases_(boottime_ms(), mirror_lease_ms, mirror_lease_margin_ms) {}

void Mirrors::made(const Inode& i) {
  Live live{i.r.epoch, i.r.xloc_version, i.osds, {}, i.osds.size() >= i.mirror.needed()};
  const int64_t now = boottime_ms();
  for (uint16_t osd : i.osds) live.sessions.push_back(leases_.session(osd, now, 3 * fresh_ms));
  // Whoever is not there just now is found out by the first write.
  std::lock_guard lock(mutex_);
  if (std::find(live.sessions.begin(), live.sessions.end(), 0) == live.sessions.end()) live_[i.id] = std::move(live);
}

int Mirrors::ready(uint64_t file, bool write) {
  const int64_t deadline = boottime_ms() + ready_ms;
  for (;;) {
    int r = EHOSTDOWN;
    {
      std::unique_lock lock(mutex_);
      auto it = live_.find(file);
      if (it != live_.end() && (it->second.writable || !write)) return 0;
      if (active_.contains(file) || it != live_.end()) {
        // Somebody is at it, or the care brings in another member.
        wanted_ = true;
        changed_.notify_all();
        changed_.wait_for(lock, std::chrono::milliseconds(200));
        if (boottime_ms() > deadline) return EHOSTDOWN;
        continue;
      }
    }
    r = activate(file, {}, 0xffff);
    if (r == ENOENT) return r;
    if (boottime_ms() > deadline) return EHOSTDOWN;
    if (r != 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void Mirrors::failed(uint64_t file, uint32_t epoch) {
  std::lock_guard lock(mutex_);
  auto it = live_.find(file);
  if (it == live_.end() || it->second.epoch != epoch) return;
  auto& before = before_[file];
  for (size_t n = 0; n < it->second.in_step.size(); ++n) before[it->second.in_step[n]] = it->second.sessions[n];
  live_.erase(it);
}

bool Mirrors::grant(uint64_t file, Capability c, std::string& body, OsdReference& leader) const {
  Live live;
  {
    std::lock_guard lock(mutex_);
    auto it = live_.find(file);
    if (it == live_.end()) return false;
    live = it->second;
  }
  if (!live.writable) c.rights &= static_cast<uint8_t>(~(right_write | right_truncate));
  c.epoch = live.epoch;
  c.xloc_version = live.version;
  Osd first;
  if (!osds_.find(live.in_step[0], first)) return false;
  for (size_t n = 1; n < live.in_step.size(); ++n) {
    Osd osd;
    if (!osds_.find(live.in_step[n], osd)) return false;
    Capability inner = c;
    inner.members.clear();
    inner.node = first.node;
    inner.session = live.sessions[n];
    MirrorMember m{osd.name, osd.address, osd.port, encode(inner), {}};
    m.mac = sign(m.body, osd.key, osd.node);
    c.members.push_back(std::move(m));
  }
  c.session = live.sessions[0];
  body = encode(c);
  leader = {first.name, sign(body, first.key, first.node)};
  return true;
}

uint64_t Mirrors::caught_up() const {
  std::lock_guard lock(mutex_);
  return caught_up_;
}

// What the OSDs are asked.

int Mirrors::call(uint16_t osd, uint16_t type, uint64_t file, uint32_t epoch, uint8_t rights, const Writer& arguments, RpcClient::Answer& answer, int timeout_ms) {
  return call_osd(osds_, service_, osd, type, file, rights, epoch, arguments, answer, timeout_ms, 0);
}

void Mirrors::ping(uint16_t osd) {
  for (int turn = 0; turn < 2; ++turn) {
    store_.wait_current();  // a lease that somebody else leads by now is not ours to give
    const auto ask = leases_.ask(osd, boottime_ms());
    RpcClient::Answer answer;
    if (call(osd, object::lease, 0, 0, right_delete, Writer().put(ask.session).put(ask.heard_ms), answer, 700) != 0) return;
    Reader r(answer.begin(), answer.size());
    if (r.left() != 16) return;
    const auto session = r.get<uint64_t>();
    const auto heard_ms = r.get<int64_t>();
    if (!leases_.answered(osd, ask, session, heard_ms, boottime_ms())) return;
  }
}

uint64_t Mirrors::session(uint16_t osd) {
  if (const uint64_t session = leases_.session(osd, boottime_ms(), fresh_ms)) return session;
  ping(osd);
  return leases_.session(osd, boottime_ms(), fresh_ms);
}

int Mirrors::fence(uint16_t osd, uint64_t file, uint32_t epoch, Object& object) {
  RpcClient::Answer answer;
  // What is under way there may wait for a member that has just died.
  if (int r = call(osd, object::fence, file, epoch, right_delete, Writer().put<int64_t>(now_ns() / 1000000 + fence_ms), answer, 4000); r != 0) return r;
  Reader r(answer.begin(), answer.size());
  if (r.left() < 1 + 3 * 8) return EPROTO;
  r.raw(1 + 8);
  object.bytes = r.get<uint64_t>();
  object.mtime_ns = r.get<int64_t>();
  return 0;
}

int Mirrors::digest(uint16_t osd, uint64_t file, uint32_t epoch, uint64_t first, uint32_t count, bool read, std::vector<uint64_t>& digests) {
  RpcClient::Answer answer;
  if (int r = call(osd, object::digest, file, epoch, right_read, Writer().put(first).put(count).put<uint8_t>(read), answer, 10000); r != 0) return r;
  digests.resize(answer.size() / 8);
  if (!digests.empty()) std::memcpy(digests.data(), answer.begin(), digests.size() * 8);
  return 0;
}

int Mirrors::copy(uint16_t from, uint16_t to, uint64_t file, uint32_t epoch, uint64_t offset, uint32_t bytes) {
  RpcClient::Answer answer;
  if (int r = call(from, object::read, file, epoch, right_read, Writer().put(offset).put(bytes), answer, 10000); r != 0) return r;
  const std::string data(answer.begin(), answer.size());
  return data.empty() ? 0 : call(to, object::write, file, epoch, right_write, Writer().put(offset).raw(data), answer, 10000);
}

int Mirrors::truncate(uint16_t osd, uint64_t file, uint32_t epoch, uint64_t bytes) {
  RpcClient::Answer answer;
  const int r = call(osd, object::truncate, file, epoch, right_truncate, Writer().put(bytes), answer, 10000);
  // A block that cannot be read is in the way: it is all written anew.
  if (r != EIO || call(osd, object::remove, file, epoch, right_delete, {}, answer, 10000) != 0) return r;
  return call(osd, object::truncate, file, epoch, right_truncate, Writer().put(bytes), answer, 10000);
}

int Mirrors::sync(uint16_t osd, uint64_t file, uint32_t epoch) {
  RpcClient::Answer answer;
  return call(osd, object::sync, file, epoch, right_write, {}, answer, 30000);
}

void Mirrors::give_up(uint16_t osd, uint64_t session) {
  const int64_t until = leases_.give_up(osd, session, boottime_ms());
  while (boottime_ms() < until) std::this_thread::sleep_for(std::chrono::milliseconds(std::min<int64_t>(50, until - boottime_ms() + 1)));
}

void Mirrors::for_each(size_t count, const std::function<void(size_t)>& each) {
  std::vector<std::thread> threads;
  for (size_t n = 1; n < count; ++n) threads.emplace_back([&, n] { each(n); });
  if (count > 0) each(0);
  for (auto& t : threads) t.join();
}

// A new epoch.

bool Mirrors::load(uint64_t file, Inode& i, bool& row, bool& unknown) const {
  bool there = false;
  store_.read([&](const Txn& txn) {
    std::string_view v;
    there = engine_.getattr(txn, file, i) == 0 && i.mirror.on() && !i.osds.empty();
    row = txn.get(table_meta, mirror_key(file), v);
    unknown = row && !v.empty() && v[0] != 0;
  });
  return there;
}

/// One at a time for a file; who comes meanwhile gets EAGAIN.
int Mirrors::activate(uint64_t file, const std::vector<uint16_t>& joining, uint16_t avoid, bool drop) {
  {
    std::lock_guard lock(mutex_);
    if (!active_.insert(file).second) return EAGAIN;
    if (auto it = live_.find(file); it != live_.end()) {
      auto& before = before_[file];
      for (size_t n = 0; n < it->second.in_step.size(); ++n) before[it->second.in_step[n]] = it->second.sessions[n];
      live_.erase(it);
    }
  }
  int r = EIO;
  try {
    r = activate_alone(file, joining, avoid, drop);
  } catch (const std::exception& e) {
    log(Priority::error, "the members of file %lx could not be made equal: %s", file, e.what());
  }
  std::lock_guard lock(mutex_);
  active_.erase(file);
  changed_.notify_all();
  return r;
}

int Mirrors::activate_alone(uint64_t file, const std::vector<uint16_t>& joining, uint16_t avoid, bool drop) {
  MirrorPlan plan;
  bool found = false;
  // The epoch is on the disk before an OSD hears of it: no two of them are the same, also after a loss of power.
  store_.write([&](Txn& txn) {
    plan = {};
    auto i = load_inode(txn, file);
    std::string_view v;
    found = i && i->mirror.on() && !i->osds.empty();
    if (!found) return;
    plan.file = file;
    plan.epoch = ++i->r.epoch;
    const auto step = std::min<size_t>(i->r.replicas, i->osds.size());
    plan.in_step.assign(i->osds.begin(), i->osds.begin() + static_cast<long>(step));
    for (uint16_t osd : joining)
      if (std::find(i->osds.begin() + static_cast<long>(step), i->osds.end(), osd) != i->osds.end()) plan.joining.push_back(osd);
    plan.majority = i->mirror.majority();
    plan.needed = i->mirror.needed();
    plan.avoid = avoid;
    plan.drop_avoided = drop;
    plan.unknown = txn.get(table_meta, mirror_key(file), v) && !v.empty() && v[0] != 0;
    if (plan.unknown) plan.in_step = i->osds;
    save_inode(txn, *i);
  });
  if (!found) return ENOENT;
  store_.sync();
  {
    std::lock_guard lock(mutex_);
    if (auto it = before_.find(file); it != before_.end()) plan.sessions = it->second;
  }
  MirrorMembers members;
  int r = mirror_activate(*this, plan, members);
  if (r == 0) r = publish(file, plan.epoch, members);
  std::string text;
  if (r == 0 && members.in_step.size() == plan.in_step.size() + plan.joining.size()) text.clear();
  else text = r == 0 ? std::to_string(members.in_step.size()) + " of its replicas are in step" + (members.writable ? "" : ": too few to write") : std::string("it cannot be used: ") + strerror(r);
  std::lock_guard lock(mutex_);
  auto& said = said_[file];
  if (text != said.second || boottime_ms() - said.first > 60'000) {
    if (!text.empty()) log(r == 0 ? Priority::notice : Priority::warning, "file %lx: %s", file, text.c_str());
    said = {boottime_ms(), text};
  }
  if (text.empty()) said_.erase(file);
  return r;
}

int Mirrors::publish(uint64_t file, uint32_t epoch, const MirrorMembers& members) {
  bool there = false, changed = false;
  uint32_t version = 0;
  store_.write([&](Txn& txn) {
    auto i = load_inode(txn, file);
    there = i && i->mirror.on() && i->r.epoch == epoch;
    if (!there) return;
    std::vector<uint16_t> osds = members.in_step;
    for (uint16_t osd : i->osds)
      if (std::find(osds.begin(), osds.end(), osd) == osds.end()) osds.push_back(osd);
    changed = osds != i->osds || i->r.replicas != members.in_step.size();
    if (changed) engine_.set_members(txn, *i, osds, static_cast<uint16_t>(members.in_step.size()));
    version = i->r.xloc_version;
    if (members.in_step.size() < i->mirror.copies || osds.size() != members.in_step.size()) txn.put(table_meta, mirror_key(file), std::string(1, '\0'));
    else txn.erase(table_meta, mirror_key(file));
  });
  if (!there) return ESTALE;
  // Before anybody has a right of the new epoch: a database that had forgotten it could take one for in step who is not.
  if (changed) store_.sync();
  std::lock_guard lock(mutex_);
  if (live_.size() >= live_max) live_.clear();
  live_[file] = {epoch, version, members.in_step, members.sessions, members.writable};
  before_.erase(file);
  wanted_ = true;
  return 0;
}

}  // namespace xos::fs::metadata
