// Operations on the name space. Each runs inside a transaction of the caller, checks permissions by itself, and returns 0 or an errno
// (or need_groups). What it changed is told in Effects, so that the service can call back the leases of other nodes.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "inode.h"
#include "protocol.h"
#include "store.h"

namespace xos::fs::metadata {

/// Of files with write replicas.
inline constexpr uint8_t mirror_copies_max = 7;

struct VolumePolicy {
  uint32_t stripe_bytes = 4u << 20;
  uint16_t width = 1;
  std::string placement = "with-mrc";  ///< with-mrc | spread | local
  bool atime = true;                   ///< relatime; false: reading leaves no trace
  uint8_t copies = 1;                  ///< more than one: write replicas, then `width` is 1
  bool all = false;                    ///< a write takes all of them; else more than half
};

struct Volume {
  std::string name;
  uint64_t root = 0;
  VolumePolicy policy;
};

/// What is used and what may be; a limit of 0 is none. Files are inodes of any type.
struct Usage {
  int64_t bytes = 0, files = 0;
  uint64_t bytes_max = 0, files_max = 0;
};
inline constexpr uint32_t usage_all = ~0u, usage_default = ~0u - 1;  ///< in the place of a user: the volume, and limits of users without their own

struct Effects {
  std::vector<uint64_t> attributes;  ///< inodes whose attributes changed
  std::vector<uint64_t> entries;     ///< directories whose entries changed
  std::vector<uint64_t> times;       ///< inodes of which only the access time changed
};

/// Who has files open: memory of the service, asked inside transactions.
class OpenFiles {
 public:
  virtual ~OpenFiles() = default;
  /// True when nobody has it open; from then on nobody can open it. Called again for a repeated transaction.
  virtual bool try_kill(uint64_t id) = 0;
  virtual bool is_open(uint64_t id) = 0;
};

/// 0, EACCES or need_groups. `mask` is a combination of 4 (read), 2 (write), 1 (execute, search).
int check_access(const Inode& inode, const Caller& caller, int mask);
/// 0, EINVAL or ENAMETOOLONG for a name that may not be an entry.
int check_name(std::string_view name);

/// What `create` makes.
struct Making {
  uint32_t mode = 0;              ///< with the type
  uint32_t umask = 0;             ///< used unless the directory has a default list of access control
  std::string_view target = {};   ///< of a symbolic link
  bool open = false;              ///< a file that is open for writing at once
  bool nameless = false;          ///< a file that goes at its last close (O_TMPFILE); `open` is set
  bool linkable = true;           ///< ... whether it may get a name
};

/// The policy in a row of table_policy or table_volume; none when it is none.
std::optional<VolumePolicy> policy_of_row(std::string_view row);

/// A row of table_usage that is not what the inodes say.
struct UsageMend {
  std::string key;
  uint32_t who;
  std::string right;
};
std::vector<UsageMend> usage_to_mend(const Txn& txn, uint64_t volume);

class Engine {
 public:
  using Place = std::function<std::vector<uint16_t>(const VolumePolicy& policy)>;
  Engine(Store& store, OpenFiles& open_files);

  // lookups
  int lookup(const Txn&, const Caller&, uint64_t directory, std::string_view name, Inode& found, Inode& parent) const;
  int getattr(const Txn&, uint64_t id, Inode& found) const;
  int readlink(const Txn&, uint64_t id, std::string& target) const;
  /// Entries behind `last` in the order of their names, until `each` returns false; `end` tells whether there are no more.
  int readdir(const Txn&, const Caller&, uint64_t directory, std::string_view last,
              const std::function<bool(std::string_view name, const Inode&)>& each, bool& end) const;
  int check_open(const Txn&, const Caller&, uint64_t id, uint32_t open_flags, Inode& found) const;

  // entries
  int create(Txn&, const Caller&, uint64_t directory, std::string_view name, const Making&, const Place&, Inode& made, Inode& parent, Effects&);
  int link(Txn&, const Caller&, uint64_t id, uint64_t directory, std::string_view name, Inode& linked, Inode& parent, Effects&);
  int unlink(Txn&, const Caller&, uint64_t directory, std::string_view name, Inode& gone, bool& there, Inode& parent, Effects&);
  int rmdir(Txn&, const Caller&, uint64_t directory, std::string_view name, uint64_t& gone, Inode& parent, Effects&);
  int rename(Txn&, const Caller&, uint64_t from, std::string_view from_name, uint64_t to, std::string_view to_name, uint32_t flags,
             Inode& from_directory, Inode& to_directory, Effects&);

