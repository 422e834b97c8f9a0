#include "wire.h"

#include <chrono>
#include <csignal>
#include <fstream>
#include <mutex>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unordered_set>

#include "log.h"

namespace xos::wire {
namespace {

struct ContextDeleter { void operator()(SSL_CTX* context) const { SSL_CTX_free(context); } };
using ContextPointer = std::unique_ptr<SSL_CTX, ContextDeleter>;

std::string openssl_reason() {
  const unsigned long code = ERR_get_error();
  char text[256] = "no reason given";
  if (code) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  for (const char c : text)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) return false;
  return true;
}

/// The one URI xos://<vo>/node/<node> of a certificate; empty names when there is none, more than one, or another form.
PeerIdentity identity_of(X509* certificate) {
  PeerIdentity identity;
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  if (!names) return identity;
  int uris = 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const ASN1_STRING* text = name->d.uniformResourceIdentifier;
    const std::string_view uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), ASN1_STRING_length(text));
    if (!uri.starts_with("xos://")) continue;
    uris++;
    const std::string_view rest = uri.substr(6);
    const size_t middle = rest.find("/node/");
    if (middle == std::string_view::npos) continue;
    const std::string_view vo = rest.substr(0, middle), node = rest.substr(middle + 6);
    if (is_name(vo) && is_name(node)) identity = {std::string(vo), std::string(node)};
  }
  GENERAL_NAMES_free(names);
  return uris == 1 ? identity : PeerIdentity{};
}

ContextPointer make_context(const std::string& directory, bool server) {
  ContextPointer context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  const auto refuse = [&](const std::string& file) {
    return Error(ErrorCode::tls, "cannot load the node's credentials from '" + directory + "/" + file + "': " + openssl_reason());
  };
  if (!context) throw refuse("");
  ERR_clear_error();
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION);
  // AES-128 first: with AES-NI it is what moves stripes fastest, and TLS 1.3 has no weak suite.
  SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
  if (SSL_CTX_use_certificate_chain_file(context.get(), (directory + "/cert.pem").c_str()) != 1) throw refuse("cert.pem");
  if (SSL_CTX_use_PrivateKey_file(context.get(), (directory + "/key.pem").c_str(), SSL_FILETYPE_PEM) != 1) throw refuse("key.pem");
  if (SSL_CTX_check_private_key(context.get()) != 1) throw refuse("key.pem");
  if (SSL_CTX_load_verify_file(context.get(), (directory + "/ca.pem").c_str()) != 1) throw refuse("ca.pem");
  X509_VERIFY_PARAM* verify = SSL_CTX_get0_param(context.get());
  // ca.pem holds the VO's node CA, which an off-line root may have signed: it is a trust anchor by itself.
  X509_VERIFY_PARAM_set_flags(verify, X509_V_FLAG_PARTIAL_CHAIN);
  // A node is server and client; what it may be is decided by its URI, not by the extended key usage.
  X509_VERIFY_PARAM_set_purpose(verify, X509_PURPOSE_ANY);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_default_read_buffer_len(context.get(), 128 << 10);
  if (server) {
    static const unsigned char id[] = "xos-wire";
    SSL_CTX_set_session_id_context(context.get(), id, sizeof id - 1);
    SSL_CTX_set_num_tickets(context.get(), 1);
  } else {
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  }
  return context;
}

}  // namespace

/// When a file was last written; zero when it is not there. The key is written before cert.pem.
static timespec written_at(const std::string& path) {
  struct stat facts{};
  return stat(path.c_str(), &facts) == 0 ? facts.st_mtim : timespec{};
}

static bool same(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

static int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Certificates are compared by this form, whoever wrote the number.
static std::string plain(std::string serial) {
  for (char& c : serial) c = static_cast<char>(tolower(c));
  const size_t first = serial.find_first_not_of('0');
  return first == std::string::npos ? "" : serial.substr(first);
}

static std::string serial_of(X509* certificate) {
  BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr);
  char* text = number ? BN_bn2hex(number) : nullptr;
  std::string serial = text ? text : "";
  OPENSSL_free(text);
  BN_free(number);
  return plain(std::move(serial));
}

struct TlsContext::Impl {
  std::string directory;
  std::mutex mutex;
  ContextPointer client, server;
  PeerIdentity self;
  timespec written{};                                ///< mtime of the certificate that is in use
  std::chrono::steady_clock::time_point looked_at{};  ///< when the file was last looked at
  int64_t revoked_looked_at_ms = 0;
  std::mutex revoked_mutex;
  timespec revoked_written{};
  std::unordered_set<std::string> revoked;
};

