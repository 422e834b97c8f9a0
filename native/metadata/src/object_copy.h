// Copies one object from an OSD to another, through the MRC, or to another one of the same OSD, inside that: its data, holes and length.
#pragma once
#include <cstdint>
#include <functional>

#include "osd_calls.h"

namespace xos::fs::metadata {

struct ObjectCopy {
  OsdTable& osds;
  const Service& service;
  uint64_t file = 0;
  uint16_t from = 0, to = 0;
  uint32_t from_epoch = 0, to_epoch = 0;  ///< of the rights that are used at each of them
  uint64_t to_file = 0;  ///< when it is another one; then `from` is `to`
  std::function<bool(uint64_t bytes)> more = {};  ///< told of each piece; false gives it up (ECANCELED)

  /// Makes the object at `to` what the first `bytes` of that at `from` are now. 0 or an errno.
  int run(uint64_t bytes);

 private:
  enum class Side { source, target };
  int call(Side side, uint16_t type, const Writer& arguments, RpcClient::Answer& answer);
  int piece(uint64_t offset, uint32_t bytes, uint64_t& done);
  int seek(uint64_t at, bool hole, uint64_t& found);
  int range(uint64_t offset, uint64_t end);
};

}  // namespace xos::fs::metadata