  // inodes
  int setattr(Txn&, const Caller&, uint64_t id, const SetAttr&, Inode& changed, Effects&);
  /// Size and time after writing; the caller has checked that the client had the file open for writing.
  int update_written(Txn&, uint64_t id, uint64_t size, int64_t mtime_ns, uint64_t disk_bytes, bool exact, Inode& changed, Effects&);
  /// Chooses the OSDs of a file that has none and marks it as open for writing.
  int begin_writing(Txn&, uint64_t id, bool truncate, const Place&, Inode& found, Effects&);
  void end_writing(Txn&, uint64_t id);
  /// Last close of an unlinked file.
  void release_orphan(Txn&, uint64_t id);

  /// A file or directory was read: its access time moves as relatime and the volume say.
  void note_read(Txn&, uint64_t id, int64_t at_ns, Effects&);
  /// Lets the writers of a file grow it to `size`, and further if there is room: `grow_to`. EDQUOT when a limit is in the way.
  int grow(Txn&, uint64_t id, uint64_t size, uint64_t& grow_to);
  /// The size up to which nobody has to ask; `unlimited` in a volume without limits.
  uint64_t may_grow_to(const Txn&, const Inode&) const;
  /// Where the contents of a file are, and how many of the copies are whole; stores the inode. EDQUOT when the limits have no room for more.
  int set_copies(Txn&, Inode&, std::vector<uint16_t> osds, uint16_t whole);
  /// The same of a file with write replicas, whatever the limits say: `in_step` of the members.
  void set_members(Txn&, Inode&, std::vector<uint16_t> osds, uint16_t in_step);
  /// Cuts the size and the free space of the disks to what limits leave for a user (statfs).
  void limit_space(const Txn&, uint64_t volume, uint32_t uid, uint64_t& total, uint64_t& free) const;

  // extended attributes
  int getxattr(const Txn&, const Caller&, uint64_t id, std::string_view name, std::string& value) const;
  int setxattr(Txn&, const Caller&, uint64_t id, std::string_view name, std::string_view value, uint32_t flags, Effects&);
  int listxattr(const Txn&, uint64_t id, std::vector<std::string>& names) const;
  int removexattr(Txn&, const Caller&, uint64_t id, std::string_view name, Effects&);

  // volumes (control socket)
  int volume_create(Txn&, std::string_view name, uint32_t uid, uint32_t gid, uint32_t mode, const VolumePolicy&, uint64_t& root, Effects&);
  /// ENOTEMPTY when it has entries and `force` is false.
  int volume_remove(Txn&, std::string_view name, bool force, Effects&);
  // snapshots (docs/decisions/0027-snapshots.md)
  /// What a file that is open for writing holds at the moment of a snapshot.
  struct Held {
    uint64_t size = 0, disk_bytes = 0;
    int64_t mtime_ns = 0;  ///< of the last write
  };
  /// From now on rights to write in this volume are such that nobody writes past an OSD, and it has a directory `.snapshot`. EEXIST when a
  /// file of that name is in its root.
  int snapshots_begin(Txn&, uint64_t volume, Effects&);
  /// After one that came to nothing: when the volume has no snapshot, all is as before the first try.
  void snapshots_cancel(Txn&, uint64_t volume, Effects&);
  /// The volume as it is now, as `.snapshot/NAME`; `held`: files whose size only their OSDs know. After snapshots_begin().
  /// 0, EEXIST, EINVAL or ENAMETOOLONG for the name, EDQUOT when the limits have no room for as much again.
  int snapshot_create(Txn&, uint64_t volume, std::string_view name, const std::map<uint64_t, Held>& held, uint64_t& files, Effects&);
  /// ENOENT when there is none of that name.
  int snapshot_remove(Txn&, uint64_t volume, std::string_view name, Effects&);
  struct Snapshot {
    std::string name;
    uint64_t root = 0;
    int64_t created_ns = 0;
  };
  /// In the order of their making.
  std::vector<Snapshot> snapshots(const Txn&, uint64_t volume) const;
  /// hand_over() of borrowing.h; a lender that is needed no more goes.
  bool keep(Txn&, uint64_t lender, uint64_t keeper, const std::vector<uint16_t>& osds);
  /// A volume with `.snapshot`. Most MRCs have none: asked without a lock then.
  bool keeps_snapshots(uint64_t volume) const;

