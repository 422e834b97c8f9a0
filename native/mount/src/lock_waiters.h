// Blocking lock requests that wait for the MRC's word, without holding a FUSE thread.
#pragma once
#include <list>
#include <mutex>

#include "mount.h"

namespace xos::fs {

class LockWaiters {
 public:
  explicit LockWaiters(Mount& mount) : mount_(mount) {}
  /// Takes the request over; it is answered when the lock is got, refused, or the caller is interrupted (EINTR).
  void add(fuse_req_t req, uint64_t id, const metadata::Lock& lock);
  /// Some lock on the file was given back: the next round of `run` tries again at once.
  void retry(uint64_t id);
  /// Tries waiting requests when told, and all once a second. Never returns.
  void run();

 private:
  struct Waiter {
    fuse_req_t req;
    uint64_t id;
    metadata::Lock lock;
    bool due;
  };
  static void interrupted(fuse_req_t req, void* self);
  Mount& mount_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Waiter> waiting_;
  bool due_ = false;
};

int set_lock(Mount& mount, uint64_t id, const metadata::Lock& lock, bool wait);

}  // namespace xos::fs
