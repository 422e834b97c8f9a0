// The parts of check(): each looks at one kind of thing that CRIU cannot take along, and says so in words for the user.
#pragma once
#include "tree.h"
#include <map>
#include <string>
#include <vector>

namespace xos::checkpoint {

/// Everything that /proc shows of one process, read once.
struct Look {
  Process process;
  std::string status;                     ///< /proc/<pid>/status
  std::string executable;                 ///< target of /proc/<pid>/exe
  std::map<int, std::string> descriptors; ///< number → target
  std::vector<std::string> mapped;        ///< distinct names of mappings
};

struct Findings {
  std::vector<Obstacle> list;
  void add(const Look& look, const char* code, const std::string& what, const std::string& advice, bool certain = true);
};

Look lookAt(const Process& process);

void checkState(const Look& look, pid_t root_pid, Findings& findings);  ///< traced, sandboxed, in namespaces of its own
void checkDescriptors(const Look& look, Findings& findings);  ///< devices, io_uring and other kernel objects
void checkMappings(const Look& look, Findings& findings);     ///< devices, secret memory
void checkPlaces(const Look& look, Findings& findings);       ///< files that only this node has
void checkSockets(const std::vector<Look>& looks, Findings& findings);  ///< connections that leave the tree

}  // namespace xos::checkpoint
