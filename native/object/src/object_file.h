// What the parts of ObjectStore share: one file's state in memory, and small helpers.
#pragma once
#include <time.h>

#include <cerrno>

#include "file_io.h"
#include "object_store.h"
#include "unique_fd.h"

namespace xos::fs {

/// Makes the directories above `path`. 0 or -errno.
int make_parents(const std::string& path);
/// True when anybody but this descriptor (opened for writing) has the file open: a lease is given only to one who is alone (fcntl(2)).
bool open_elsewhere(int fd);
constexpr uint64_t blocks_of(uint64_t bytes) { return (bytes + block_bytes - 1) / block_bytes; }
int64_t now_ns(clockid_t clock);
int64_t monotonic_now_ms();
int64_t realtime_now_ms();

struct ObjectStore::File {
  File(SumDirectories& directories, uint64_t id, std::string path)
      : id(id), path(std::move(path)), sums(directories, this->path, static_cast<unsigned>(id & 0xff)) {}
  const uint64_t id;
  const std::string path;
  std::shared_mutex mutex;  // readers shared; writers alone, so that append and truncate see a fixed end
  std::mutex sync_mutex;    // taken before `mutex`: the second fsync waits for the first one's disk
  bool loaded = false;
  unique_fd fd;             // none: there is no object
  FileSums sums;
  std::atomic<bool> data_dirty{true}, entries_dirty{true};  // unknown after loading: the first sync covers what earlier runs left
  int64_t mtime_ns = 0;     // of the last write: the disk's own is some ms coarser
  uint64_t changes = 0;
  uint64_t reserved_end = 0;
  std::atomic<uint32_t> epoch{0};
  std::shared_mutex gate;   // held shared by every request while it works; before all others
  bool summed() const { return sums.slot.state == SumState::summed; }
};

}  // namespace xos::fs
