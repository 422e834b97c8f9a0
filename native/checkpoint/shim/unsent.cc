// Preloaded into a CRIU that restores: keeps back what a TCP socket had not sent yet, until the other end is there.
//
// CRIU puts what was sent and not acknowledged back into the socket while it is being repaired (TCP_REPAIR), and sends the rest in the ordinary way,
// with the repair interrupted. When the other end is a process of the same tree it may not have been restored yet: the kernel answers
// the data with a reset, and the connection is gone. So the repair is not interrupted, the data go into memory that the engine shares, and
// the engine sends them when every process is there and none runs.
#include "unsent.h"
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

namespace {

using namespace xos::checkpoint;

UnsentArea* area = nullptr;
uint64_t in_repair = 0;  // inode of the socket whose repair CRIU believes to be interrupted

uint64_t inodeOf(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

/// CRIU tries out at its start what the kernel can: those sockets have no connection.
bool isConnected(int fd) {
  tcp_info info{};
  socklen_t bytes = sizeof info;
  constexpr int established = 1;  // TCP_ESTABLISHED, include/net/tcp_states.h
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 && info.tcpi_state == established;
}

/// The processes that CRIU makes inherit the mapping, as they do not inherit descriptors.
__attribute__((constructor)) void mapArea() {
  const char* text = getenv("XOS_UNSENT");
  if (!text) return;
  void* at = mmap(nullptr, unsent_area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, atoi(text), 0);
  if (at != MAP_FAILED) area = static_cast<UnsentArea*>(at);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int setsockopt(int fd, int level, int name, const void* value, socklen_t bytes) {
  static const auto next = reinterpret_cast<int (*)(int, int, int, const void*, socklen_t)>(dlsym(RTLD_NEXT, "setsockopt"));
  if (!area || level != IPPROTO_TCP || name != TCP_REPAIR || bytes < sizeof(int)) return next(fd, level, name, value, bytes);
  int wanted;
  memcpy(&wanted, value, sizeof wanted);
  const uint64_t inode = inodeOf(fd);
  if (wanted == TCP_REPAIR_ON && in_repair != 0 && inode == in_repair) return in_repair = 0, 0;
  if (wanted != TCP_REPAIR_ON && inode != 0 && isConnected(fd)) return in_repair = inode, 0;
  return next(fd, level, name, value, bytes);
}

extern "C" __attribute__((visibility("default"))) ssize_t send(int fd, const void* data, size_t bytes, int flags) {
  static const auto next = reinterpret_cast<ssize_t (*)(int, const void*, size_t, int)>(dlsym(RTLD_NEXT, "send"));
  if (!area || in_repair == 0 || inodeOf(fd) != in_repair) return next(fd, data, bytes, flags);
  // Several processes restore at a time: each takes a place of its own.
  const uint64_t needed = unsentRecordBytes(bytes), at = area->used.fetch_add(needed);
  if (at + needed > unsent_area_bytes - sizeof(UnsentArea)) return errno = ENOBUFS, -1;
  char* place = reinterpret_cast<char*>(area + 1) + at;
  const UnsentRecord record{in_repair, bytes};
  memcpy(place, &record, sizeof record);
  memcpy(place + sizeof record, data, bytes);
  return static_cast<ssize_t>(bytes);
}
