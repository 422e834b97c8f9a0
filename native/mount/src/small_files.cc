#include "small_files.h"

#include <utility>

namespace xos::fs {

void SmallFiles::keep(uint64_t id, uint64_t version, std::string contents) {
  std::lock_guard lock(mutex_);
  if (auto old = by_id_.find(id); old != by_id_.end()) drop(old->second);
  if (contents.size() > file_max) return;
  bytes_ += contents.size() + overhead;
  kept_.push_front({id, version, std::move(contents)});
  by_id_[id] = kept_.begin();
  while (bytes_ > bytes_max_) drop(std::prev(kept_.end()));
}

std::optional<std::string> SmallFiles::find(uint64_t id, uint64_t version) {
  std::lock_guard lock(mutex_);
  auto at = by_id_.find(id);
  const bool hit = at != by_id_.end() && at->second->version == version;
  (hit ? hits_ : misses_).add();
  if (at == by_id_.end()) return std::nullopt;
  if (!hit) {
    drop(at->second);
    return std::nullopt;
  }
  kept_.splice(kept_.begin(), kept_, at->second);
  return at->second->contents;
}

size_t SmallFiles::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

void SmallFiles::drop(std::list<Kept>::iterator kept) {
  bytes_ -= kept->contents.size() + overhead;
  by_id_.erase(kept->id);
  kept_.erase(kept);
}

}  // namespace xos::fs
