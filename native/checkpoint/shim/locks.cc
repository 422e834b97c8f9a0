// Preloaded into CRIU: locks on files of a volume, which the kernel does not list.
//
// CRIU takes the locks of a descriptor from /proc/PID/fdinfo, and gives them back to the process at a restore. Those of a FUSE file system are
// not there: they are its server's. So CRIU reads a copy of that file with lines for them, in the kernel's words. What fcntl(2) has
// locked is asked for with F_GETLK, which names the process; whether this open file has a flock(2) is what xos-mount tells (lock_query.h).
// Of several processes that have locked one range for reading F_GETLK names one, and the others' are lost.
#include "lock_query.h"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr long fuse_magic = 0x65735546;  // FUSE_SUPER_MAGIC, fs/fuse/inode.c
constexpr int locks_max = 1000;          // of one process on one file

/// The descriptor of a process, as one of ours. -1: not to be had.
int takeDescriptor(pid_t pid, int number) {
  const int holder = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (holder < 0) return -1;
  const int fd = static_cast<int>(syscall(SYS_pidfd_getfd, holder, number, 0));
  close(holder);
  return fd;
}

struct Lines {
  std::string text;
  std::string file;  ///< major:minor:inode
  pid_t pid = 0;
  int count = 0;

  void add(const char* kind, bool exclusive, off_t start, off_t length) {
    char line[160];
    const std::string end = length == 0 ? "EOF" : std::to_string(start + length - 1);
    snprintf(line, sizeof line, "lock:\t%d: %s  ADVISORY  %s %d %s %lld %s\n", ++count, kind, exclusive ? "WRITE" : "READ ", pid, file.c_str(), static_cast<long long>(start), end.c_str());
    text += line;
  }
};

/// What process `lines.pid` has locked with fcntl(2) in [start, start + length), 0: to the end.
void addRanges(int fd, off_t start, off_t length, Lines& lines) {
  std::vector<std::pair<off_t, off_t>> open_ranges{{start, length}};
  for (int asked = 0; !open_ranges.empty() && asked < locks_max; ++asked) {
    const auto [from, bytes] = open_ranges.back();
    open_ranges.pop_back();
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = from;
    lock.l_len = bytes;
    if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK) continue;
    if (lock.l_pid == lines.pid) lines.add("POSIX", lock.l_type == F_WRLCK, lock.l_start, lock.l_len);
    if (lock.l_start > from) open_ranges.emplace_back(from, lock.l_start - from);
    const off_t after = lock.l_start + lock.l_len;
    if (lock.l_len != 0 && (bytes == 0 || after < from + bytes)) open_ranges.emplace_back(after, bytes == 0 ? 0 : from + bytes - after);
  }
}

std::string locksOf(pid_t pid, int number) {
  const int fd = takeDescriptor(pid, number);
  if (fd < 0) return "";
  Lines lines{.pid = pid};
  struct stat status;
  struct statfs system;
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && fstatfs(fd, &system) == 0 && system.f_type == fuse_magic) {
    char file[64];
    snprintf(file, sizeof file, "%02x:%02x:%llu", major(status.st_dev), minor(status.st_dev), static_cast<unsigned long long>(status.st_ino));
    lines.file = file;
    int held = xos::flock_none;
    if (ioctl(fd, xos::query_flock, &held) == 0 && held != xos::flock_none) lines.add("FLOCK", held == xos::flock_exclusive, 0, 0);
    addRanges(fd, 0, 0, lines);
  }
  close(fd);
  return lines.text;
}

/// A copy of what `fd` has, with `more` at its end. -1: not to be had.
int copyWith(int fd, const std::string& more) {
  std::string text;
  char piece[4096];
  for (ssize_t got; (got = read(fd, piece, sizeof piece)) > 0;) text.append(piece, static_cast<size_t>(got));
  text += more;
  const int copy = memfd_create("xos-fdinfo", MFD_CLOEXEC);
  if (copy < 0 || write(copy, text.data(), text.size()) != static_cast<ssize_t>(text.size()) || lseek(copy, 0, SEEK_SET) < 0) {
    if (copy >= 0) close(copy);
    lseek(fd, 0, SEEK_SET);
    return -1;
  }
  return copy;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int openat64(int at, const char* path, int flags, ...) {
  static const auto next = reinterpret_cast<int (*)(int, const char*, int, ...)>(dlsym(RTLD_NEXT, "openat64"));
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
  va_end(list);
  const int fd = next(at, path, flags, mode);
  static const bool restores = getenv("XOS_UNSENT") != nullptr;
  if (fd < 0 || restores || !strstr(path, "fdinfo/")) return fd;
  char link[64] = {}, whole[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, sizeof whole - 1);
  int pid, number;
  if (length <= 0 || (whole[length] = 0, sscanf(whole, "/proc/%d/fdinfo/%d", &pid, &number) != 2)) return fd;
  const std::string lines = locksOf(pid, number);
  const int copy = lines.empty() ? -1 : copyWith(fd, lines);
  if (copy < 0) return fd;
  close(fd);
  return copy;
}
