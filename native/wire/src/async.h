// A wire connection for an event loop: never blocks, never throws after it was made, owns its socket.
//
// The loop watches fd() for events() and calls drive() when it is ready. Frames queued are kept until the socket takes them; the caller bounds
// them by looking at queued_bytes() (that is what windows of streams are for). Used by one thread.
#pragma once
#include "wire.h"

#include <functional>

namespace xos::wire {

class AsyncConnection {
 public:
  enum class State { connecting, handshaking, open, failed };
  /// `payload` is valid during the call only. The handler must not destroy the connection.
  using OnFrame = std::function<void(const FrameHeader&, std::span<const std::byte> payload)>;

  /// Starts to connect. An address that cannot be used makes a connection in state failed.
  static std::unique_ptr<AsyncConnection> connect(TlsContext& context, const std::string& host, uint16_t port);
  /// Takes ownership of an accepted socket.
  static std::unique_ptr<AsyncConnection> accept(TlsContext& context, int fd);
  ~AsyncConnection();

  int fd() const;
  State state() const;
  /// EPOLLIN and EPOLLOUT as they are wanted now.
  uint32_t events() const;
  /// Does what can be done now: connect, handshake, send, receive. At most some 1 MiB is received in one call; returns true when more may be
  /// waiting inside TLS (call again without waiting for readiness).
  bool drive(const OnFrame& on_frame);
  /// Appends a frame; header.length is computed. Frames queued before the connection is open are sent when it is.
  /// A payload over the limit is a programming error and fails the connection.
  void queue(FrameHeader header, std::span<const iovec> payload);
  /// Sends what the socket takes.
  void flush();
  size_t queued_bytes() const;
  /// Verified identity; empty names before state open.
  const PeerIdentity& peer() const;
  /// Why the state is failed, in words.
  const std::string& reason() const;

 private:
  AsyncConnection();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace xos::wire
