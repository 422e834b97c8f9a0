// Copy-on-write capture, end to end: the program runs on while its memory is stored, and the checkpoint holds one moment of it.
//
//   this process ── inCell() ── pid 1 of cell A: start, dump --leave-running      images on disk      pid 1 of cell B: restore, go on
//
// Needs root and CRIU; otherwise every test is skipped with the reason.
#include "capture.h"
#include "rig.h"
#include "tree.h"
#include <algorithm>
#include <atomic>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <thread>

using namespace xos::checkpoint;
using namespace xos::checkpoint::test;

namespace {

/// Holds 96 MiB of which each page has its number, and changes them all the time: `first` and `last` of the memory are never more than one apart.
const std::string writer = R"(
import mmap, os, struct, sys, threading, time
size = 96 << 20
memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
pages = size // 4096
for page in range(pages): struct.pack_into('<QQ', memory, page * 4096, page, 0)
lock, stop = threading.Lock(), threading.Event()
def change():
  turn = 0
  while not stop.is_set():
    turn += 1
    with lock:
      struct.pack_into('<Q', memory, 8, turn)
      for page in range(1 + turn % 97, pages, 97): struct.pack_into('<Q', memory, page * 4096 + 8, turn)
      struct.pack_into('<Q', memory, size - 8, turn)
    time.sleep(0.002)  # outside of the lock, which is not a fair one
def verify():
  with lock:
    wrong = sum(struct.unpack_from('<Q', memory, page * 4096)[0] != page for page in range(pages))
    first, last = struct.unpack_from('<Q', memory, 8)[0], struct.unpack_from('<Q', memory, size - 8)[0]
    most = max(struct.unpack_from('<Q', memory, page * 4096 + 8)[0] for page in range(1, pages - 1))
    return f'wrong {wrong} apart {first - last} beyond {max(0, most - first)} turned {first > 0}'
writing = threading.Thread(target=change)
writing.start()
print('ready', flush=True)
for line in sys.stdin:
  if line.strip() == 'quit': break
  print(verify(), flush=True)
stop.set()
writing.join()
print('over', flush=True)
)";
/// The same with a child that has memory of its own, and must live until it is told to end.
const std::string family = R"(
import atexit, os, signal, threading
child = os.fork()
if child == 0:
  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
  own = bytearray(os.urandom(4096) * (24 << 8))
  signal.sigwait([signal.SIGTERM])
  os._exit(5)
def end():
  os.kill(child, signal.SIGTERM)
  print('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
atexit.register(end)
)" + writer;
const std::string right = "wrong 0 apart 0 beyond 0 turned True";

DumpResult mustCapture(const Workplace& at, const Job& job) {
  auto request = dumpRequest(at, job, true);
  request.capture_library = XOS_CAPTURE_LIBRARY;
  auto result = dump(request, {});
  if (auto* failure = std::get_if<Failure>(&result)) xos::test::fail(__FILE__, __LINE__, explain(*failure));
  auto done = std::get<DumpResult>(result);
  if (getenv("XOS_VERBOSE")) printf("     %u ms (frozen %u ms), %lu KiB, %s\n", done.total_ms, done.frozen_ms, done.bytes >> 10, done.why_plain.c_str());
  return done;
}

/// All that is in this cell.
size_t processesHere() { return processTree(getpid()).size(); }

/// Nothing of a capture may stay.
void mustBeAlone(const std::vector<Process>& there) {
  std::string left;
  for (auto& process : processTree(getpid()))
    if (std::none_of(there.begin(), there.end(), [&](auto& old) { return old.pid == process.pid; }))
      left += " " + process.program + " " + std::to_string(process.pid) + " " + process.state + " of " + std::to_string(process.parent);
  if (!left.empty()) xos::test::fail(__FILE__, __LINE__, "left:" + left);
  CHECK_EQUAL(processesHere(), there.size());
}

/// Kills the first child of ours with that name that `wanted` takes.
bool killChild(const std::function<bool(const Process&)>& wanted) {
  for (auto& process : processTree(getpid()))
    if (process.pid != getpid() && wanted(process)) return kill(process.pid, SIGKILL) == 0;
  return false;
}
bool killCriu() { return killChild([](auto& process) { return process.program == "criu" && process.state != 'Z'; }); }
/// Of those that are there beside `before`.
bool killClone(const std::vector<Process>& before) {
  return killChild([&](auto& process) {
    return process.program == "python3" && std::none_of(before.begin(), before.end(), [&](auto& old) { return old.pid == process.pid; });
  });
}

