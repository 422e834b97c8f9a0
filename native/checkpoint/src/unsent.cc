#include "unsent.h"
#include "../shim/unsent.h"
#include <cstring>
#include <dirent.h>
#include <map>
#include <memory>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <system_error>

namespace xos::checkpoint {
namespace {

constexpr int wait_ms = 2000;  // for room that the kernel makes as soon as the other end has taken what is under way

/// A descriptor of ours for socket `inode`, which some process of the tree has.
Fd socketOf(const std::vector<Process>& tree, uint64_t inode) {
  const std::string wanted = "socket:[" + std::to_string(inode) + "]";
  for (auto& process : tree) {
    const std::string base = "/proc/" + std::to_string(process.pid) + "/fd";
    std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(base.c_str()), closedir);
    while (dirent* entry = directory ? readdir(directory.get()) : nullptr) {
      if (entry->d_name[0] == '.' || readLink(base + "/" + entry->d_name) != wanted) continue;
      const Fd holder(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
      Fd socket(holder ? static_cast<int>(syscall(SYS_pidfd_getfd, holder.get(), std::stoi(entry->d_name), 0)) : -1);
      if (socket) return socket;
    }
  }
  return Fd();
}

/// All of it, into a socket that had room for it once. What is wrong, or "".
std::string sendAll(int socket, const char* data, size_t bytes) {
  int room = 0;
  socklen_t size = sizeof room;
  getsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, &size);
  bool wider = false;
  std::string why;
  while (bytes > 0 && why.empty()) {
    const ssize_t sent = send(socket, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) data += sent, bytes -= static_cast<size_t>(sent);
    if (sent >= 0 || errno == EINTR) continue;
    pollfd writable{.fd = socket, .events = POLLOUT, .revents = 0};
    // The kernel counts the same bytes in other portions now: let it have more room for this.
    const int more = static_cast<int>(bytes) + room;
    if (errno != EAGAIN) why = std::strerror(errno);
    else if (!wider) wider = setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &more, sizeof more) == 0 || setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &more, sizeof more) == 0;
    else if (poll(&writable, 1, wait_ms) == 0) why = "it takes no more";
  }
  if (wider) {
    room /= 2;  // as set it is doubled, socket(7)
    if (setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0) setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  }
  return why;
}

}  // namespace

Unsent::Unsent(const std::string& library) {
  if (library.empty() || access(library.c_str(), R_OK) < 0) return;
  memory_.reset(memfd_create("xos-unsent", MFD_CLOEXEC));
  if (!memory_ || ftruncate(memory_.get(), static_cast<off_t>(unsent_area_bytes)) < 0) throw std::system_error(errno, std::generic_category(), "memory for what was not sent");
  area_ = mmap(nullptr, unsent_area_bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, memory_.get(), 0);
  if (area_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "memory for what was not sent");
  library_ = library;
}

Unsent::~Unsent() {
  if (area_ && area_ != MAP_FAILED) munmap(area_, unsent_area_bytes);
}

std::vector<std::string> Unsent::environment() const {
  if (!memory_) return {};
  return {"LD_PRELOAD=" + library_, "XOS_UNSENT=" + std::to_string(memory_.get())};
}

std::string Unsent::deliver(const std::vector<Process>& tree) const {
  if (!memory_) return "";
  const auto* area = static_cast<const UnsentArea*>(area_);
  const char* records = reinterpret_cast<const char*>(area + 1);
  std::map<uint64_t, Fd> sockets;
  for (uint64_t at = 0; at < area->used;) {
    UnsentRecord record;
    std::memcpy(&record, records + at, sizeof record);
    auto& socket = sockets[record.inode];
    if (!socket) socket = socketOf(tree, record.inode);
    if (!socket) return "no process has the socket " + std::to_string(record.inode) + ", which had something to send";
    const std::string why = sendAll(socket.get(), records + at + sizeof record, record.bytes);
    if (!why.empty()) return "what a TCP connection had still to send could not be sent: " + why;
    at += unsentRecordBytes(record.bytes);
  }
  return "";
}

}  // namespace xos::checkpoint
