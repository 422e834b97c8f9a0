#include "sessions.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "log.h"
#include "metadata_metrics.h"
#include "rpc_client.h"

namespace xos::fs::metadata {

namespace {
constexpr size_t leases_max = 400000;
constexpr int grace_ms = 3000;
}  // namespace

Sessions::Sessions(std::set<uint64_t> returning) : returning_(std::move(returning)), started_ms_(monotonic_ms()) {}

bool Sessions::settled() const {
  std::lock_guard lock(mutex_);
  return returning_.empty() || monotonic_ms() - started_ms_ > grace_ms;
}

void Sessions::wait_settled() {
  std::unique_lock lock(mutex_);
  while (!returning_.empty()) {
    int64_t left = started_ms_ + grace_ms - monotonic_ms();
    if (left <= 0) {
      returning_.clear();
      break;
    }
    changed_.wait_for(lock, std::chrono::milliseconds(left));
  }
}

void Sessions::reclaimed(const Ptr& s) {
  std::lock_guard lock(mutex_);
  s->complete = true;
  if (returning_.erase(s->instance)) changed_.notify_all();
}

Sessions::Ptr Sessions::attach(uint64_t instance, const std::string& node, bool& known, std::vector<uint64_t>& replaced) {
  std::lock_guard lock(mutex_);
  auto it = sessions_.find(instance);
  if (it != sessions_.end() && it->second->node == node) {
    known = it->second->complete;
    ++it->second->connections;
    return it->second;
  }
  for (auto& [other, session] : sessions_)
    if (session->node == node && other != instance) replaced.push_back(other);
  auto s = std::make_shared<Session>();
  s->instance = instance;
  s->node = node;
  s->connections = 1;
  for (unsigned bit = 0; bit < 64; ++bit) {
    if (used_bits_ >> bit & 1) continue;
    s->bit = bit;
    used_bits_ |= 1ull << bit;
    break;
  }
  sessions_[instance] = s;
  known = false;
  return s;
}

void Sessions::detach(const Ptr& s) {
  std::lock_guard lock(mutex_);
  if (--s->connections == 0) s->idle_since_ms = monotonic_ms();
}

void Sessions::enqueue(Session& s, uint16_t type, std::string payload) {
  MetadataMetrics& counted = MetadataMetrics::instance();
  (type == callback_lock_retry ? counted.lock_retries : counted.invalidations).add();
  s.messages.emplace_back(type, std::move(payload));
  ++s.queued;
  s.wake.notify_one();
}

void Sessions::serve_callbacks(const Ptr& s, wire::Connection& connection, const std::function<void()>& ready) {
  std::unique_lock lock(mutex_);
  if (s->callback_connected || s->gone) return;  // the old one must end first; the mount tries again
  s->callback_connected = true;
  // The mount has dropped its cache before it called: what was queued for the old connection is settled by that.
  s->acknowledged_ms = monotonic_ms();
  s->acknowledged = s->queued;
  ++s->callback_generation;
  changed_.notify_all();
  // Two pings at once: with the second one the mount knows that its first acknowledgement arrived, and its lease begins.
  int at_once = 2;
  try {
    while (!s->gone) {
      uint16_t type = callback_ping;
      std::string payload;
      bool counted = false;
      if (s->messages.empty() && at_once-- <= 0) s->wake.wait_for(lock, std::chrono::milliseconds(ping_ms));
      if (!s->messages.empty()) {
        std::tie(type, payload) = std::move(s->messages.front());
        s->messages.pop_front();
        counted = true;
      }
      lock.unlock();
      ready();
      iovec piece{payload.data(), payload.size()};
      connection.send({0, type, 0, 0}, {&piece, 1}, 5000);
      std::vector<std::byte> ignored;
      connection.receive(ignored, session_silence_ms);
      lock.lock();
      s->acknowledged_ms = monotonic_ms();
      if (counted) {
        ++s->acknowledged;
        changed_.notify_all();
      }
    }
    s->callback_connected = false;
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    s->messages.clear();
    s->callback_connected = false;
    throw;
  }
}

int Sessions::open(const Ptr& s, uint64_t id, int readers, int writers) {
  std::lock_guard lock(mutex_);
  if (s->gone) return session_gone;
  if (dying_.contains(id)) return ENOENT;
  auto& c = open_[id].by_session[s.get()];
  c.readers += readers;
  c.writers += writers;
  if (writers > 0) c.behind = true;
  return 0;
}

Sessions::Closed Sessions::close(const Ptr& s, uint64_t id, int readers, int writers) {
  std::lock_guard lock(mutex_);
  auto it = open_.find(id);
  if (it == open_.end()) return {};
  auto mine = it->second.by_session.find(s.get());
  if (mine == it->second.by_session.end()) return {};
  auto& c = mine->second;
  Closed closed;
  bool wrote = c.writers > 0;
  c.readers = std::max(0, c.readers - readers);
  c.writers = std::max(0, c.writers - writers);
  if (wrote && c.writers == 0)
    closed.last_writer = std::none_of(it->second.by_session.begin(), it->second.by_session.end(), [](auto& o) { return o.second.writers > 0; });
  if (c.readers == 0 && c.writers == 0) {
    it->second.by_session.erase(mine);
    if (it->second.by_session.empty()) {
      open_.erase(it);
      closed.last = true;
      closed.doomed = doomed_.erase(id) > 0;
    }
  }
  return closed;
}

uint8_t Sessions::writers(const Ptr& s, uint64_t id) {
  std::lock_guard lock(mutex_);
  auto it = open_.find(id);
  uint8_t state = unsettled_.contains(id) ? writers_others : writers_none;
  if (it == open_.end()) return state;
  for (auto& [session, count] : it->second.by_session) {
    if (count.writers == 0) continue;
    if (session != s.get()) return writers_others;
    if (state == writers_none) state = writers_self;
  }
  return state;
}

bool Sessions::writes(const Ptr& s, uint64_t id) {
  std::lock_guard lock(mutex_);
  auto it = open_.find(id);
  if (it == open_.end()) return false;
  auto mine = it->second.by_session.find(s.get());
  return mine != it->second.by_session.end() && mine->second.writers > 0;
}

bool Sessions::has_writers(uint64_t id) {
  std::lock_guard lock(mutex_);
  auto it = open_.find(id);
  return it != open_.end() && std::any_of(it->second.by_session.begin(), it->second.by_session.end(), [](auto& o) { return o.second.writers > 0; });
}

bool Sessions::knows(uint64_t instance) {
  std::lock_guard lock(mutex_);
  return sessions_.contains(instance);
}

bool Sessions::is_open(uint64_t id) {
  std::lock_guard lock(mutex_);
  return open_.contains(id);
}

bool Sessions::try_kill(uint64_t id) {
  std::lock_guard lock(mutex_);
  // Right after a restart a mount that is not back yet may have it open: keep it, the janitor looks again.
  if (open_.contains(id) || !returning_.empty()) {
    doomed_.insert(id);
    return false;
  }
  dying_.insert(id);
  return true;
}

void Sessions::doom(uint64_t id) {
  std::lock_guard lock(mutex_);
  doomed_.insert(id);
}

void Sessions::bury(uint64_t id) {
  std::lock_guard lock(mutex_);
  dying_.erase(id);
}

void Sessions::set_unsettled(std::unordered_set<uint64_t> ids) {
  std::lock_guard lock(mutex_);
  unsettled_ = std::move(ids);
}

void Sessions::unsettle(const std::vector<uint64_t>& ids) {
  std::lock_guard lock(mutex_);
  unsettled_.insert(ids.begin(), ids.end());
}

std::unordered_set<uint64_t> Sessions::unsettled() {
  std::lock_guard lock(mutex_);
  return unsettled_;
}

void Sessions::settle(uint64_t id) {
  std::lock_guard lock(mutex_);
  unsettled_.erase(id);
}

bool Sessions::grant(const Ptr& s, uint64_t id, bool entries) {
  std::unique_lock lock(mutex_);
  if (s->gone || s->bit >= 64 || !s->callback_connected) return false;
  auto& table = entries ? entry_leases_ : attribute_leases_;
  if (table.size() >= leases_max) {
    // Forgetting leases needs everybody's consent: an invalidation without ids means all.
    table.clear();
    for (auto& [instance, session] : sessions_)
      if (session->callback_connected) enqueue(*session, callback_invalidate, Writer().put<uint32_t>(0).bytes());
    return false;
  }
  table[id] |= 1ull << s->bit;
  return true;
}

void Sessions::invalidate(const Effects& effects, const Session* by) {
  std::unique_lock lock(mutex_);
  uint64_t mine = by && by->bit < 64 ? 1ull << by->bit : 0;
  std::unordered_map<unsigned, std::vector<std::pair<uint64_t, uint8_t>>> by_bit;
  auto collect = [&](std::unordered_map<uint64_t, uint64_t>& table, uint64_t id, uint8_t what) {
    auto it = table.find(id);
    if (it == table.end()) return;
    for (uint64_t others = it->second & ~mine; others != 0; others &= others - 1) by_bit[static_cast<unsigned>(__builtin_ctzll(others))].emplace_back(id, what);
    if (what == 8) return;  // they keep the lease: by it, who has the file open hears of a later writer
    it->second &= mine;
    if (it->second == 0) table.erase(it);
  };
  for (uint64_t id : effects.attributes) collect(attribute_leases_, id, 1);
  for (uint64_t id : effects.entries) collect(entry_leases_, id, 2);
  for (uint64_t id : effects.times) collect(attribute_leases_, id, 8);
  if (by_bit.empty()) return;
  Hits hits;
  for (auto& [instance, session] : sessions_)
    if (auto it = by_bit.find(session->bit); it != by_bit.end() && session->bit < 64) hits.emplace(session.get(), std::move(it->second));
  call_back(lock, hits);
}

void Sessions::invalidate_all() {
  std::lock_guard lock(mutex_);
  attribute_leases_.clear();
  entry_leases_.clear();
  for (auto& [instance, session] : sessions_)
    if (session->callback_connected) enqueue(*session, callback_invalidate, Writer().put<uint32_t>(0).bytes());
}

void Sessions::settle_writers(uint64_t id, const Session* by) {
  std::unique_lock lock(mutex_);
  auto it = open_.find(id);
  if (it == open_.end()) return;
  Hits hits;
  for (auto& [session, count] : it->second.by_session)
    if (session != by && std::exchange(count.behind, false)) hits[const_cast<Session*>(session)] = {{id, 1}};
  if (!hits.empty()) call_back(lock, hits);
}

void Sessions::withdraw_growth(const std::vector<uint64_t>& ids) {
  std::unique_lock lock(mutex_);
  Hits hits;
  for (uint64_t id : ids) {
    auto it = open_.find(id);
    if (it == open_.end()) continue;
    for (auto& [session, count] : it->second.by_session)
      if (count.writers > 0) hits[const_cast<Session*>(session)].emplace_back(id, 4);
  }
  if (!hits.empty()) call_back(lock, hits);
}

void Sessions::renew_rights(uint64_t id) {
  std::unique_lock lock(mutex_);
  Hits hits;
  if (auto it = open_.find(id); it != open_.end())
    for (auto& [session, count] : it->second.by_session) hits[const_cast<Session*>(session)].emplace_back(id, 16);
  if (!hits.empty()) call_back(lock, hits);
}

/// Sends the invalidations and waits as the lease rule says.
void Sessions::call_back(std::unique_lock<std::mutex>& lock, const Hits& hits) {
  struct Waiting {
    Ptr session;
    uint64_t number, generation;
    int64_t until_ms;  // 0: as long as it keeps acknowledging
  };
  std::vector<Waiting> waiting;
  MetadataMetrics::instance().waits.add();
  for (auto& [instance, session] : sessions_) {
    auto it = hits.find(session.get());
    if (it == hits.end()) continue;
    Writer w;
    w.put<uint32_t>(static_cast<uint32_t>(it->second.size()));
    for (auto& [id, what] : it->second) w.put(id).put(what);
    if (session->callback_connected) {
      enqueue(*session, callback_invalidate, std::move(w.bytes()));
      waiting.push_back({session, session->queued, session->callback_generation, 0});
    } else {
      waiting.push_back({session, ~0ull, session->callback_generation, session->acknowledged_ms + lease_ms});
    }
  }
  for (auto& [session, number, generation, until_ms] : waiting) {
    while (!session->gone && session->acknowledged < number && session->callback_generation == generation) {
      int64_t left = (until_ms ? until_ms : session->acknowledged_ms + lease_ms) - monotonic_ms();
      if (left <= 0) break;
      changed_.wait_for(lock, std::chrono::milliseconds(left));
    }
  }
}

void Sessions::notify_waiters(uint64_t file) {
  for (uint64_t instance : locks_.take_waiters(file)) {
    auto it = sessions_.find(instance);
    if (it != sessions_.end() && it->second->callback_connected) enqueue(*it->second, callback_lock_retry, Writer().put(file).bytes());
  }
}

int Sessions::set_lock(const Ptr& s, uint64_t id, const Lock& l, bool wait, Lock& blocker) {
  std::lock_guard lock(mutex_);
  if (s->gone) return session_gone;
  int r = locks_.set(id, s->instance, l, wait, blocker);
  // Unlocking, and turning an exclusive lock into a shared one, may let others go on.
  if (r == 0 && l.type != 1) notify_waiters(id);
  return r;
}

void Sessions::cancel_lock(const Ptr& s, uint64_t id, const Lock& l) {
  std::lock_guard lock(mutex_);
  locks_.cancel(id, s->instance, l);
}

Lock Sessions::get_lock(const Ptr& s, uint64_t id, const Lock& l) {
  std::lock_guard lock(mutex_);
  return locks_.get(id, s->instance, l);
}

/// Caller holds mutex_.
Sessions::Dropped Sessions::drop(const Ptr& s) {
  Dropped d{s->instance, s->node, {}, {}};
  s->gone = true;
  s->wake.notify_all();
  for (auto it = open_.begin(); it != open_.end();) {
    auto mine = it->second.by_session.find(s.get());
    if (mine != it->second.by_session.end()) {
      d.opened.push_back(it->first);
      if (mine->second.writers > 0) d.written.push_back(it->first);
      it->second.by_session.erase(mine);
    }
    it = it->second.by_session.empty() ? open_.erase(it) : std::next(it);
  }
  // Until the size is asked for, others must not believe in the old one.
  for (uint64_t id : d.written) unsettled_.insert(id);
  for (uint64_t file : locks_.drop(s->instance)) notify_waiters(file);
  if (s->bit < 64) {
    uint64_t keep = ~(1ull << s->bit);
    for (auto* table : {&attribute_leases_, &entry_leases_})
      std::erase_if(*table, [&](auto& lease) { return (lease.second &= keep) == 0; });
    used_bits_ &= keep;
  }
  sessions_.erase(s->instance);
  changed_.notify_all();
  return d;
}

std::vector<Sessions::Dropped> Sessions::drop_expired(const std::string* node) {
  std::lock_guard lock(mutex_);
  std::vector<Ptr> over;
  int64_t now = monotonic_ms();
  for (auto& [instance, s] : sessions_) {
    bool replaced = std::any_of(sessions_.begin(), sessions_.end(), [&](auto& o) {
      return o.second->node == s->node && o.first != instance && o.second->connections > 0 && s->connections == 0;
    });
    bool silent = s->connections == 0 && now - s->idle_since_ms > session_linger_ms;
    bool deaf = s->acknowledged_ms != 0 && now - s->acknowledged_ms > session_silence_ms;
    if ((node && s->node == *node) || (!node && (replaced || silent || deaf))) over.push_back(s);
  }
  std::vector<Dropped> dropped;
  for (auto& s : over) {
    log(Priority::notice, "dropped the session of node '%s' with its locks and open files", s->node.c_str());
    dropped.push_back(drop(s));
  }
  // The caller asks the OSDs about what was written and then says so.
  return dropped;
}

Sessions::Counts Sessions::counts() {
  std::lock_guard lock(mutex_);
  return {sessions_.size(), open_.size(), locks_.count(), attribute_leases_.size() + entry_leases_.size()};
}

}  // namespace xos::fs::metadata
