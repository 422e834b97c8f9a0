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

int LockManager::set(uint64_t file, uint64_t session, const Lock& l, bool wait, Lock& blocker) {
  File& f = files_[file];
  if (l.type != 2) {
    if (const Held* h = conflict(f, session, l)) {
      blocker = h->lock;
      if (wait) f.waiting.insert(session);
      forget_if_free(file);
      return EAGAIN;
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
  std::vector<uint64_t> sessions(it->second.waiting.begin(), it->second.waiting.end());
  it->second.waiting.clear();
  forget_if_free(file);
  return sessions;
}

std::vector<uint64_t> LockManager::drop(uint64_t session) {
  std::vector<uint64_t> freed;
  for (auto it = files_.begin(); it != files_.end();) {
    File& f = it->second;
    f.waiting.erase(session);
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
