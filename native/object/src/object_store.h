// Objects on the local disk. Knows nothing of networks or of other OSDs.
//
// What this OSD holds of a file is one file on its disk: its stripes one behind the other (stripe.h), so that offsets here are offsets in
// that. File 0x1234 is objects/00/0012/0000000000001234: a small file costs one directory entry, 256 neighbouring files share a directory.
// Checksums: block_sums.h. Emptied files wait in free/ to be used again: ext4 does not give an inode out for a minute or more after it was
// freed, and searches past all of those.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "block_sums.h"
#include "fences.h"

namespace xos::fs {

/// State of a file's object. `bytes` is its length, with holes.
struct Extent {
  uint64_t bytes = 0;
  int64_t mtime_ns = 0;
  uint64_t disk_bytes = 0;
};

struct Space {
  uint64_t total_bytes = 0, free_bytes = 0, objects = 0;
};

enum class Allocate : uint8_t { extend = 0, keep_size = 1, punch = 2, zero = 3, zero_keep_size = 4 };

/// Not what digest() says of any data.
inline constexpr uint64_t digest_unreadable = ~0ull;

/// Longest object: what an OSD is asked for beyond it is EFBIG.
inline constexpr uint64_t object_bytes_max = uint64_t{1} << 43;

/// Thread-safe. Every call returns 0 (or a byte count) or -errno. What write returned survives the death of the process;
/// what sync returned survives the death of the machine. A block whose checksum is wrong is EIO, with a log line, and never data.
class ObjectStore {
 public:
  /// Throws std::runtime_error when the directory cannot be made.
  explicit ObjectStore(std::string directory, size_t files_max = 400);
  ~ObjectStore();

  /// Bytes read; fewer than asked where the object ends (0 when there is none). `sums`: those of the parts (data_sums.h).
  int64_t read(uint64_t file, uint64_t offset, void* data, uint32_t bytes, std::vector<uint32_t>* sums = nullptr);
  /// `sums`: of the parts, when they are known already and right.
  int write(uint64_t file, uint64_t offset, const void* data, uint32_t bytes, Extent& extent, const uint32_t* sums = nullptr);
  /// Writes at the end of an object that is the whole file.
  int append(uint64_t file, const void* data, uint32_t bytes, uint64_t& offset, Extent& extent);
  int extent(uint64_t file, Extent& extent);
  int truncate(uint64_t file, uint64_t bytes, Extent& extent);
  int allocate(uint64_t file, Allocate mode, uint64_t offset, uint64_t bytes, Extent& extent);
  /// Start of the next data or hole (the end is one) at or behind `offset`; ENXIO when there is none.
  int seek(uint64_t file, uint64_t offset, bool hole, uint64_t& found);
  /// What `count` blocks from `first` on hold, to be compared with those of another copy: by their checksums, or with `read` by the data, of which a
  /// block that cannot be read has digest_unreadable. Fewer where the object ends.
  int digest(uint64_t file, uint64_t first, uint32_t count, bool read, std::vector<uint64_t>& digests);
  int remove(uint64_t file);
  int sync(uint64_t file);
  /// Hands out the next `bytes` behind max(`seen_size`, what was handed out): appends to striped files, on their first OSD.
  int reserve(uint64_t file, uint64_t seen_size, uint32_t bytes, uint64_t& offset);
  /// While it is kept, no fence comes down before the file.
  struct Admission {
    std::shared_ptr<void> file;
    std::shared_lock<std::shared_mutex> open;
    explicit operator bool() const { return open.owns_lock(); }
  };
  /// False for an epoch below the highest seen (in this run, or of a fence) for the file.
  Admission admit(uint64_t file, uint32_t epoch);
  bool admit_epoch(uint64_t file, uint32_t epoch) { return static_cast<bool>(admit(file, epoch)); }
  struct Fenced {
    bool open_elsewhere = false;  ///< somebody has the object itself, by lend()
    bool lent_to_write = false;   ///< ... and perhaps writes to it
    uint64_t reserved_end = 0;
    Extent extent;
  };
  /// From now on, and over a restart, rights below `epoch` are refused; nothing that was admitted by one is under way any more. ESTALE for
  /// an epoch that is too old itself.
  int fence(uint64_t file, uint32_t epoch, int64_t until_ms, Fenced& fenced);
  Space space() const;