Fd openSum(const Workplace& at) { return Fd(open((at.path + "/sum").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)); }

long pythons() {
  auto tree = processTree(getpid());
  return std::count_if(tree.begin(), tree.end(), [](auto& process) { return process.program == "python3"; });
}

void mustEnd(Job& job) {
  type(job.in.get(), "quit\n");
  expect(job.out.get(), "over");
  CHECK_EQUAL(waitFor(job.pid), 0);
}

}  // namespace

TEST("a program that changes its memory all the time runs on, and its checkpoint is one moment of it") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"python3", "-u", "-c", writer}, Wanted::pipes);
    expect(job.out.get(), "ready\n");
    size_t before = processesHere();
    auto done = mustCapture(at, job);
    CHECK_EQUAL(done.why_plain, "");
    CHECK(done.copy_on_write);
    CHECK(done.bytes > 96u << 20);
    CHECK_EQUAL(processesHere(), before);
    type(job.in.get(), "verify\n");
    expect(job.out.get(), right + "\n");
    mustEnd(job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "verify\n");
    expect(job.out.get(), right + "\n");
    mustEnd(job);
  });
}

TEST("memory of a child, small shared memory, pipes in use and what clones do not get are in it, from the same moment") {
  needCell();
  Workplace at;
  // Parent and child pass a number to and fro over pipes and note it in shared memory, in their own and in a region that is kept from clones.
  const std::string program = R"(
import ctypes, mmap, os, struct, sys, threading
shared = mmap.mmap(-1, 1 << 20)
to_child, to_parent = os.pipe(), os.pipe()
def region():
  own, kept = mmap.mmap(-1, 80 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
  kept.madvise(mmap.MADV_DONTFORK)
  for page in range(0, len(own), 4096): own[page] = 1
  return own, kept
def note(own, kept, at, number):
  for memory, place in ((shared, at), (own, 79 << 20), (kept, 0)): struct.pack_into('<Q', memory, place, number)
def noted(own, kept, at): return [struct.unpack_from('<Q', memory, place)[0] for memory, place in ((shared, at), (own, 79 << 20), (kept, 0))]
if os.fork() == 0:
  own, kept = region()
  last = 0
  while True:
    data = os.read(to_child[0], 8)
    number = struct.unpack('<Q', data)[0]
    if number != last + 1 or (last and noted(own, kept, 8) != [last] * 3): os.write(1, b'child is out of step\n')
    last = number
    note(own, kept, 8, number)
    os.write(to_parent[1], data)
own, kept = region()
file = open(sys.argv[1] + '/gone', 'w+')
file.write('still here')
file.flush()
os.unlink(file.name)
count = 0
def play():
  global count
  while True:
    os.write(to_child[1], struct.pack('<Q', count + 1))
    if count and noted(own, kept, 0) != [count] * 3: os.write(1, b'parent is out of step\n')
    if struct.unpack('<Q', os.read(to_parent[0], 8))[0] != count + 1: os.write(1, b'parent got another one\n')
    count += 1
    note(own, kept, 0, count)
for _ in range(16): threading.Thread(target=threading.Event().wait, daemon=True).start()
threading.Thread(target=play, daemon=True).start()
while count < 10: pass
print('ready', flush=True)
for line in sys.stdin:
  before = count
  while count < before + 100: pass
  file.seek(0)
  print('in step', file.read(), threading.active_count(), flush=True)
)";
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program, at.path}, Wanted::pipes);
    expect(job.out.get(), "ready\n");
    size_t before = processesHere();
    auto done = mustCapture(at, job);
    CHECK_EQUAL(done.why_plain, "");
    CHECK(done.copy_on_write);
    CHECK(done.bytes > 160u << 20);
    CHECK_EQUAL(processesHere(), before);  // no clone, and no zombie of one at its parent
    type(job.in.get(), "go\n");
    CHECK_EQUAL(expect(job.out.get(), "\n"), "in step still here 18\n");
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "go\n");
    CHECK_EQUAL(expect(job.out.get(), "\n"), "in step still here 18\n");
  });
}

