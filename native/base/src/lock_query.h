// What xos-mount tells of a lock, and the kernel does not: whether this very open file (open file description) holds a flock(2).
//
// Locks of a FUSE file system are its server's alone: neither /proc/locks nor fdinfo has them. Those of fcntl(2) can be found with F_GETLK;
// for flock there is no such question.
#pragma once
#include <sys/ioctl.h>

namespace xos {

enum FlockHeld { flock_none = 0, flock_shared = 1, flock_exclusive = 2 };

/// ioctl(2) on a regular file of a volume; the argument is an int that gets a FlockHeld.
constexpr unsigned long query_flock = _IOR('X', 0x51, int);

}  // namespace xos
