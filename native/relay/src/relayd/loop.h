// The event loop of xos-relayd: one thread, level-triggered epoll.
#pragma once
#include "unique_fd.h"

#include <cstdint>
#include <functional>
#include <mutex>
#include <sys/epoll.h>
#include <vector>

namespace xos::relay {

/// Owner of a descriptor in the loop. Removes itself when destroyed, also in the middle of a batch of events.
class Watcher {
 public:
  virtual ~Watcher();
  virtual void ready(uint32_t events) = 0;

 protected:
  friend class Loop;
  class Loop* loop_ = nullptr;
};

class Loop {
 public:
  Loop();
  /// Watches `fd` for `watcher`. One watcher may have several descriptors; `tag` tells them apart in ready() (see tag()).
  void watch(Watcher& watcher, int fd, uint32_t events, uint16_t tag = 0);
  void change(Watcher& watcher, int fd, uint32_t events, uint16_t tag = 0);
  void unwatch(int fd);
  /// Which descriptor of the watcher became ready; valid inside ready().
  uint16_t tag() const { return tag_; }
  /// Runs `work` in the loop. From any thread.
  void post(std::function<void()> work);
  /// Runs `work` at the end of this round, before waiting again. Loop thread only.
  void later(std::function<void()> work) { later_.push_back(std::move(work)); }
  /// Called about every `period_ms`.
  void every(int period_ms, std::function<void()> work);
  void run();
  void stop() { stopped_ = true; }
  static int64_t now_ms();      ///< monotonic
  static int64_t boot_ms();     ///< monotonic, and goes on while the machine sleeps: what is promised to another one counts by it
  static int64_t clock_ms();    ///< since 1970

 private:
  friend class Watcher;
  struct Timer { int period_ms; int64_t next_ms; std::function<void()> work; };
  unique_fd epoll_, wake_;
  std::vector<Timer> timers_;
  std::vector<std::function<void()>> later_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  epoll_event events_[256];
  int batch_ = 0, at_ = 0;
  uint16_t tag_ = 0;
  bool stopped_ = false;
  void forget(Watcher& watcher);
  void run_posted();
  void run_later();
  int run_timers();
};

}  // namespace xos::relay
