// What every operation on the contents of an open file needs: a capability that the OSD takes, and a note of what was written.
#pragma once
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "capability.h"
#include "mount.h"

namespace xos::fs {

/// How often a fresh capability is asked for when an OSD refuses the one before: its file moves to another OSD, perhaps on to the next one.
inline constexpr int fresh_max = 4;

/// Runs `work` with the file's layout, again with a fresh capability when the OSD refused the old one.
template <typename Work>
int with_capability(Mount& m, OpenFile& f, uint8_t rights, Work work) {
  int r = m.refresh_capability(f, rights);
  const int64_t deadline = monotonic_ms() + call_timeout_ms;
  for (int attempt = 0; r == 0; ++attempt) {
    r = work(m.layout_of(f));
    if (r == ENOKEY) {  // an OSD that has just started and was not told its keys yet
      if (monotonic_ms() > deadline) return EHOSTDOWN;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      attempt = -1;
      r = 0;
      continue;
    }
    if ((r != EACCES && r != ESTALE) || attempt >= (r == ESTALE ? fresh_max : 1)) return r;
    {
      std::lock_guard lock(f.mutex);
      f.capability_until_ms = 0;
    }
    r = m.refresh_capability(f, rights);
  }
  return r;
}

/// Notes a write that reached the OSD.
void wrote(OpenFile& f, uint64_t end, const ObjectIo::Summary& s);
/// Keeps what is known of a small file's contents up to date with a write that was answered.
void wrote_contents(OpenFile& f, uint64_t offset, const char* data, size_t bytes);
/// After a change that does not tell the new contents.
void forget_contents(OpenFile& f);
/// Notes one that is still on its way: the size and time that this node's programs see.
void will_write(OpenFile& f, uint64_t end);

}  // namespace xos::fs
