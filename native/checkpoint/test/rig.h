// What the tests of whole dumps and restores share.
#pragma once
#include "cell.h"
#include "test.h"
#include <cstdlib>
#include <sys/stat.h>
#include <sys/wait.h>

namespace xos::checkpoint::test {

/// A directory of this run, removed at its end.
struct Workplace {
  std::string path;
  Workplace() {
    char name[] = "/tmp/xos-checkpoint-XXXXXX";
    path = mkdtemp(name);
    chmod(path.c_str(), 0777);
  }
  ~Workplace() { if (!getenv("XOS_KEEP")) (void)!system(("rm -rf " + path).c_str()); }
  std::string images() const { return path + "/checkpoint"; }
};

inline std::string explain(const Failure& failure) { return failure.code + ": " + failure.message + "\n" + failure.log_tail; }

inline DumpRequest dumpRequest(const Workplace& at, const Job& job, bool leave_running = false) {
  return {.directory = at.images(), .root_pid = job.pid, .leave_running = leave_running, .credentials = "",
          .facts = {.job = "n1-7", .program = "test", .vo = "demo", .user = "alice", .node = "n1", .session = "0", .argv = {"test"}, .cwd = "/"},
          .streams = job.streams};
}

inline DumpResult mustDump(const Workplace& at, const Job& job, bool leave_running = false) {
  auto result = dump(dumpRequest(at, job, leave_running), {});
  if (auto* failure = std::get_if<Failure>(&result)) xos::test::fail(__FILE__, __LINE__, explain(*failure));
  auto done = std::get<DumpResult>(result);
  if (getenv("XOS_VERBOSE"))
    printf("     dump %u ms (frozen %u ms), %lu KiB, %u processes\n", done.total_ms, done.frozen_ms, done.bytes >> 10, done.processes);
  if (!leave_running) CHECK(WIFSIGNALED(waitFor(job.pid)));
  return done;
}

inline Job mustRestore(const Workplace& at) {
  auto result = restore({.directory = at.images(), .credentials = ""}, {});
  if (auto* failure = std::get_if<Failure>(&result)) xos::test::fail(__FILE__, __LINE__, explain(*failure));
  auto& done = std::get<RestoreResult>(result);
  if (getenv("XOS_VERBOSE")) printf("     restore %u ms\n", done.total_ms);
  return attach(done);
}

inline void needCell() {
  std::string why = cellObstacle();
  if (!why.empty()) SKIP(why.c_str());
}

/// A python program that counts lines which it reads, so that memory, input and output are all seen to go on.
inline const std::vector<std::string> counter = {"python3", "-u", "-c",
    "import sys\nn = 0\nprint('ready', flush=True)\nwhile True:\n  line = sys.stdin.readline()\n  if not line: break\n"
    "  n += 1\n  print('line', n, line.strip(), flush=True)\n  if line.strip() == 'quit': sys.exit(7)\n"};

}  // namespace xos::checkpoint::test
