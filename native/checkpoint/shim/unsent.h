// What a TCP socket of a tree had to send and had not sent, on its way from CRIU (shim/unsent.cc) to the engine that restores (unsent.cc).
#pragma once
#include <atomic>
#include <cstdint>

namespace xos::checkpoint {

/// Size of the memory that both map. Only what is used of it costs anything.
constexpr uint64_t unsent_area_bytes = 1u << 30;

/// At its begin. Records follow, each at a multiple of 8: UnsentRecord and its bytes.
struct UnsentArea {
  std::atomic<uint64_t> used;  ///< bytes of records
};
struct UnsentRecord {
  uint64_t inode;  ///< of the new socket
  uint64_t bytes;
};
constexpr uint64_t unsentRecordBytes(uint64_t bytes) { return sizeof(UnsentRecord) + ((bytes + 7) & ~uint64_t{7}); }

}  // namespace xos::checkpoint
