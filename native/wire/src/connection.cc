#include "wire.h"

#include "socket.h"
#include "unique_fd.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

namespace xos::wire {
namespace {

constexpr size_t record_bytes = 16 << 10;  // largest TLS record

struct Deadline {
  std::chrono::steady_clock::time_point at;
  explicit Deadline(int timeout_ms) : at(std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms)) {}
  int left_ms() const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(at - std::chrono::steady_clock::now()).count();
    return left < 0 ? 0 : static_cast<int>(std::min<long long>(left + 1, 1 << 30));
  }
};

void wait_for(int fd, short events, const Deadline& deadline, const std::string& doing) {
  for (;;) {
    pollfd entry{fd, events, 0};
    const int ready = poll(&entry, 1, deadline.left_ms());
    if (ready > 0) return;
    if (ready == 0) throw Error(ErrorCode::timed_out, doing + ": no answer in time");
    if (errno != EINTR) throw Error(ErrorCode::unreachable, doing + ": " + strerror(errno));
  }
}

std::string tls_reason() {
  const unsigned long code = ERR_peek_last_error();
  char text[256] = "connection closed during the handshake";
  if (code) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

unique_fd connect_tcp(const std::string& host, uint16_t port, const Deadline& deadline) {
  const AddressList addresses(host, port, false);
  const std::string target = "cannot reach '" + host + ":" + std::to_string(port) + "'";
  std::string reason = "no address";
  for (const addrinfo* address = addresses.get(); address; address = address->ai_next) {
    unique_fd fd(socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) throw Error(ErrorCode::unreachable, target + ": " + strerror(errno));
    if (connect(fd.get(), address->ai_addr, address->ai_addrlen) == 0) return fd;
    if (errno == EINPROGRESS) {
      wait_for(fd.get(), POLLOUT, deadline, target);
      int failed = 0;
      socklen_t size = sizeof failed;
      getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failed, &size);
      if (!failed) return fd;
      errno = failed;
    }
    reason = strerror(errno);
  }
  throw Error(ErrorCode::unreachable, target + ": " + reason);
}

}  // namespace

struct Connection::Impl {
  TlsContext* context = nullptr;
  unique_fd fd;
  SSL* ssl = nullptr;
  PeerIdentity peer;
  std::vector<std::byte> staging;  ///< small pieces of a send, up to one record

  ~Impl() {
    if (!ssl) return;
    SSL_set_quiet_shutdown(ssl, 0);
    if (SSL_is_init_finished(ssl)) SSL_shutdown(ssl);  // one attempt at close_notify, never waits: the socket does not block
    SSL_free(ssl);
    ERR_clear_error();
  }

