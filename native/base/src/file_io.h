// Reading and writing at a position, as a whole: what a signal interrupted or the kernel did in part goes on.
#pragma once
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace xos {

/// Repeats a call that a signal interrupted.
template <typename Call>
auto retry(Call call) {
  decltype(call()) r;
  do r = call();
  while (r < 0 && errno == EINTR);
  return r;
}

/// Bytes read, short at the end of the file only, or -errno.
inline int64_t read_at(int fd, void* data, size_t bytes, uint64_t offset) {
  size_t done = 0;
  while (done < bytes) {
    ssize_t n = retry([&] { return pread(fd, static_cast<char*>(data) + done, bytes - done, static_cast<off_t>(offset + done)); });
    if (n < 0) return -errno;
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return static_cast<int64_t>(done);
}

/// 0 or -errno; then a part may have been written.
inline int write_at(int fd, const void* data, size_t bytes, uint64_t offset) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = retry([&] { return pwrite(fd, static_cast<const char*>(data) + done, bytes - done, static_cast<off_t>(offset + done)); });
    if (n < 0) return -errno;
    done += static_cast<size_t>(n);
  }
  return 0;
}

}  // namespace xos
