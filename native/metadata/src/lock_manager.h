// Byte-range (fcntl) and whole-file (flock) locks of all nodes, in memory: clients bring theirs back after a restart of the MRC.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "protocol.h"

namespace xos::fs::metadata {

/// Not thread-safe by intent: LockManager's caller holds its mutex over a check and what follows from it. The two kinds never conflict.
class LockManager {
 public:
  /// 0 or EAGAIN (then `blocker` is one of those in the way, and `session` is told by `take_waiters` when the file's locks shrink, if `wait`);
  /// EDEADLK when it would wait for somebody who waits for it, over any number of fcntl locks (flock has no such rule).
  /// Locks of one owner never conflict; setting splits and merges its ranges (fcntl(2)).
  int set(uint64_t file, uint64_t session, const Lock& lock, bool wait, Lock& blocker);
  /// The owner waits for nothing on `file` any more.
  void cancel(uint64_t file, uint64_t session, const Lock& lock);
  /// The first lock in the way, or type 2.
  Lock get(uint64_t file, uint64_t session, const Lock& lock) const;
  /// Sessions that wait for something on `file`, once.
  std::vector<uint64_t> take_waiters(uint64_t file);
  /// Drops all of a session; the files on which somebody may go on now.
  std::vector<uint64_t> drop(uint64_t session);
  size_t count() const;
  void for_each(const std::function<void(uint64_t file, const Lock&)>& each) const;

 private:
  struct Held {
    uint64_t session;
    Lock lock;
  };
  struct File {
    std::vector<Held> held;
    std::vector<Held> waiting;
  };
  bool waits_for(uint64_t file, const Held& from, const Held& target) const;
  static bool same_owner(const Held& a, const Held& b) { return a.session == b.session && a.lock.owner == b.lock.owner && a.lock.kind == b.lock.kind; }
  const Held* conflict(const File& file, uint64_t session, const Lock& lock) const;
  void forget_if_free(uint64_t file);
  std::unordered_map<uint64_t, File> files_;
};

}  // namespace xos::fs::metadata
