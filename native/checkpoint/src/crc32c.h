// CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of image files: finds truncation and damage, is no signature.
#pragma once
#include <cstddef>
#include <cstdint>

namespace xos::checkpoint {

/// Continues `crc` (0 at the start) over `bytes` of `data`. Uses the processor's instruction where it has one.
uint32_t crc32c(uint32_t crc, const void* data, size_t bytes);

}  // namespace xos::checkpoint
