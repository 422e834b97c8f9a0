// Accepts wire connections and gives each a thread of its own.
#pragma once
#include <atomic>
#include <functional>
#include <string>

#include "wire.h"

namespace xos::fs {

/// Serves until the process ends. `serve` runs on the connection's thread and returns or throws when it is over
/// (wire::Error and Malformed are logged with the peer's name). At most `connections_max` at a time; more are closed at once.
[[noreturn]] void serve_frames(wire::TlsContext& tls, const std::string& address, uint16_t port, int connections_max,
                               std::function<void(wire::Connection&)> serve);

/// Connections that are served now.
int frame_connections();

/// A connection may be idle for long: the bound only keeps a wait from being endless.
inline constexpr int idle_timeout_ms = 24 * 3600 * 1000;
inline constexpr int io_timeout_ms = 30 * 1000;

/// Large buffers shared by all connections, so that idle ones cost nothing. Contents are not initialized.
class BufferPool {
 public:
  struct Buffer {
    Buffer() = default;
    Buffer(char* data, size_t bytes, BufferPool* pool) : data(data), bytes(bytes), pool(pool) {}
    Buffer(Buffer&& o) noexcept : data(o.data), bytes(o.bytes), pool(o.pool) { o.data = nullptr; }
    Buffer& operator=(Buffer&& o) noexcept;
    ~Buffer();
    char* data = nullptr;
    size_t bytes = 0;
    BufferPool* pool = nullptr;
  };
  /// At least `bytes` long.
  Buffer take(size_t bytes);
  /// Frees what was not needed since the last call.
  void trim();
  static BufferPool& instance();

 private:
  void give(char* data, size_t bytes);
  struct Impl;
  Impl& impl();
};

/// Raises the limit of open files to the hard limit and keeps the number of malloc arenas (and so idle memory) small.
void prepare_process();

}  // namespace xos::fs
