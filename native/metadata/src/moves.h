// Files whose contents are on their way to another OSD at this moment: who asks for a right to them waits for the end, and a copy that no inode
// leads to yet is not taken for an object of nobody.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <unordered_set>
#include <vector>

namespace xos::fs::metadata {

class Moves {
 public:
  /// Less than clients wait for an answer. Who has waited in vain gets a right of before the move, which the OSD refuses.
  static constexpr std::chrono::seconds wait_max{8};

  /// Returns when no right to the file is held back any more.
  void wait(uint64_t id) {
    if (held_count_.load(std::memory_order_relaxed) == 0) return;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, wait_max, [&] { return !held_.contains(id); });
  }
  /// Objects of these files are being made; with `hold` rights to them are held back as well. Until it is destroyed.
  class Mark {
   public:
    Mark(Moves& moves, std::vector<uint64_t> ids, bool hold) : moves_(moves), ids_(std::move(ids)), set_(hold ? moves.held_ : moves.copied_) {
      std::unique_lock lock(moves_.mutex_);
      moves_.changed_.wait(lock, [&] { return std::find(ids_.begin(), ids_.end(), moves_.removed_) == ids_.end(); });
      set_.insert(ids_.begin(), ids_.end());
      moves_.held_count_ = moves_.held_.size();
    }
    ~Mark() {
      std::lock_guard lock(moves_.mutex_);
      for (uint64_t id : ids_) set_.erase(id);
      moves_.held_count_ = moves_.held_.size();
      moves_.changed_.notify_all();
    }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;

   private:
    Moves& moves_;
    const std::vector<uint64_t> ids_;
    std::unordered_set<uint64_t>& set_;
  };
  /// Held by whoever copies objects from OSD to OSD: one at a time, so that nobody takes away what another one copies. Held shared by who wants
  /// them to stay where they are.
  std::shared_mutex& copying() { return copying_; }
  bool marked(uint64_t id) {
    std::lock_guard lock(mutex_);
    return held_.contains(id) || copied_.contains(id);
  }
  /// Runs `remove` unless the file is marked, and lets nobody mark it meanwhile. One at a time.
  template <typename Remove>
  void unless_marked(uint64_t id, Remove remove) {
    {
      std::lock_guard lock(mutex_);
      if (held_.contains(id) || copied_.contains(id)) return;
      removed_ = id;
    }
    remove();
    std::lock_guard lock(mutex_);
    removed_ = 0;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::shared_mutex copying_;
  std::condition_variable changed_;
  std::unordered_set<uint64_t> held_, copied_;
  uint64_t removed_ = 0;
  std::atomic<size_t> held_count_{0};
};

}  // namespace xos::fs::metadata
