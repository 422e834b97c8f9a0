// Blocking calls to one server over a pool of wire connections.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "wire.h"

namespace xos::fs {

/// One server (MRC or OSD), or several of which one serves at a time. Thread-safe; each call uses a connection alone. The most recently used idle connection is taken first,
/// so that the thread behind it is warm and unused ones can be closed.
class RpcClient {
 public:
  using Greeting = std::function<void(wire::Connection&)>;
  /// `what` names the server in errors and logs ("MRC 'n1'"). `greet` runs on every new connection and may throw wire::Error.
  RpcClient(wire::TlsContext& tls, std::string what, std::string host, uint16_t port, Greeting greet = {});
  struct Endpoint {
    std::string host;
    uint16_t port = 0;
    bool operator==(const Endpoint&) const = default;
  };
  /// Whoever `greet` accepts serves; the others are tried when it does not answer. At least one.
  RpcClient(wire::TlsContext& tls, std::string what, std::vector<Endpoint> endpoints, Greeting greet);

  struct Answer {
    int status = 0;               ///< 0 or errno (positive)
    uint16_t flags = 0;           ///< of the frame
    std::vector<std::byte> data;  ///< behind the status
    size_t offset = 4;
    const char* begin() const { return reinterpret_cast<const char*>(data.data()) + offset; }
    size_t size() const { return data.size() - offset; }
  };
  /// Sends a request and waits for its answer. When the connection breaks the call is repeated on a new one until `timeout_ms` is over
  /// (only if `repeatable`; else EIO, since the server may have done it). Unreachable: EHOSTDOWN; silent: ETIMEDOUT; not admitted: EACCES.
  int call(uint16_t type, std::span<const iovec> payload, Answer& answer, int timeout_ms, bool repeatable, int unreachable_ms = 1 << 30);
  /// A request whose answer's data go to the caller's memory (`into`), for the object service.
  struct Transfer {
    uint16_t type = 0, flags = 0;
    std::vector<iovec> payload;
    std::vector<iovec> into;      ///< empty: no data are expected, the answer is kept
    size_t data_bytes = 0;        ///< how much came
    uint16_t answer_flags = 0;
    std::vector<uint32_t> sums;   ///< that came with the data
    Answer answer;
  };
  /// `unreachable_ms`: after that nobody tries to connect any more.
  int transfer(Transfer& t, int timeout_ms, bool repeatable, int unreachable_ms = 1 << 30);
  /// Sends only; finish() waits. So one thread has requests under way at several servers. Null when it could not be sent: transfer() says why.
  struct Started {
    std::unique_ptr<wire::Connection> connection;
    uint64_t id;
  };
  std::unique_ptr<Started> start(const Transfer& t, int timeout_ms);
  /// The same, also when the server did not answer lately: for requests that are never repeated.
  std::unique_ptr<Started> start_once(const Transfer& t, int timeout_ms);
  /// False when the connection broke: the request may have been done.
  bool finish(std::unique_ptr<Started> started, Transfer& t, int timeout_ms, int& status);
  /// Ends all connections, those that wait for an answer as well: what may be repeated is, elsewhere if there are several servers.
  void abandon();
  /// Closes idle connections beyond `keep`.
  void trim(size_t keep);
  const std::string& what() const { return what_; }
  /// Of the server that answered last.
  const std::string& host() const { return endpoints_[current_].host; }
  uint16_t port() const { return endpoints_[current_].port; }

 private:
  struct Waiting;
  std::unique_ptr<wire::Connection> acquire(int timeout_ms, bool& fresh);
  void release(std::unique_ptr<wire::Connection> connection);
  int receive(wire::Connection& c, const wire::FrameHeader& h, Transfer& t, int left);
  template <typename Receive>
  int exchange(uint16_t type, uint16_t flags, std::span<const iovec> payload, int timeout_ms, bool repeatable, int unreachable_ms, Receive receive);

  wire::TlsContext& tls_;
  const std::string what_;
  const std::vector<Endpoint> endpoints_;
  std::atomic<size_t> current_{0};
  Greeting greet_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<wire::Connection>> idle_;
  std::set<int> waiting_;  // sockets on which an answer is expected
  std::atomic<uint64_t> next_id_{1};
  std::atomic<int64_t> down_since_ms_{0};
  std::atomic<int64_t> tried_ms_{0};
};

int64_t monotonic_ms();

}  // namespace xos::fs
