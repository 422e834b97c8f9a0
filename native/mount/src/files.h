// Files that this node has open.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "local_objects.h"
#include "lock_manager.h"
#include "protocol.h"
#include "write_behind.h"

namespace xos::fs {

struct OpenFile {
  explicit OpenFile(uint64_t id) : id(id) {}
  const uint64_t id;
  std::mutex mutex;
  int readers = 0, writers = 0;        // handles of this node, as the MRC counts them
  uint32_t mode = 0;
  uint64_t size = 0;                   // what this node knows; good while it writes alone
  int64_t mtime_ns = 0;
  uint64_t disk_bytes = 0;
  uint64_t grow_to = 0;                // the MRC lets it grow to this size without a question
  bool dirty = false;                  // size and time are not at the MRC yet
  uint64_t dirty_count = 0;
  bool shared = false;                 // another node writes or wrote while we have it open: the size is what the OSDs say
  metadata::Opened layout;             // with the strongest capability so far
  uint8_t rights = 0;
  int64_t capability_until_ms = 0;
  PendingWrites pending;
  std::optional<std::string> contents; // all of them, when they are few and this node knows them (see small_files.h)
  std::shared_ptr<LocalObject> local;  // for the descriptors that the kernel passes through
  int cached_handles = 0, local_handles = 0;
  uint64_t contents_version = 0;       // of the last flush; what was written since is in them
};

/// What a descriptor is to FUSE (fuse_file_info::fh points to it).
struct Handle {
  OpenFilePtr file;
  bool writes;
  bool cached = true;                  // its pages are in the kernel's cache, or may be
  bool backed = false;                 // the kernel has the local object beside it
  uint64_t failures_seen = 0;          // of writes behind: what was reported to this descriptor
  std::atomic<uint64_t> flock_owner{0};  // what the kernel calls it in flock requests; 0: there was none
};

class OpenFiles {
 public:
  OpenFilePtr find(uint64_t id) const;
  OpenFilePtr get_or_make(uint64_t id);
  std::vector<OpenFilePtr> all() const;
  /// Counts a handle away; forgets the file after its last one.
  void release(const OpenFilePtr& file, bool writes);
  void mark_shared(uint64_t id);
  void mark_all_shared();
  /// Limits have changed: the next write that makes it longer asks.
  void forget_growth(uint64_t id);

  // Closes are told to the MRC in batches: nobody waits for them.
  void queue_close(uint64_t id, bool writes);
  struct Close {
    uint16_t readers = 0, writers = 0;
  };
  /// `generation`: of the reclaim that they belong to.
  std::map<uint64_t, Close> take_closes(uint64_t& generation);

  // locks held through this mount, for a restarted MRC
  void note_lock(uint64_t id, const metadata::Lock& lock);
  /// Which flock this open file has (lock_query.h).
  int flock_of(uint64_t id, uint64_t owner);
  bool holds_locks(uint64_t id, uint64_t owner, uint8_t kind);
  /// Body of a reclaim request.
  void put_reclaim(Writer& w);

  // Version of the contents that the kernel's page cache holds.
  bool kernel_has(uint64_t id, uint64_t version);
  void set_kernel_version(uint64_t id, uint64_t version);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, OpenFilePtr> files_;
  std::map<uint64_t, Close> closes_;
  uint64_t generation_ = 0;  // counts reclaims
  metadata::LockManager locks_;
  std::mutex versions_mutex_;  // a leaf: taken with an OpenFile's mutex held, which mutex_ must never be
  std::unordered_map<uint64_t, uint64_t> kernel_versions_;
};

}  // namespace xos::fs
