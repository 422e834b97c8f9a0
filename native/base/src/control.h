// Control socket of a native daemon: JSON lines over a Unix stream socket, served by one thread of its own.
//
// Request {"id":1,"op":"name",…}; answer {"id":1,"ok":true,…} or {"id":1,"ok":false,"error":{"code","message"}};
// events {"event":"name",…} go to every connected controller. The socket is mode 0600; a line is at most 1 MiB.
#pragma once
#include "json.h"

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace xos {

/// An error that is told to the caller by its stable code (XOS_…), with a message that says what, on what, why and what to do.
struct CodedError : std::runtime_error {
  std::string code;
  CodedError(std::string code, const std::string& message) : std::runtime_error(message), code(std::move(code)) {}
};

class ControlServer {
 public:
  /// Completes a request later or at once, from any thread, exactly once. `result` is merged into {"id","ok":true}.
  using Reply = std::function<void(nlohmann::json result)>;
  using Fail = std::function<void(const std::string& code, const std::string& message)>;
  /// Called on the control thread. A thrown CodedError (or std::exception: code XOS_INTERNAL) answers the request.
  using Handler = std::function<void(const std::string& op, const nlohmann::json& request, Reply reply, Fail fail)>;

  /// Binds `path` (replacing a stale socket) and starts the thread. Throws CodedError when it cannot.
  ControlServer(std::string path, Handler handler);
  ~ControlServer();
  /// Sends an event to every connected controller. Thread-safe; a controller that does not read is dropped at 4 MiB of backlog.
  void emit(const nlohmann::json& event);
 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace xos
