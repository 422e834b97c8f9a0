#include "osd_leases.h"

#include <algorithm>

namespace xos::fs::metadata {

OsdLeases::Ask OsdLeases::ask(uint16_t osd, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  Lease& l = leases_[osd];
  if (l.session == 0 || l.over) return {};
  l.until_ms = std::max(l.until_ms, now_ms + lease_ms_ + margin_ms_);
  return {l.session, l.heard_ms};
}

bool OsdLeases::answered(uint16_t osd, const Ask& asked, uint64_t session, int64_t heard_ms, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  Lease& l = leases_[osd];
  l.answered_ms = now_ms;
  if (session != l.session) {
    const bool anew = asked.session == 0 && (l.session == 0 || l.over);
    if (asked.session != l.session && !anew) return false;  // an answer that was overtaken
    l.session = session;
    l.heard_ms = heard_ms;
    l.leased = l.over = false;
    return true;
  }
  if (l.over) return false;
  l.heard_ms = std::max(l.heard_ms, heard_ms);
  l.leased |= asked.session == session;
  return !l.leased;
}

uint64_t OsdLeases::session(uint16_t osd, int64_t now_ms, int64_t within_ms) const {
  std::lock_guard lock(mutex_);
  auto it = leases_.find(osd);
  if (it == leases_.end()) return 0;
  const Lease& l = it->second;
  return l.leased && !l.over && now_ms - l.answered_ms <= within_ms ? l.session : 0;
}

int64_t OsdLeases::give_up(uint16_t osd, uint64_t session, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  Lease& l = leases_[osd];
  // Of a process that has ended, or a lease that lapsed, as the OSD itself has told.
  if (session != 0 && l.session != 0 && session != l.session) return now_ms;
  // An earlier process of this MRC may have let it lead.
  const int64_t before = started_ms_ + lease_ms_ + margin_ms_;
  l.over = l.session != 0;
  return std::max(before, l.until_ms);
}

int64_t OsdLeases::silent_ms(uint16_t osd, int64_t now_ms) const {
  std::lock_guard lock(mutex_);
  auto it = leases_.find(osd);
  return now_ms - std::max(started_ms_, it == leases_.end() ? 0 : it->second.answered_ms);
}

}  // namespace xos::fs::metadata