TEST("reserved huge pages are kept from clones; where CRIU does not know them either the program goes on, and the reason is told") {
  needCell();
  Workplace at;
  // Mapped and not used: most machines have no huge pages to give.
  const std::string program = "import mmap, sys\nown, huge = bytearray(b'1' * (80 << 20)), mmap.mmap(-1, 4 << 20, 0x44022)\nprint('ready', flush=True)\n"
                              "sys.stdin.readline()\nprint('ones', own.count(b'1') >> 20, flush=True)";
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program}, Wanted::pipes);
    expect(job.out.get(), "ready\n");
    auto request = dumpRequest(at, job, true);
    request.capture_library = XOS_CAPTURE_LIBRARY;
    request.try_all_the_same = true;
    auto result = dump(request, {});
    if (auto* done = std::get_if<DumpResult>(&result)) CHECK(!done->copy_on_write && done->why_plain.find("reserved huge pages") != std::string::npos);
    else CHECK(std::get<Failure>(result).code == "XOS_CHECKPOINT_REFUSED" && std::get<Failure>(result).message.find("anon_hugepage") != std::string::npos);
    type(job.in.get(), "\n");
    CHECK_EQUAL(expect(job.out.get(), "\n"), "ones 80\n");
  });
}

TEST("what cannot be cloned is stored while it stands still, and the reason is told") {
  needCell();
  struct Case {
    const char* memory;
    const char* why;
    uid_t uid = 0;
  };
  for (auto [memory, why, uid] : {Case{"mmap.mmap(-1, 96 << 20)", " MiB of its memory are shared"},
                             Case{"mmap.mmap(-1, 96 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); m.madvise(mmap.MADV_DONTFORK)", "kept from clones (MADV_DONTFORK"},
                             Case{"mmap.mmap(-1, 96 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); import resource; resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))",
                                  "could not be cloned: Resource temporarily unavailable", 1000},
                             Case{"mmap.mmap(-1, 4 << 20)", "it is small"}}) {
    Workplace at;
    std::string program = std::string("import mmap, sys, zlib\nm = ") + memory +
                          "\nfor page in range(0, len(m), 4096): m[page] = page // 4096 % 251\nprint(zlib.crc32(m[:]), 'sum', flush=True)\n"
                          "sys.stdin.readline()\nprint(zlib.crc32(m[:]), 'again', flush=True)";
    std::string sum;
    inCell([&] {
      Job job = start({"python3", "-u", "-c", program}, Wanted::pipes, uid);
      size_t before = processesHere();
      sum = expect(job.out.get(), "sum\n");
      // CRIU finds out about the kernel as root, once in a boot; then real ids are lent, as a cell does it.
      if (uid) (void)!system("criu check >/dev/null 2>&1");
      if (uid) CHECK(setresgid(uid, -1, -1) == 0 && setresuid(uid, -1, -1) == 0);
      auto done = mustCapture(at, job);
      CHECK(!done.copy_on_write);
      CHECK_EQUAL(processesHere(), before);
      if (done.why_plain.find(why) == std::string::npos) xos::test::fail(__FILE__, __LINE__, done.why_plain);
      type(job.in.get(), "\n");
      CHECK_EQUAL(expect(job.out.get(), "again\n").substr(0, 6), sum.substr(0, 6));
      writeAll(openSum(at).get(), sum.data(), sum.size());
    });
    inCell([&] {
      Job job = mustRestore(at);
      type(job.in.get(), "\n");
      CHECK_EQUAL(expect(job.out.get(), "again\n").substr(0, 6), readFile(at.path + "/sum").substr(0, 6));
    });
  }
}

TEST("without the library, and with a program that is to end, a plain dump is taken") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"python3", "-u", "-c", writer}, Wanted::pipes);
    expect(job.out.get(), "ready\n");
    auto request = dumpRequest(at, job, true);
    request.capture_library = "/no/such/library.so";
    auto result = dump(request, {});
    CHECK(std::holds_alternative<DumpResult>(result));
    CHECK(std::get<DumpResult>(result).why_plain.find("no such file") != std::string::npos || std::get<DumpResult>(result).why_plain.find("No such file") != std::string::npos);
    request.leave_running = false;
    request.capture_library = XOS_CAPTURE_LIBRARY;
    result = dump(request, {});
    CHECK(std::holds_alternative<DumpResult>(result) && !std::get<DumpResult>(result).copy_on_write);
  });
}

TEST("TCP connections, and a transaction of sqlite, are in it; those who have them go on") {
  needCell();
  Workplace at;
  // Parent and child count in turn over TCP; the child notes it in memory. The parent has a transaction open in WAL mode.
  const std::string program = R"(
import mmap, os, socket, sqlite3, struct, sys, threading, time
def connected(one):
  one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))  # the port is free again when it ends
  return one
