// What goes wrong, and what must be left then: the job as it was, nothing half-written, or nothing started.
#include "rig.h"
#include <chrono>
#include <csignal>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <thread>

using namespace xos::checkpoint;
using namespace xos::checkpoint::test;

namespace {

Failure mustFail(const std::variant<DumpResult, Failure>& result) {
  if (std::holds_alternative<DumpResult>(result)) xos::test::fail(__FILE__, __LINE__, "the dump went well");
  return std::get<Failure>(result);
}

Failure mustFail(const std::variant<RestoreResult, Failure>& result) {
  if (std::holds_alternative<RestoreResult>(result)) xos::test::fail(__FILE__, __LINE__, "the restore went well");
  return std::get<Failure>(result);
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

void goesOn(Job& job) {
  type(job.in.get(), "still\n");
  expect(job.out.get(), "still");
}

int childrenOfInit() {
  int count = 0;
  DIR* directory = opendir("/proc");
  while (dirent* entry = readdir(directory))
    if (std::atoi(entry->d_name) > 1) ++count;
  closedir(directory);
  return count;
}

/// Dumps the counter once and gives the checkpoint to `damage`; then a restore must fail with `code` and leave nothing running.
void refusedAfter(const std::function<void(const std::string& directory)>& damage, const std::string& code, const std::string& words) {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start(counter, Wanted::pipes);
    expect(job.out.get(), "ready");
    mustDump(at, job);
  });
  damage(at.images());
  inCell([&] {
    Failure failure = mustFail(restore({.directory = at.images(), .credentials = ""}, {}));
    CHECK_EQUAL(failure.code, code);
    if (failure.message.find(words) == std::string::npos) xos::test::fail(__FILE__, __LINE__, failure.message);
    eventually("nothing runs", [] { while (waitpid(-1, nullptr, WNOHANG) > 0) {} return childrenOfInit() == 0; });
  });
}

void flip(const std::string& path, off_t at) {
  Fd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  char byte = 0;
  CHECK_EQUAL(pread(file.get(), &byte, 1, at), 1);
  byte = static_cast<char>(byte ^ 4);
  CHECK_EQUAL(pwrite(file.get(), &byte, 1, at), 1);
}

}  // namespace

TEST("a truncated memory image is refused") {
  refusedAfter([](const std::string& at) { CHECK_EQUAL(truncate((at + "/pages-1.img").c_str(), 8192), 0); }, "XOS_CHECKPOINT_DAMAGED", "8192 bytes instead of");
}

TEST("a flipped bit in a memory image is found before anything runs") {
  refusedAfter([](const std::string& at) { flip(at + "/pages-1.img", 1'000'000); }, "XOS_CHECKPOINT_DAMAGED", "'pages-1.img' was changed");
}

TEST("a flipped bit in the state is refused") {
  refusedAfter([](const std::string& at) { flip(at + "/state.img", 100); }, "XOS_CHECKPOINT_DAMAGED", "'state.img' was changed");
}

TEST("a changed manifest is refused") {
  refusedAfter([](const std::string& at) { flip(at + "/manifest", 40); }, "XOS_CHECKPOINT_DAMAGED", "was changed");
}

TEST("a checkpoint without manifest is none") {
  refusedAfter([](const std::string& at) { CHECK_EQUAL(unlink((at + "/manifest").c_str()), 0); }, "XOS_CHECKPOINT_INCOMPLETE", "never finished");
}

TEST("a missing memory image is refused") {
  refusedAfter([](const std::string& at) { CHECK_EQUAL(unlink((at + "/pages-1.img").c_str()), 0); }, "XOS_CHECKPOINT_DAMAGED", "cannot be read");
}

TEST("an unsigned checkpoint is refused where signatures are asked for") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start(counter, Wanted::pipes);
    expect(job.out.get(), "ready");
    mustDump(at, job);
  });
  inCell([&] {
    CHECK_EQUAL(mustFail(restore({.directory = at.images(), .credentials = "/etc"}, {})).code, std::string("XOS_CHECKPOINT_SIGNATURE"));
    CHECK_EQUAL(mustFail(restore({.directory = at.images(), .job = "n9-9", .credentials = ""}, {})).code, std::string("XOS_CHECKPOINT_JOB"));
    CHECK_EQUAL(mustFail(restore({.directory = at.images(), .uid = 77, .credentials = ""}, {})).code, std::string("XOS_CHECKPOINT_OWNER"));
  });
}

TEST("a symbolic link in the place of a file does not hand out another file") {
  needCell();
  Workplace at;
  std::string file = at.path + "/mine", secret = at.path + "/secret";
  CHECK_EQUAL(system(("printf 12345678 > " + file + "; printf 87654321 > " + secret + "; chmod 600 " + file + " " + secret).c_str()), 0);
  inCell([&] {
    Job job = start({"python3", "-u", "-c", "import sys\nf = open('" + file + "', 'r+')\nprint('ready', flush=True)\nsys.stdin.readline()\nprint(f.read(), flush=True)"}, Wanted::pipes);
    expect(job.out.get(), "ready\n");
    mustDump(at, job);
  });
  CHECK_EQUAL(system(("mv " + file + " " + file + ".kept; ln -s " + secret + " " + file).c_str()), 0);
  inCell([&] {
    Failure failure = mustFail(restore({.directory = at.images(), .credentials = ""}, {}));
    CHECK_EQUAL(failure.code, std::string("XOS_CHECKPOINT_FILE"));
    CHECK(failure.message.find("'" + secret + "'") != std::string::npos);
    eventually("nothing runs", [] { while (waitpid(-1, nullptr, WNOHANG) > 0) {} return childrenOfInit() == 0; });
  });
  CHECK_EQUAL(system(("mv " + file + ".kept " + file).c_str()), 0);
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "\n");
    expect(job.out.get(), "12345678");
  });
}

