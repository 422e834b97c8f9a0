// Files whose object lies on this machine, opened for the kernel's passthrough: reads and writes go from the kernel to the object, past this
// process and xos-osd. What other nodes do reaches the same object, so there is nothing to keep coherent; size and time are what it says.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "unique_fd.h"

namespace xos::fs {

/// The object of an open file, and the kernel's number for it. One for all descriptors of the file.
struct LocalObject {
  unique_fd fd;
  int backing_id = 0;
  bool writable = false;  ///< the OSD knows that it is written past it
  int64_t seen_mtime_ns = 0;
  uint64_t seen_size = 0;
};

class LocalObjects {
 public:
  static constexpr uint64_t worth_it_bytes = 128 << 10;  ///< smaller files are read with one question, or from what is kept here
  /// `path` is the OSD's local socket on this node.
  void configure(std::string path, bool kernel_can);
  /// Names of the OSDs of this node.
  void set_osds(std::vector<std::string> names);
  bool has(const std::string& osd);
  /// Asks the OSD for a descriptor; `proof` is the capability as on the wire. 0 or an errno.
  int borrow(const std::string& proof, bool write, unique_fd& fd);
  /// The kernel refused: nobody tries again.
  void give_up(const char* why);

 private:
  std::mutex mutex_;
  std::string path_;
  bool usable_ = false;
  std::vector<std::string> osds_;
  int socket_ = -1;
  int64_t not_before_ms_ = 0;
};

}  // namespace xos::fs
