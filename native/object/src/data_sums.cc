#include "data_sums.h"

#include <algorithm>

namespace xos::fs {

void sums_of(uint64_t offset, std::string_view data, std::vector<uint32_t>& sums) {
  sums.resize(sums_count(offset, data.size()));
  if (sums.empty()) return;
  size_t head = std::min<uint64_t>(data.size(), (block_bytes - offset % block_bytes) % block_bytes);
  uint32_t* out = sums.data();
  if (head > 0) *out++ = crc32c(0, data.data(), head);
  size_t whole = (data.size() - head) / block_bytes;
  crc32c_blocks(data.data() + head, whole, out);
  size_t done = head + whole * block_bytes;
  if (done < data.size()) out[whole] = crc32c(0, data.data() + done, data.size() - done);
}

bool sums_match(uint64_t offset, std::string_view data, const char* sums) {
  std::vector<uint32_t> have;
  sums_of(offset, data, have);
  return std::memcmp(have.data(), sums, have.size() * 4) == 0;
}

}  // namespace xos::fs
