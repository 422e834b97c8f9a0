#include "mirror_session.h"

#include <sys/random.h>
#include <time.h>

#include <algorithm>

#include "capability.h"

namespace xos::fs {

namespace {

uint64_t random_session() {
  uint64_t id = 0;
  while (id <= session_none)
    if (getrandom(&id, sizeof id, 0) != sizeof id) id = 0;
  return id;
}

}  // namespace

int64_t boottime_ms() {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

MirrorSession::MirrorSession(Clock clock, int64_t lease_ms) : clock_(std::move(clock)), lease_ms_(lease_ms), session_(random_session()) {}

/// Caller holds mutex_.
void MirrorSession::look(int64_t now_ms) {
  if (until_ms_ == 0 || now_ms < until_ms_) return;
  session_ = random_session();
  until_ms_ = 0;
}

MirrorSession::Answer MirrorSession::lease(uint64_t session, int64_t heard_ms) {
  std::lock_guard lock(mutex_);
  const int64_t now = clock_();
  look(now);
  // A time of the future was never told by this process.
  if (session == session_ && heard_ms <= now) {
    until_ms_ = std::max(until_ms_, heard_ms + lease_ms_);
    look(now);
  }
  return {session_, now};
}

bool MirrorSession::holds(uint64_t session) {
  std::lock_guard lock(mutex_);
  look(clock_());
  return session == session_ && until_ms_ != 0;
}

}  // namespace xos::fs
