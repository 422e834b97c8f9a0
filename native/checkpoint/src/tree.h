// The process tree of a job as /proc shows it inside the cell, and the standard streams that its processes hold.
#pragma once
#include "engine.h"
#include <string>
#include <vector>

namespace xos::checkpoint {

struct Process {
  pid_t pid = 0, parent = 0;
  char state = '?';  ///< R S D Z T t …, proc(5)
  std::string program;  ///< comm
  uint64_t resident_bytes = 0;
  std::vector<std::string> paths;  ///< of its files (pathsOf); filled for the manifest only
};

/// `root_pid` and everything below it, root first. Empty when it does not exist.
std::vector<Process> processTree(pid_t root_pid);

/// Number of N in "name:[N]" or "/dev/pts/N"; false when `link` does not start with `prefix` or holds no number.
bool numberAfter(const std::string& link, const std::string& prefix, uint64_t& number);

/// Whether some process of the tree still has a given stream, as a descriptor or (pty) as its controlling terminal.
struct HeldStream {
  bool held = false;
  std::string path;  ///< a /proc/<pid>/fd/<n> that leads to it; empty when it is a controlling terminal only
};
/// One entry for each of `streams`, in their order.
std::vector<HeldStream> heldStreams(const std::vector<Process>& tree, const std::vector<GivenStream>& streams);

/// Whether there are System V objects in our ipc namespace, the cell's. Not those of a tree that CRIU restored with some: they are in one of its own.
bool hasSystemVObjects();

/// Bytes waiting in the pipe behind `path` (/proc/<pid>/fd/<n>), without taking them out.
std::string pendingInPipe(const std::string& path);

}  // namespace xos::checkpoint
