// Checksums of the blocks of objects: CRC32C of each 4 KiB, a short last block counted as filled with zeros.
//
// On the disk: `sums` in a directory of 256 files has a slot for each of them, with its state and the checksums of the first blocks, so that a
// small file costs no inode more; `<file>.c` has those of the blocks behind. A checksum is stored xor that of a block of zeros: what a sparse
// file holds where nothing was written (0) is right for a hole.
//
// Order of a write: slot with the intent (which blocks) and the new sums, sums behind the slot, data. A process that is killed in between leaves
// an intent, and the blocks it names are summed afresh by the next one. After a loss of power the pages reached the disk in any order: unless
// the slot was sealed (data and sums synced, and the data's mtime is still the one of then) the whole file is loose and will be summed afresh.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "data_sums.h"
#include "unique_fd.h"

namespace xos::fs {

enum class SumState : uint8_t {
  none = 0,    ///< no object, or one of a version that had no checksums
  summed = 1,  ///< every read is verified
  loose = 2,   ///< written past this service (a local client) or before a loss of power: summed when it is at rest
};

#pragma pack(push, 1)
struct SumSlot {
  static constexpr uint64_t inline_blocks = 20;
  SumState state = SumState::none;
  uint8_t reserved[3] = {};
  uint32_t check = 0;  ///< CRC32C of the slot with 0 here
  uint64_t intent_first = 0, intent_count = 0;
  uint64_t era = 0;             ///< boot of the machine in which it was last written
  int64_t sealed_mtime_ns = 0;  ///< of the data, when data and sums were last synced together; 0: written since
  int64_t verified_ms = 0;      ///< when all blocks were last known to be right (1970)
  uint32_t sums[inline_blocks] = {};
};
#pragma pack(pop)
static_assert(sizeof(SumSlot) == 128);

/// Identifies this boot of the machine; never 0.
uint64_t boot_era();

/// The `sums` files of all directories, the recently used ones open. Thread-safe.
class SumDirectories {
 public:
  using Handle = std::shared_ptr<unique_fd>;
  /// Null when it is not there and `create` is false, or cannot be opened (`error` is -errno).
  Handle open(const std::string& directory, bool create, int& error);

 private:
  static constexpr size_t open_max = 128;
  std::mutex mutex_;
  std::list<std::string> recent_;
  std::unordered_map<std::string, std::pair<Handle, std::list<std::string>::iterator>> open_;
};

/// Checksums of one file. Callers hold the file's lock (shared for load of sums, alone for changes). Calls return 0 or -errno.
class FileSums {
 public:
  /// `base` is the path of the data; `index` the slot's number in the directory.
  FileSums(SumDirectories& directories, std::string base, unsigned index) : directories_(directories), base_(std::move(base)), index_(index) {}
  /// Reads the slot; `damaged` tells that it was there and is not whole (it counts as none then).
  int load(bool& damaged);
  int save();
  /// Of `count` blocks from `first` on.
  int get(uint64_t first, size_t count, uint32_t* sums);
  /// Sums in the slot are changed in memory only: save() brings them to the disk.
  int put(uint64_t first, size_t count, const uint32_t* sums);
  /// Blocks from `blocks` on are holes now.
  int cut(uint64_t blocks);
  int clear(uint64_t first, uint64_t count);
  int sync();
  /// Forgets everything: there is no object any more.
  int remove();
  SumSlot slot;

 private:
  int behind(bool create);
  SumDirectories& directories_;
  const std::string base_;
  const unsigned index_;
  SumDirectories::Handle page_;
  std::mutex behind_mutex_;
  unique_fd behind_;
  bool behind_missing_ = false;
};

}  // namespace xos::fs
