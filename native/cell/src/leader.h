// The processes of a job's beginning: the program itself, and before it a leader of its session when it has a terminal.
#pragma once
#include "spawn.h"

#include <csignal>

namespace xos::cell {

/// Everything a new process needs, made ready so that it can do with system calls alone.
struct Plan {
  const Order& order;
  int fds[3] = {-1, -1, -1};  ///< -1: closed
  int terminal = -1;
  std::string path, cwd;
  std::vector<char*> arguments, environment;
};

enum class Step : int { done, process, identity, directory, streams, exec };
struct Outcome {
  Step step = Step::done;
  int reason = 0;  ///< errno
  pid_t root = -1, program = -1;
};

/// The program as leader of its own session, child of the caller.
Outcome launch(const Plan& plan);

/// What a leader is told by signals, for only a process of the session can say who has the terminal: the job, or nobody (the leader itself).
inline constexpr int leader_takes_terminal = SIGUSR1, leader_gives_terminal = SIGUSR2;

/// A session leader (child of the caller) and below it the program in a process group of its own. With its parent in the same session the group is
/// not orphaned, so that ^Z stops it. The leader stops when the program stops, reaps what lost its parent, and ends as the program ends;
/// continued, it continues the program.
Outcome launch_with_leader(const Plan& plan);

}  // namespace xos::cell
