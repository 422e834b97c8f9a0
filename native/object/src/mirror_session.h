// The session of an OSD with the MRC, by which files with write replicas are kept from being led by two (docs/decisions/0032-write-replication.md).
//
// A session is held by a lease of the MRC. When it lapses it is over for good, and a process that starts has a new one: so a right that names a
// session says that the OSD has never been away since it was given, neither by a restart nor cut off for long enough that another one leads now.
// No clock is shared: the lease runs from a moment of the OSD's clock that the MRC has heard of before it noted the lease by its own.
#pragma once
#include <cstdint>
#include <functional>
#include <mutex>

namespace xos::fs {

/// The MRC counts `mirror_lease_margin_ms` more: clocks may run differently by a tenth.
inline constexpr int64_t mirror_lease_ms = 2500, mirror_lease_margin_ms = 300;

/// Thread-safe.
class MirrorSession {
 public:
  using Clock = std::function<int64_t()>;
  /// `clock`: ms of a clock that never stands still, also not while the machine sleeps.
  explicit MirrorSession(Clock clock, int64_t lease_ms = mirror_lease_ms);
  struct Answer {
    uint64_t session;
    int64_t now_ms;
  };
  /// What the MRC asks: `session` is the one that it knows (0: none), `heard_ms` the time in its last answer.
  Answer lease(uint64_t session, int64_t heard_ms);
  /// Whether this is the session, and the lease holds at this moment.
  bool holds(uint64_t session);

 private:
  void look(int64_t now_ms);
  const Clock clock_;
  const int64_t lease_ms_;
  std::mutex mutex_;
  uint64_t session_;
  int64_t until_ms_ = 0;  // 0: it has had no lease yet
};

/// CLOCK_BOOTTIME in ms.
int64_t boottime_ms();

}  // namespace xos::fs
