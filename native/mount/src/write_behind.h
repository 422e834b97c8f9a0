// Large writes that the kernel was told are done while they are still on their way to the OSDs, so that a program's next write, the
// encryption and the OSD's disk work at the same time.
//
// Only while this node alone writes the file: before the MRC's invalidation for a second opener is acknowledged, nothing is pending any
// more. What can be lost with this process is what write(2) without fsync or close may lose: at most `file_writes_max` writes a file.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>

#include "frame_server.h"
#include "metrics.h"

namespace xos::fs {

struct OpenFile;
using OpenFilePtr = std::shared_ptr<OpenFile>;

/// What of one file is under way; part of OpenFile. Its mutex is taken before OpenFile::mutex, never after.
struct PendingWrites {
  struct Write {
    uint64_t offset;
    uint32_t bytes;
    BufferPool::Buffer data;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Write> queued;         // in the order of the program
  std::list<Write> sending;         // no two of them overlap
  int error = 0;                    // of the last write that failed
  uint64_t failures = 0;            // a descriptor that has not seen this number yet reports `error`
};

class WriteBehind {
 public:
  static constexpr size_t file_writes_max = 12;    ///< of at most 1 MiB each
  static constexpr size_t writes_max = 96;         ///< over all files
  static constexpr uint32_t worth_it_bytes = 64 << 10;

  /// `send` writes one range and returns 0 or an errno; it waits for the OSD no longer than a call's time-out.
  using Send = std::function<int(const OpenFilePtr& file, uint64_t offset, const char* data, uint32_t bytes)>;
  explicit WriteBehind(Send send) : send_(std::move(send)) {}

  /// Copies the data and returns true, or returns false: the caller writes itself, and nothing of the file is pending then.
  /// A full window makes the caller send what is queued before it. `accepted` runs before the write can be seen to be under way.
  bool offer(const OpenFilePtr& file, uint64_t offset, const char* data, uint32_t bytes, const std::function<void()>& accepted);
  /// Returns when nothing of the file is pending; the caller's thread helps. No error here: see failed().
  void drain(const OpenFilePtr& file);
  /// The same without helping, for at most `timeout_ms`.
  void wait(const OpenFilePtr& file, int timeout_ms);
  /// The error that a descriptor which has seen `seen` failures has to report now (once), else 0.
  static int failed(OpenFile& file, uint64_t& seen);
  /// Sends what is queued; never returns. Any number of threads.
  void run();
  /// Bytes of all writes that offer() has taken, and how many of those are under way.
  uint64_t accepted_bytes() const { return accepted_bytes_.value(); }
  size_t pending() const { return writes_.load(); }

 private:
  bool send_one(const OpenFilePtr& file);
  const Send send_;
  std::mutex mutex_;
  std::condition_variable ready_changed_;
  std::deque<OpenFilePtr> ready_;  // one entry for each queued write; whoever finds it done already goes on
  std::atomic<size_t> writes_{0};
  metrics::Counter accepted_bytes_;
};

}  // namespace xos::fs