  void handshake(TlsContext& with, const Deadline& deadline, const std::string& doing) {
    context = &with;
    for (;;) {
      ERR_clear_error();
      const int done = SSL_do_handshake(ssl);
      if (done == 1) break;
      const int problem = SSL_get_error(ssl, done);
      if (problem == SSL_ERROR_WANT_READ) wait_for(fd.get(), POLLIN, deadline, doing);
      else if (problem == SSL_ERROR_WANT_WRITE) wait_for(fd.get(), POLLOUT, deadline, doing);
      else if (SSL_get_verify_result(ssl) != X509_V_OK)
        throw Error(ErrorCode::not_admitted, doing + ": its certificate: " + X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
      else throw Error(ErrorCode::tls, doing + ": " + tls_reason());
    }
    peer = peer_identity(ssl, with);
  }

  [[noreturn]] void broken(int problem, const char* doing) {
    const std::string what = std::string("cannot ") + doing + " node '" + peer.node + "': ";
    if (problem == SSL_ERROR_ZERO_RETURN) throw Error(ErrorCode::closed, what + "it closed the connection");
    if (problem == SSL_ERROR_SYSCALL) throw Error(ErrorCode::closed, what + (errno ? strerror(errno) : "connection lost"));
    throw Error(ErrorCode::tls, what + tls_reason());
  }

  void write_all(const std::byte* data, size_t bytes, const Deadline& deadline) {
    while (bytes) {
      size_t sent = 0;
      ERR_clear_error();
      errno = 0;
      if (SSL_write_ex(ssl, data, bytes, &sent) == 1) {
        data += sent;
        bytes -= sent;
        continue;
      }
      const int problem = SSL_get_error(ssl, 0);
      if (problem == SSL_ERROR_WANT_WRITE) wait_for(fd.get(), POLLOUT, deadline, "cannot send to node '" + peer.node + "'");
      else if (problem == SSL_ERROR_WANT_READ) wait_for(fd.get(), POLLIN, deadline, "cannot send to node '" + peer.node + "'");
      else broken(problem, "send to");
    }
  }

  void flush_staging(const Deadline& deadline) {
    if (staging.empty()) return;
    write_all(staging.data(), staging.size(), deadline);
    staging.clear();
  }

  void read_all(std::byte* data, size_t bytes, const Deadline& deadline) {
    while (bytes) {
      size_t got = 0;
      ERR_clear_error();
      errno = 0;
      if (SSL_read_ex(ssl, data, bytes, &got) == 1) {
        data += got;
        bytes -= got;
        continue;
      }
      const int problem = SSL_get_error(ssl, 0);
      if (problem == SSL_ERROR_WANT_READ) wait_for(fd.get(), POLLIN, deadline, "cannot receive from node '" + peer.node + "'");
      else if (problem == SSL_ERROR_WANT_WRITE) wait_for(fd.get(), POLLOUT, deadline, "cannot receive from node '" + peer.node + "'");
      else broken(problem, "receive from");
    }
  }
};

Connection::Connection() : impl_(std::make_unique<Impl>()) {}
Connection::~Connection() = default;

std::unique_ptr<Connection> Connection::connect(TlsContext& context, const std::string& host, uint16_t port, int timeout_ms) {
  const Deadline deadline(timeout_ms);
  std::unique_ptr<Connection> connection(new Connection);
  connection->impl_->fd = connect_tcp(host, port, deadline);
  tune(connection->impl_->fd.get());
  connection->impl_->ssl = context.new_client(connection->impl_->fd.get());
  connection->impl_->handshake(context, deadline, "cannot open a connection to '" + host + ":" + std::to_string(port) + "'");
  return connection;
}

std::unique_ptr<Connection> Connection::accept(TlsContext& context, int fd, int timeout_ms) {
  const Deadline deadline(timeout_ms);
  unique_fd owned(fd);
  std::unique_ptr<Connection> connection(new Connection);
  connection->impl_->fd = std::move(owned);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) throw Error(ErrorCode::closed, std::string("cannot accept a connection: ") + strerror(errno));
  tune(fd);
  connection->impl_->ssl = context.new_server(fd);
  connection->impl_->handshake(context, deadline, "cannot accept a connection");
  return connection;
}

const PeerIdentity& Connection::peer() const { return impl_->peer; }
int Connection::fd() const { return impl_->fd.get(); }

void Connection::send(FrameHeader header, std::span<const iovec> payload, int timeout_ms) {
  size_t total = 0;
  for (const iovec& piece : payload) total += piece.iov_len;
  if (total > payload_bytes_max)
    throw Error(ErrorCode::malformed, "cannot send a frame of " + std::to_string(total) + " bytes: the limit is " + std::to_string(payload_bytes_max));
  header.length = static_cast<uint32_t>(total);
  const Deadline deadline(timeout_ms);
  auto& staging = impl_->staging;
  const auto* head = reinterpret_cast<const std::byte*>(&header);
  staging.assign(head, head + sizeof header);
  for (const iovec& piece : payload) {
    const auto* data = static_cast<const std::byte*>(piece.iov_base);
    size_t bytes = piece.iov_len;
    const size_t fill = std::min(bytes, record_bytes - staging.size());
    staging.insert(staging.end(), data, data + fill);
    data += fill;
    bytes -= fill;
    if (staging.size() == record_bytes) impl_->flush_staging(deadline);
    if (bytes >= record_bytes) {  // staging is empty here: whole records go straight from the caller's memory
      const size_t direct = bytes - bytes % record_bytes;
      impl_->write_all(data, direct, deadline);
      data += direct;
      bytes -= direct;
    }
    if (bytes) staging.insert(staging.end(), data, data + bytes);
  }
  impl_->flush_staging(deadline);
}

FrameHeader Connection::receive_header(int timeout_ms) {
  FrameHeader header;
  read_exact(&header, sizeof header, timeout_ms);
  if (impl_->context->revoked(impl_->peer))
    throw Error(ErrorCode::not_admitted, "node '" + impl_->peer.node + "' refused: its certificate was revoked");
  if (header.length > payload_bytes_max)
    throw Error(ErrorCode::malformed, "node '" + impl_->peer.node + "' sent a frame of " + std::to_string(header.length) + " bytes: over the limit");
  return header;
}

FrameHeader Connection::receive(std::vector<std::byte>& payload, int timeout_ms) {
  const Deadline deadline(timeout_ms);
  const FrameHeader header = receive_header(timeout_ms);
  payload.resize(header.length);
  impl_->read_all(payload.data(), payload.size(), deadline);
  return header;
}

void Connection::read_exact(void* data, size_t bytes, int timeout_ms) {
  impl_->read_all(static_cast<std::byte*>(data), bytes, Deadline(timeout_ms));
}

}  // namespace xos::wire
