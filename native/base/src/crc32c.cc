#include "crc32c.h"

#include <array>
#include <cstring>

namespace xos {

namespace {

constexpr uint32_t polynomial = 0x82f63b78;  // reflected

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
    table[i] = c;
  }
  return table;
}
constexpr auto table = make_table();

uint32_t by_table(uint32_t crc, const unsigned char* p, size_t n) {
  for (; n > 0; --n) crc = table[(crc ^ *p++) & 0xff] ^ crc >> 8;
  return crc;
}

#if defined(__x86_64__)
uint64_t word(const unsigned char* p) {
  uint64_t w;
  std::memcpy(&w, p, sizeof w);
  return w;
}

__attribute__((target("sse4.2"))) uint32_t by_instruction(uint32_t crc, const unsigned char* p, size_t n) {
  uint64_t c = crc;
  for (; n >= 8; n -= 8, p += 8) c = __builtin_ia32_crc32di(c, word(p));
  auto c32 = static_cast<uint32_t>(c);
  for (; n > 0; --n) c32 = __builtin_ia32_crc32qi(c32, *p++);
  return c32;
}

/// Four blocks side by side: the instruction takes three cycles, but one can start in each.
__attribute__((target("sse4.2"))) void four_blocks(const unsigned char* p, uint32_t* sums) {
  uint64_t a = ~0u, b = ~0u, c = ~0u, d = ~0u;
  for (size_t i = 0; i < crc32c_block_bytes; i += 8) {
    a = __builtin_ia32_crc32di(a, word(p + i));
    b = __builtin_ia32_crc32di(b, word(p + crc32c_block_bytes + i));
    c = __builtin_ia32_crc32di(c, word(p + 2 * crc32c_block_bytes + i));
    d = __builtin_ia32_crc32di(d, word(p + 3 * crc32c_block_bytes + i));
  }
  sums[0] = ~static_cast<uint32_t>(a);
  sums[1] = ~static_cast<uint32_t>(b);
  sums[2] = ~static_cast<uint32_t>(c);
  sums[3] = ~static_cast<uint32_t>(d);
}

bool has_instruction() {
  static const bool has = __builtin_cpu_supports("sse4.2");
  return has;
}
#else
bool has_instruction() { return false; }
uint32_t by_instruction(uint32_t crc, const unsigned char* p, size_t n) { return by_table(crc, p, n); }
void four_blocks(const unsigned char*, uint32_t*) {}
#endif

}  // namespace

uint32_t crc32c(uint32_t crc, const void* data, size_t bytes) {
  const auto* p = static_cast<const unsigned char*>(data);
  return ~(has_instruction() ? by_instruction(~crc, p, bytes) : by_table(~crc, p, bytes));
}

void crc32c_blocks(const void* data, size_t count, uint32_t* sums) {
  const auto* p = static_cast<const unsigned char*>(data);
  if (has_instruction())
    for (; count >= 4; count -= 4, p += 4 * crc32c_block_bytes, sums += 4) four_blocks(p, sums);
  for (; count > 0; --count, p += crc32c_block_bytes) *sums++ = crc32c(0, p, crc32c_block_bytes);
}

uint32_t crc32c_padded(const void* data, size_t bytes) {
  static constexpr char zeros[crc32c_block_bytes] = {};
  return crc32c(crc32c(0, data, bytes), zeros, crc32c_block_bytes - bytes);
}

}  // namespace xos
