// What dump and restore have in common: the clock, the scratch directory, the conversation with CRIU.
#pragma once
#include "engine.h"
#include "swrk.h"
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <variant>

namespace xos::checkpoint {

class Stopwatch {
 public:
  uint32_t elapsedMs() const {
    return static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin_).count());
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// A tmpfs of our own that is mounted nowhere: CRIU's working directory, for its statistics. -1 with errno when the kernel cannot.
Fd makeScratch();

struct Conversation {
  Swrk& criu;
  const char* what;  ///< "take a checkpoint of job 'n1-42'"
  int timeout_ms;
  std::function<void()> idle;  ///< called at least every 50 ms
  /// Answers a notification; a failure makes CRIU undo what it did. `fd` may be taken.
  std::function<std::optional<Failure>(const rpc::Response& notification, Fd& fd)> notified;
};

/// Sends `request` and serves notifications until CRIU's final answer. A failure of ours (from `notified`) wins over CRIU's.
std::variant<rpc::Response, Failure> converse(Conversation& conversation, const std::string& request);

/// The lines of CRIU's log that say what went wrong, in one line: for the message.
std::string errorLines(const std::string& log);

}  // namespace xos::checkpoint
