// Copies one object from an OSD to another, through the MRC: its data, holes and length.
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
  std::function<bool(uint64_t bytes)> more = {};  ///< told of each piece; false gives it up (ECANCELED)

  /// Makes the object at `to` what the first `bytes` of that at `from` are now. 0 or an errno.
  int run(uint64_t bytes);

 private:
  int call(uint16_t osd, uint16_t type, const Writer& arguments, RpcClient::Answer& answer);
  int seek(uint64_t at, bool hole, uint64_t& found);
  int range(uint64_t offset, uint64_t end);
};

}  // namespace xos::fs::metadata
