// Finds objects at the OSDs that belong to no file, and removes them: a client that wrote once more by a right of before the removal, a file
// that was forgotten when the machine lost power, or a copy that was never taken into use leave such objects.
//
// The OSD lists what it has, in portions; the database is asked about each (object_fate.h), as it is now and as it was synced last: a removal that
// a loss of power would undo must not have cost the contents already. What was changed lately (`grace_ms`) is left alone as well.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "moves.h"
#include "osd_table.h"
#include "service.h"
#include "store.h"

namespace xos::fs::metadata {

class Sweeper {
 public:
  static constexpr int64_t grace_ms_default = 3600 * 1000;  ///< capabilities live as long
  struct Options {
    bool remove = false;
    int64_t grace_ms = grace_ms_default;
    uint32_t removals_per_second = 200;
  };
  struct Progress {
    bool running = false, removing = false, whole = false;
    uint64_t osds = 0, osds_done = 0, osds_away = 0;
    uint64_t objects = 0, orphans = 0, orphan_bytes = 0, removed = 0, failed = 0;
    uint64_t young = 0;    ///< of nobody, but changed too lately to be sure; among no other count
    uint64_t unknown = 0;  ///< of numbers that were never given out
    int64_t started_ms = 0, finished_ms = 0;
  };

  Sweeper(Store& store, OsdTable& osds, Service& service, Moves& moves) : store_(store), osds_(osds), service_(service), moves_(moves) {}
  /// False when one is under way.
  bool start(const Options& options);
  /// Ends the one that is under way, soon.
  void stop() { stop_ = true; }
  Progress progress() const;
  /// Does what was asked for, and by itself once a day; never returns.
  [[noreturn]] void run();

 private:
  struct Listed {
    uint64_t file, disk_bytes;
    int64_t age_ms;
  };
  void pass(const Options& options);
  bool sweep_osd(uint16_t osd, const Options& options);
  bool list(uint16_t osd, uint64_t from, std::vector<Listed>& portion, bool& end);
  void look_at(uint16_t osd, const std::vector<Listed>& portion, const Options& options, std::vector<uint64_t>& orphans);
  bool remove(uint16_t osd, uint64_t file, const Options& options);
  bool is_due();
  void by_itself();
  bool pause(int64_t ms);

  Store& store_;
  OsdTable& osds_;
  Service& service_;
  Moves& moves_;
  mutable std::mutex mutex_;
  std::condition_variable wanted_;
  bool start_ = false;
  std::atomic<bool> stop_{false};
  Options options_;
  Progress progress_;
};

}  // namespace xos::fs::metadata
