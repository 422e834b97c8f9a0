// A cell for tests: the namespaces, mounts and descriptors that xos-cell gives a job, around a function.
#pragma once
#include "engine.h"
#include "fd.h"
#include <functional>
#include <string>
#include <vector>

namespace xos::checkpoint::test {

/// Runs `body` as pid 1 of a fresh cell and waits for it. A failed check inside is thrown again here, as is the cell's death.
/// Everything that still runs in the cell dies with it.
void inCell(const std::function<void()>& body);

/// Why no cell can be made here; empty when it can.
std::string cellObstacle();

enum class Wanted { pty, pipes, null };

/// A job as the engine sees it, and the relay's ends of its streams.
struct Job {
  pid_t pid = -1;
  std::vector<GivenStream> streams;
  Fd master;           ///< pty
  Fd in, out, error;   ///< pipes
};

/// Starts a program the way a cell must (README, "What a cell owes the engine"). Only inside a cell.
Job start(const std::vector<std::string>& argv, Wanted wanted, uid_t uid = 0);

/// The job after a restore: the relay's ends sorted by what they are.
Job attach(RestoreResult& result);

/// Reads until `text` has come, or throws after 60 s; answers all that was read.
std::string expect(int fd, const std::string& text);
void type(int fd, const std::string& text);
/// Polls until true, or throws after 60 s.
void eventually(const std::string& what, const std::function<bool()>& condition);
/// Waits for the death of a child of ours: its wait status.
int waitFor(pid_t pid);

}  // namespace xos::checkpoint::test
