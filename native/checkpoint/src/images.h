// The image files of a checkpoint: how they are stored while CRIU makes them, their verification before a restore, their removal.
#pragma once
#include "fd.h"
#include "manifest.h"
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace xos::checkpoint {

/// Stores memory images (pages-*.img) while CRIU makes them. CRIU is given FIFOs under these names: it splices the pages of the frozen
/// processes into them, without a copy. One thread of ours reads them into blocks of 1 MiB, another one sums and writes those: CRIU waits for the
/// volume only when `waiting_bytes_max` are on their way to it. Nothing has to be read back for the checksum, and a network file system sees
/// writes of 1 MiB where CRIU alone would make them of 64 KiB.
class MemoryImages {
 public:
  static constexpr size_t waiting_bytes_max = 64u << 20;
  /// Makes `count` FIFOs in `scratch_fd`, CRIU's images directory; files go to `directory_fd`. Both stay the caller's and must outlive
  /// the object. Throws std::system_error.
  MemoryImages(int scratch_fd, int directory_fd, int count);
  ~MemoryImages();
  /// Bytes of memory so far.
  uint64_t bytesSeen() const { return bytes_seen_; }
  /// CRIU has written all: takes the rest out of the FIFOs. Until then their pages are those of the processes, which must not run before.
  void collect();
  /// After collect(): stores the rest, gives the files to `uid`:`gid` and, with `sync`, to the disk. Becoming true `abort` ends it early.
  /// False with errno set (also for what failed earlier; ECANCELED: `abort`); `failed_name` tells the file.
  bool finish(uid_t uid, gid_t gid, bool sync, std::vector<ImageFile>& files, std::string& failed_name, const std::atomic<bool>& abort);

 private:
  struct Image {
    std::string name;
    Fd fifo, file = {};
    bool widened = false;
    std::unique_ptr<char[]> block = {};  ///< of 1 MiB, once something came; the first `filled` bytes are not yet handed on
    size_t filled = 0;
    uint64_t size = 0;
    uint32_t crc = 0;
  };
  struct Block {
    Image* image;
    std::unique_ptr<char[]> bytes;
    size_t filled;
  };
  void follow();
  void drain(Image& image);
  std::unique_ptr<char[]> freshBlock();
  void handOn(Image& image);
  void storeAll();
  void store(Block& block);
  void stopReading();
  void stopStoring();
  int directory_fd_;
  Fd wake_;  ///< eventfd
  std::atomic<bool> stop_{false}, dropping_{false};
  std::atomic<uint64_t> bytes_seen_{0};
  std::vector<Image> images_;  ///< what is read is the reader's until stopReading(); file, size and crc are the writer's until stopStoring()
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Block> waiting_;  ///< under mutex_, and so are the next two
  std::vector<std::unique_ptr<char[]>> spare_;
  bool no_more_ = false;
  int error_ = 0;
  std::string failed_name_;
  std::thread reader_, writer_;
};

/// Whether a name is one of memory, pages-N.img.
bool isMemoryImage(const std::string& name);

/// Names of the regular files in a directory, sorted.
std::vector<std::string> filesIn(int directory_fd);

/// Compares size and checksum of `files` with the disk. Empty when all are as they were; else what is wrong, for the user.
/// `read_bytes` counts along; gives up early (answering "") when `abort` becomes true.
std::string verifyImages(int directory_fd, const std::vector<ImageFile>& files, std::atomic<uint64_t>& read_bytes,
                         const std::atomic<bool>& abort);
/// Only the sizes: cheap, finds truncation.
std::string verifySizes(int directory_fd, const Manifest& manifest);

/// Makes links in `scratch_fd` (CRIU's images directory, our tmpfs) under the names of `files`, each of which is opened here without
/// following links: whatever happens to the path meanwhile, CRIU reads what is verified. `open_files` must live until CRIU is done.
/// False with errno set.
bool linkMemoryImages(int scratch_fd, int directory_fd, const std::vector<ImageFile>& files, std::vector<Fd>& open_files);

/// Writes all regular files of `scratch_fd` but CRIU's statistics into one file of `directory_fd` (pack_name), owned by uid:gid.
/// False with errno set.
bool packImages(int scratch_fd, int directory_fd, uid_t uid, gid_t gid, bool sync, Pack& pack);
/// Reads the pack and compares it with the manifest. Returns what is wrong, or "".
std::string readPack(int directory_fd, const Pack& pack, std::string& bytes);
/// Writes the files of a pack that was read into a directory that has none of them. False with errno set.
bool splitPack(const std::string& bytes, const Pack& pack, int directory_fd);
/// Both: the pack's files in `scratch_fd`. Returns what is wrong, or "".
std::string unpackImages(int directory_fd, const Pack& pack, int scratch_fd);

/// Removes the directory's files and, when it is then empty, itself. `manifest` goes first: what is half removed does not exist.
/// `directory_fd` is `name` in `parent_fd`.
void removeImages(int directory_fd, int parent_fd, const std::string& name);

}  // namespace xos::checkpoint
