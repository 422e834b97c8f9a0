#include "contents.h"

#include <time.h>

namespace xos::fs {

/// Caller holds f.mutex.
static void changed(OpenFile& f, uint64_t end, int64_t mtime_ns) {
  f.size = std::max(f.size, end);
  f.mtime_ns = mtime_ns;
  f.dirty = true;
  ++f.dirty_count;
}

void wrote(OpenFile& f, uint64_t end, const ObjectIo::Summary& s) {
  std::lock_guard lock(f.mutex);
  changed(f, end, s.mtime_ns);
  f.disk_bytes = f.layout.width == 1 ? s.disk_bytes : std::max(f.disk_bytes, f.size);
}

void will_write(OpenFile& f, uint64_t end) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  std::lock_guard lock(f.mutex);
  changed(f, end, now.tv_sec * 1000000000LL + now.tv_nsec);
}

void wrote_contents(OpenFile& f, uint64_t offset, const char* data, size_t bytes) {
  std::lock_guard lock(f.mutex);
  if (!f.contents) return;
  if (offset > f.contents->size() || offset + bytes > SmallFiles::file_max) f.contents.reset();
  else f.contents->replace(offset, bytes, data, bytes);
}

void forget_contents(OpenFile& f) {
  std::lock_guard lock(f.mutex);
  f.contents.reset();
}

int Mount::write_now(OpenFile& f, uint64_t offset, const char* data, uint32_t bytes, uint32_t& done) {
  ObjectIo::Summary s;
  done = 0;
  int r = with_capability(*this, f, right_read | right_write,
                          [&](const metadata::Opened& layout) { return objects.write(layout, offset, data, bytes, done, s); });
  if (done > 0) wrote(f, offset + done, s);
  return r;
}

}  // namespace xos::fs
