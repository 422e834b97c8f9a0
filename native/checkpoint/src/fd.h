// Small file reads and writes that go on after EINTR.
#pragma once
#include "unique_fd.h"
#include <cerrno>
#include <string>
#include <unistd.h>

namespace xos::checkpoint {

using Fd = xos::unique_fd;

/// Content of a small file such as those of /proc; empty when it cannot be read.
std::string readFile(const std::string& path, size_t bytes_max = 4u << 20);
/// Writes all of `data`. False with errno set when it cannot.
bool writeAll(int fd, const void* data, size_t bytes);
/// Target of a symbolic link; empty when it cannot be read.
std::string readLink(const std::string& path);

}  // namespace xos::checkpoint
