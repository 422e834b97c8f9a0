// A `criu swrk` child: one request, its notifications, its log.
#pragma once
#include "engine.h"
#include "fd.h"
#include "rpc.h"
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace xos::checkpoint {

class Swrk {
 public:
  /// Which System V objects CRIU takes for its own surroundings: what is not its own belongs to the tree, and is dumped.
  enum class Ipc { shared, own };
  /// Starts CRIU. `inherited` descriptors keep their numbers in it (for inherit_fd); directories are opened by CRIU itself through
  /// /proc/<our pid>/fd and need not be among them. Everything else of ours is closed in it. `environment` ("NAME=value") is added to its own.
  static std::variant<std::unique_ptr<Swrk>, Failure> start(const std::vector<int>& inherited, const std::vector<std::string>& environment = {},
                                                            Ipc ipc = Ipc::shared);
  ~Swrk();  ///< kills and reaps a CRIU that is still there
  Swrk(const Swrk&) = delete;

  bool send(const std::string& message);

  struct Message {
    rpc::Response response;
    Fd fd;  ///< passed along (orphan-pts-master)
  };
  enum class End { timed_out, closed, malformed };
  std::variant<Message, End> receive(int timeout_ms);

  /// Waits until CRIU has ended by itself, then kills it.
  void finish(int timeout_ms);
  /// Last lines of what CRIU logged, at most `bytes_max`.
  std::string logTail(size_t bytes_max = 16384) const;

 private:
  Swrk() = default;
  pid_t pid_ = -1;
  Fd socket_, log_, alive_;  ///< alive_: a pidfd, readable when CRIU has ended
};

/// Ends what a CRIU that was killed left to this process (pid 1): CRIU tries out ptrace on a fork that sleeps for ever, and may have made a
/// clone of the root process that it had no time to tell of. What a job leaves goes to its root process `root_pid`, a subreaper, so no other
/// child of ours is anybody's.
void endOrphans(pid_t root_pid);

}  // namespace xos::checkpoint
