#include "local_service.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "codec.h"
#include "log.h"
#include "object_metrics.h"
#include "object_file.h"
#include "object_service.h"

namespace xos::fs {

namespace {

constexpr uint32_t request_bytes_max = 4096;
constexpr int connections_max = 64;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (path.size() >= sizeof a.sun_path) throw std::runtime_error("cannot use the socket '" + path + "': its name is too long");
  std::memcpy(a.sun_path, path.c_str(), path.size() + 1);
  return a;
}

bool receive_all(int s, void* data, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = retry([&] { return recv(s, static_cast<char*>(data) + done, bytes - done, 0); });
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

bool send_answer(int s, int32_t status, int fd) {
  iovec piece{&status, sizeof status};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &piece;
  m.msg_iovlen = 1;
  if (status == 0) {
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  return retry([&] { return sendmsg(s, &m, MSG_NOSIGNAL); }) == sizeof status;
}

/// 0 and a descriptor, or an errno. Throws Malformed.
int lend(ObjectStore& store, Verified& verified, std::string_view request, unique_fd& fd) {
  Reader r(request);
  int status = 0;
  const Capability* c = verified.check(r, status);
  if (!c) return -status;
  bool write = r.get<uint8_t>() != 0;
  r.finish();
  if (!(c->rights & right_read) || (c->rights & right_served) || (write && !(c->rights & right_write))) return EACCES;
  const auto admitted = store.admit(c->file, c->epoch);  // until the descriptor is there to be seen
  if (!admitted) return ESTALE;
  int lent = -1;
  int r2 = store.lend(c->file, write, lent);
  fd.reset(lent);
  if (r2 == 0) ObjectMetrics::instance().lent.add();
  return -r2;
}

void serve_one(int s, const std::string& node, ObjectStore& store, CapabilityVerifier& verifier) {
  Verified verified(verifier, node);
  char request[request_bytes_max];
  try {
    for (;;) {
      uint32_t bytes;
      if (!receive_all(s, &bytes, sizeof bytes)) return;
      if (bytes > sizeof request) throw Malformed("request of " + std::to_string(bytes) + " bytes");
      if (!receive_all(s, request, bytes)) return;
      unique_fd fd;
      int status = lend(store, verified, {request, bytes}, fd);
      if (!send_answer(s, status, fd.get())) return;
    }
  } catch (const std::exception& e) {
    log(Priority::warning, "local connection dropped: %s", e.what());
  }
}

int receive_answer(int s, int& fd) {
  int32_t status = 0;
  iovec piece{&status, sizeof status};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &piece;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  if (retry([&] { return recvmsg(s, &m, MSG_CMSG_CLOEXEC); }) != sizeof status) return EHOSTDOWN;
  fd = -1;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return status == 0 && fd < 0 ? EPROTO : status;
}

}  // namespace

void serve_local(const std::string& path, const std::string& node, ObjectStore& store, CapabilityVerifier& verifier) {
  sockaddr_un a = address_of(path);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  unlink(path.c_str());
  mode_t mask = umask(0177);
  bool bound = listener >= 0 && bind(listener, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 && listen(listener, 16) == 0;
  umask(mask);
  if (!bound) throw std::runtime_error("cannot listen on '" + path + "': " + strerror(errno));
  static std::atomic<int> connections{0};
  for (;;) {
    int s = retry([&] { return accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); });
    if (s < 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    ucred who{};
    socklen_t length = sizeof who;
    if (getsockopt(s, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0 || who.uid != 0 || connections >= connections_max) {
      log(Priority::warning, "refused a local connection of uid %u", who.uid);
      close(s);
      continue;
    }
    ++connections;
    std::thread([s, node, &store, &verifier] {
      unique_fd owned(s);
      serve_one(s, node, store, verifier);
      --connections;
    }).detach();
  }
}

int borrow(const std::string& path, int& socket, const std::string& proof, bool write, int timeout_ms, int& fd) {
  if (socket < 0) {
    unique_fd s(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un a = address_of(path);
    timeval limit{timeout_ms / 1000, timeout_ms % 1000 * 1000};
    if (!s || connect(s.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return EHOSTDOWN;
    setsockopt(s.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(s.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    socket = s.release();
  }
  std::string request = Writer().put<uint32_t>(static_cast<uint32_t>(proof.size() + 1)).raw(proof).put<uint8_t>(write).bytes();
  int r = EHOSTDOWN;
  if (retry([&] { return send(socket, request.data(), request.size(), MSG_NOSIGNAL); }) == static_cast<ssize_t>(request.size())) r = receive_answer(socket, fd);
  if (r == EHOSTDOWN || r == EPROTO) {
    close(socket);
    socket = -1;
  }
  return r;
}

}  // namespace xos::fs
