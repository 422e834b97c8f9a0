#include "loop.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <sys/eventfd.h>
#include <unistd.h>

namespace xos::relay {
namespace {

// A pointer has 48 significant bits in user space; the rest carries the tag.
uint64_t pack(Watcher* watcher, uint16_t tag) { return reinterpret_cast<uint64_t>(watcher) | static_cast<uint64_t>(tag) << 48; }
Watcher* watcher_of(uint64_t data) { return reinterpret_cast<Watcher*>(data & 0xffffffffffffull); }

int64_t read_clock(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

}  // namespace

Watcher::~Watcher() {
  if (loop_) loop_->forget(*this);
}

Loop::Loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{EPOLLIN, {.u64 = 0}};
  if (!epoll_ || !wake_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) < 0) throw std::runtime_error(std::string("cannot make an event loop: ") + strerror(errno));
}

int64_t Loop::now_ms() { return read_clock(CLOCK_MONOTONIC); }
int64_t Loop::boot_ms() { return read_clock(CLOCK_BOOTTIME); }
int64_t Loop::clock_ms() { return read_clock(CLOCK_REALTIME); }

void Loop::watch(Watcher& watcher, int fd, uint32_t events, uint16_t tag) {
  watcher.loop_ = this;
  epoll_event event{events, {.u64 = pack(&watcher, tag)}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Loop::change(Watcher& watcher, int fd, uint32_t events, uint16_t tag) {
  epoll_event event{events, {.u64 = pack(&watcher, tag)}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Loop::unwatch(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void Loop::forget(Watcher& watcher) {
  for (int i = at_; i < batch_; i++)
    if (watcher_of(events_[i].data.u64) == &watcher) events_[i].data.u64 = 0;
}

void Loop::post(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  const uint64_t one = 1;
  if (write(wake_.get(), &one, sizeof one) < 0) { /* awake already */ }
}

void Loop::every(int period_ms, std::function<void()> work) { timers_.push_back({period_ms, now_ms() + period_ms, std::move(work)}); }

void Loop::run_posted() {
  uint64_t count;
  if (read(wake_.get(), &count, sizeof count) < 0) { /* somebody else's wake-up */ }
  std::vector<std::function<void()>> work;
  {
    std::lock_guard lock(mutex_);
    work.swap(posted_);
  }
  for (auto& item : work) item();
}

void Loop::run_later() {
  // What runs here may ask for more; a bound keeps two parties from starving the descriptors.
  for (int round = 0; round < 64 && !later_.empty(); round++) {
    std::vector<std::function<void()>> work;
    work.swap(later_);
    for (auto& item : work) item();
  }
}

int Loop::run_timers() {
  const int64_t now = now_ms();
  int64_t next = INT_MAX;
  for (Timer& timer : timers_) {
    if (timer.next_ms <= now) {
      timer.work();
      timer.next_ms = now + timer.period_ms;
    }
    next = std::min(next, timer.next_ms - now);
  }
  return static_cast<int>(next);
}

void Loop::run() {
  while (!stopped_) {
    const int wait_ms = run_timers();
    run_later();
    const int count = epoll_wait(epoll_.get(), events_, 256, later_.empty() ? wait_ms : 0);
    if (count < 0 && errno != EINTR) throw std::runtime_error(std::string("cannot wait for events: ") + strerror(errno));
    batch_ = count < 0 ? 0 : count;
    bool posted = false;
    for (at_ = 0; at_ < batch_;) {
      const epoll_event event = events_[at_++];
      if (event.data.u64 == 0) {
        posted = true;  // the wake descriptor, or a watcher that has gone
        continue;
      }
      tag_ = static_cast<uint16_t>(event.data.u64 >> 48);
      watcher_of(event.data.u64)->ready(event.events);
    }
    batch_ = at_ = 0;
    if (posted) run_posted();
    run_later();
  }
}

}  // namespace xos::relay
