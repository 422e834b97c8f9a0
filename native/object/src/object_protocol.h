// Messages of the object service (wire types 0x02xx). Request: capability (u16 body length, body, 32 bytes MAC), then the fields
// below; the answer has type 0x0280, the id of the request, and starts with i32 status (0 or errno). Offsets are those of the OSD's object
// (stripe.h). With flag_checked the data of a write, an append (as from offset 0) and a read's answer are u32 bytes, the bytes, and
// the CRC32C of each of their parts, as the blocks of the object cut them.
#pragma once
#include <cstdint>

namespace xos::fs::object {

enum Type : uint16_t {
  read = 0x0221,      ///< u64 offset, u32 bytes                -> data (short where the object ends)
  write = 0x0222,     ///< u64 offset, data                     -> extent
  append = 0x0223,    ///< data; files of width 1               -> u64 offset chosen, extent
  extent = 0x0224,    ///<                                      -> extent
  truncate = 0x0225,  ///< u64 bytes                            -> extent
  remove = 0x0206,    ///<                                      -> nothing
  sync = 0x0207,      ///<                                      -> nothing
  space = 0x0208,     ///< (no capability)                      -> u64 total bytes, u64 free bytes, u64 objects
  reserve = 0x0209,   ///< u64 size seen by the client, u32 bytes; first OSD of a striped file -> u64 offset chosen
  allocate = 0x022a,  ///< u8 mode (Allocate), u64 offset, u64 bytes -> extent
  seek = 0x022b,      ///< u64 offset, u8 hole                  -> u64 offset; ENXIO: none
  copy = 0x022c,      ///< u64 offset, source: capability, u64 offset, u32 bytes -> extent; behind the source's end is a hole
  lend = 0x022d,      ///< u8 write -> nothing, and a descriptor: on the OSD's local socket only
  list = 0x020e,      ///< (capability of file 0, to delete) u64 from, u32 n -> u8 end, u32 n, n × {u64 file, u64 bytes on disk, i64 ms since the last change}
  fence = 0x020f,     ///< (to delete, by the new epoch) u64 until (ms since 1970) -> u8 open on that machine (1: by readers, 2: perhaps by a writer), u64 end of reservations, extent
  damaged = 0x0210,   ///< (capability of file 0, to delete)    -> u32 n, n × {u64 file, u64 block of 4 KiB} that are known to be corrupt
  lease = 0x0211,     ///< (capability of file 0, to delete) u64 session (0: only asked for), i64 time of the OSD's clock -> u64 session, i64 time (mirror.h)
  digest = 0x0212,    ///< u64 block, u32 n, u8 read            -> n × u64: what the blocks of 4 KiB hold, by their checksums or (read) by the data
  append_once = 0x0213,  ///< u64 identity, data (as in append); files with write replicas -> u64 offset chosen, extent
  append_at = 0x0214,    ///< u64 identity, u64 offset, data: what the leading OSD makes of it at the others -> extent
  answer = 0x0280,
};
// extent: u64 bytes of the object, i64 mtime_ns, u64 bytes on disk

/// Flag of a frame: checksums come with the data. A read that is asked with it is answered with it when there are data.
inline constexpr uint16_t flag_checked = 1;

inline constexpr uint32_t io_bytes_max = 4u << 20;
inline constexpr uint32_t list_max = 8192;
inline constexpr uint32_t digests_max = 1u << 18;

}  // namespace xos::fs::object