  /// A descriptor of the object for a process of this machine that works on it directly; the caller closes it. With `write` the checksums
  /// are given up until nobody has it open any more. EAGAIN when nobody has looked at all of it for a week: read it through the store.
  int lend(uint64_t file, bool write, int& fd);

  /// Verifies all blocks, or sums a loose object that is at rest. `pause` is called with the bytes of each piece and
  /// returns false to give up (-ECANCELED). EAGAIN when it is being written, EIO when a block is corrupt (all of them are looked at).
  int scrub(uint64_t file, const std::function<bool(uint32_t)>& pause);
  /// Seals files that are at rest, and sums those of them that are loose. What is in use is left for later.
  void rest(const std::vector<uint64_t>& files, const std::function<bool(uint32_t)>& pause);
  /// Files that wait for that and were not written for `idle_ms`.
  std::vector<uint64_t> unsealed(int64_t idle_ms);
  /// Calls `each` with every file that has an object here, until it returns false.
  void for_each_file(const std::function<bool(uint64_t)>& each) const;
  struct Listed {
    uint64_t file = 0, disk_bytes = 0;
    int64_t age_ms = 0;  ///< since its last change
  };
  /// At most `max` objects in the order of their numbers, beginning with `from`. `end`: there are none behind them.
  std::vector<Listed> list(uint64_t from, size_t max, bool& end) const;
  struct Corrupt {
    uint64_t file, block;
  };
  std::vector<Corrupt> corrupt() const;
  struct Counts {
    uint64_t corrupt_found = 0, corrupt_mended = 0, open_files = 0;
  };
  Counts counts() const;

 private:
  struct File;
  using FilePtr = std::shared_ptr<File>;
  FilePtr get(uint64_t file);
  void forget_intent(File& f);
  int load(File& f);
  int make(File& f);
  int ready(File& f, std::shared_lock<std::shared_mutex>& lock);
  void recover(File& f);
  int verified_block(File& f, uint64_t block, uint64_t size, char* data);
  int verify(File& f, uint64_t first, const char* data, uint64_t bytes);
  int64_t given_sums(File& f, uint64_t offset, std::string_view data, std::vector<uint32_t>& sums);
  int damaged(File& f, uint64_t block, const char* what);
  int resum(File& f, uint64_t first, uint64_t count, bool last = true);
  int64_t read_shared(const FilePtr& f, uint64_t offset, void* data, uint32_t bytes, std::vector<uint32_t>* sums);
  void distrust(File& f);
  int write_locked(File& f, uint64_t offset, const char* data, uint32_t bytes, const uint32_t* known);
  int write_summed(File& f, uint64_t offset, const char* data, uint32_t bytes, uint64_t size, const uint32_t* known);
  int truncate_summed(File& f, uint64_t bytes, uint64_t size);
  int punch_summed(File& f, uint64_t offset, uint64_t bytes, uint64_t size);
  int scrub_pieces(File& f, const std::function<bool(uint32_t)>& pause);
  struct Resting {
    FilePtr file;
    uint64_t changes;
    int64_t mtime_ns;
  };
  bool begin_seal(Resting& r);
  int end_seal(Resting& r);
  int seal(const FilePtr& f);
  void seal_all(std::vector<Resting>& files);
  void changed(File& f);
  void fill(File& f, Extent& extent);
  std::string base_path(uint64_t file) const;
  uint64_t count_objects();
  void load_spares();
  int discard(const std::string& path, bool reuse);
  bool take_spare(const std::string& path);

  std::string directory_;
  size_t files_max_;
  bool old_layout_ = false;
  SumDirectories sums_;
  std::unique_ptr<Fences> fences_;
  mutable std::mutex mutex_;
  std::list<uint64_t> recent_;
  std::unordered_map<uint64_t, std::pair<FilePtr, std::list<uint64_t>::iterator>> files_;
  std::atomic<uint64_t> objects_{0};
  std::mutex spares_mutex_;
  std::vector<std::string> spares_;
  uint64_t next_spare_ = 0;
  mutable std::mutex care_mutex_;  // a leaf: guards what is below
  std::set<std::pair<uint64_t, uint64_t>> corrupt_;
  uint64_t corrupt_found_ = 0, corrupt_mended_ = 0;
  std::unordered_map<uint64_t, int64_t> unsealed_;  // file -> time of the last change, monotonic ms
};

}  // namespace xos::fs
