#include "wire.h"

#include "socket.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace xos::wire {

AddressList::AddressList(const std::string& host, uint16_t port, bool passive) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  // Addresses of nodes are numeric: a resolver that hangs must never stop a job or a read.
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
  const int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list_);
  if (failed && !passive && host == "localhost") {
    hints.ai_flags = AI_NUMERICSERV;
    if (getaddrinfo("127.0.0.1", std::to_string(port).c_str(), &hints, &list_) == 0) return;
  }
  if (failed) throw Error(ErrorCode::unreachable, "cannot use address '" + host + "': " + gai_strerror(failed));
}

AddressList::~AddressList() {
  if (list_) freeaddrinfo(list_);
}

void tune(int fd) {
  const int on = 1, idle_s = 10, interval_s = 5, probes = 3;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

int listen_tcp(const std::string& address, uint16_t port) {
  const AddressList addresses(address, port, true);
  const addrinfo* first = addresses.get();
  const auto refuse = [&] {
    return Error(ErrorCode::unreachable, "cannot listen on '" + address + ":" + std::to_string(port) + "': " + strerror(errno));
  };
  const int fd = socket(first->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw refuse();
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, first->ai_addr, first->ai_addrlen) < 0 || listen(fd, 128) < 0) {
    const Error error = refuse();
    close(fd);
    throw error;
  }
  return fd;
}

}  // namespace xos::wire
