// Operations on the name space. Each runs inside a transaction of the caller, checks permissions by itself, and returns 0 or an errno
// (or need_groups). What it changed is told in Effects, so that the service can call back the leases of other nodes.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "inode.h"
#include "protocol.h"
#include "store.h"

namespace xos::fs::metadata {

struct VolumePolicy {
  uint32_t stripe_bytes = 4u << 20;
  uint16_t width = 1;
  std::string placement = "with-mrc";  ///< with-mrc | spread | local
};

struct Volume {
  std::string name;
  uint64_t root = 0;
  VolumePolicy policy;
};

struct Effects {
  std::vector<uint64_t> attributes;  ///< inodes whose attributes changed
  std::vector<uint64_t> entries;     ///< directories whose entries changed
};

/// Who has files open: memory of the service, asked inside transactions.
class OpenFiles {
 public:
  virtual ~OpenFiles() = default;
  /// True when nobody has it open; from then on nobody can open it. Called again for a repeated transaction.
  virtual bool try_kill(uint64_t id) = 0;
};

/// 0, EACCES or need_groups. `mask` is a combination of 4 (read), 2 (write), 1 (execute, search).
int check_access(const Inode& inode, const Caller& caller, int mask);
/// 0, EINVAL or ENAMETOOLONG for a name that may not be an entry.
int check_name(std::string_view name);

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
  int create(Txn&, const Caller&, uint64_t directory, std::string_view name, uint32_t mode, uint32_t rdev, std::string_view target, bool open,
             const Place&, Inode& made, Inode& parent, Effects&);
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

  // extended attributes
  int getxattr(const Txn&, const Caller&, uint64_t id, std::string_view name, std::string& value) const;
  int setxattr(Txn&, const Caller&, uint64_t id, std::string_view name, std::string_view value, uint32_t flags, Effects&);
  int listxattr(const Txn&, uint64_t id, std::vector<std::string>& names) const;
  int removexattr(Txn&, const Caller&, uint64_t id, std::string_view name, Effects&);

  // volumes (control socket)
  int volume_create(Txn&, std::string_view name, uint32_t uid, uint32_t gid, uint32_t mode, const VolumePolicy&, uint64_t& root, Effects&);
  /// ENOTEMPTY when it has entries and `force` is false.
  int volume_remove(Txn&, std::string_view name, bool force, Effects&);
  std::vector<Volume> volumes() const;
  VolumePolicy policy_of(uint64_t volume) const;

 private:
  friend class EngineInternals;
  uint64_t next_id(Txn&);
  int parent_for_change(const Txn&, const Caller&, uint64_t directory, Inode& parent) const;
  void touch_directory(Txn&, Inode& directory, int links, Effects&);
  void drop_link(Txn&, Inode& inode, bool& there, Effects&);
  void destroy(Txn&, const Inode& inode);
  void load_volumes();
  bool is_empty(const Txn&, uint64_t directory) const;
  bool is_below(const Txn&, uint64_t directory, uint64_t ancestor) const;

  Store& store_;
  OpenFiles& open_files_;
  std::atomic<uint64_t> next_id_{0};
  uint64_t id_limit_ = 0;  // ids below it are reserved on the disk; touched in write transactions only
  mutable std::shared_mutex volumes_mutex_;
  std::map<uint64_t, Volume> volumes_;
};

}  // namespace xos::fs::metadata
