#include "files.h"

#include "lock_query.h"

#include <utility>

namespace xos::fs {

OpenFilePtr OpenFiles::find(uint64_t id) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(id);
  return it == files_.end() ? nullptr : it->second;
}

std::vector<OpenFilePtr> OpenFiles::all() const {
  std::lock_guard lock(mutex_);
  std::vector<OpenFilePtr> files;
  for (const auto& [id, f] : files_) files.push_back(f);
  return files;
}

OpenFilePtr OpenFiles::get_or_make(uint64_t id) {
  std::lock_guard lock(mutex_);
  auto& f = files_[id];
  if (!f) f = std::make_shared<OpenFile>(id);
  return f;
}

void OpenFiles::release(const OpenFilePtr& f, bool writes) {
  std::lock_guard lock(mutex_);
  std::lock_guard file_lock(f->mutex);
  --(writes ? f->writers : f->readers);
  if (f->readers + f->writers > 0) return;
  auto it = files_.find(f->id);
  if (it != files_.end() && it->second == f) files_.erase(it);
}

void OpenFiles::mark_shared(uint64_t id) {
  if (auto f = find(id)) {
    std::lock_guard lock(f->mutex);
    f->shared = true;
  }
}

void OpenFiles::mark_all_shared() {
  std::lock_guard lock(mutex_);
  for (auto& [id, f] : files_) {
    std::lock_guard file_lock(f->mutex);
    f->shared = true;
    f->grow_to = 0;  // what was reserved may have been given back, and limits set that we did not hear of
  }
}

void OpenFiles::forget_growth(uint64_t id) {
  if (auto f = find(id)) {
    std::lock_guard lock(f->mutex);
    f->grow_to = 0;
  }
}

void OpenFiles::queue_close(uint64_t id, bool writes) {
  std::lock_guard lock(mutex_);
  auto& c = closes_[id];
  ++(writes ? c.writers : c.readers);
}

std::map<uint64_t, OpenFiles::Close> OpenFiles::take_closes(uint64_t& generation) {
  std::lock_guard lock(mutex_);
  generation = generation_;
  return std::exchange(closes_, {});
}

void OpenFiles::note_lock(uint64_t id, const metadata::Lock& l) {
  std::lock_guard lock(mutex_);
  metadata::Lock ignored;
  locks_.set(id, 0, l, false, ignored);
}

bool OpenFiles::holds_locks(uint64_t id, uint64_t owner, uint8_t kind) {
  std::lock_guard lock(mutex_);
  bool holds = false;
  if (locks_.count() == 0) return false;
  locks_.for_each([&](uint64_t file, const metadata::Lock& l) { holds |= file == id && l.owner == owner && l.kind == kind; });
  return holds;
}

int OpenFiles::flock_of(uint64_t id, uint64_t owner) {
  std::lock_guard lock(mutex_);
  int held = flock_none;
  if (owner == 0) return held;
  locks_.for_each([&](uint64_t file, const metadata::Lock& l) {
    if (file == id && l.owner == owner && l.kind == 1) held = l.type == 1 ? flock_exclusive : flock_shared;
  });
  return held;
}

void OpenFiles::put_reclaim(Writer& w) {
  std::lock_guard lock(mutex_);
  w.put(++generation_);
  size_t at = w.size();
  uint32_t n = 0;
  w.put(n);
  for (auto& [id, f] : files_) {
    std::lock_guard file_lock(f->mutex);
    w.put(id).put<uint16_t>(static_cast<uint16_t>(f->readers)).put<uint16_t>(static_cast<uint16_t>(f->writers));
    f->shared = true;  // others may have written while we had no session
    ++n;
  }
  w.patch(at, n);
  at = w.size();
  n = 0;
  w.put(n);
  locks_.for_each([&](uint64_t id, const metadata::Lock& l) {
    w.put(id);
    put(w, l);
    ++n;
  });
  w.patch(at, n);
  closes_.clear();  // the new session starts with what is open now
}

bool OpenFiles::kernel_has(uint64_t id, uint64_t version) {
  std::lock_guard lock(versions_mutex_);
  auto it = kernel_versions_.find(id);
  return it != kernel_versions_.end() && it->second == version;
}

void OpenFiles::set_kernel_version(uint64_t id, uint64_t version) {
  std::lock_guard lock(versions_mutex_);
  if (kernel_versions_.size() > 20000) kernel_versions_.clear();
  if (version == 0) kernel_versions_.erase(id);
  else kernel_versions_[id] = version;
}

}  // namespace xos::fs
