#include "scrubber.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <thread>

#include "log.h"
#include "object_file.h"

namespace xos::fs {

namespace {

constexpr int64_t interval_ms = 7LL * 24 * 3600 * 1000;
constexpr uint64_t idle_rate = 32u << 20;  // of the weekly pass
constexpr int64_t at_rest_ms = 60000;  // the kernel has written it by itself by then

/// This thread gives way to every request: lowest CPU priority, disk only when nobody else wants it.
void step_back() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 19);
  constexpr int who_process = 1, class_idle = 3;
  syscall(SYS_ioprio_set, who_process, 0, class_idle << 13);
}

}  // namespace

Scrubber::Scrubber(ObjectStore& store, std::string state) : store_(store), state_(std::move(state)) {
  std::ifstream(state_) >> progress_.finished_ms;
}

bool Scrubber::start(uint64_t bytes_per_second) {
  std::lock_guard lock(mutex_);
  if (progress_.running || start_) return false;
  start_ = true;
  stop_ = false;
  rate_ = bytes_per_second;
  wanted_.notify_one();
  return true;
}

void Scrubber::stop() { stop_ = true; }

Scrubber::Progress Scrubber::progress() const {
  std::lock_guard lock(mutex_);
  Progress p = progress_;
  p.running |= start_;
  p.corrupt_blocks = store_.corrupt().size();
  return p;
}

/// Counts a piece and waits as long as the rate asks for.
bool Scrubber::pause(uint32_t bytes) {
  uint64_t rate;
  {
    std::lock_guard lock(mutex_);
    progress_.bytes += bytes;
    rate = rate_;
  }
  if (rate > 0) {
    int64_t now = monotonic_now_ms();
    paced_ms_ = std::max(paced_ms_, now) + static_cast<int64_t>(bytes * 1000ull / rate);
    while (!stop_ && monotonic_now_ms() < paced_ms_) std::this_thread::sleep_for(std::chrono::milliseconds(std::min<int64_t>(100, paced_ms_ - now + 1)));
  }
  return !stop_;
}

void Scrubber::pass() {
  uint64_t corrupt = store_.corrupt().size();
  {
    std::lock_guard lock(mutex_);
    auto finished = progress_.finished_ms;
    progress_ = {};
    progress_.finished_ms = finished;
    progress_.files_total = store_.space().objects;
    progress_.started_ms = realtime_now_ms();
    progress_.running = true;
    start_ = false;
  }
  bool whole = true;
  store_.for_each_file([&](uint64_t file) {
    int r = store_.scrub(file, [&](uint32_t bytes) { return pause(bytes); });
    std::lock_guard lock(mutex_);
    ++progress_.files;
    if (r == -EAGAIN || r == -ENOENT) ++progress_.skipped;
    else if (r != 0 && r != -EIO && r != -ECANCELED) log(Priority::warning, "cannot scrub file %lx: error %d", file, -r);
    return whole = !stop_;
  });
  Progress p;
  {
    std::lock_guard lock(mutex_);
    progress_.running = false;
    if (whole) progress_.finished_ms = realtime_now_ms();
    p = progress_;
  }
  if (whole) std::ofstream(state_) << p.finished_ms << "\n";
  uint64_t found = store_.corrupt().size();
  log(found > corrupt ? Priority::error : Priority::info, "scrub %s: %lu files, %lu bytes, %lu corrupt blocks known (%lu before)",
      whole ? "finished" : "given up", p.files, p.bytes, found, corrupt);
}

/// Seals what was written and is at rest now.
void Scrubber::rest() {
  store_.rest(store_.unsealed(at_rest_ms), [&](uint32_t) {
    std::lock_guard lock(mutex_);
    return !start_;  // somebody waits for a pass
  });
}

void Scrubber::run() {
  step_back();
  for (;;) {
    bool begin;
    {
      std::unique_lock lock(mutex_);
      wanted_.wait_for(lock, std::chrono::seconds(5), [&] { return start_; });
      if (!start_ && progress_.finished_ms + interval_ms < realtime_now_ms() && progress_.started_ms + interval_ms < realtime_now_ms()) {
        // Also the first time: an OSD that has just been set up has little to look at.
        start_ = true;
        stop_ = false;
        rate_ = idle_rate;
      }
      begin = start_;
    }
    if (begin) pass();
    else rest();
  }
}

}  // namespace xos::fs