TlsContext::TlsContext(const std::string& directory) : impl_(std::make_unique<Impl>()) {
  // OpenSSL writes with write(2): a peer that left must be an error code here, not the death of the daemon.
  struct sigaction now{};
  if (sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
  // Administrators are used to SIGHUP after a new certificate; new connections find it anyway, so the signal must only not kill. A handler and
  // not SIG_IGN, which the programs that a daemon starts would inherit.
  if (sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) {
    now = {};
    now.sa_handler = [](int) {};
    now.sa_flags = SA_RESTART;
    sigaction(SIGHUP, &now, nullptr);
  }
  impl_->directory = directory;
  reload();
}

TlsContext::~TlsContext() = default;

void TlsContext::reload() {
  const timespec written = written_at(impl_->directory + "/cert.pem");
  ContextPointer client = make_context(impl_->directory, false);
  ContextPointer server = make_context(impl_->directory, true);
  PeerIdentity self = identity_of(SSL_CTX_get0_certificate(server.get()));
  if (self.node.empty())
    throw Error(ErrorCode::tls, "cannot use '" + impl_->directory + "/cert.pem': it is no node certificate (no URI xos://<vo>/node/<node>)");
  std::lock_guard lock(impl_->mutex);
  if (!impl_->self.node.empty() && (impl_->self.vo != self.vo || impl_->self.node != self.node))
    throw Error(ErrorCode::tls, "cannot reload '" + impl_->directory + "/cert.pem': it names another node; restart the daemon instead");
  impl_->client = std::move(client);
  impl_->server = std::move(server);
  impl_->written = written;
  if (impl_->self.node.empty()) impl_->self = std::move(self);  // never assigned again: self() hands out a reference
}

/// Takes up a renewed certificate; at most one look a second. A file that cannot be used leaves the old one in use.
void TlsContext::refresh() {
  {
    std::lock_guard lock(impl_->mutex);
    const auto now = std::chrono::steady_clock::now();
    if (now - impl_->looked_at < std::chrono::seconds(1)) return;
    impl_->looked_at = now;
    const timespec written = written_at(impl_->directory + "/cert.pem");
    if (written.tv_sec == 0 || same(written, impl_->written)) return;
  }
  try {
    reload();
    log(Priority::info, "credentials reloaded from '%s'", impl_->directory.c_str());
  } catch (const Error& error) {
    log(Priority::warning, "%s", error.what());
  }
}

SSL* TlsContext::new_client(int fd) {
  refresh();
  std::lock_guard lock(impl_->mutex);
  SSL* ssl = SSL_new(impl_->client.get());
  if (!ssl || SSL_set_fd(ssl, fd) != 1) {
    SSL_free(ssl);
    throw Error(ErrorCode::tls, "cannot make a TLS client: " + openssl_reason());
  }
  SSL_set_connect_state(ssl);
  SSL_set_tlsext_host_name(ssl, "xos-node");
  return ssl;
}

SSL* TlsContext::new_server(int fd) {
  refresh();
  std::lock_guard lock(impl_->mutex);
  SSL* ssl = SSL_new(impl_->server.get());
  if (!ssl || SSL_set_fd(ssl, fd) != 1) {
    SSL_free(ssl);
    throw Error(ErrorCode::tls, "cannot make a TLS server: " + openssl_reason());
  }
  SSL_set_accept_state(ssl);
  return ssl;
}

const PeerIdentity& TlsContext::self() const { return impl_->self; }

/// Takes up a changed list. Callers hold revoked_mutex. A file that is gone or cannot be read leaves what was known: nobody comes back by that.
void TlsContext::read_revoked() {
  const std::string path = impl_->directory + "/revoked";
  const timespec written = written_at(path);
  if (written.tv_sec == 0 || same(written, impl_->revoked_written)) return;
  std::ifstream file(path);
  std::unordered_set<std::string> serials;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) serials.insert(plain(line));
  if (file.bad()) return;
  impl_->revoked = std::move(serials);
  impl_->revoked_written = written;
}

bool TlsContext::revoked(const PeerIdentity& peer) {
  std::lock_guard lock(impl_->revoked_mutex);
  if (const int64_t now = now_ms(); now - impl_->revoked_looked_at_ms >= 1000) {
    impl_->revoked_looked_at_ms = now;
    read_revoked();
  }
  return !impl_->revoked.empty() && impl_->revoked.contains(peer.serial);
}

PeerIdentity peer_identity(SSL* ssl, TlsContext& context) {
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (!certificate) throw Error(ErrorCode::not_admitted, "peer refused: it showed no certificate");
  if (SSL_get_verify_result(ssl) != X509_V_OK)
    throw Error(ErrorCode::not_admitted, std::string("peer refused: ") + X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
  PeerIdentity identity = identity_of(certificate);
  if (identity.node.empty()) throw Error(ErrorCode::not_admitted, "peer refused: its certificate is not a node's (no URI xos://<vo>/node/<node>)");
  if (identity.vo != context.self().vo)
    throw Error(ErrorCode::not_admitted, "peer '" + identity.node + "' refused: it is of VO '" + identity.vo + "', not of '" + context.self().vo + "'");
  identity.serial = serial_of(certificate);
  if (context.revoked(identity)) throw Error(ErrorCode::not_admitted, "peer '" + identity.node + "' refused: its certificate was revoked");
  return identity;
}

}  // namespace xos::wire
