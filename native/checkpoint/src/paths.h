// Which files the processes of a tree have: by descriptor, mapping, executable, working and root directory.
//
// CRIU opens them by path, as root, when it restores. A user who put a symbolic link in the place of a file of the checkpoint could
// so be handed any file of the node. What each process had is in the signed manifest; a restored process may have nothing else.
#pragma once
#include <string>
#include <sys/types.h>
#include <vector>

namespace xos::checkpoint {

/// Paths that a process has, sorted, in the form in which both sides compare them: without the marks of deleted files and of the names
/// that CRIU gives them when it brings them back. Terminals, memory files and other things without a file are left out.
std::vector<std::string> pathsOf(pid_t pid);

/// The comparable form of one link of /proc (empty: not a file). Exposed for its test.
std::string comparablePath(const std::string& link);

}  // namespace xos::checkpoint
