#include "crc32c.h"
#include <array>
#include <cstring>
#include <nmmintrin.h>

namespace xos::checkpoint {
namespace {

constexpr uint32_t polynomial = 0x82f63b78;  // reflected

constexpr std::array<uint32_t, 256> makeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? polynomial : 0);
    table[i] = value;
  }
  return table;
}
constexpr auto table = makeTable();

uint32_t byTable(uint32_t crc, const unsigned char* at, size_t bytes) {
  for (; bytes > 0; --bytes) crc = crc >> 8 ^ table[(crc ^ *at++) & 0xff];
  return crc;
}

__attribute__((target("sse4.2"))) uint32_t byInstruction(uint32_t crc, const unsigned char* at, size_t bytes) {
  uint64_t wide = crc;
  for (; bytes >= 8; bytes -= 8, at += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; bytes > 0; --bytes) crc = _mm_crc32_u8(crc, *at++);
  return crc;
}

}  // namespace

uint32_t crc32c(uint32_t crc, const void* data, size_t bytes) {
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  auto* at = static_cast<const unsigned char*>(data);
  return ~(has_instruction ? byInstruction(~crc, at, bytes) : byTable(~crc, at, bytes));
}

}  // namespace xos::checkpoint
