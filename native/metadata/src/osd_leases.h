// What the MRC knows of the sessions of OSDs (mirror_session.h of the object service), and until when it has let them lead files.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>

namespace xos::fs::metadata {

/// Thread-safe. Times are ms of the caller's clock, which only moves forward.
class OsdLeases {
 public:
  explicit OsdLeases(int64_t started_ms, int64_t lease_ms, int64_t margin_ms) : started_ms_(started_ms), lease_ms_(lease_ms), margin_ms_(margin_ms) {}
  struct Ask {
    uint64_t session = 0;
    int64_t heard_ms = 0;
  };
  /// What to ask an OSD at `now_ms`; a lease counts from there on.
  Ask ask(uint16_t osd, int64_t now_ms);
  /// Its answer to that. True when it should be asked again at once: its session is new, and without a lease yet.
  bool answered(uint16_t osd, const Ask& asked, uint64_t session, int64_t heard_ms, int64_t now_ms);
  /// The session by which it may lead now, when it has answered within `within_ms`; else 0.
  uint64_t session(uint16_t osd, int64_t now_ms, int64_t within_ms) const;
  /// It shall lead by this session no more (0: by none that there was): from when on that is so.
  int64_t give_up(uint16_t osd, uint64_t session, int64_t now_ms);
  /// For how long it has not answered.
  int64_t silent_ms(uint16_t osd, int64_t now_ms) const;

 private:
  struct Lease {
    uint64_t session = 0;
    int64_t heard_ms = 0, until_ms = 0, answered_ms = 0;
    bool leased = false, over = false;
  };
  const int64_t started_ms_, lease_ms_, margin_ms_;
  mutable std::mutex mutex_;
  std::map<uint16_t, Lease> leases_;
};

}  // namespace xos::fs::metadata
