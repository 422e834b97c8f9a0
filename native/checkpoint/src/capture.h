// Copy-on-write capture: the tree stands still only while it is cloned, its memory is stored from the clones while it runs on.
//
// The clones are made by a library in CRIU's process (native/checkpoint/shim), are its tracees and die with it. See
// docs/decisions/0028-copy-on-write-capture.md.
#pragma once
#include "fd.h"
#include "images.h"
#include "tree.h"
#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace xos::checkpoint {

/// Why a tree is better (or only) stored while it stands still; empty: a capture pays, there are `bytes_min` to clone.
std::string whyPlain(const std::vector<Process>& tree, uint64_t bytes_min);
/// Whether the library was tried with this CRIU.
bool captureKnows(int major, int minor, int sublevel);

class Capture {
 public:
  /// `shim` is the library. Throws std::system_error when it is not there or no descriptors are to be had.
  explicit Capture(const std::string& shim);
  /// For Swrk::start.
  std::vector<int> inherited() const { return {report_.get(), hold_read_.get()}; }
  std::vector<std::string> environment() const;

  /// Reads what was captured, after CRIU's answer. False with errno set.
  bool readReport();
  bool empty() const { return captured_.empty(); }
  /// Why a process could not be cloned; empty: none was refused. CRIU's dump has failed for it.
  std::string refusal() const { return refusal_; }

  /// Completes CRIU's images in `scratch_fd` and stores all memory in `directory_fd`, as MemoryImages::finish does; `count` goes along, and
  /// becoming true `abort` ends it. Empty, or why it failed, with errno set when that was the file `failed_name`.
  std::string store(int scratch_fd, int directory_fd, uid_t uid, gid_t gid, bool sync, std::vector<ImageFile>& files, std::string& failed_name,
                    std::atomic<uint64_t>& count, const std::atomic<bool>& abort) const;

  /// Lets CRIU end, and the clones with it.
  void letGo() { hold_write_.reset(); }
  /// After CRIU has ended, also by a signal: sees to it that nothing of the clones is left below `root_pid`. `before` are the processes
  /// that were there before.
  void reap(const std::vector<Process>& before);

 private:
  struct Captured {
    pid_t clone = 0;
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
  };
  std::string shim_, refusal_;
  Fd report_, hold_read_, hold_write_;
  std::map<pid_t, Captured> captured_;
};

/// Has `parent`, which is stopped for it for some microseconds, take the status of its dead child `child` that has no exit signal. False
/// when it could not (it is being traced, waits in the kernel); then the child stays a zombie until `parent` ends.
bool reapIn(pid_t parent, pid_t child);

}  // namespace xos::checkpoint