  /// Makes a volume of a tree that is in the tables already: 0, EEXIST, EINVAL or ENAMETOOLONG.
  int adopt_volume(Txn&, std::string_view name, uint64_t root, const VolumePolicy&, Effects&);
  std::vector<Volume> volumes() const;
  VolumePolicy policy_of(uint64_t volume) const;
  bool keeps_no_atime(uint64_t volume) const;
  /// Policy of what is made in a directory, or of a file: its own, else the volume's. `own` tells which.
  VolumePolicy policy_for(const Txn&, const Inode&, bool* own = nullptr) const;
  /// Sets the policy of a volume (`id` of its root), of what is made below a directory from now on, or of a file that never had contents (else
  /// EBUSY); without a policy the volume's counts again. EINVAL when it is none.
  int policy_set(Txn&, uint64_t id, const std::optional<VolumePolicy>&, Effects&);

  /// A number that no inode has had.
  uint64_t new_id(Txn& txn) { return next_id(txn); }
  /// No inode gets `id`, or a number below it, from now on.
  void keep_above(Txn& txn, uint64_t id);

  // quotas (control socket)
  bool has_limits(uint64_t volume) const { return accounted(volume); }
  /// By user; of a volume without limits counted by looking at every inode.
  std::map<uint32_t, Usage> usage(const Txn&, uint64_t volume) const;
  /// Sets limits of a user, usage_all or usage_default; what is absent stays, 0 lifts. `writing`: files whose writers must ask from now on.
  int quota_set(Txn&, uint64_t volume, uint32_t who, std::optional<uint64_t> bytes_max, std::optional<uint64_t> files_max,
                std::vector<uint64_t>& writing);

 private:
  friend class EngineInternals;
  uint64_t next_id(Txn&);
  bool accounted(uint64_t volume) const;
  void note_accounted(uint64_t volume, bool on);
  void drop_usage(Txn&, uint64_t volume);
  int charge(Txn&, uint64_t volume, uint32_t uid, int64_t bytes, int64_t files, bool forced);
  /// Charges (`sign` 1) or frees (-1) all of an inode for a user.
  int charge_inode(Txn&, const Inode&, uint32_t uid, int sign, bool forced);
  /// Changes the size, and what is charged for it.
  int resize(Txn&, Inode&, uint64_t size, bool forced);
  int place_contents(Txn&, const VolumePolicy&, const Place&, Inode&);
  void inherit(Txn&, const Inode& parent, uint32_t umask, Inode& made);
  int set_acl(Txn&, const Caller&, Inode&, bool of_default, std::string_view value);
  int parent_for_change(const Txn&, const Caller&, uint64_t directory, Inode& parent) const;
  void touch_directory(Txn&, Inode& directory, int links, Effects&);
  void drop_link(Txn&, Inode& inode, bool& there, Effects&);
  void destroy(Txn&, const Inode& inode);
  /// Takes the tree below a directory away, and the directory.
  void remove_tree(Txn&, uint64_t directory, Effects&);
  /// A name that the root of a volume with snapshots may not get.
  bool is_reserved(const Inode& directory, std::string_view name) const {
    return name == snapshots_name && directory.id == directory.r.volume && keeps_snapshots(directory.id);
  }
  uint64_t snapshots_directory(const Txn&, uint64_t volume) const;
  void snapshots_end(Txn&, uint64_t volume, Effects&);
  void note_snapshots(uint64_t volume, bool on);
  void load_volumes();
  void count_no_atime();
  bool is_empty(const Txn&, uint64_t directory) const;
  bool is_below(const Txn&, uint64_t directory, uint64_t ancestor) const;

  Store& store_;
  OpenFiles& open_files_;
  std::atomic<uint64_t> next_id_{0};
  uint64_t id_limit_ = 0;  // ids below it are reserved on the disk; touched in write transactions only
  mutable std::shared_mutex volumes_mutex_;
  std::map<uint64_t, Volume> volumes_;
  std::set<uint64_t> accounted_;  // volumes with limits
  std::set<uint64_t> snapshot_volumes_;
  std::atomic<size_t> accounted_volumes_{0}, no_atime_volumes_{0}, snapshot_volumes_count_{0};  // most VOs have neither: asked without a lock
};

}  // namespace xos::fs::metadata
