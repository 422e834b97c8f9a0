// Control groups (v2) of jobs: a leaf for each below its user's below its VO's. What goes into the VO's is decided by xosd (src/isolation).
//
//   DIRECTORY of the VO / user-UID / job-ID        DIRECTORY: as `vo-limits` named it, delegated to us by systemd or made by us
//
// Used by the relay alone. A leaf is born before the job's first process, which clone3(2) puts into it (CLONE_INTO_CGROUP): no moment outside.
#pragma once
#include "unique_fd.h"

#include <cstdint>
#include <map>
#include <string>
#include <sys/types.h>
#include <vector>

namespace xos::cell {

/// What a VO gets on this node, as xosd said: file of cgroup v2 → what to write.
struct GroupLimits {
  std::string directory;                          ///< absolute; empty: this node has no cgroup v2, and nothing is done
  std::string fence;                              ///< nothing at or above this directory is made or changed by us
  std::map<std::string, std::string> settings;    ///< written into DIRECTORY; empty where systemd does that
};

/// How much a job used and what befell it.
struct GroupEvents {
  uint64_t oom_kills = 0;
  uint64_t refused_forks = 0;  ///< pids.events max
};

/// The file system: its mount point is part of the paths that xosd gives.
class Groups {
 public:
  /// Makes the VO's group and applies its settings. Leaves that a relay before us left behind are killed and removed.
  /// Returns what could not be done, empty when all was (the rest is done all the same).
  std::string set(const std::string& vo, const GroupLimits& limits);
  /// The leaf of a job: its path and a descriptor for clone3. An invalid descriptor when the VO has no group here; throws nothing,
  /// `error` says what went wrong when there should be one.
  unique_fd make_leaf(const std::string& vo, uid_t uid, const std::string& job, std::string& path, std::string& error);
  /// What happened in a leaf so far.
  static GroupEvents events(const std::string& path);
  /// Removes a leaf as soon as nothing lives in it; after `patience_ms` what still does is killed.
  void remove_leaf(const std::string& path, int64_t now_ms, int64_t patience_ms);
  /// Called a few times a second.
  void tick(int64_t now_ms);
  /// Leaves that wait for their end.
  size_t pending() const { return leaving_.size(); }

 private:
  struct Leaving { std::string path; int64_t kill_at_ms; };
  std::map<std::string, GroupLimits> vos_;
  std::vector<Leaving> leaving_;
  static void sweep(const std::string& directory, std::vector<Leaving>& leaving);
};

}  // namespace xos::cell
