// Objects (file id, stripe) on a local directory.
//
// Stripe 0 of file 0x1234 is objects/00/0012/0000000000001234, stripe n (hex) is …0000000000001234.d/n: a small file costs one
// directory entry, 256 neighbouring files share a directory, and a file's stripes are found without an index. Emptied files wait in free/
// to be used again: ext4 does not give an inode out for a minute or more after it was freed, and searches past all of those.
#pragma once
#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace xos::fs {

struct Extent {
  uint64_t stripe_end = 0;
  uint32_t last_bytes = 0;
  int64_t mtime_ns = 0;
  uint64_t disk_bytes = 0;
};

struct Space {
  uint64_t total_bytes = 0, free_bytes = 0, objects = 0;
};

/// Thread-safe. Every call returns 0 (or a byte count) or -errno. What write returned survives the death of the process;
/// what sync returned survives the death of the machine.
class ObjectStore {
 public:
  /// Throws std::runtime_error when the directory cannot be made.
  explicit ObjectStore(std::string directory, size_t files_max = 400);
  ~ObjectStore();

  /// Bytes read; fewer than asked where the object ends (0 when there is none).
  int64_t read(uint64_t file, uint64_t stripe, uint32_t offset, void* data, uint32_t bytes);
  int write(uint64_t file, uint64_t stripe, uint32_t offset, const void* data, uint32_t bytes, Extent& extent);
  /// Writes at the end of a file of which all stripes live here; may cross stripes.
  int append(uint64_t file, uint32_t stripe_bytes, const void* data, uint32_t bytes, uint64_t& offset, Extent& extent);
  int extent(uint64_t file, Extent& extent);
  /// Cuts or extends the stripes held here (those with stripe mod width == index) to what a file of `size` bytes has.
  int truncate(uint64_t file, uint32_t stripe_bytes, uint16_t width, uint16_t index, uint64_t size, Extent& extent);
  int allocate(uint64_t file, uint64_t stripe, uint32_t offset, uint32_t bytes, Extent& extent);
  int remove(uint64_t file);
  int sync(uint64_t file);
  /// Hands out the next `bytes` behind max(`seen_size`, what was handed out): appends to striped files, on their first OSD.
  int reserve(uint64_t file, uint64_t seen_size, uint32_t bytes, uint64_t& offset);
  /// Refuses epochs below the highest seen (in this run) for the file.
  bool admit_epoch(uint64_t file, uint32_t epoch);
  Space space() const;

 private:
  struct File;
  using FilePtr = std::shared_ptr<File>;
  FilePtr get(uint64_t file);
  int load(File& f);
  int open_object(File& f, uint64_t stripe, bool create, int& fd);
  int write_locked(File& f, uint64_t stripe, uint32_t offset, const void* data, uint32_t bytes);
  void fill(File& f, Extent& extent);
  std::string base_path(uint64_t file) const;
  std::string object_path(uint64_t file, uint64_t stripe) const;
  int drop_stripes(File& f, uint64_t first);
  uint64_t count_objects() const;
  void load_spares();
  int discard(const std::string& path);
  bool take_spare(const std::string& path);

  std::string directory_;
  size_t files_max_;
  std::mutex mutex_;
  std::list<uint64_t> recent_;
  std::unordered_map<uint64_t, std::pair<FilePtr, std::list<uint64_t>::iterator>> files_;
  std::atomic<uint64_t> objects_{0};
  std::mutex spares_mutex_;
  std::vector<std::string> spares_;
  uint64_t next_spare_ = 0;
};

}  // namespace xos::fs
