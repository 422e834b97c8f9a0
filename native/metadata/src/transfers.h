// Dumps and restores that are under way: the other end takes or gives a piece at a time, so that nothing is kept in memory and nobody is flooded.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "json.h"
#include "volume_dump.h"
#include "volume_restore.h"

namespace xos::fs::metadata {

struct Mrc;

class Transfers {
 public:
  static constexpr size_t transfers_max = 4;
  static constexpr int64_t idle_ms = 60000;  ///< one whose other end is silent for so long is given up
  /// `directory`: where a dump that comes in is kept until it is whole.
  explicit Transfers(std::string directory) : directory_(std::move(directory)) {}
  static bool knows(const std::string& op);
  /// dump-begin {volume} → {transfer}; dump-read {transfer} → {data, end}; restore-begin {} → {transfer}; restore-write {transfer, data} → {};
  /// restore-commit {transfer, volume, incomplete?} → {inodes, names, bytes, empty}; transfer-end {transfer} → {}. `data` is in base64.
  nlohmann::json answer(Mrc& mrc, const std::string& op, const nlohmann::json& request);
  /// Gives up what is idle.
  void purge();

 private:
  struct Transfer {
    std::unique_ptr<VolumeDump> dump;
    std::unique_ptr<VolumeRestore> restore;
    int64_t used_ms = 0;
  };
  Transfer& find(uint64_t id, bool dump);
  uint64_t add(Transfer transfer);
  nlohmann::json begin_dump(Mrc& mrc, const std::string& volume);
  nlohmann::json commit(Mrc& mrc, VolumeRestore& restore, const std::string& volume, bool incomplete);

  const std::string directory_;
  std::mutex mutex_;
  std::map<uint64_t, Transfer> transfers_;
  uint64_t next_ = 1;
};

}  // namespace xos::fs::metadata
