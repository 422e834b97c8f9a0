// The one framed, TLS 1.3 transport of all C++ paths between nodes.
//
// A frame is a 16-byte little-endian header and a payload. Both ends prove to be nodes of the VO with their node certificate;
// the peer's identity is what its certificate's URI says (xos://<vo>/node/<node>), never what it claims in a payload.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <sys/uio.h>
#include <vector>

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

namespace xos::wire {

/// Largest payload of one frame in bytes: a 4 MiB stripe and room for its request header.
inline constexpr uint32_t payload_bytes_max = (4u << 20) + (64u << 10);

#pragma pack(push, 1)
struct FrameHeader {
  uint32_t length;  ///< payload bytes
  uint16_t type;    ///< owned by the service: relay 0x01xx, object 0x02xx, metadata 0x03xx; 0x00xx is wire itself
  uint16_t flags;
  uint64_t id;      ///< request or stream
};
#pragma pack(pop)
static_assert(sizeof(FrameHeader) == 16);

enum class ErrorCode { unreachable, timed_out, closed, tls, not_admitted, malformed };

struct Error : std::runtime_error {
  ErrorCode code;
  Error(ErrorCode code, const std::string& what) : std::runtime_error(what), code(code) {}
};

struct PeerIdentity {
  std::string vo;
  std::string node;
  std::string serial;  ///< of the certificate: lower-case hexadecimal, without leading zeros
};

/// Client and server TLS contexts made of key.pem, cert.pem and ca.pem in `directory`. A renewed cert.pem is taken up by the connections
/// that are made after it. `revoked` beside them, if it is there, has one serial number a line: such a certificate is refused, also on
/// connections that are open already (at their next frame, at most a second after the file changed).
/// Thread-safe. TLS 1.3 only, mutual authentication, session tickets on.
class TlsContext {
 public:
  explicit TlsContext(const std::string& directory);
  ~TlsContext();
  void reload();
  SSL* new_client(int fd);  ///< caller owns
  SSL* new_server(int fd);  ///< caller owns
  const PeerIdentity& self() const;
  bool revoked(const PeerIdentity& peer);
 private:
  void refresh();
  void read_revoked();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Identity of the verified peer. Throws not_admitted when the certificate is none of a node of our VO, or was revoked.
PeerIdentity peer_identity(SSL* ssl, TlsContext& context);

/// A blocking connection: used by one thread at a time (FUSE client threads, object and metadata server threads).
/// Closes its socket when destroyed. TCP_NODELAY and keep-alive are set.
class Connection {
 public:
  /// Throws Error unreachable / timed_out / tls / not_admitted.
  static std::unique_ptr<Connection> connect(TlsContext& context, const std::string& host, uint16_t port, int timeout_ms);
  /// Takes ownership of an accepted socket, also when it throws.
  static std::unique_ptr<Connection> accept(TlsContext& context, int fd, int timeout_ms);
  ~Connection();

  const PeerIdentity& peer() const;
  int fd() const;
  /// Sends one frame; header.length is computed from `payload`. Small pieces are coalesced into one TLS record.
  void send(FrameHeader header, std::span<const iovec> payload, int timeout_ms);
  /// Receives one frame. `payload` is resized to its length. Throws closed at a clean end, malformed when length is over the limit.
  FrameHeader receive(std::vector<std::byte>& payload, int timeout_ms);
  /// Receives the header only; the caller then reads exactly header.length bytes with read_exact, into its own memory.
  FrameHeader receive_header(int timeout_ms);
  void read_exact(void* data, size_t bytes, int timeout_ms);
 private:
  Connection();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A listening TCP socket (CLOEXEC, reuse-address). Throws Error unreachable when the address cannot be bound.
int listen_tcp(const std::string& address, uint16_t port);

}  // namespace xos::wire
