#include "crc32c.h"
#include "test.h"

#include <string>

using namespace xos;

TEST("CRC-32C has the values of RFC 3720, in one piece and in many, also unaligned") {
  CHECK_EQUAL(crc32c(0, "123456789", 9), 0xe3069283u);
  std::string zeros(32, '\0'), ones(32, '\xff');
  CHECK_EQUAL(crc32c(0, zeros.data(), 32), 0x8a9136aau);
  CHECK_EQUAL(crc32c(0, ones.data(), 32), 0x62a8ab43u);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  for (size_t cut : {0u, 1u, 7u, 8u, 9u, 500u, 999u, 1000u})
    CHECK_EQUAL(crc32c(crc32c(0, text.data(), cut), text.data() + cut, text.size() - cut), crc32c(0, text.data(), text.size()));
}

TEST("CRC-32C block by block is that of each block, and of a short one with zeros behind it") {
  std::string data;
  for (size_t i = 0; i < 5 * crc32c_block_bytes; ++i) data += static_cast<char>(i * i + i / 251);
  uint32_t sums[5];
  crc32c_blocks(data.data(), 5, sums);
  for (size_t i = 0; i < 5; ++i) CHECK_EQUAL(sums[i], crc32c(0, data.data() + i * crc32c_block_bytes, crc32c_block_bytes));
  const std::string padded = data.substr(0, 100) + std::string(crc32c_block_bytes - 100, '\0');
  CHECK_EQUAL(crc32c_padded(data.data(), 100), crc32c(0, padded.data(), crc32c_block_bytes));
}
