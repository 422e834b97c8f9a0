// Small file reads and writes that go on after EINTR.
#pragma once
#include "unique_fd.h"
#include <cerrno>
#include <cstdint>
#include <string>
#include <unistd.h>

namespace xos::checkpoint {

using Fd = xos::unique_fd;

constexpr size_t block_bytes = 1u << 20;  ///< what is read and written at once of images and files

/// Content of a small file such as those of /proc; empty when it cannot be read.
std::string readFile(const std::string& path, size_t bytes_max = 4u << 20);
/// Writes all of `data`. False with errno set when it cannot.
bool writeAll(int fd, const void* data, size_t bytes);
/// Target of a symbolic link; empty when it cannot be read.
std::string readLink(const std::string& path);

/// "3 MiB", for messages; a part of one counts as one.
inline std::string mebibytes(uint64_t bytes) { return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB"; }

}  // namespace xos::checkpoint
