#include "write_behind.h"

#include <chrono>
#include <cstring>

#include "files.h"

namespace xos::fs {

namespace {

bool overlap(const PendingWrites::Write& a, const PendingWrites::Write& b) {
  return a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

bool idle(const PendingWrites& p) { return p.queued.empty() && p.sending.empty(); }

bool is_shared(OpenFile& f) {
  std::lock_guard lock(f.mutex);
  return f.shared;
}

}  // namespace

bool WriteBehind::offer(const OpenFilePtr& file, uint64_t offset, const char* data, uint32_t bytes, const std::function<void()>& accepted) {
  PendingWrites& p = file->pending;
  std::unique_lock lock(p.mutex);
  // A small write gains nothing by itself, but must not overtake the large ones before it.
  bool alone = is_shared(*file) || (bytes < worth_it_bytes && idle(p));
  while (!alone && p.queued.size() + p.sending.size() >= file_writes_max) {
    lock.unlock();
    bool sent = send_one(file);
    lock.lock();
    if (!sent && p.queued.size() + p.sending.size() >= file_writes_max) p.changed.wait(lock);
    alone = is_shared(*file);
  }
  if (alone || writes_.load() >= writes_max) {
    lock.unlock();
    drain(file);
    return false;
  }
  auto buffer = BufferPool::instance().take(bytes);
  std::memcpy(buffer.data, data, bytes);
  accepted();
  p.queued.push_back({offset, bytes, std::move(buffer)});
  ++writes_;
  accepted_bytes_.add(bytes);
  lock.unlock();
  {
    std::lock_guard ready_lock(mutex_);
    ready_.push_back(file);
  }
  ready_changed_.notify_one();
  return true;
}

/// False when nothing could be taken: the queue is empty, or its first write has to wait for one that is being sent.
bool WriteBehind::send_one(const OpenFilePtr& file) {
  PendingWrites& p = file->pending;
  std::unique_lock lock(p.mutex);
  if (p.queued.empty()) return false;
  for (const auto& other : p.sending)
    if (overlap(other, p.queued.front())) return false;
  p.sending.push_back(std::move(p.queued.front()));
  p.queued.pop_front();
  auto mine = std::prev(p.sending.end());
  lock.unlock();
  int error = send_(file, mine->offset, mine->data.data, mine->bytes);
  lock.lock();
  p.sending.erase(mine);
  --writes_;
  if (error != 0) {
    p.error = error;
    ++p.failures;
  }
  bool more = !p.queued.empty();
  p.changed.notify_all();
  lock.unlock();
  if (more) {  // a write that had to wait for this one may have lost its turn
    std::lock_guard ready_lock(mutex_);
    ready_.push_back(file);
    ready_changed_.notify_one();
  }
  return true;
}

void WriteBehind::drain(const OpenFilePtr& file) {
  PendingWrites& p = file->pending;
  for (;;) {
    if (send_one(file)) continue;
    std::unique_lock lock(p.mutex);
    if (idle(p)) return;
    if (!p.sending.empty()) p.changed.wait(lock);
  }
}

void WriteBehind::wait(const OpenFilePtr& file, int timeout_ms) {
  PendingWrites& p = file->pending;
  std::unique_lock lock(p.mutex);
  p.changed.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return idle(p); });
}

int WriteBehind::failed(OpenFile& file, uint64_t& seen) {
  std::lock_guard lock(file.pending.mutex);
  if (seen == file.pending.failures) return 0;
  seen = file.pending.failures;
  return file.pending.error;
}

void WriteBehind::run() {
  for (;;) {
    OpenFilePtr file;
    {
      std::unique_lock lock(mutex_);
      ready_changed_.wait(lock, [&] { return !ready_.empty(); });
      file = std::move(ready_.front());
      ready_.pop_front();
    }
    send_one(file);
  }
}

}  // namespace xos::fs
