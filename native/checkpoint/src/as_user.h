// File accesses with the rights of a job's user, in a process that is root.
#pragma once
#include <sys/fsuid.h>
#include <sys/types.h>

namespace xos::checkpoint {

/// File accesses of this thread are those of the user while it lives (setfsuid(2) is per thread, and takes root's powers over files away).
class AsUser {
 public:
  AsUser(uid_t uid, gid_t gid) : gid_(setfsgid(gid)), uid_(setfsuid(uid)) {}
  ~AsUser() {
    setfsuid(uid_);
    setfsgid(gid_);
  }
  AsUser(const AsUser&) = delete;

 private:
  gid_t gid_;
  uid_t uid_;
};

}  // namespace xos::checkpoint
