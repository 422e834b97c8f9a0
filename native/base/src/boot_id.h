#pragma once
#include <string>

namespace xos {

/// What the kernel calls this boot of the machine (proc_sys_kernel(5), random/boot_id); empty where it does not.
std::string boot_id();

}  // namespace xos
