// CRC32C (Castagnoli, RFC 3720 appendix B.4), the checksum of what lies on disks and of data on its way: finds truncation and damage, is no
// signature.
#pragma once
#include <cstddef>
#include <cstdint>

namespace xos {

/// Of what crc32c_blocks() and crc32c_padded() take for a block.
inline constexpr uint32_t crc32c_block_bytes = 4096;

/// Continues `crc` (0 at the start) over `bytes` of `data`. Uses the processor's instruction where it has one.
uint32_t crc32c(uint32_t crc, const void* data, size_t bytes);

/// Checksums of `count` whole blocks that follow each other.
void crc32c_blocks(const void* data, size_t count, uint32_t* sums);

/// Checksum of a block of which only the first `bytes` are given and the rest is zeros.
uint32_t crc32c_padded(const void* data, size_t bytes);

}  // namespace xos