def take(one): return struct.unpack('<Q', one.recv(8, socket.MSG_WAITALL))[0]
def region():
  own = mmap.mmap(-1, 80 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
  for page in range(0, len(own), 4096): own[page] = 1
  return own
server = socket.create_server(('127.0.0.1', 0))
if os.fork() == 0:
  own, other = region(), connected(socket.create_connection(server.getsockname()))
  while True:
    number = take(other)
    if struct.unpack_from('<Q', own, 8)[0] not in (0, number - 2): number = 0
    struct.pack_into('<Q', own, 8, number)
    other.sendall(struct.pack('<Q', number + 1))
own, other = region(), connected(server.accept()[0])
database = sqlite3.connect(sys.argv[1] + '/data')
database.execute('pragma journal_mode=wal')
database.execute('create table t(x)')
database.commit()
database.executemany('insert into t values(?)', [(i,) for i in range(1000)])
count, wrong = 0, []
def play():
  global count
  while True:
    other.sendall(struct.pack('<Q', count + 1))
    answer = take(other)
    if answer != count + 2: wrong.append(answer)
    count += 2
threading.Thread(target=play, daemon=True).start()
print('ready', flush=True)
for line in sys.stdin:
  if line == 'play\n':
    before = count
    while count < before + 100: time.sleep(0.001)
    print('in step', wrong, flush=True)
  else:
    database.commit()
    print('rows', database.execute('select count(*) from t').fetchone()[0], database.execute('pragma integrity_check').fetchone()[0], flush=True)
)";
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program, at.path}, Wanted::pipes);
    expect(job.out.get(), "ready\n");
    auto done = mustCapture(at, job);
    CHECK_EQUAL(done.why_plain, "");
    CHECK(done.copy_on_write);
    CHECK(done.bytes > 160u << 20);
    type(job.in.get(), "play\n");
    CHECK_EQUAL(expect(job.out.get(), "\n"), "in step []\n");
  });  // and ends before it commits: the files are those of the checkpoint
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "play\n");
    CHECK_EQUAL(expect(job.out.get(), "\n"), "in step []\n");
    type(job.in.get(), "commit\n");
    CHECK_EQUAL(expect(job.out.get(), "\n"), "rows 1000 ok\n");
  });
}

namespace {

/// Types "verify": whether the program answered. False when one of `there` has ended meanwhile.
bool answersRightly(const Job& job, const std::vector<Process>& there) {
  type(job.in.get(), "verify\n");
  std::string answer;
  bool all_live = true;
  eventually("an answer", [&] {
    const auto now = processTree(getpid());
    all_live = std::all_of(there.begin(), there.end(), [&](auto& old) {
      return std::any_of(now.begin(), now.end(), [&](auto& process) { return process.pid == old.pid && process.state != 'Z'; });
    });
    pollfd ready{.fd = job.out.get(), .events = POLLIN};
    char piece[256];
    const ssize_t got = all_live && poll(&ready, 1, 20) > 0 ? read(job.out.get(), piece, sizeof piece) : 0;
    if (got > 0) answer.append(piece, static_cast<size_t>(got));
    return !all_live || answer.ends_with('\n');
  });
  if (all_live) CHECK_EQUAL(answer, right + "\n");
  return all_live;
}

/// What came of a dump during which `strike` (asked until it says that it has struck), or the report of progress, killed somebody.
struct Struck { bool whole, unharmed; };
using Strike = std::function<bool(const std::vector<Process>& there)>;

Struck dumpStruck(const std::function<void(const Progress&)>& progress, const Strike& strike) {
  Workplace at;
  inCell([&] {
    Job job = start({"python3", "-u", "-c", family}, Wanted::pipes);
    expect(job.out.get(), "ready\n");
    const auto there = processTree(getpid());
    auto request = dumpRequest(at, job, true);
    request.capture_library = XOS_CAPTURE_LIBRARY;
    std::atomic<bool> over{false};
    std::thread striker([&] { while (!over && !strike(there)) std::this_thread::sleep_for(std::chrono::microseconds(50)); });
    auto result = dump(request, progress);
    over = true;
    striker.join();
    const bool whole = access((at.images() + "/manifest").c_str(), F_OK) == 0;
    CHECK_EQUAL(whole, std::holds_alternative<DumpResult>(result));
    if (!whole) CHECK(access(at.images().c_str(), F_OK) < 0);
    mustBeAlone(there);
    if (!answersRightly(job, there)) return;
    CHECK_EQUAL(processesHere(), there.size());
    mustEnd(job);
    CHECK(Fd(open((at.path + "/unharmed").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)).valid());
  });
  const Struck struck{access((at.images() + "/manifest").c_str(), F_OK) == 0, access((at.path + "/unharmed").c_str(), F_OK) == 0};
  if (getenv("XOS_VERBOSE")) printf("     %s%s\n", struck.whole ? "whole" : "none", struck.unharmed ? "" : ", and CRIU took the program along");
  return struck;
}

}  // namespace

