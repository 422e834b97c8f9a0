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
  /// Starts CRIU. `inherited` descriptors keep their numbers in it (for inherit_fd); directories are opened by CRIU itself through
  /// /proc/<our pid>/fd and need not be among them. Everything else of ours is closed in it.
  static std::variant<std::unique_ptr<Swrk>, Failure> start(const std::vector<int>& inherited);
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

}  // namespace xos::checkpoint
