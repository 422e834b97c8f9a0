// What a mount counts of the kernel's requests. Reads and writes of objects that were handed to the kernel (passthrough) never come here.
#pragma once
#include <string>

#include "mount.h"

namespace xos::fs {

/// Puts a clock around every operation that is registered; call it last.
void count_operations(fuse_lowlevel_ops& ops);
std::string describe_mount(Mount& mount);

}  // namespace xos::fs
