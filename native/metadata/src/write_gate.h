// Keeps rights to write from being given out while a snapshot is made.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>

namespace xos::fs::metadata {

class WriteGate {
 public:
  /// Less than clients wait for an answer.
  static constexpr std::chrono::seconds wait_max{6};
  using Pass = std::shared_lock<std::shared_mutex>;

  /// Owned unless it stayed closed for too long. Costs one shared lock.
  Pass enter() {
    if (closing_.load(std::memory_order_acquire)) {
      // Who comes now waits here: those who hold a pass would otherwise never all be gone.
      std::unique_lock lock(mutex_);
      opened_.wait_for(lock, wait_max, [&] { return !closing_.load(); });
    }
    return Pass(gate_, std::try_to_lock);
  }

  /// Closed while it lives; one at a time. The constructor waits until nobody has a pass.
  class Closed {
   public:
    explicit Closed(WriteGate& gate) : gate_(gate), one_(gate.one_) {
      gate_.closing_ = true;
      gate_.gate_.lock();
    }
    ~Closed() {
      gate_.gate_.unlock();
      {
        std::lock_guard lock(gate_.mutex_);
        gate_.closing_ = false;
      }
      gate_.opened_.notify_all();
    }
    Closed(const Closed&) = delete;
    Closed& operator=(const Closed&) = delete;

   private:
    WriteGate& gate_;
    std::lock_guard<std::mutex> one_;
  };

 private:
  std::shared_mutex gate_;
  std::mutex one_, mutex_;
  std::condition_variable opened_;
  std::atomic<bool> closing_{false};
};

}  // namespace xos::fs::metadata
