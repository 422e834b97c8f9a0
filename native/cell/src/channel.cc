#include "channel.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace xos::cell {

void Ancillary::put(msghdr& message, std::span<const int> fds) {
  if (fds.empty()) return;
  message.msg_control = space;
  message.msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(fds.size_bytes());
  memcpy(CMSG_DATA(part), fds.data(), fds.size_bytes());
}

void Ancillary::collect(msghdr& message, std::vector<int>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.push_back(fd);
    }
  }
}

bool send_frame(int socket, uint16_t type, uint64_t id, std::span<const uint8_t> payload, std::span<const int> fds) {
  relay::Header header{static_cast<uint32_t>(payload.size()), type, 0, id};
  iovec pieces[2] = {{&header, sizeof header}, {const_cast<uint8_t*>(payload.data()), payload.size()}};
  Ancillary ancillary;
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  ancillary.put(message, fds);
  size_t left = sizeof header + payload.size();
  while (left) {
    const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    left -= sent;
    message.msg_control = nullptr;
    message.msg_controllen = 0;
    for (size_t done = sent; done && message.msg_iovlen;) {
      const size_t part = std::min(done, message.msg_iov->iov_len);
      message.msg_iov->iov_base = static_cast<char*>(message.msg_iov->iov_base) + part;
      message.msg_iov->iov_len -= part;
      done -= part;
      if (message.msg_iov->iov_len == 0) {
        message.msg_iov++;
        message.msg_iovlen--;
      }
    }
  }
  return true;
}

bool receive_frame(int socket, relay::Header& header, std::vector<uint8_t>& payload, std::vector<int>& fds) {
  const auto read_all = [&](void* into, size_t bytes) {
    auto* at = static_cast<char*>(into);
    while (bytes) {
      Ancillary ancillary;
      iovec piece{at, bytes};
      msghdr message{};
      message.msg_iov = &piece;
      message.msg_iovlen = 1;
      message.msg_control = ancillary.space;
      message.msg_controllen = sizeof ancillary.space;
      const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      Ancillary::collect(message, fds);
      at += got;
      bytes -= got;
    }
    return true;
  };
  if (!read_all(&header, sizeof header) || header.length > relay::frame_bytes_max) return false;
  payload.resize(header.length);
  return read_all(payload.data(), payload.size());
}

}  // namespace xos::cell
