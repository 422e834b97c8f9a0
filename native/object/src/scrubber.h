// Looks after the objects in the background: what is at rest is sealed, and all of it is verified once a week or when somebody asks.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "object_store.h"

namespace xos::fs {

class Scrubber {
 public:
  /// `state` keeps when the last whole pass ended, so that restarts do not put the next one off.
  Scrubber(ObjectStore& store, std::string state);

  struct Progress {
    bool running = false;
    uint64_t files = 0, files_total = 0, bytes = 0, skipped = 0;  ///< skipped: in use, or removed meanwhile
    uint64_t corrupt_blocks = 0;                                  ///< known now, over all passes
    int64_t started_ms = 0, finished_ms = 0;                      ///< 1970; finished: of the last whole pass
  };
  /// Begins a pass of at most `bytes_per_second` (0: no limit); false when one is running.
  bool start(uint64_t bytes_per_second);
  void stop();
  Progress progress() const;
  /// Never returns.
  void run();

 private:
  bool pause(uint32_t bytes);
  void pass();
  void rest();
  ObjectStore& store_;
  const std::string state_;
  mutable std::mutex mutex_;
  std::condition_variable wanted_;
  Progress progress_;
  bool start_ = false;
  std::atomic<bool> stop_{false};
  uint64_t rate_ = 0;
  int64_t paced_ms_ = 0;  // when the next piece may be read
};

}  // namespace xos::fs
