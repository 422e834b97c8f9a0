// Translation between offsets of a file and (stripe, offset in the stripe, OSD index). RAID 0: stripe s lives on OSD s mod width.
#pragma once
#include <algorithm>
#include <cstdint>

namespace xos::fs {

struct StripePolicy {
  uint32_t stripe_bytes = 4u << 20;
  uint16_t width = 1;
};

struct StripeRange {
  uint64_t stripe;
  uint32_t offset;  ///< within the stripe
  uint32_t bytes;
  uint16_t osd;     ///< index into the OSD list of the file
};

/// Calls `each(StripeRange)` for every stripe that [offset, offset + bytes) touches, in order, until it returns false.
template <typename Each>
void for_each_stripe(const StripePolicy& policy, uint64_t offset, uint64_t bytes, Each each) {
  while (bytes > 0) {
    uint64_t stripe = offset / policy.stripe_bytes;
    uint32_t within = static_cast<uint32_t>(offset % policy.stripe_bytes);
    uint32_t n = static_cast<uint32_t>(std::min<uint64_t>(bytes, policy.stripe_bytes - within));
    if (!each(StripeRange{stripe, within, n, static_cast<uint16_t>(stripe % policy.width)})) return;
    offset += n;
    bytes -= n;
  }
}

/// Size of a file of which an OSD holds stripes below `stripe_end`, the last of them `last_bytes` long. 0 when it holds none.
inline uint64_t file_size(const StripePolicy& policy, uint64_t stripe_end, uint32_t last_bytes) {
  return stripe_end == 0 ? 0 : (stripe_end - 1) * policy.stripe_bytes + last_bytes;
}

}  // namespace xos::fs
