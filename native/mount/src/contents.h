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

/// Of a file with write replicas: how long the MRC is asked for another right when something could not be done.
inline constexpr int mirrored_patience_ms = 30000;
/// ... or how often, by who has not opened it.
inline constexpr int mirrored_tries = 20;

/// Whether another right may help with a file with write replicas: its OSD does not answer, leads no more, or cannot do it.
inline bool may_mend(int error) {
  return error == ESTALE || error == EACCES || error == EHOSTDOWN || error == ETIMEDOUT || error == EIO || error == EPROTO || error == ENOKEY;
}

/// Tells the MRC that something failed by the right in `layout`, and gets another one: 0, or why there is none by `until_ms`.
inline int another_right(Mount& m, OpenFile& f, const metadata::Opened& layout, uint8_t rights, int attempt, int64_t until_ms) {
  for (;; ++attempt) {
    m.right_failed(f.id, layout);
    {
      std::lock_guard lock(f.mutex);
      f.capability_until_ms = 0;
    }
    // The first time somebody may just have restarted, or another one leads already.
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds(std::min(20 * attempt, 300)));
    const int r = m.refresh_capability(f, rights);
    if (r == 0 || !may_mend(r) || monotonic_ms() > until_ms) return r;
  }
}

/// Runs `work` with the file's layout, again with a fresh capability when the OSD refused the old one.
template <typename Work>
int with_capability(Mount& m, OpenFile& f, uint8_t rights, Work work) {
  int r = m.refresh_capability(f, rights);
  const int64_t began = monotonic_ms(), deadline = began + call_timeout_ms, patience = began + mirrored_patience_ms;
  for (int attempt = 0; r == 0; ++attempt) {
    const metadata::Opened layout = m.layout_of(f);
    r = work(layout);
    if (layout.mirrored) {
      if (!may_mend(r) || monotonic_ms() > patience) return r == EREMOTEIO || r == ESTALE ? EIO : r;
      r = another_right(m, f, layout, rights, attempt, patience);
      continue;
    }
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
