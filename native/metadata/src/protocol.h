// Messages of the metadata service (wire types 0x03xx), shared by xos-mrc and xos-mount.
//
// Every request but hello starts with a RequestHead; every answer has type 0x0380, the id of the request, and starts with i32
// status (0 or errno). Requests that change something carry a slot and a sequence number: the MRC stores the last answer of each slot in
// the transaction of the change, so a repeated request (after a lost connection, or a kill -9 of the MRC) is answered and not done twice.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "codec.h"

namespace xos::fs::metadata {

enum Type : uint16_t {
  hello = 0x0301,        ///< u64 instance of the mount, u8 kind (0 requests, 1 callbacks) -> u64 instance of the MRC, u32 lease_ms, u8 known session
  lookup = 0x0302,       ///< u64 directory, name            -> Attr of it, Attr of the directory
  getattr = 0x0303,      ///< u64 id                         -> Attr
  setattr = 0x0304,      ///< u64 id, SetAttr                -> Attr
  create = 0x0305,       ///< u64 directory, name, u32 mode (umask in the upper half), u32 open flags -> Attr, Attr of the directory, Opened
  open = 0x0306,         ///< u64 id, u32 open flags         -> Attr, Opened
  close = 0x0307,        ///< u64 generation of the last reclaim (else it is not done: what was open then is known), u16 n, n × {u64 id, u16 readers, u16 writers} -> nothing
  flush = 0x0308,        ///< u64 id, u64 size, i64 mtime_ns, u64 disk bytes -> Attr
  mkdir = 0x0309,        ///< u64 directory, name, u32 mode (as in create) -> Attr, Attr of the directory
  mknod = 0x030a,        ///< u64 directory, name, u32 mode (as in create), u32 rdev -> Attr, Attr of the directory
  symlink = 0x030b,      ///< u64 directory, name, target    -> Attr, Attr of the directory
  link = 0x030c,         ///< u64 id, u64 directory, name    -> Attr, Attr of the directory
  unlink = 0x030d,       ///< u64 directory, name            -> u64 id, u8 still there, Attr (when there), Attr of the directory
  rmdir = 0x030e,        ///< u64 directory, name            -> u64 id, Attr of the directory
  rename = 0x030f,       ///< u64 directory, name, u64 directory, name, u32 flags -> Attr of both directories
  readlink = 0x0310,     ///< u64 id                         -> target
  readdir = 0x0311,      ///< u64 directory, last name (empty: from the start), u32 bytes -> u8 end, u16 n, n × {name, Attr}
  statfs = 0x0312,       ///< u64 id                         -> u64 total bytes, u64 free bytes, u64 files
  getxattr = 0x0313,     ///< u64 id, name                   -> u32 bytes, value
  setxattr = 0x0314,     ///< u64 id, name, u32 flags, u32 bytes, value -> nothing
  listxattr = 0x0315,    ///< u64 id                         -> u16 n, names
  removexattr = 0x0316,  ///< u64 id, name                   -> nothing
  lock_get = 0x0317,     ///< u64 id, Lock                   -> Lock (type F_UNLCK: nothing in the way)
  lock_set = 0x0318,     ///< u64 id, Lock, u8 wait -> nothing; EAGAIN: in the way (wait 1: lock_retry will be called back, or EDEADLK; 2: waits no more)
  sync = 0x0319,         ///< nothing                        -> nothing; everything acknowledged is on the disk
  reclaim = 0x031a,      ///< u64 generation, u32 n, n × {u64 id, u16 readers, u16 writers}, u32 m, m × {u64 id, Lock} -> nothing; after the MRC was restarted
  osd_list = 0x031b,     ///< nothing                        -> u16 n, n × {name, address, u16 port, u64 total, u64 free}
  capability = 0x031c,   ///< u64 id, u32 open flags         -> Opened; a new one before the old one expires
  prepare_truncate = 0x031d,  ///< u64 id                    -> Opened, with the right to truncate
  tmpfile = 0x031e,      ///< u64 directory, u32 mode (as in create), u32 open flags -> Attr (of no links), Opened
  accessed = 0x031f,     ///< u16 n, n × {u64 id, i64 atime_ns} -> nothing; files that were read, when relatime asks for it
  reserve = 0x0320,      ///< u64 id, u64 size -> u64 size to which it may grow before the next question; EDQUOT
  right_failed = 0x0321,  ///< u64 id, u32 epoch -> nothing; of a file with write replicas: something could not be done by a right of this epoch
  answer = 0x0380,
  // callbacks: the MRC asks, the mount acknowledges by sending the frame back without payload
  callback_ping = 0x0390,        ///< nothing
  callback_invalidate = 0x0391,  ///< u32 n, n × {u64 id, u8 what: 1 attributes, 2 entries, 4 ask (reserve) before it grows, 8 access time, 16 ask for a new right}
  callback_lock_retry = 0x0392,  ///< u64 id
};

/// Flag of an answer about names: the mount may cache the names of the directory (both directories of a rename).
inline constexpr uint16_t flag_names_leased = 1;

inline constexpr uint64_t root_id = 1;         ///< holds the volumes; not a volume itself
inline constexpr std::string_view snapshots_name = ".snapshot";  ///< in the root of a volume, found by look-up only
inline constexpr uint16_t groups_unknown = 0xffff;
inline constexpr int need_groups = 10001;      ///< status: repeat with the caller's supplementary groups
inline constexpr int session_gone = 10002;     ///< status: the MRC has dropped this mount's session (or is a new MRC); say hello and reclaim first
inline constexpr int ask_again = 10003;        ///< status: what is asked for goes on (a file is copied for a snapshot); nothing was done, ask again at once
inline constexpr int not_leading = 10004;      ///< status of a hello: another member of the group serves the volumes
/// Whether reading at `at` moves the access time: when it is not behind the last change, or older than a day (mount(8), relatime).
inline bool relatime_due(int64_t atime_ns, int64_t mtime_ns, int64_t ctime_ns, int64_t at_ns) {
  return atime_ns <= mtime_ns || atime_ns <= ctime_ns || at_ns - atime_ns > 86400 * 1000000000LL;
}
/// Mode and umask of a request that makes an inode, in one word.
inline uint32_t with_umask(uint32_t mode, uint32_t umask) { return (mode & 0xffff) | umask << 16; }
inline constexpr size_t name_bytes_max = 255;
inline constexpr uint64_t unlimited = ~0ull;     ///< Opened::grow_to in a volume without quotas
inline constexpr size_t xattr_bytes_max = 64u << 10;

struct Caller {
  uint32_t uid = 0, gid = 0;
  bool groups_known = false;
  std::vector<uint32_t> groups;
};

struct RequestHead {
  uint64_t sequence = 0;  ///< 0 for requests that change nothing
  uint16_t slot = 0;
  Caller caller;
};

enum Writers : uint8_t { writers_none = 0, writers_self = 1, writers_others = 2 };

/// The first three say which extended attributes there are, so that nobody asks for others. attr_time_set: a program has set the time of the last write to
/// something else since a writer has told of it.
enum AttrFlags : uint8_t { attr_has_user = 1, attr_has_acl = 2, attr_has_default_acl = 4, attr_no_atime = 8, attr_time_set = 32 };

struct Attr {
  uint64_t id = 0;
  uint32_t mode = 0, nlink = 0, uid = 0, gid = 0, rdev = 0;
  uint64_t size = 0, disk_bytes = 0;
  int64_t atime_ns = 0, mtime_ns = 0, ctime_ns = 0;
  uint64_t change = 0;        ///< raised by every change of the inode
  uint64_t data_version = 0;  ///< raised by every change of the contents
  uint8_t writers = 0;        ///< Writers: with others the size and mtime are what the OSDs say
  uint8_t leased = 0;         ///< 1: may be cached until an invalidation comes
  uint8_t flags = 0;          ///< AttrFlags
};

struct OsdReference {
  std::string name;
  std::array<unsigned char, 32> mac;
};

/// What a client needs to work on the objects of a file.
struct Opened {
  uint64_t grow_to = 0;  ///< size up to which it may be written without asking (reserve)
  uint32_t stripe_bytes = 0;
  uint16_t width = 0;
  std::string body;  ///< of the capability
  std::vector<OsdReference> osds;
  std::vector<OsdReference> copies;  ///< further copies of a file that is not changed any more, `width` for each
  uint64_t size = 0;                 ///< of such a file: each object has what that means for it
  uint8_t mirrored = 0;              ///< 1: with write replicas; `osds` is the one that leads, and empty while there is none
};

struct Lock {
  uint8_t kind = 0;   ///< 0 fcntl, 1 flock
  uint8_t type = 2;   ///< 0 shared, 1 exclusive, 2 unlock
  uint64_t start = 0, end = ~0ull;  ///< inclusive
  uint64_t owner = 0;
  uint32_t pid = 0;
};

enum SetAttrMask : uint32_t {
  set_mode = 1, set_uid = 2, set_gid = 4, set_size = 8, set_atime = 16, set_mtime = 32, set_atime_now = 64, set_mtime_now = 128
};
struct SetAttr {
  uint32_t mask = 0, mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;
  int64_t atime_ns = 0, mtime_ns = 0;
};

inline void put(Writer& w, const RequestHead& h) {
  w.put(h.sequence).put(h.slot).put(h.caller.uid).put(h.caller.gid);
  w.put<uint16_t>(h.caller.groups_known ? static_cast<uint16_t>(h.caller.groups.size()) : groups_unknown);
  for (uint32_t g : h.caller.groups) w.put(g);
}
inline RequestHead get_head(Reader& r) {
  RequestHead h;
  h.sequence = r.get<uint64_t>();
  h.slot = r.get<uint16_t>();
  h.caller.uid = r.get<uint32_t>();
  h.caller.gid = r.get<uint32_t>();
  uint16_t n = r.get<uint16_t>();
  h.caller.groups_known = n != groups_unknown;
  if (h.caller.groups_known)
    for (uint16_t i = 0; i < n; ++i) h.caller.groups.push_back(r.get<uint32_t>());
  return h;
}

inline void put(Writer& w, const Attr& a) {
  w.put(a.id).put(a.mode).put(a.nlink).put(a.uid).put(a.gid).put(a.rdev).put(a.size).put(a.disk_bytes).put(a.atime_ns).put(a.mtime_ns)
      .put(a.ctime_ns).put(a.change).put(a.data_version).put(a.writers).put(a.leased).put(a.flags);
}
inline Attr get_attr(Reader& r) {
  Attr a;
  a.id = r.get<uint64_t>();
  a.mode = r.get<uint32_t>();
  a.nlink = r.get<uint32_t>();
  a.uid = r.get<uint32_t>();
  a.gid = r.get<uint32_t>();
  a.rdev = r.get<uint32_t>();
  a.size = r.get<uint64_t>();
  a.disk_bytes = r.get<uint64_t>();
  a.atime_ns = r.get<int64_t>();
  a.mtime_ns = r.get<int64_t>();
  a.ctime_ns = r.get<int64_t>();
  a.change = r.get<uint64_t>();
  a.data_version = r.get<uint64_t>();
  a.writers = r.get<uint8_t>();
  a.leased = r.get<uint8_t>();
  a.flags = r.get<uint8_t>();
  return a;
}

inline void put(Writer& w, const Opened& o) {
  w.put(o.grow_to).put(o.stripe_bytes).put(o.width).put(o.mirrored).text(o.body).put<uint16_t>(static_cast<uint16_t>(o.osds.size()));
  for (const auto& osd : o.osds) w.text(osd.name).raw({reinterpret_cast<const char*>(osd.mac.data()), osd.mac.size()});
  w.put<uint16_t>(static_cast<uint16_t>(o.copies.size()));
  for (const auto& osd : o.copies) w.text(osd.name).raw({reinterpret_cast<const char*>(osd.mac.data()), osd.mac.size()});
  if (!o.copies.empty()) w.put(o.size);
}
inline Opened get_opened(Reader& r) {
  Opened o;
  o.grow_to = r.get<uint64_t>();
  o.stripe_bytes = r.get<uint32_t>();
  o.width = r.get<uint16_t>();
  o.mirrored = r.get<uint8_t>();
  o.body = r.text();
  auto get_osds = [&](std::vector<OsdReference>& osds) {
    for (uint16_t n = r.get<uint16_t>(); n > 0; --n) {
      OsdReference osd;
      osd.name = r.text();
      std::memcpy(osd.mac.data(), r.raw(32).data(), 32);
      osds.push_back(std::move(osd));
    }
  };
  get_osds(o.osds);
  get_osds(o.copies);
  if (!o.copies.empty()) o.size = r.get<uint64_t>();
  return o;
}

inline void put(Writer& w, const Lock& l) { w.put(l.kind).put(l.type).put(l.start).put(l.end).put(l.owner).put(l.pid); }
inline Lock get_lock(Reader& r) {
  Lock l;
  l.kind = r.get<uint8_t>();
  l.type = r.get<uint8_t>();
  l.start = r.get<uint64_t>();
  l.end = r.get<uint64_t>();
  l.owner = r.get<uint64_t>();
  l.pid = r.get<uint32_t>();
  if (l.kind > 1 || l.type > 2 || l.start > l.end) throw Malformed("lock");
  return l;
}

inline void put(Writer& w, const SetAttr& s) {
  w.put(s.mask).put(s.mode).put(s.uid).put(s.gid).put(s.size).put(s.atime_ns).put(s.mtime_ns);
}
inline SetAttr get_set_attr(Reader& r) {
  SetAttr s;
  s.mask = r.get<uint32_t>();
  s.mode = r.get<uint32_t>();
  s.uid = r.get<uint32_t>();
  s.gid = r.get<uint32_t>();
  s.size = r.get<uint64_t>();
  s.atime_ns = r.get<int64_t>();
  s.mtime_ns = r.get<int64_t>();
  return s;
}

}  // namespace xos::fs::metadata
