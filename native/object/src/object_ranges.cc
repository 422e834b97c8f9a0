// ObjectStore: length, allocation and holes.
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "object_file.h"

namespace xos::fs {

int ObjectStore::truncate(uint64_t file, uint64_t bytes, Extent& extent) {
  if (bytes > object_bytes_max) return -EFBIG;
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  f->reserved_end = 0;
  if (!f->fd && bytes == 0) {
    extent = {};
    return 0;
  }
  if (int r = make(*f); r != 0) return r;
  struct stat st;
  if (fstat(f->fd.get(), &st) != 0) return -errno;
  const auto size = static_cast<uint64_t>(st.st_size);
  int r = 0;
  if (f->summed() && bytes < size) r = truncate_summed(*f, bytes, size);
  else if (retry([&] { return ftruncate(f->fd.get(), static_cast<off_t>(bytes)); }) != 0) r = -errno;
  if (r == 0 && f->summed() && bytes >= size) r = f->sums.save();  // a new object has its slot from the start
  if (bytes != size) f->mtime_ns = now_ns(CLOCK_REALTIME);
  changed(*f);
  fill(*f, extent);
  return r;
}

int ObjectStore::truncate_summed(File& f, uint64_t bytes, uint64_t size) {
  SumSlot& slot = f.sums.slot;
  const uint64_t first = bytes / block_bytes;
  char block[block_bytes];
  if (bytes % block_bytes != 0)
    if (int r = verified_block(f, first, size, block); r != 0) return r;
  slot.intent_first = first;
  slot.intent_count = blocks_of(size) - first;
  slot.sealed_mtime_ns = 0;
  if (int r = f.sums.save(); r != 0) return r;
  int r = retry([&] { return ftruncate(f.fd.get(), static_cast<off_t>(bytes)); }) == 0 ? 0 : -errno;
  if (r == 0) {
    if (bytes % block_bytes != 0) {
      uint32_t sum = crc32c_padded(block, bytes % block_bytes);
      r = f.sums.put(first, 1, &sum);
    }
    if (r == 0) r = f.sums.cut(blocks_of(bytes));
    std::lock_guard lock(care_mutex_);
    if (!corrupt_.empty()) corrupt_.erase(corrupt_.lower_bound({f.id, blocks_of(bytes)}), corrupt_.lower_bound({f.id + 1, 0}));
  }
  if (r != 0) return resum(f, first, slot.intent_count), r;
  slot.intent_count = 0;
  return f.sums.save();
}

int ObjectStore::allocate(uint64_t file, Allocate mode, uint64_t offset, uint64_t bytes, Extent& extent) {
  if (bytes == 0 || offset > object_bytes_max || bytes > object_bytes_max - offset) return -EFBIG;
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  if (!f->fd && mode == Allocate::punch) {
    extent = {};
    return 0;
  }
  if (int r = make(*f); r != 0) return r;
  const bool clears = mode == Allocate::punch || mode == Allocate::zero || mode == Allocate::zero_keep_size;
  auto fallocate = [&](int flags) {
    return retry([&] { return ::fallocate(f->fd.get(), flags, static_cast<off_t>(offset), static_cast<off_t>(bytes)); }) == 0 ? 0 : -errno;
  };
  int r = 0;
  if (clears) {
    fill(*f, extent);
    r = f->summed() ? punch_summed(*f, offset, bytes, extent.bytes) : fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  }
  if (r == 0 && mode != Allocate::punch)
    r = fallocate(mode == Allocate::keep_size || mode == Allocate::zero_keep_size ? FALLOC_FL_KEEP_SIZE : 0);
  if (r == 0 && f->summed()) r = f->sums.save();
  f->mtime_ns = now_ns(CLOCK_REALTIME);
  changed(*f);
  fill(*f, extent);
  return r;
}

int ObjectStore::punch_summed(File& f, uint64_t offset, uint64_t bytes, uint64_t size) {
  if (offset >= size) return 0;
  const uint64_t end = std::min(offset + bytes, blocks_of(size) * block_bytes);
  const uint64_t first = offset / block_bytes, last = (end - 1) / block_bytes;
  char block[block_bytes];
  // Its edges keep a part: verified before they are summed afresh.
  for (uint64_t b : {first, last})
    if (int r = verified_block(f, b, size, block); r != 0) return r;
  SumSlot& slot = f.sums.slot;
  slot.intent_first = first;
  slot.intent_count = last - first + 1;
  slot.sealed_mtime_ns = 0;
  if (int r = f.sums.save(); r != 0) return r;
  int r = retry([&] { return ::fallocate(f.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(end - offset)); });
  if (r != 0) return -errno;
  if (last > first + 1)
    if ((r = f.sums.clear(first + 1, last - first - 1)) != 0) return resum(f, first, last - first + 1);
  if (last > first && (r = resum(f, first, 1, false)) != 0) return r;
  return resum(f, last, 1);
}

int ObjectStore::seek(uint64_t file, uint64_t offset, bool hole, uint64_t& found) {
  FilePtr f = get(file);
  std::shared_lock lock(f->mutex);
  if (int r = ready(*f, lock); r != 0) return r;
  if (!f->fd) return -ENXIO;
  off_t at = lseek(f->fd.get(), static_cast<off_t>(offset), hole ? SEEK_HOLE : SEEK_DATA);
  if (at < 0) return -errno;
  found = static_cast<uint64_t>(at);
  return 0;
}

}  // namespace xos::fs
