// Checksums that travel with data: CRC32C of each part of a range, as the blocks of the object cut it. They catch what went wrong in the
// memory of either end, where TLS does not look.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "crc32c.h"

namespace xos::fs {

inline constexpr uint32_t block_bytes = crc32c_block_bytes;

/// How many checksums go with `bytes` of data from `offset` on.
inline size_t sums_count(uint64_t offset, uint64_t bytes) {
  return bytes == 0 ? 0 : (offset + bytes + block_bytes - 1) / block_bytes - offset / block_bytes;
}

void sums_of(uint64_t offset, std::string_view data, std::vector<uint32_t>& sums);

/// `sums` need not be aligned.
bool sums_match(uint64_t offset, std::string_view data, const char* sums);

}  // namespace xos::fs
