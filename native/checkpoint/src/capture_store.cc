// The second half of a capture: the memory of the clones is read and stored beside what CRIU stored itself, while the tree runs.
#include "capture.h"
#include "crc32c.h"
#include "pagemap.h"
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>

namespace xos::checkpoint {
namespace {

constexpr const char* cannot_write = "it cannot be written";

/// A memory image that is being written: blocks of 1 MiB, summed.
class Output {
 public:
  Output(int directory_fd, const std::string& name)
      : file_(openat(directory_fd, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)), sum_{.name = name} {
    // A third less work, and nobody here reads it again soon. Where it cannot be had (EINVAL) the page cache is taken; memory comes in whole pages.
    if (file_) fcntl(file_.get(), F_SETFL, O_DIRECT);
  }
  /// Room for the next piece, at most `wanted` bytes.
  std::pair<char*, size_t> room(uint64_t wanted) {
    return {block_.get() + filled_, static_cast<size_t>(std::min<uint64_t>(wanted, block_bytes - filled_))};
  }
  bool add(size_t bytes) {
    filled_ += bytes;
    return filled_ < block_bytes || flush();
  }
  bool finish(uid_t uid, gid_t gid, bool sync) {
    if (!file_ || !flush()) return false;
    // close() reports what a network file system could not store (close(2)).
    return fchown(file_.get(), uid, gid) == 0 && (!sync || fsync(file_.get()) == 0) && close(file_.release()) == 0;
  }
  const ImageFile& sum() const { return sum_; }

 private:
  bool flush() {
    sum_.crc32c = crc32c(sum_.crc32c, block_.get(), filled_);
    sum_.size += filled_;
    const bool stored = file_ && writeAll(file_.get(), block_.get(), filled_);
    filled_ = 0;
    return stored;
  }
  Fd file_;
  ImageFile sum_;
  struct Free { void operator()(char* block) const { std::free(block); } };
  std::unique_ptr<char, Free> block_{static_cast<char*>(std::aligned_alloc(page_bytes, block_bytes))};
  size_t filled_ = 0;
};

/// Where the pages of a run come from: CRIU's image or the clone. Of a clone /proc/PID/mem is read: process_vm_readv(2) pins the pages, and for that
/// the kernel makes the clone a copy of its own of each one that it still shares (Linux, gup_must_unshare).
class Source {
 public:
  Source(int image, pid_t clone) : image_(image), memory_(clone > 0 ? open(("/proc/" + std::to_string(clone) + "/mem").c_str(), O_RDONLY | O_CLOEXEC) : -1) {}
  /// Reads `bytes` of the run at `address`. 0: they are not there; negative: errno is set.
  ssize_t read(bool from_clone, uint64_t address, char* to, size_t bytes) const {
    ssize_t got;
    do got = from_clone ? pread(memory_.get(), to, bytes, static_cast<off_t>(address)) : ::read(image_, to, bytes);
    while (got < 0 && errno == EINTR);
    return got;
  }

 private:
  int image_;
  Fd memory_;
};

/// Copies what `pagemap` lists, in its order. Empty, or why not.
std::string copy(const Pagemap& pagemap, const Source& source, Output& output, std::atomic<uint64_t>& count, const std::atomic<bool>& abort) {
  for (auto& run : pagemap.runs) {
    uint64_t at = run.start;
    const uint64_t end = run.start + run.pages * page_bytes;
    while (at < end) {
      if (abort) return "it was given up";
      auto [to, bytes] = output.room(end - at);
      const ssize_t got = source.read(run.in_clone, at, to, bytes);
      if (got <= 0 && run.in_clone) return std::string("the clone of a process is gone or cannot be read: ") + std::strerror(got ? errno : ESRCH);
      if (got <= 0) return "CRIU's memory image is shorter than it says";
      at += static_cast<uint64_t>(got);
      count += static_cast<uint64_t>(got);
      if (!output.add(static_cast<size_t>(got))) return cannot_write;
    }
  }
  return "";
}

std::string contentOf(int directory_fd, const std::string& name) {
  Fd file(openat(directory_fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  return file ? readFile("/proc/self/fd/" + std::to_string(file.get()), 1u << 30) : "";
}

bool replaceContent(int directory_fd, const std::string& name, const std::string& bytes) {
  Fd file(openat(directory_fd, name.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW));
  return file && writeAll(file.get(), bytes.data(), bytes.size());
}

}  // namespace

std::string Capture::store(int scratch_fd, int directory_fd, uid_t uid, gid_t gid, bool sync, std::vector<ImageFile>& files,
                           std::string& failed_name, std::atomic<uint64_t>& count, const std::atomic<bool>& abort) const {
  auto keep = [&](const std::string& name, const Pagemap& pagemap, pid_t clone) -> std::string {
    Fd stored(openat(scratch_fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    Output output(directory_fd, name);
    std::string why = copy(pagemap, Source(stored.get(), clone), output, count, abort);
    if (why.empty() && !output.finish(uid, gid, sync)) why = cannot_write;
    if (why == cannot_write) failed_name = name;
    if (why.empty()) files.push_back(output.sum());
    unlinkat(scratch_fd, name.c_str(), 0);
    return why;
  };
  for (auto& [pid, captured] : captured_) {
    const std::string name = "pagemap-" + std::to_string(pid) + ".img";
    auto stored = decodePagemap(contentOf(scratch_fd, name));
    auto merged = stored ? mergePagemap(*stored, captured.ranges) : std::nullopt;
    if (!merged) return "CRIU's image '" + name + "' is not understood";
    std::string why = keep("pages-" + std::to_string(merged->pages_id) + ".img", *merged, captured.clone);
    if (!why.empty()) return why;
    if (!replaceContent(scratch_fd, name, encodePagemap(*merged))) return "CRIU's image '" + name + "' cannot be written";
  }
  // What CRIU stored all by itself: small processes, shared memory.
  for (auto& name : filesIn(scratch_fd)) {
    struct stat status;
    if (!isMemoryImage(name) || fstatat(scratch_fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) continue;
    const auto pages = static_cast<uint64_t>(status.st_size) / page_bytes;
    std::string why = keep(name, {.runs = {{.start = 0, .pages = pages}}}, 0);
    if (!why.empty()) return why;
  }
  return "";
}

}  // namespace xos::checkpoint
