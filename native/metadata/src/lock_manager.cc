#include "lock_manager.h"

#include <algorithm>
#include <cerrno>

namespace xos::fs::metadata {

const LockManager::Held* LockManager::conflict(const File& f, uint64_t session, const Lock& l) const {
  for (const Held& h : f.held) {
    if (h.lock.kind != l.kind || (h.session == session && h.lock.owner == l.owner)) continue;
    if (h.lock.end < l.start || h.lock.start > l.end) continue;
    if (h.lock.type == 1 || l.type == 1) return &h;
  }
  return nullptr;
}

void LockManager::forget_if_free(uint64_t file) {
  auto it = files_.find(file);
  if (it != files_.end() && it->second.held.empty() && it->second.waiting.empty()) files_.erase(it);
}

/// Whether `from`, which wants its lock on `file`, waits for `target`, directly or over others who wait.
bool LockManager::waits_for(uint64_t file, const Held& from, const Held& target) const {
  std::vector<std::pair<uint64_t, Held>> asked{{file, from}};
  std::vector<Held> seen;
  while (!asked.empty()) {
    auto [where, wanted] = asked.back();
    asked.pop_back();
    auto it = files_.find(where);
    if (it == files_.end()) continue;
    for (const Held& h : it->second.held) {
      if (h.lock.kind != wanted.lock.kind || same_owner(h, wanted) || h.lock.end < wanted.lock.start || h.lock.start > wanted.lock.end) continue;
      if (h.lock.type != 1 && wanted.lock.type != 1) continue;
      if (same_owner(h, target)) return true;
      if (std::any_of(seen.begin(), seen.end(), [&](const Held& s) { return same_owner(s, h); })) continue;
      seen.push_back(h);
      for (auto& [id, f] : files_)
        for (const Held& w : f.waiting)
          if (same_owner(w, h)) asked.emplace_back(id, w);
    }
  }
  return false;
}

void LockManager::cancel(uint64_t file, uint64_t session, const Lock& l) {
  auto it = files_.find(file);
  if (it == files_.end()) return;
  std::erase_if(it->second.waiting, [&](const Held& w) { return same_owner(w, {session, l}); });
  forget_if_free(file);
}

int LockManager::set(uint64_t file, uint64_t session, const Lock& l, bool wait, Lock& blocker) {
  File& f = files_[file];
  std::erase_if(f.waiting, [&](const Held& w) { return same_owner(w, {session, l}); });
  if (l.type != 2) {
    if (const Held* h = conflict(f, session, l)) {
      blocker = h->lock;
      const bool deadlock = wait && l.kind == 0 && waits_for(file, {session, l}, {session, l});
      if (wait && !deadlock) f.waiting.push_back({session, l});
      forget_if_free(file);
      return deadlock ? EDEADLK : EAGAIN;
    }
  }
  std::vector<Held> kept;
  Held merged{session, l};
  for (Held& h : f.held) {
    if (h.session != session || h.lock.owner != l.owner || h.lock.kind != l.kind) {
      kept.push_back(h);
      continue;
    }
    bool overlaps = h.lock.start <= l.end && h.lock.end >= l.start;
    bool touches = (h.lock.end != ~0ull && h.lock.end + 1 == merged.lock.start) || (merged.lock.end != ~0ull && merged.lock.end + 1 == h.lock.start);
    if (h.lock.type == l.type && l.type != 2 && (overlaps || touches || (h.lock.start <= merged.lock.end && h.lock.end >= merged.lock.start))) {
      merged.lock.start = std::min(merged.lock.start, h.lock.start);
      merged.lock.end = std::max(merged.lock.end, h.lock.end);
      continue;
    }
    if (!overlaps) {
      kept.push_back(h);
      continue;
    }
    if (h.lock.start < l.start) {
      Held left = h;
      left.lock.end = l.start - 1;
      kept.push_back(left);
    }
    if (h.lock.end > l.end) {
      Held right = h;
      right.lock.start = l.end + 1;
      kept.push_back(right);
    }
  }
  if (l.type != 2) kept.push_back(merged);
  f.held = std::move(kept);
  forget_if_free(file);
  return 0;
}

Lock LockManager::get(uint64_t file, uint64_t session, const Lock& l) const {
  Lock none;
  none.kind = l.kind;
  none.type = 2;
  auto it = files_.find(file);
  if (it == files_.end()) return none;
  const Held* h = conflict(it->second, session, l);
  return h ? h->lock : none;
}

std::vector<uint64_t> LockManager::take_waiters(uint64_t file) {
  auto it = files_.find(file);
  if (it == files_.end()) return {};
  std::vector<uint64_t> sessions;
  for (const Held& w : it->second.waiting)
    if (std::find(sessions.begin(), sessions.end(), w.session) == sessions.end()) sessions.push_back(w.session);
  it->second.waiting.clear();  // they ask again, and whoever asks is looked at for a deadlock again
  forget_if_free(file);
  return sessions;
}

std::vector<uint64_t> LockManager::drop(uint64_t session) {
  std::vector<uint64_t> freed;
  for (auto it = files_.begin(); it != files_.end();) {
    File& f = it->second;
    std::erase_if(f.waiting, [&](const Held& w) { return w.session == session; });
    size_t before = f.held.size();
    std::erase_if(f.held, [&](const Held& h) { return h.session == session; });
    if (f.held.size() != before) freed.push_back(it->first);
    it = f.held.empty() && f.waiting.empty() ? files_.erase(it) : std::next(it);
  }
  return freed;
}

void LockManager::for_each(const std::function<void(uint64_t, const Lock&)>& each) const {
  for (auto& [id, f] : files_)
    for (auto& h : f.held) each(id, h.lock);
}

size_t LockManager::count() const {
  size_t n = 0;
  for (auto& [id, f] : files_) n += f.held.size();
  return n;
}

}  // namespace xos::fs::metadata
