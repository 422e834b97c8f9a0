#include "async.h"

#include "socket.h"
#include "unique_fd.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace xos::wire {
namespace {
constexpr size_t receive_bytes = 128 << 10;
constexpr size_t drive_bytes_max = 1 << 20;
}  // namespace

struct AsyncConnection::Impl {
  TlsContext* context = nullptr;
  unique_fd fd;
  SSL* ssl = nullptr;
  bool server = false;
  State state = State::connecting;
  std::string reason;
  PeerIdentity peer;
  std::vector<std::byte> out;
  size_t out_done = 0;
  std::vector<std::byte> in;
  size_t in_start = 0, in_end = 0;
  bool wants_write = false;

  ~Impl() {
    if (!ssl) return;
    if (state == State::open) SSL_shutdown(ssl);
    SSL_free(ssl);
    ERR_clear_error();
  }

  void fail(std::string why) {
    if (state == State::failed) return;
    state = State::failed;
    reason = std::move(why);
  }

  void fail_tls(int problem) {
    if (SSL_get_verify_result(ssl) != X509_V_OK) fail(std::string("certificate refused: ") + X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
    else if (problem == SSL_ERROR_ZERO_RETURN) fail("closed by the peer");
    else if (problem == SSL_ERROR_SYSCALL) fail(errno ? strerror(errno) : "connection lost");
    else {
      char text[256] = "connection lost";
      if (const unsigned long code = ERR_peek_last_error()) ERR_error_string_n(code, text, sizeof text);
      fail(text);
    }
    ERR_clear_error();
  }

  void start_tls() {
    try {
      ssl = server ? context->new_server(fd.get()) : context->new_client(fd.get());
      state = State::handshaking;
    } catch (const Error& error) {
      fail(error.what());
    }
  }

  void finish_connect() {
    int failed = 0;
    socklen_t size = sizeof failed;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failed, &size);
    sockaddr_storage name;
    size = sizeof name;
    if (failed) return fail(strerror(failed));
    if (getpeername(fd.get(), reinterpret_cast<sockaddr*>(&name), &size) < 0) return;  // not connected yet
    start_tls();
  }

  void handshake() {
    ERR_clear_error();
    errno = 0;
    const int done = SSL_do_handshake(ssl);
    if (done == 1) {
      try {
        peer = peer_identity(ssl, *context);
        state = State::open;
        wants_write = false;
      } catch (const Error& error) {
        fail(error.what());
      }
      return;
    }
    const int problem = SSL_get_error(ssl, done);
    wants_write = problem == SSL_ERROR_WANT_WRITE;
    if (problem != SSL_ERROR_WANT_READ && problem != SSL_ERROR_WANT_WRITE) fail_tls(problem);
  }

  void flush() {
    if (state != State::open) return;
    wants_write = false;
    while (out_done < out.size()) {
      size_t sent = 0;
      ERR_clear_error();
      errno = 0;
      if (SSL_write_ex(ssl, out.data() + out_done, out.size() - out_done, &sent) == 1) {
        out_done += sent;
        continue;
      }
      const int problem = SSL_get_error(ssl, 0);
      wants_write = problem == SSL_ERROR_WANT_WRITE;
      if (problem != SSL_ERROR_WANT_READ && problem != SSL_ERROR_WANT_WRITE) fail_tls(problem);
      break;
    }
    if (out_done == out.size()) {
      out.clear();
      out_done = 0;
      if (out.capacity() > drive_bytes_max) out.shrink_to_fit();
    } else if (out_done > drive_bytes_max) {
      out.erase(out.begin(), out.begin() + out_done);
      out_done = 0;
    }
  }

  /// Hands out every complete frame of the buffer.
  void parse(const OnFrame& on_frame) {
    while (state == State::open && in_end - in_start >= sizeof(FrameHeader)) {
      FrameHeader header;
      memcpy(&header, in.data() + in_start, sizeof header);
      if (header.length > payload_bytes_max) return fail("frame of " + std::to_string(header.length) + " bytes is over the limit");
      const size_t whole = sizeof header + header.length;
      if (in_end - in_start < whole) {
        if (in.size() < whole) in.resize(whole + receive_bytes);
        break;
      }
      on_frame(header, {in.data() + in_start + sizeof header, header.length});
      in_start += whole;
    }
    if (in_start == in_end) {
      in_start = in_end = 0;
      if (in.size() > drive_bytes_max) {
        in.resize(receive_bytes);
        in.shrink_to_fit();
      }
    } else if (in_start > 0 && in.size() - in_end < receive_bytes / 2) {
      memmove(in.data(), in.data() + in_start, in_end - in_start);
      in_end -= in_start;
      in_start = 0;
    }
  }