TEST("kill -9 of CRIU, or of a clone, leaves a whole checkpoint or none, nothing of the clones, and the program as it was") {
  needCell();
  const int rounds = getenv("XOS_ROUNDS") ? atoi(getenv("XOS_ROUNDS")) : 3;
  auto killIn = [](Progress::Phase phase) { return [phase](const Progress& at_phase) { if (at_phase.phase == phase) killCriu(); }; };
  auto none = [](auto&) { return true; };
  const Struck frozen = dumpStruck(killIn(Progress::Phase::freezing), none);
  CHECK(!frozen.whole && frozen.unharmed);
  CHECK(dumpStruck(killIn(Progress::Phase::writing), none).unharmed);  // whole or not: CRIU may have done its part by then
  // From the first process that CRIU starts, from the first or from the second clone on, at moments that lie ever later; and a clone, at once.
  // A process into which CRIU just puts its code dies with it, in any dump (README, "Facts found"): one in fifty, not one in two.
  int unharmed = dumpStruck({}, killClone).unharmed;
  for (int i = 0; i < rounds; ++i) {
    const auto pause = std::chrono::microseconds(700 * (i / 3) * (i / 3));
    unharmed += dumpStruck({}, [&](auto& there) {
      if (i % 3 ? pythons() < 2 + i % 3 : processesHere() <= there.size()) return false;
      std::this_thread::sleep_for(pause);
      return killCriu();
    }).unharmed;
  }
  CHECK(unharmed * 2 >= rounds + 1);
}

TEST("kill -9 of pid 1, which has the engine, leaves a whole checkpoint or none, and the next one finds its place") {
  needCell();
  const int rounds = getenv("XOS_ROUNDS") ? atoi(getenv("XOS_ROUNDS")) : 2;
  // The cell's pid 1 from outside: child of our child.
  auto killInit = [] {
    for (auto& child : processTree(getpid()))
      if (child.parent == getpid())
        for (auto& init : processTree(child.pid))
          if (init.parent == child.pid) return kill(init.pid, SIGKILL) == 0;
    return false;
  };
  auto dumpWriter = [](const Workplace& at) {
    Job job = start({"python3", "-u", "-c", writer}, Wanted::pipes);
    expect(job.out.get(), "ready\n");
    auto request = dumpRequest(at, job, true);
    request.capture_library = XOS_CAPTURE_LIBRARY;
    CHECK(std::holds_alternative<DumpResult>(dump(request, [&](const Progress& progress) {
      if (progress.phase == Progress::Phase::freezing) Fd(open((at.path + "/freezing").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    })));
  };
  for (int i = 0; i < rounds; ++i) {
    Workplace at;
    std::atomic<bool> over{false};
    std::thread striker([&] {
      while (!over && access((at.path + "/freezing").c_str(), F_OK) < 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
      std::this_thread::sleep_for(std::chrono::milliseconds(i * 150 / rounds));
      while (!over && !killInit()) std::this_thread::sleep_for(std::chrono::microseconds(50));
    });
    try {
      inCell([&] {
        dumpWriter(at);
        pause();
      });
    } catch (const xos::test::Failure&) { /* it was killed */ }
    over = true;
    striker.join();
    const bool whole = access((at.images() + "/manifest").c_str(), F_OK) == 0;
    if (getenv("XOS_VERBOSE")) printf("     %s\n", whole ? "whole" : "none");
    if (!whole) inCell([&] { dumpWriter(at); });
    inCell([&] {
      Job job = mustRestore(at);
      type(job.in.get(), "verify\n");
      expect(job.out.get(), right + "\n");
      mustEnd(job);
    });
  }
}

TEST_MAIN