TEST("xz is refused beforehand, in words, and goes on") {
  needCell();
  if (access("/usr/bin/xz", X_OK) < 0) SKIP("needs xz");
  Workplace at;
  inCell([&] {
    Job job = start({"xz", "-c"}, Wanted::pipes);
    eventually("xz in its sandbox", [&] { return readFile("/proc/" + std::to_string(job.pid) + "/status").find("NoNewPrivs:\t1") != std::string::npos; });
    Failure failure = mustFail(dump(dumpRequest(at, job), {}));
    CHECK_EQUAL(failure.code, std::string("XOS_CHECKPOINT_LANDLOCK"));
    CHECK(failure.message.find("'xz'") != std::string::npos);
    CHECK(!exists(at.images()));
    job.in.reset();
    expect(job.out.get(), "7zXZ");
    CHECK_EQUAL(waitFor(job.pid), 0);
  });
}

TEST("what CRIU alone refuses leaves the job running and no directory") {
  needCell();
  Workplace at;
  inCell([&] {
    // A socket of a family that CRIU does not know; check() would refuse it before.
    Job job = start({"python3", "-u", "-c",
                     "import socket, sys\nfor family in (38, 40, 44, 31, 29):\n  try:\n    s = socket.socket(family, socket.SOCK_SEQPACKET if family == 38 else socket.SOCK_STREAM if family == 40 else socket.SOCK_RAW)\n    break\n"
                     "  except OSError: s = None\nprint('ready', s is not None, flush=True)\nwhile True:\n  print(sys.stdin.readline(), flush=True)"}, Wanted::pipes);
    if (expect(job.out.get(), "\n").find("True") == std::string::npos) SKIP("no family of sockets here that CRIU does not know");
    DumpRequest request = dumpRequest(at, job);
    request.try_all_the_same = true;
    Failure failure = mustFail(dump(request, {}));
    CHECK_EQUAL(failure.code, std::string("XOS_CHECKPOINT_REFUSED"));
    CHECK(!failure.log_tail.empty());
    CHECK(!exists(at.images()));
    goesOn(job);
  });
}

TEST("a job whose root is gone is told so") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job{.pid = 4000};
    CHECK_EQUAL(mustFail(dump(dumpRequest(at, job), {})).code, std::string("XOS_CHECKPOINT_STATE"));
    CHECK(!exists(at.images()));
  });
}

TEST("a full volume leaves the job running and no directory") {
  needCell();
  Workplace at;
  inCell([&] {
    CHECK_EQUAL(mount("tmpfs", at.path.c_str(), "tmpfs", 0, "size=16m"), 0);
    Job job = start({"python3", "-u", "-c", "import os, sys\nb = os.urandom(64 << 20)\nprint('ready', flush=True)\nwhile True:\n  print(sys.stdin.readline(), flush=True)"}, Wanted::pipes);
    expect(job.out.get(), "ready");
    Failure failure = mustFail(dump(dumpRequest(at, job), {}));
    CHECK_EQUAL(failure.code, std::string("XOS_CHECKPOINT_NO_ROOM"));
    CHECK(!exists(at.images()));
    goesOn(job);
  });
}

TEST("a volume that becomes full while memory of a small job is on its way to it leaves the job running and no directory") {
  needCell();
  Workplace at;
  inCell([&] {
    CHECK_EQUAL(mount("tmpfs", at.path.c_str(), "tmpfs", 0, "size=16m"), 0);
    Job job = start({"python3", "-u", "-c", "import os, sys\nb = os.urandom(32 << 20)\nprint('ready', flush=True)\nwhile True:\n  print(sys.stdin.readline(), flush=True)"}, Wanted::pipes);
    expect(job.out.get(), "ready");
    DumpRequest request = dumpRequest(at, job);
    request.leave_running = true;
    Failure failure = mustFail(dump(request, {}));
    CHECK_EQUAL(failure.code, std::string("XOS_CHECKPOINT_NO_ROOM"));
    CHECK(!exists(at.images()));
    goesOn(job);
    CHECK_EQUAL(umount(at.path.c_str()), 0);
    mustDump(at, job);
  });
}

TEST("a time-out leaves the job running and no directory") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"python3", "-u", "-c", "import os, sys\nb = os.urandom(1 << 20) * 400\nprint('ready', flush=True)\nwhile True:\n  print(sys.stdin.readline(), flush=True)"}, Wanted::pipes);
    expect(job.out.get(), "ready");
    DumpRequest request = dumpRequest(at, job);
    request.timeout_ms = 40;
    auto result = dump(request, {}, [] { std::this_thread::sleep_for(std::chrono::milliseconds(30)); });
    CHECK_EQUAL(mustFail(result).code, std::string("XOS_CHECKPOINT_TIMEOUT"));
    CHECK(!exists(at.images()));
    goesOn(job);
    // And it can be dumped after that.
    mustDump(at, job);
  });
}

TEST("a job that cannot be signed for goes on") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start(counter, Wanted::pipes);
    expect(job.out.get(), "ready");
    DumpRequest request = dumpRequest(at, job);
    request.credentials = "/nowhere";
    CHECK_EQUAL(mustFail(dump(request, {})).code, std::string("XOS_CHECKPOINT_CREDENTIALS"));
    CHECK(!exists(at.images()));
    goesOn(job);
  });
}

TEST_MAIN
