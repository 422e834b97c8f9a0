// What the part of a capture that lives in CRIU (capture.cc) tells the engine: records one after the other in a memfd.
#pragma once
#include <cstdint>
#include <sys/types.h>

namespace xos::checkpoint {

constexpr uint64_t clone_bytes_min = 4u << 20;  ///< of private memory: what CRIU stores faster itself than a clone is made

enum class RecordKind : int32_t {
  clone = 1,    ///< first: pid of the clone
  pages = 2,    ///< [first, second) were kept from CRIU and are to be read from the clone
  refused = 3,  ///< first: negative errno; this dump fails for it, and the engine takes a plain one
};

struct Record {
  RecordKind kind;
  int32_t pid;  ///< of the captured process
  uint64_t first, second;
};
static_assert(sizeof(Record) == 24);

}  // namespace xos::checkpoint
