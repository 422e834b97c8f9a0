// Files of this node that the relay keeps for xexec.
#pragma once
#include <string>

namespace xos::relay {

/// Makes `run`/local, where users keep marked copies of programs (README, "Marks"), and lays it open like /tmp.
void make_local_directory(const std::string& run);

/// Merges `directory`/*.policy (by name) into `target` when one of them has changed since the last call. Returns the merged lines.
const std::string& merge_policies(const std::string& directory, const std::string& target);

/// Mounts made on this node later must reach the cells: they are slaves of our mounts, which must be shared for that.
void share_mounts();

}  // namespace xos::relay
