// Moves what an OSD has to others, so that it can be taken away, while files are read and written.
//
// A move, which a kill or a loss of power may end at any point (docs/decisions/0024-drain.md):
//  1. Large objects are copied while they are in use.
//  2. A row "move:<file>" with the next epoch is stored and synced; whoever asks for a right to the file waits from now on (moves.h).
//  3. The old OSD gets a fence: rights of before are refused there, for good, and what had begun has ended.
//  4. What changed since 1 is copied again; the new OSD syncs.
//  5. In one transaction the inode leads to the new OSD, with the next epoch, and the row goes. Synced; then clients go on, with new rights.
//  6. The old object is removed. What is left behind by a crash here or in 4 is nobody's, and the sweeper's.
// A file that somebody has from the kernel's passthrough, or that changes faster than it is copied, goes on where it is and is tried again.
// After a crash the rows say which files have a fence at their old OSD: their inodes get the epoch of the row.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "engine.h"
#include "moves.h"
#include "osd_table.h"
#include "service.h"
#include "sessions.h"
#include "store.h"

namespace xos::fs::metadata {

class Mover {
 public:
  struct Progress {
    bool running = false;
    uint64_t files = 0;         ///< that had something there when the last round began
    uint64_t left = 0;          ///< of those, not moved yet
    uint64_t moved = 0, moved_bytes = 0;
    uint64_t busy = 0;          ///< of the last round: in use in a way that has to end first
    uint64_t failed = 0;        ///< of the last round: a server did not do its part
    std::string reason;         ///< of the last failure
  };

  Mover(Store& store, Engine& engine, Sessions& sessions, OsdTable& osds, Service& service, Moves& moves)
      : store_(store), engine_(engine), sessions_(sessions), osds_(osds), service_(service), moves_(moves) {}
  /// Called for a file with replicas that has no other place to go to.
  std::function<void(uint64_t file, const std::string& osd)> give_up_replica;
  /// Told of files with write replicas: those are not moved, but get a member elsewhere.
  std::function<void(const std::vector<uint64_t>& files)> retire_mirrors;
  /// What a predecessor had begun; before anybody is served.
  void recover();
  /// From now on the OSD gets no new files, and its files go elsewhere; false when there is none of that name. Goes on after a restart.
  bool drain(const std::string& osd);
  /// It is used again; what has moved stays where it is.
  bool use(const std::string& osd);
  /// How many files have something at an OSD, or are still to be deleted there.
  uint64_t files_at(uint16_t osd) const;
  Progress progress(const std::string& osd) const;
  /// Drains what is to be drained; never returns.
  [[noreturn]] void run();

 private:
  struct Move {
    uint64_t id = 0, bytes = 0;
    size_t index = 0;
    uint32_t epoch = 0;
    uint16_t width = 0, to = 0;
    bool spare = false;  // there are other replicas that are whole
    bool mirrored = false;  // with write replicas
    bool copied = false, has_copy = false, fenced = false, moved = false, gone = false, busy = false, checked = false;
    int64_t mtime_ns = 0;
    int error = 0;
  };
  struct Extent {
    uint64_t bytes = 0, disk_bytes = 0;
    int64_t mtime_ns = 0;
  };
  bool round(const Osd& from);
  std::vector<Move> portion(uint16_t from, uint64_t& next, bool& end) const;
  bool choose_target(Move& m, const Osd& from);
  void move(const Osd& from, std::vector<Move>& batch);
  void copy_ahead(const Osd& from, Move& m);
  void begin(std::vector<Move>& batch, uint16_t from);
  void fence(const Osd& from, Move& m);
  int copy(const Osd& from, Move& m, uint64_t bytes);
  int extent(uint16_t osd, const Move& m, Extent& e);
  int call(uint16_t osd, uint16_t type, const Move& m, uint8_t rights, uint32_t epoch, const Writer& arguments, RpcClient::Answer& answer);
  void commit(std::vector<Move>& batch, uint16_t from);
  void clean(const Osd& from, const std::vector<Move>& batch);
  void note(const std::string& osd, const std::vector<Move>& batch);

  Store& store_;
  Engine& engine_;
  Sessions& sessions_;
  OsdTable& osds_;
  Service& service_;
  Moves& moves_;
  mutable std::mutex mutex_;
  std::condition_variable wanted_;
  bool wake_ = true;  // what was to be drained before a restart
  std::map<std::string, Progress> progress_;
};

}  // namespace xos::fs::metadata
