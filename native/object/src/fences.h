// Epochs below which an OSD refuses rights to a file, also after its restart: the contents of the file have moved to another OSD, and who writes here
// by a right of before would write into the void. Kept until those rights have expired.
#pragma once
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

namespace xos::fs {

class Fences {
 public:
  /// Reads what is kept at `path`, and drops what is over. Throws std::runtime_error when the file cannot be written.
  explicit Fences(std::string path);
  /// 0 for a file without a fence.
  uint32_t epoch_of(uint64_t file) const;
  /// On the disk when it returns. 0 or -errno.
  int put(uint64_t file, uint32_t epoch, int64_t until_ms);

 private:
  void load();
  const std::string path_;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, uint32_t> epochs_;
};

}  // namespace xos::fs
