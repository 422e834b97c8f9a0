// Contents of small files that this node has written, until they are opened again.
//
// The kernel keeps a page that was written through only when the write covered all of it, so the last page of a file would come from the OSD
// at its first reading. Files that are written, closed and read again soon (sources, objects of a compiler, mail) are read from here instead.
// Like the kernel's pages they count for one version of the contents only, which the MRC names at open.
#pragma once
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "metrics.h"

namespace xos::fs {

class SmallFiles {
 public:
  static constexpr size_t file_max = 16 << 10;  ///< bytes of the largest file that is kept
  explicit SmallFiles(size_t bytes_max = 8u << 20) : bytes_max_(bytes_max) {}

  /// Keeps all contents of file `id` in this version; the ones not used for the longest time make room.
  void keep(uint64_t id, uint64_t version, std::string contents);
  std::optional<std::string> find(uint64_t id, uint64_t version);
  size_t bytes() const;
  /// How often find() had it.
  uint64_t hits() const { return hits_.value(); }
  uint64_t misses() const { return misses_.value(); }

 private:
  struct Kept {
    uint64_t id, version;
    std::string contents;
  };
  static constexpr size_t overhead = 160;  // of one entry, in its list and its table
  void drop(std::list<Kept>::iterator kept);

  const size_t bytes_max_;
  mutable std::mutex mutex_;
  size_t bytes_ = 0;
  metrics::Counter hits_, misses_;
  std::list<Kept> kept_;  // the latest first
  std::unordered_map<uint64_t, std::list<Kept>::iterator> by_id_;
};

}  // namespace xos::fs