  bool receive(const OnFrame& on_frame) {
    if (context->revoked(peer)) {
      fail("its certificate was revoked");
      return false;
    }
    size_t total = 0;
    while (state == State::open && total < drive_bytes_max) {
      if (in.size() - in_end < receive_bytes / 2) in.resize(in_end + receive_bytes);
      size_t got = 0;
      ERR_clear_error();
      errno = 0;
      if (SSL_read_ex(ssl, in.data() + in_end, in.size() - in_end, &got) == 1) {
        in_end += got;
        total += got;
        parse(on_frame);
        continue;
      }
      const int problem = SSL_get_error(ssl, 0);
      if (problem == SSL_ERROR_WANT_READ || problem == SSL_ERROR_WANT_WRITE) return false;
      fail_tls(problem);
      return false;
    }
    return state == State::open;
  }
};

AsyncConnection::AsyncConnection() : impl_(std::make_unique<Impl>()) {}
AsyncConnection::~AsyncConnection() = default;

std::unique_ptr<AsyncConnection> AsyncConnection::connect(TlsContext& context, const std::string& host, uint16_t port) {
  std::unique_ptr<AsyncConnection> connection(new AsyncConnection);
  Impl& impl = *connection->impl_;
  impl.context = &context;
  try {
    const AddressList addresses(host, port, false);
    const addrinfo* address = addresses.get();
    impl.fd.reset(socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!impl.fd) {
      impl.fail(strerror(errno));
    } else {
      tune(impl.fd.get());
      if (::connect(impl.fd.get(), address->ai_addr, address->ai_addrlen) == 0) impl.start_tls();
      else if (errno != EINPROGRESS) impl.fail(strerror(errno));
    }
  } catch (const Error& error) {
    impl.fail(error.what());
  }
  return connection;
}

std::unique_ptr<AsyncConnection> AsyncConnection::accept(TlsContext& context, int fd) {
  std::unique_ptr<AsyncConnection> connection(new AsyncConnection);
  Impl& impl = *connection->impl_;
  impl.context = &context;
  impl.server = true;
  impl.fd.reset(fd);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  tune(fd);
  impl.start_tls();
  return connection;
}

int AsyncConnection::fd() const { return impl_->fd.get(); }
AsyncConnection::State AsyncConnection::state() const { return impl_->state; }
const PeerIdentity& AsyncConnection::peer() const { return impl_->peer; }
const std::string& AsyncConnection::reason() const { return impl_->reason; }
size_t AsyncConnection::queued_bytes() const { return impl_->out.size() - impl_->out_done; }

uint32_t AsyncConnection::events() const {
  if (impl_->state == State::connecting) return EPOLLOUT;
  return EPOLLIN | (impl_->wants_write ? static_cast<uint32_t>(EPOLLOUT) : 0u);
}

bool AsyncConnection::drive(const OnFrame& on_frame) {
  if (impl_->state == State::connecting) impl_->finish_connect();
  if (impl_->state == State::handshaking) impl_->handshake();
  if (impl_->state != State::open) return false;
  impl_->flush();
  const bool more = impl_->receive(on_frame);
  impl_->flush();
  return more;
}

void AsyncConnection::flush() { impl_->flush(); }

void AsyncConnection::queue(FrameHeader header, std::span<const iovec> payload) {
  size_t total = 0;
  for (const iovec& piece : payload) total += piece.iov_len;
  if (total > payload_bytes_max) return impl_->fail("frame to send is over the limit");
  header.length = static_cast<uint32_t>(total);
  auto& out = impl_->out;
  const auto* head = reinterpret_cast<const std::byte*>(&header);
  out.insert(out.end(), head, head + sizeof header);
  for (const iovec& piece : payload) {
    const auto* data = static_cast<const std::byte*>(piece.iov_base);
    out.insert(out.end(), data, data + piece.iov_len);
  }
}

}  // namespace xos::wire
