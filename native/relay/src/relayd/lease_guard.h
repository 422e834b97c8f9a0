// A process beside the relay that ends the cells of protected jobs when their time is over, whatever the relay itself is doing by then.
#pragma once
#include "unique_fd.h"

#include <atomic>
#include <cstdint>
#include <vector>

namespace xos::relay {

/// The home of a protected job starts it elsewhere when this node has been silent for long enough (docs/decisions/0030-fault-tolerance.md). The relay ends such jobs
/// before that; should it hang or be stopped, this process does, and so it does when the relay is gone.
class LeaseGuard {
 public:
  /// Forks it: before the relay has threads. Without it (fork failed: logged) nothing but the relay ends the cells.
  LeaseGuard();
  ~LeaseGuard();
  LeaseGuard(const LeaseGuard&) = delete;
  LeaseGuard& operator=(const LeaseGuard&) = delete;
  /// Kills the process behind `pidfd` once Loop::boot_ms() has come to `until_ms`. Returns the number to renew and remove it by; -1: it is not guarded (logged).
  int add(int pidfd, int64_t until_ms);
  void renew(int slot, int64_t until_ms) {
    if (slot >= 0) until_[slot].store(until_ms, std::memory_order_relaxed);
  }
  void remove(int slot);

 private:
  unique_fd socket_;
  std::atomic<int64_t>* until_ = nullptr;  ///< shared with the process; 0: unused
  std::vector<int> free_;
};

}  // namespace xos::relay
