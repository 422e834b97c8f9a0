// Starts the root process of a job.
#pragma once
#include "protocol.h"
#include "seccomp_filter.h"
#include "unique_fd.h"

#include <string>
#include <vector>

namespace xos::cell {

/// One stream of the job as the checkpoint engine wants to know it (GivenStream).
struct Given {
  enum class Kind { pty, pipe_in, pipe_out } kind;
  uint64_t inode;
  std::vector<int> targets;
};

struct Started {
  pid_t root = -1;        ///< child of pid 1: the program, or the leader of its session when it has a terminal
  pid_t program = -1;     ///< leader of the job's process group
  unique_fd master;       ///< the terminal's master, when there is one
  int pty_index = -1;
  std::vector<Given> streams;
  std::string error;      ///< not empty: nothing runs
  uint8_t status = 126;   ///< exit status that goes with the error
  bool elsewhere = false; ///< what is missing here may exist on another node
};

struct Order {
  relay::Identity identity;
  std::vector<gid_t> groups;
  std::string job, node;
  relay::Spec spec;  ///< points into the frame
  int group = -1;    ///< the job's control group; -1: where we are
  const Filter* filter = nullptr;  ///< for programs of an untrusted VO
};

/// Reads the payload of a spawn frame. False when it is malformed.
bool read_order(relay::Reader& in, Order& order);

/// `fds`: the job's ends of its pipes in the order of its descriptors; closed on every path.
Started start(const Order& order, std::vector<int>& fds);

}  // namespace xos::cell
