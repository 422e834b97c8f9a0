// The file that `xtfsutil dump` writes: the metadata of one volume, as a stream of blocks.
//
// Block (little endian): "XTFB", u32 bytes of the payload, u64 number from 0, u32 CRC32C over number and payload, payload.
// Payloads, by their first byte: 0 header (the first block only), 1 records, 2 end (the last one, with nothing behind it).
//   header: u32 version, u64 root, u64 made at (ms since 1970), volume name, policy record, u16 n, n × {u16 number, name of OSD}
//   records: any number of {u8 RecordKind, …} as said there
//   end: u64 inodes, u64 names, u32 CRC32C over all bytes before this block
// Records come as a walk from the root in breadth: a directory is there before its names, and a file's inode before its second name.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "codec.h"
#include "crc32c.h"

namespace xos::fs::metadata::dump {

inline constexpr std::string_view magic = "XTFB";
inline constexpr uint32_t version = 1;
inline constexpr size_t head_bytes = 20, payload_max = 1u << 20;

enum Payload : uint8_t { header = 0, records = 1, end = 2 };
enum RecordKind : uint8_t {
  inode = 1,   ///< u64 id, u32 bytes, row of table_inode
  name = 2,    ///< u64 directory, name, u64 id, u32 type; its inode follows when it is the first name
  xattr = 3,   ///< u64 id, name, u32 bytes, value
  policy = 4,  ///< u64 id, u32 bytes, row of table_policy
  limit = 5,   ///< u32 user (or usage_all, usage_default), u64 bytes, u64 files
};

inline std::string block(uint64_t number, std::string_view payload) {
  Writer w;
  w.raw(magic).put(static_cast<uint32_t>(payload.size())).put(number).put(xos::crc32c(xos::crc32c(0, &number, sizeof number), payload.data(), payload.size()));
  return w.raw(payload).bytes();
}

}  // namespace xos::fs::metadata::dump
