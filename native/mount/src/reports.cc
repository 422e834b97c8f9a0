// What a mount tells the MRC without being asked by a program, and what it asks for ahead: closes, reads, room to grow.
#include <cstring>

#include "log.h"
#include "mount.h"

namespace xos::fs {

using namespace metadata;

void Mount::send_closes() {
  uint64_t generation;
  auto closes = files.take_closes(generation);
  if (closes.empty()) return;
  Writer w;
  w.put(generation).put<uint16_t>(0);
  uint16_t n = 0;
  auto flush_batch = [&] {
    w.patch(sizeof generation, n);
    RpcClient::Answer answer;
    int r = call_as_node(metadata::close, w, answer);
    if (r != 0) log(Priority::warning, "could not tell the MRC of %u closed files: %s", n, strerror(r));
    w.clear();
    w.put(generation).put<uint16_t>(0);
    n = 0;
  };
  for (auto& [id, c] : closes) {
    w.put(id).put(c.readers).put(c.writers);
    if (++n == 1000) flush_batch();
  }
  if (n > 0) flush_batch();
}

void Mount::note_read(uint64_t id) {
  auto attr = cache.attr(id);
  if (!attr || (attr->flags & attr_no_atime)) return;
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  const int64_t now = t.tv_sec * 1000000000LL + t.tv_nsec;
  if (!relatime_due(attr->atime_ns, attr->mtime_ns, attr->ctime_ns, now)) return;
  cache.set_atime(id, now);
  std::lock_guard lock(reads_mutex_);
  reads_[id] = now;
}

void Mount::send_reads() {
  std::unordered_map<uint64_t, int64_t> reads;
  {
    std::lock_guard lock(reads_mutex_);
    reads.swap(reads_);
  }
  for (auto it = reads.begin(); it != reads.end();) {
    Writer w;
    uint16_t n = 0;
    w.put(n);
    for (; it != reads.end() && n < 1000; ++it, ++n) w.put(it->first).put(it->second);
    w.patch(0, n);
    RpcClient::Answer answer;
    // Lost ones are no loss: the next reader's is due again.
    if (call_as_node(accessed, w, answer) != 0) return;
  }
}

int Mount::reserve(OpenFile& f, uint64_t end, uint64_t appended) {
  {
    std::lock_guard lock(f.mutex);
    // Where an append lands is known only afterwards: asked for is what it takes behind the end that we know of.
    if (appended != 0) end = f.size + appended;
    // Without a lease nobody could have told us that a limit was set meanwhile.
    if (end <= f.grow_to && cache.valid()) return 0;
  }
  RpcClient::Answer answer;
  if (int r = call_as_node(metadata::reserve, Writer().put(f.id).put(end), answer); r != 0) return r;
  std::lock_guard lock(f.mutex);
  f.grow_to = Reader(answer.begin(), answer.size()).get<uint64_t>();
  return 0;
}

}  // namespace xos::fs
