#include "block_sums.h"

#include "boot_id.h"
#include "file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace xos::fs {

namespace {

uint32_t zero_sum() {
  static const uint32_t sum = crc32c_padded(nullptr, 0);
  return sum;
}

uint32_t check_of(const SumSlot& slot) {
  SumSlot copy = slot;
  copy.check = 0;
  return crc32c(0, &copy, sizeof copy);
}

constexpr uint64_t behind_blocks(uint64_t blocks) { return blocks > SumSlot::inline_blocks ? blocks - SumSlot::inline_blocks : 0; }

}  // namespace

uint64_t boot_era() {
  static const uint64_t era = [] {
    uint64_t hash = 1469598103934665603ull;  // FNV-1a
    for (unsigned char c : boot_id()) hash = (hash ^ c) * 1099511628211ull;
    return hash | 1;
  }();
  return era;
}

SumDirectories::Handle SumDirectories::open(const std::string& directory, bool create, int& error) {
  error = 0;
  std::lock_guard lock(mutex_);
  if (auto it = open_.find(directory); it != open_.end()) {
    recent_.splice(recent_.begin(), recent_, it->second.second);
    return it->second.first;
  }
  int fd;
  do fd = ::open((directory + "/sums").c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    if (errno != ENOENT || create) error = -errno;
    return nullptr;
  }
  while (open_.size() >= open_max) {
    open_.erase(recent_.back());
    recent_.pop_back();
  }
  auto handle = std::make_shared<unique_fd>(fd);
  recent_.push_front(directory);
  open_.emplace(directory, std::pair{handle, recent_.begin()});
  return handle;
}

int FileSums::load(bool& damaged) {
  damaged = false;
  slot = {};
  int error;
  if (!page_) page_ = directories_.open(base_.substr(0, base_.rfind('/')), false, error);
  if (!page_) return error;
  SumSlot read;
  ssize_t n = read_at(page_->get(), &read, sizeof read, index_ * sizeof read);
  if (n < 0) return static_cast<int>(n);
  if (n < static_cast<ssize_t>(sizeof read) || read.state == SumState::none) return 0;
  if (read.check != check_of(read) || read.state > SumState::loose) {
    damaged = true;
    return 0;
  }
  slot = read;
  return 0;
}

int FileSums::save() {
  int error;
  if (!page_) page_ = directories_.open(base_.substr(0, base_.rfind('/')), true, error);
  if (!page_) return error;
  slot.era = boot_era();
  slot.check = check_of(slot);
  return write_at(page_->get(), &slot, sizeof slot, index_ * sizeof slot);
}

/// The descriptor of the sums behind the slot, -ENOENT when there are none and `create` is false, or -errno.
int FileSums::behind(bool create) {
  std::lock_guard lock(behind_mutex_);
  if (behind_) return behind_.get();
  if (behind_missing_ && !create) return -ENOENT;
  int fd;
  do fd = ::open((base_ + ".c").c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    int e = errno;
    behind_missing_ = e == ENOENT;
    return -e;
  }
  behind_missing_ = false;
  behind_.reset(fd);
  return fd;
}

int FileSums::get(uint64_t first, size_t count, uint32_t* sums) {
  size_t done = 0;
  for (; done < count && first + done < SumSlot::inline_blocks; ++done) sums[done] = slot.sums[first + done];
  if (done < count) {
    std::memset(sums + done, 0, (count - done) * 4);
    int fd = behind(false);
    if (fd < 0 && fd != -ENOENT) return fd;
    if (fd >= 0) {
      ssize_t n = read_at(fd, sums + done, (count - done) * 4, (first + done - SumSlot::inline_blocks) * 4);
      if (n < 0) return static_cast<int>(n);
    }
  }
  for (size_t i = 0; i < count; ++i) sums[i] ^= zero_sum();
  return 0;
}

int FileSums::put(uint64_t first, size_t count, const uint32_t* sums) {
  size_t done = 0;
  for (; done < count && first + done < SumSlot::inline_blocks; ++done) slot.sums[first + done] = sums[done] ^ zero_sum();
  if (done == count) return 0;
  int fd = behind(true);
  if (fd < 0) return fd;
  while (done < count) {
    uint32_t stored[1024];
    size_t n = std::min<size_t>(count - done, 1024);
    for (size_t i = 0; i < n; ++i) stored[i] = sums[done + i] ^ zero_sum();
    if (int r = write_at(fd, stored, n * 4, (first + done - SumSlot::inline_blocks) * 4); r != 0) return r;
    done += n;
  }
  return 0;
}

int FileSums::cut(uint64_t blocks) {
  for (uint64_t i = blocks; i < SumSlot::inline_blocks; ++i) slot.sums[i] = 0;
  int fd = behind(false);
  if (fd < 0) return fd == -ENOENT ? 0 : fd;
  struct stat st;
  off_t length = static_cast<off_t>(behind_blocks(blocks) * 4);
  if (fstat(fd, &st) != 0) return -errno;
  if (st.st_size <= length) return 0;
  return ftruncate(fd, length) == 0 ? 0 : -errno;
}

int FileSums::clear(uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < std::min(first + count, SumSlot::inline_blocks); ++i) slot.sums[i] = 0;
  uint64_t from = behind_blocks(first), to = behind_blocks(first + count);
  if (from == to) return 0;
  int fd = behind(false);
  if (fd < 0) return fd == -ENOENT ? 0 : fd;
  int r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from * 4), static_cast<off_t>((to - from) * 4));
  return r == 0 ? 0 : -errno;
}

int FileSums::sync() {
  int fd = behind(false);
  if (fd < 0) return fd == -ENOENT ? 0 : fd;
  return fsync(fd) == 0 ? 0 : -errno;
}

int FileSums::remove() {
  bool had = slot.state != SumState::none;
  slot = {};
  {
    std::lock_guard lock(behind_mutex_);
    if (had && !behind_missing_ && unlink((base_ + ".c").c_str()) != 0 && errno != ENOENT) return -errno;
    behind_.reset();
    behind_missing_ = had || behind_missing_;
  }
  if (!had || !page_) return 0;
  SumSlot none;
  int r = write_at(page_->get(), &none, sizeof none, index_ * sizeof none);
  return r == -ENOSPC ? 0 : r;  // on a full disk: it had never got its page, and that reads as none
}

}  // namespace xos::fs
