// The image files of a checkpoint: their checksums while CRIU writes them, their verification before a restore, their removal.
#pragma once
#include "fd.h"
#include "manifest.h"
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace xos::checkpoint {

/// Sums memory images (pages-*.img) in a thread of its own while CRIU appends to them, so that at the end of the dump little is left to
/// read: the bytes come from the page cache on the other processor. Only whole blocks are read before finish(): CRIU may still be
/// writing the last one.
class ImageSummer {
 public:
  /// `directory_fd` stays the caller's and must outlive the object.
  explicit ImageSummer(int directory_fd);
  ~ImageSummer();
  /// Bytes of memory images seen so far.
  uint64_t bytesSeen() const { return bytes_seen_; }
  /// CRIU is done: sums the rest, gives the files to `uid`:`gid` and, with `sync`, to the disk.
  /// False with errno set; `failed_name` tells the file.
  bool finish(uid_t uid, gid_t gid, bool sync, std::vector<ImageFile>& files, std::string& failed_name);

 private:
  struct Partial {
    uint64_t size = 0;
    uint32_t crc = 0;
  };
  void follow();
  void followOnce(std::vector<char>& block);
  int directory_fd_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> bytes_seen_{0};
  std::map<std::string, Partial> partial_;  ///< the thread's; the caller's after join
  std::thread thread_;
};

/// Names of the regular files in a directory, sorted.
std::vector<std::string> filesIn(int directory_fd);

/// Compares size and checksum of `files` with the disk. Empty when all are as they were; else what is wrong, for the user.
/// `read_bytes` counts along; gives up early (answering "") when `abort` becomes true.
std::string verifyImages(int directory_fd, const std::vector<ImageFile>& files, std::atomic<uint64_t>& read_bytes,
                         const std::atomic<bool>& abort);
/// Only the sizes: cheap, finds truncation.
std::string verifySizes(int directory_fd, const Manifest& manifest);

/// Makes links in `scratch_fd` (CRIU's images directory, our tmpfs) so that the memory images 1 … count are written to, or read from,
/// `directory_fd`: CRIU opens them through /proc/<our pid>/fd, whatever happens to the path meanwhile.
bool linkMemoryImages(int scratch_fd, int directory_fd, int count);
/// The same for a restore: each of `files` is opened here, without following links, and linked under its name. `open_files` must live
/// until CRIU is done. False with errno set.
bool linkMemoryImages(int scratch_fd, int directory_fd, const std::vector<ImageFile>& files, std::vector<Fd>& open_files);

/// Writes all regular files of `scratch_fd` but CRIU's statistics into one file of `directory_fd` (pack_name), owned by uid:gid.
/// False with errno set.
bool packImages(int scratch_fd, int directory_fd, uid_t uid, gid_t gid, bool sync, Pack& pack);
/// Reads the pack, compares it with the manifest and writes its files into `scratch_fd`. Returns what is wrong, or "".
std::string unpackImages(int directory_fd, const Pack& pack, int scratch_fd);

/// Removes the directory's files and, when it is then empty, itself. `manifest` goes first: what is half removed does not exist.
/// `directory_fd` is `name` in `parent_fd`.
void removeImages(int directory_fd, int parent_fd, const std::string& name);

}  // namespace xos::checkpoint
