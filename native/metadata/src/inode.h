// The stored form of an inode: a fixed part, the OSD list, and for a symbolic link its target.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol.h"
#include "store.h"

namespace xos::fs::metadata {

// Flags of an inode. The first three are those of AttrFlags.
inline constexpr uint8_t inode_has_xattrs = 1;
inline constexpr uint8_t inode_has_acl = 2;
inline constexpr uint8_t inode_has_default_acl = 4;
inline constexpr uint8_t inode_linkable = 8;     ///< made with O_TMPFILE and without O_EXCL: may get its first name
inline constexpr uint8_t inode_has_policy = 16;  ///< has its own row in table_policy
inline constexpr uint8_t inode_time_set = 32;    ///< attr_time_set
inline constexpr uint8_t inode_frozen = 64;      ///< of a snapshot, or kept for one: is not changed any more
inline constexpr uint8_t inode_borrows = 128;    ///< of a snapshot: its contents are those of the file `parent` (borrowing.h)

#pragma pack(push, 1)
struct InodeRecord {
  uint8_t format = 1;
  uint8_t flags = 0;      ///< inode_…
  uint16_t osd_count = 0;
  uint32_t mode = 0, nlink = 0, uid = 0, gid = 0, rdev = 0;
  uint64_t size = 0, disk_bytes = 0;
  int64_t atime_ns = 0, mtime_ns = 0, ctime_ns = 0;
  uint64_t change = 0, data_version = 0;
  uint64_t volume = 0;  ///< id of the volume's root
  uint64_t parent = 0;  ///< of a directory; of a file that borrows its contents, who lends them
  uint32_t stripe_bytes = 0;
  uint16_t width = 0;   ///< 0: no objects yet, the OSDs are chosen at the first open for writing
  uint16_t replicas = 1;  ///< copies of the contents that are whole: the first ones in the list of OSDs
  uint32_t xloc_version = 0;
  uint32_t epoch = 0;   ///< capabilities with an older one are refused
};
#pragma pack(pop)

/// Of a file whose contents are kept in several copies that are written to (docs/decisions/0032-write-replication.md); none: 0 copies.
struct MirrorPolicy {
  uint8_t copies = 0;
  bool all = false;  ///< a write takes all of them; else more than half
  bool on() const { return copies > 0; }
  size_t majority() const { return copies / 2 + 1u; }
  /// How many members it takes to write.
  size_t needed() const { return all ? copies : majority(); }
};

struct Inode {
  uint64_t id = 0;
  InodeRecord r;
  std::vector<uint16_t> osds;  ///< numbers of the OSD table: `width` for each copy of the contents
  std::string target;
  MirrorPolicy mirror;  ///< then `replicas` is the number of members in step, the first ones in the list, and the first one leads
  std::string acl;  ///< of access, as load_inode found it; kept by save_acl, not by save_inode
};

/// How often the contents are there, copies that are being made counted as well.
inline size_t copies_of(const InodeRecord& r, size_t osds) { return r.width == 0 ? 1 : osds / r.width; }
inline size_t copies_of(const Inode& i) { return copies_of(i.r, i.osds.size()); }
/// What has replicas is not changed any more (docs/decisions/0026-read-only-replicas.md).
inline bool is_replicated(const Inode& i) { return !i.mirror.on() && copies_of(i) > 1; }

inline bool is_frozen(const Inode& i) { return i.r.flags & inode_frozen; }

/// Empty when there is none. Throws StoreError when the record is of a format that this version does not know.
std::optional<Inode> load_inode(const Txn& txn, uint64_t id);
void save_inode(Txn& txn, const Inode& inode);

inline constexpr std::string_view acl_access_name = "system.posix_acl_access", acl_default_name = "system.posix_acl_default";
/// Keys of extended attributes; the two lists of access control are among them.
std::string xattr_key(uint64_t id, std::string_view name);
/// Stores a list of access control, or removes it when `bytes` is empty, and notes that in the flags; the caller saves the inode.
void save_acl(Txn& txn, Inode& inode, bool of_default, const std::string& bytes);

struct Entry {
  uint64_t id;
  uint32_t type;  ///< S_IFMT bits
};
/// Row of table_meta for a file with copies that are to be made.
std::string replicate_key(uint64_t id);
/// Row of table_meta for a file with write replicas of which not all are in step. Its value is a byte: 1 when nobody knows which are (after a restore).
std::string mirror_key(uint64_t id);
/// Some files that have a row by `key_of_row` (replicate_key, mirror_key), from `next` on; `next` is 0 when there are no more.
std::vector<uint64_t> files_with_row(const Store& store, std::string (*key_of_row)(uint64_t id), uint64_t& next);
/// Row of table_meta for a volume that has, or had, such files.
std::string mirrored_volume_key(uint64_t volume);
std::string entry_key(uint64_t directory, std::string_view name);
std::optional<Entry> load_entry(const Txn& txn, uint64_t directory, std::string_view name);
void save_entry(Txn& txn, uint64_t directory, std::string_view name, const Entry& entry);

int64_t now_ns();
Attr attr_of(const Inode& inode);

}  // namespace xos::fs::metadata
