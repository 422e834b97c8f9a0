// What check() says about programs that CRIU cannot dump, against what CRIU does when it is let try: none is let through, and each has its reason told.
#include "rig.h"
#include <csignal>
#include <fcntl.h>

using namespace xos::checkpoint;
using namespace xos::checkpoint::test;

namespace {

struct Expected {
  const char* thing;  ///< of holder.cc
  const char* code;   ///< "": it can be dumped
  const char* words;
};

/// What holder.cc can get hold of, by what CRIU 4.2.1 makes of it.
const Expected table[] = {
    {"nothing", "", ""},
    {"fuse", "DEVICE", "has the device '/dev/fuse' open"},
    {"perf", "DEVICE", "kernel object '[perf_event]'"},
    {"bpf-map", "DEVICE", "kernel object 'bpf-map'"},
    {"landlock-ruleset", "DEVICE", "kernel object '[landlock-ruleset]'"},
    {"userfaultfd", "DEVICE", "kernel object '[userfaultfd]'"},
    {"fscontext", "DEVICE", "kernel object '[fscontext]'"},
    {"queue", "DEVICE", "POSIX message queue '/xos-holder'"},
    {"secret", "MEMORY", "memfd_secret"},
    {"huge-pages", "MEMORY", "reserved huge pages"},
    {"shared-memory-process", "MEMORY", "shares all memory with its parent, process 100"},
    {"traced", "TRACED", "is being traced by process 100"},
    {"algorithm", "SOCKET", "a socket of the kind ALG"},
    {"vsock", "SOCKET", "a socket of the kind AF_VSOCK"},
    {"detached-mount", "MOUNT", "has '/file' open (descriptor 3), of a file system that is mounted nowhere"},
    {"user-namespace", "NAMESPACE", "a user namespace of its own"},
    {"mount-namespace", "NAMESPACE", "a mnt namespace of its own"},
    {"pid-namespace", "NAMESPACE", "a pid namespace of its own"},
    {"child-ipc-namespace", "NAMESPACE", "a ipc namespace of its own"},
    {"ipc-namespace", "", ""},
    {"packet", "", ""},
    {"raw", "", ""},
    {"udp", "", ""},
    {"tcp", "", ""},
    {"netlink", "", ""},
    {"fanotify", "", ""},
    {"inotify", "", ""},
    {"pidfd", "", ""},
    {"lease", "", ""},
    {"deleted-directory", "", ""},
    {"large-deleted", "", ""},
    {"sysv-memory", "", ""},
};

[[noreturn]] void wrong(const Expected& expected, const std::string& what) { xos::test::fail(__FILE__, __LINE__, std::string(expected.thing) + ": " + what); }

/// In a cell. False when there is no such thing here.
bool judge(const Expected& expected) {
  Workplace at;
  Job job = start({XOS_HOLDER_PROGRAM, expected.thing}, Wanted::pipes);
  const std::string said = expect(job.out.get(), "\n");
  if (said.starts_with("none")) return false;
  if (said != "ready\n") wrong(expected, said);
  const Obstacle* certain = nullptr;
  const auto found = check(job.pid, job.streams);
  for (auto& obstacle : found)
    if (obstacle.certain && !certain) certain = &obstacle;
  DumpRequest request = dumpRequest(at, job, true);
  request.try_all_the_same = true;
  const auto result = dump(request, {});
  const auto* failure = std::get_if<Failure>(&result);
  kill(job.pid, SIGKILL);
  if (!*expected.code) {
    if (certain) wrong(expected, "it is refused: " + certain->what);
    if (failure) wrong(expected, "CRIU refuses it: " + explain(*failure));
    return true;
  }
  if (!failure) wrong(expected, "CRIU takes it: it need not be refused");
  if (!certain) wrong(expected, "a false yes; CRIU says: " + failure->message);
  if (certain->code != std::string("XOS_CHECKPOINT_") + expected.code || certain->what.find(expected.words) == std::string::npos) wrong(expected, certain->code + " " + certain->what);
  if (certain->advice.empty()) wrong(expected, "no advice");
  return true;
}

}  // namespace

TEST("each program that CRIU refuses is refused by check() for its true reason, and those that it takes are not") {
  needCell();
  for (auto& expected : table)
    inCell([&] {
      if (!judge(expected)) printf("     %s: there is none here\n", expected.thing);
    });
}

TEST("a child of vfork that has not executed anything yet is waited for") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({XOS_HOLDER_PROGRAM, "vforks"}, Wanted::pipes);
    expect(job.out.get(), "ready");
    for (int round = 0; round < 12; ++round) {
      for (auto& obstacle : check(job.pid, job.streams)) CHECK(!obstacle.certain);
      mustDump(at, job, true);
    }
    kill(job.pid, SIGKILL);
  });
}

TEST_MAIN
