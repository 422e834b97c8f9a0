// Preloaded into CRIU: names of open files as they are, where the kernel calls them deleted and they are not.
//
// A FUSE file system may tell the kernel that names it knows are out of date (FUSE_NOTIFY_INC_EPOCH: xos-mount does when another node has
// changed a directory). The next look-up of such a name makes a new dentry, and files that were opened by the old one are shown as
// "NAME (deleted)" in /proc from then on. CRIU would give each a second link, and a restart would look for that.
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

namespace {

constexpr char mark[] = " (deleted)";
constexpr size_t mark_bytes = sizeof mark - 1;
constexpr char own_descriptors[] = "/proc/self/fd/";

/// Whether the file of descriptor `fd` is still to be found by `name`.
bool isThere(int fd, const char* name) {
  struct stat open, named;
  return fstat(fd, &open) == 0 && fstatat(AT_FDCWD, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && open.st_ino == named.st_ino && open.st_dev == named.st_dev;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) ssize_t readlink(const char* path, char* buffer, size_t bytes) {
  static const auto next = reinterpret_cast<ssize_t (*)(const char*, char*, size_t)>(dlsym(RTLD_NEXT, "readlink"));
  const ssize_t got = next(path, buffer, bytes);
  if (got <= static_cast<ssize_t>(mark_bytes) || got == static_cast<ssize_t>(bytes) || strncmp(path, own_descriptors, sizeof own_descriptors - 1) != 0) return got;
  char* const end = buffer + got - mark_bytes;
  if (memcmp(end, mark, mark_bytes) != 0) return got;
  *end = 0;
  if (isThere(atoi(path + sizeof own_descriptors - 1), buffer)) return got - static_cast<ssize_t>(mark_bytes);
  *end = mark[0];
  return got;
}
