#include "fences.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "crc32c.h"
#include "file_io.h"
#include "object_file.h"

namespace xos::fs {

namespace {

struct Record {
  uint64_t file;
  int64_t until_ms;
  uint32_t epoch, crc;
  bool good() const { return crc == sum(); }
  uint32_t sum() const { return xos::crc32c(0, this, offsetof(Record, crc)); }
};
static_assert(sizeof(Record) == 24);

}  // namespace

Fences::Fences(std::string path) : path_(std::move(path)) { load(); }

void Fences::load() {
  std::vector<Record> kept;
  if (unique_fd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC)); fd) {
    Record r;
    for (uint64_t at = 0; read_at(fd.get(), &r, sizeof r, at) == sizeof r; at += sizeof r)
      if (r.good() && r.until_ms > realtime_now_ms()) kept.push_back(r);
  }
  for (auto& r : kept) epochs_[r.file] = std::max(epochs_[r.file], r.epoch);
  const std::string fresh = path_ + ".new";
  unique_fd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd || write_at(fd.get(), kept.data(), kept.size() * sizeof(Record), 0) != 0 || fsync(fd.get()) != 0 || rename(fresh.c_str(), path_.c_str()) != 0)
    throw std::runtime_error("cannot write '" + path_ + "': " + strerror(errno));
  unique_fd directory(open(path_.substr(0, path_.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) fsync(directory.get());
}

uint32_t Fences::epoch_of(uint64_t file) const {
  std::lock_guard lock(mutex_);
  auto it = epochs_.find(file);
  return it == epochs_.end() ? 0 : it->second;
}

int Fences::put(uint64_t file, uint32_t epoch, int64_t until_ms) {
  std::lock_guard lock(mutex_);
  uint32_t& known = epochs_[file];
  known = std::max(known, epoch);
  Record r{file, until_ms, epoch, 0};
  r.crc = r.sum();
  unique_fd fd(open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!fd) return -errno;
  // A record that was cut by a crash must not shift those behind it.
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return -errno;
  if (st.st_size % static_cast<off_t>(sizeof r) != 0 && ftruncate(fd.get(), st.st_size - st.st_size % static_cast<off_t>(sizeof r)) != 0) return -errno;
  if (retry([&] { return write(fd.get(), &r, sizeof r); }) != sizeof r) return errno ? -errno : -EIO;
  return retry([&] { return fdatasync(fd.get()); }) == 0 ? 0 : -errno;
}

}  // namespace xos::fs
