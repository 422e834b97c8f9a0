// Messages of the object service (wire types 0x02xx). Request: capability (u16 body length, body, 32 bytes MAC), then the fields
// below; the answer has type 0x0280, the id of the request, and starts with i32 status (0 or errno).
#pragma once
#include <cstdint>

namespace xos::fs::object {

enum Type : uint16_t {
  read = 0x0201,      ///< u64 stripe, u32 offset, u32 bytes            -> data (short where the object ends)
  write = 0x0202,     ///< u64 stripe, u32 offset, data                 -> extent
  append = 0x0203,    ///< u32 stripe bytes, data; files of width 1     -> u64 offset chosen, extent
  extent = 0x0204,    ///<                                              -> extent
  truncate = 0x0205,  ///< u32 stripe bytes, u16 width, u16 index, u64 size of the file -> extent
  remove = 0x0206,    ///<                                              -> nothing
  sync = 0x0207,      ///<                                              -> nothing
  space = 0x0208,     ///< (no capability)                              -> u64 total bytes, u64 free bytes, u64 objects
  reserve = 0x0209,   ///< u64 size seen by the client, u32 bytes; first OSD of a striped file -> u64 offset chosen
  allocate = 0x020a,  ///< u64 stripe, u32 offset, u32 bytes            -> extent
  answer = 0x0280,
};
// extent: u64 stripe_end (1 + number of the last stripe held, 0: none), u32 bytes of that stripe, i64 mtime_ns, u64 bytes on disk

inline constexpr uint32_t io_bytes_max = 4u << 20;

}  // namespace xos::fs::object
