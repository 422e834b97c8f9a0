// Read-only replicas of files: makes the copies, takes them away, and mends a bad block of one from another (docs/decisions/0026-read-only-replicas.md).
//
// A file with more than one copy is not changed: nobody opens it for writing. Its row "replicate:<file>" says what is to be done yet, and is there
// until nothing is; so a kill or a loss of power at any point costs time only:
//  1. When a file gets its first replica, the OSDs that have it get a fence: rights to write from before are refused. Its objects get the length that its
//     size means, so that a reader sees by a short answer that an object is not what it should be.
//  2. A copy is made object by object, synced, and counted as whole in one transaction. Readers are told.
//  3. A copy that is to go is whole no more at once: nobody gets a right to it. Before a file may be written to again every copy that went is behind a
//     fence, or all rights of before have expired: else somebody could read from it what was there.
#pragma once
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

class Replicator {
 public:
  enum class State : uint8_t { whole, making, dropping, behind };
  struct Copy {
    State state = State::whole;
    std::vector<uint16_t> osds;
  };
  struct Progress {
    bool running = false;                  ///< being made now
    uint64_t bytes = 0, bytes_total = 0;   ///< of the copy that is being made
    std::string reason;                    ///< why the last try came to nothing
  };

  Replicator(Store& store, Engine& engine, Sessions& sessions, OsdTable& osds, Service& service, Moves& moves)
      : store_(store), engine_(engine), sessions_(sessions), osds_(osds), service_(service), moves_(moves) {}
  /// The file gets or loses copies until there are so many. Throws CodedError.
  void set_count(uint64_t file, size_t copies);
  /// One copy more, of which the first stripes are at this OSD. Throws CodedError.
  void add(uint64_t file, const std::string& osd);
  /// The copy with something at this OSD goes. Throws CodedError.
  void drop(uint64_t file, const std::string& osd);
  std::vector<Copy> copies(uint64_t file) const;
  Progress progress(uint64_t file) const;
  uint64_t repaired() const;
  /// Told of objects of files with write replicas that have blocks which cannot be read.
  std::function<void(uint64_t file, uint16_t osd)> suspect;
  /// Never returns.
  [[noreturn]] void run();

 private:
  /// The row of a file.
  struct Work {
    bool fenced = false;           ///< the first copy, against writers of before
    int64_t dropping_since_ms = 0;
    std::vector<uint16_t> dropping;
  };
  static Work decode(std::string_view row);
  static std::string encode(const Work& work);
  bool load(uint64_t file, Inode& i, Work& work) const;
  std::vector<Copy> copies(const Inode& i, const Work& work) const;
  void add_copies(uint64_t file, std::vector<std::string> first, size_t more);
  void drop_copies(uint64_t file, const std::vector<size_t>& which);
  std::vector<uint16_t> choose(const Inode& i, const std::string& first) const;
  bool undo_if_written(uint64_t file);
  void wake();
  int advance(uint64_t file);
  int fence_first(const Inode& i);
  int fence_dropped(const Inode& i, const Work& work);
  int make(const Inode& i, const Copy& copy);
  void note(uint64_t file, int error);
  void repair(const Osd& osd);
  bool repair_block(uint64_t file, uint64_t block, uint16_t osd);
  int call(uint16_t osd, uint16_t type, const Inode& i, uint8_t rights, const Writer& arguments, RpcClient::Answer& answer) const;

  Store& store_;
  Engine& engine_;
  Sessions& sessions_;
  OsdTable& osds_;
  Service& service_;
  Moves& moves_;
  mutable std::mutex mutex_;
  std::condition_variable wanted_;
  bool wake_ = true;
  std::map<uint64_t, Progress> progress_;  // of files with work left
  uint64_t repaired_ = 0;
};

}  // namespace xos::fs::metadata
