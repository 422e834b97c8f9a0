// ObjectStore: what blocks hold, in few bytes.
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "object_file.h"

namespace xos::fs {

namespace {

/// 64 bits of a block, filled with zeros: for data that nobody chooses to look alike, beside their CRC32C.
uint64_t mix(const char* data, size_t bytes) {
  constexpr uint64_t prime = 0x9e3779b97f4a7c15;
  uint64_t h = prime;
  char block[block_bytes];
  if (bytes < sizeof block) {
    std::memcpy(block, data, bytes);
    std::memset(block + bytes, 0, sizeof block - bytes);
    data = block;
  }
  for (size_t at = 0; at < sizeof block; at += 8) {
    uint64_t word;
    std::memcpy(&word, data + at, 8);
    h = (h ^ word) * prime;
    h ^= h >> 29;
  }
  return h == digest_unreadable ? 0 : h;
}

}  // namespace

int ObjectStore::digest(uint64_t file, uint64_t first, uint32_t count, bool read_data, std::vector<uint64_t>& digests) {
  digests.clear();
  FilePtr f = get(file);
  {
    std::shared_lock lock(f->mutex);
    if (int r = ready(*f, lock); r != 0) return r;
    struct stat st;
    if (!f->fd) return 0;
    if (fstat(f->fd.get(), &st) != 0) return -errno;
    const uint64_t blocks = blocks_of(static_cast<uint64_t>(st.st_size));
    count = static_cast<uint32_t>(std::min<uint64_t>(count, blocks - std::min(blocks, first)));
    if (!read_data && f->summed()) {
      std::vector<uint32_t> sums(count);
      if (int r = f->sums.get(first, count, sums.data()); r != 0) return r;
      digests.assign(sums.begin(), sums.end());
      return 0;
    }
  }
  constexpr uint32_t piece_blocks = 64;
  std::vector<char> data(piece_blocks * block_bytes);
  for (uint32_t done = 0; done < count;) {
    const uint32_t blocks = std::min(piece_blocks, count - done);
    int64_t n = read(file, (first + done) * block_bytes, data.data(), blocks * block_bytes);
    if (n == 0) break;
    if (n > 0) {
      for (int64_t at = 0; at < n; at += block_bytes) {
        const auto bytes = static_cast<size_t>(std::min<int64_t>(block_bytes, n - at));
        digests.push_back(read_data ? mix(data.data() + at, bytes) : crc32c_padded(data.data() + at, bytes));
      }
      if (n < blocks * static_cast<int64_t>(block_bytes)) break;
    } else {
      for (uint32_t b = 0; b < blocks; ++b) {
        n = read(file, (first + done + b) * block_bytes, data.data(), block_bytes);
        digests.push_back(n < 0 ? digest_unreadable : read_data ? mix(data.data(), static_cast<size_t>(n)) : crc32c_padded(data.data(), static_cast<size_t>(n)));
      }
    }
    done += blocks;
  }
  return 0;
}

}  // namespace xos::fs
