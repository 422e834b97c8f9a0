#include "fd.h"
#include <climits>
#include <fcntl.h>

namespace xos::checkpoint {

std::string readFile(const std::string& path, size_t bytes_max) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  std::string text;
  if (!fd) return text;
  char piece[16384];
  while (text.size() < bytes_max) {
    ssize_t got = read(fd.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(piece, static_cast<size_t>(got));
  }
  return text;
}

bool writeAll(int fd, const void* data, size_t bytes) {
  auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    ssize_t put = write(fd, from, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    from += put;
    bytes -= static_cast<size_t>(put);
  }
  return true;
}

std::string readLink(const std::string& path) {
  char target[PATH_MAX];
  ssize_t length = readlink(path.c_str(), target, sizeof target);
  return length < 0 ? std::string() : std::string(target, static_cast<size_t>(length));
}

}  // namespace xos::checkpoint
