// Translation between offsets of a file and offsets in the objects of its OSDs. RAID 0: stripe s lives on OSD s mod width, and what one OSD
// holds lies one stripe behind the other. So a range of the file is one range at each OSD.
#pragma once
#include <algorithm>
#include <cstdint>

namespace xos::fs {

struct StripePolicy {
  uint32_t stripe_bytes = 4u << 20;
  uint16_t width = 1;
};

/// Part of a file's range that is one piece both in the file and in an object.
struct StripePiece {
  uint64_t offset;  ///< in the object
  uint64_t bytes;
  uint64_t at;      ///< from the start of the range
  uint16_t osd;     ///< index into the OSD list of the file
};

/// Calls `each(StripePiece)` for every piece of [offset, offset + bytes), in order, until it returns false.
template <typename Each>
void for_each_piece(const StripePolicy& policy, uint64_t offset, uint64_t bytes, Each each) {
  if (policy.width == 1) {
    if (bytes > 0) each(StripePiece{offset, bytes, 0, 0});
    return;
  }
  for (uint64_t at = 0; at < bytes;) {
    uint64_t stripe = (offset + at) / policy.stripe_bytes, within = (offset + at) % policy.stripe_bytes;
    uint64_t n = std::min<uint64_t>(bytes - at, policy.stripe_bytes - within);
    if (!each(StripePiece{stripe / policy.width * policy.stripe_bytes + within, n, at, static_cast<uint16_t>(stripe % policy.width)})) return;
    at += n;
  }
}

/// Bytes that OSD `osd` holds of a file of `size` bytes without holes.
inline uint64_t object_bytes(const StripePolicy& policy, uint16_t osd, uint64_t size) {
  if (policy.width == 1) return size;
  uint64_t stripe = size / policy.stripe_bytes, within = size % policy.stripe_bytes;
  uint64_t bytes = stripe / policy.width * policy.stripe_bytes;
  if (stripe % policy.width > osd) bytes += policy.stripe_bytes;
  else if (stripe % policy.width == osd) bytes += within;
  return bytes;
}

/// Where offset `offset` of OSD `osd`'s object lies in the file.
inline uint64_t file_offset(const StripePolicy& policy, uint16_t osd, uint64_t offset) {
  if (policy.width == 1) return offset;
  return (offset / policy.stripe_bytes * policy.width + osd) * policy.stripe_bytes + offset % policy.stripe_bytes;
}

/// Size of a file of which OSD `osd` holds an object of `bytes`, as far as this OSD can say.
inline uint64_t file_size(const StripePolicy& policy, uint16_t osd, uint64_t bytes) {
  return bytes == 0 ? 0 : file_offset(policy, osd, bytes - 1) + 1;
}

}  // namespace xos::fs
