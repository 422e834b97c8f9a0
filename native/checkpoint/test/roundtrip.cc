// End to end: each kind of program is dumped in one cell and goes on in another one.
//
//   this process ── inCell() ── pid 1 of cell A: start, dump      images on disk      pid 1 of cell B: restore, go on
//
// Needs root and CRIU; otherwise every test is skipped with the reason.
#include "rig.h"
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <thread>

using namespace xos::checkpoint;
using namespace xos::checkpoint::test;

TEST("an idle program on pipes goes on with its memory, input, output and exit status") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start(counter, Wanted::pipes);
    expect(job.out.get(), "ready");
    type(job.in.get(), "one\n");
    expect(job.out.get(), "line 1 one");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "two\nquit\n");
    expect(job.out.get(), "line 3 quit");
    CHECK_EQUAL(WEXITSTATUS(waitFor(job.pid)), 7);
  });
}

TEST("input that was written and not yet read is not lost") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"python3", "-u", "-c", "import time, sys\nprint('ready', flush=True)\ntime.sleep(2)\nprint(sys.stdin.readline())"}, Wanted::pipes);
    expect(job.out.get(), "ready");
    type(job.in.get(), "unread\n");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    expect(job.out.get(), "unread");
    CHECK_EQUAL(waitFor(job.pid), 0);
  });
}

TEST("output that was written and not yet read comes out after the restart, once and in order") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"python3", "-u", "-c", "import sys\nfor i in range(9000): print('line', i)\nprint('full', flush=True)\nsys.stdin.readline()\nprint('end', flush=True)"}, Wanted::pipes);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // the pipe is full, the program waits in write()
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "\n");
    std::string all = expect(job.out.get(), "end\n"), wanted;
    for (int i = 0; i < 9000; ++i) wanted += "line " + std::to_string(i) + "\n";
    CHECK(all == wanted + "full\nend\n");
  });
}

TEST("256 MiB of memory come back unchanged") {
  needCell();
  Workplace at;
  std::string program = "import sys, hashlib, os\nb = bytearray(os.urandom(1 << 20)) * 256\n"
      "print(hashlib.sha256(b).hexdigest(), 'sum', flush=True)\nsys.stdin.readline()\nprint(hashlib.sha256(b).hexdigest(), 'again', flush=True)";
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program}, Wanted::pipes);
    std::string before = expect(job.out.get(), "sum\n").substr(0, 64);
    Fd note(open((at.path + "/sum").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    writeAll(note.get(), before.data(), before.size());
    auto done = mustDump(at, job);
    CHECK(done.bytes > 256u << 20);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "go\n");
    CHECK_EQUAL(expect(job.out.get(), "again").substr(0, 64), readFile(at.path + "/sum"));
    CHECK_EQUAL(waitFor(job.pid), 0);
  });
}

TEST("a TCP connection inside the tree keeps what was sent, what was not yet sent and what was read") {
  needCell();
  Workplace at;
  // Both directions are full, so that there is more than the other end's window takes.
  const std::string program = R"(
import os, socket, sys, hashlib
server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen()
def talk(end, seed):
  end.setblocking(False)
  sent = 0
  try:
    while True: sent += end.send(bytes((sent + i) * seed % 251 for i in range(4096)))
  except BlockingIOError: pass
  os.write(done[1], b'x')
  go[0].recv(1)
  end.setblocking(True)
  end.send(b'end')
  end.shutdown(socket.SHUT_WR)
  got = b''
  while True:
    piece = end.recv(1 << 20)
    if not piece: break
    got += piece
  their = 14 - seed
  n = len(got) - 3
  # Pieces may be cut short: each begins where the one before ended.
  good = got[n:] == b'end' and all(got[i] == i * their % 251 for i in range(n))
  os.write(done[1], b'+' if good and n > 100000 else b'-')
done, go = os.pipe(), socket.socketpair()
clients = []
if os.fork() == 0:
  client = socket.create_connection(server.getsockname())
  talk(client, 5)
  os._exit(0)
end = server.accept()[0]
if os.fork() == 0:
  talk(end, 9)
  os._exit(0)
end.close()
assert os.read(done[0], 1) + os.read(done[0], 1) == b'xx'
print('ready', flush=True)
sys.stdin.readline()
go[1].send(b'gg')
print(os.read(done[0], 1) + os.read(done[0], 1), 'told', flush=True)
)";
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program}, Wanted::pipes);
    expect(job.out.get(), "ready");
    mustDump(at, job);
  });
  for (int round = 0; round < 3; ++round)
    inCell([&] {
      auto result = restore({.directory = at.images(), .credentials = "", .library = XOS_CAPTURE_LIBRARY}, {});
      if (auto* failure = std::get_if<Failure>(&result)) xos::test::fail(__FILE__, __LINE__, explain(*failure));
      Job job = attach(std::get<RestoreResult>(result));
      // Of what CRIU had for it nothing is left in the job.
      CHECK(readFile("/proc/" + std::to_string(job.pid) + "/maps").find("xos-") == std::string::npos);
      for (int fd = 0; fd < 64; ++fd) CHECK(readLink("/proc/" + std::to_string(job.pid) + "/fd/" + std::to_string(fd)).find("xos-") == std::string::npos);
      type(job.in.get(), "\n");
      const std::string all = expect(job.out.get(), "told");
      if (all.find("b'++'") == all.npos) xos::test::fail(__FILE__, __LINE__, all);
      kill(job.pid, SIGKILL);
    });
}

TEST("threads go on") {
  needCell();
  Workplace at;
  std::string program = "import threading, time, sys\nn = [0] * 16\ndef work(i):\n  while True:\n    n[i] += 1\n    time.sleep(0.001)\n"
      "for i in range(16): threading.Thread(target=work, args=(i,), daemon=True).start()\nprint('ready', flush=True)\nsys.stdin.readline()\n"
      "a = list(n)\ntime.sleep(0.5)\nprint('moved', sum(n[i] > a[i] for i in range(16)), flush=True)";
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program}, Wanted::pipes);
    expect(job.out.get(), "ready");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "\n");
    expect(job.out.get(), "moved 16");
  });
}

TEST("a pipeline of three goes on, and ends with the status of the last") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"bash", "-c", "(i=0; while sleep 0.01; do i=$((i+1)); echo $i; done) | sed -u y/0123456789/abcdefghij/ | while read x; do echo got $x; [ -e " +
                                       at.path + "/stop ] && exit 5; done"}, Wanted::pipes);
    expect(job.out.get(), "got j");
    auto done = mustDump(at, job);
    CHECK(done.processes >= 4);
  });
  inCell([&] {
    Job job = mustRestore(at);
    expect(job.out.get(), "got ");
    Fd stop(open((at.path + "/stop").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    CHECK_EQUAL(WEXITSTATUS(waitFor(job.pid)), 5);
  });
}

TEST("bash on a terminal goes on with its job control and window size") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"bash", "--norc", "-i"}, Wanted::pty);
    type(job.master.get(), "X=kept; sleep 1000 & echo rea''dy; stty size\n");
    expect(job.master.get(), "33 99");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    CHECK(job.master.get() >= 0);
    type(job.master.get(), "echo value $X; stty size; jobs\n");
    std::string all = expect(job.master.get(), "sleep 1000");
    CHECK(all.find("value kept") != std::string::npos);
    CHECK(all.find("33 99") != std::string::npos);
    type(job.master.get(), "kill %1; echo be''gin; cat\n");
    expect(job.master.get(), "begin");
    type(job.master.get(), "typed\n");
    expect(job.master.get(), "typed\r\ntyped");
    type(job.master.get(), "\x03");  // ^C must reach cat, not bash
    expect(job.master.get(), "# ");
    type(job.master.get(), "exit 9\n");
    CHECK_EQUAL(WEXITSTATUS(waitFor(job.pid)), 9);
  });
}

TEST("a process that waits for its terminal is woken by what is typed after the restart") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"cat"}, Wanted::pty);
    type(job.master.get(), "before\n");
    expect(job.master.get(), "before\r\nbefore");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.master.get(), "after\n");
    expect(job.master.get(), "after\r\nafter");
    type(job.master.get(), "\x04");
    CHECK_EQUAL(waitFor(job.pid), 0);
  });
}

TEST("vim in bash keeps its screen and its unsaved text") {
  needCell();
  if (access("/usr/bin/vim", X_OK) < 0) SKIP("needs vim");
  Workplace at;
  inCell([&] {
    Job job = start({"bash", "--norc", "-i"}, Wanted::pty);
    type(job.master.get(), "vim -u NONE " + at.path + "/text\n");
    expect(job.master.get(), "New");
    type(job.master.get(), "ihello from vim\x1b");
    expect(job.master.get(), "hello from vim");
    auto done = mustDump(at, job);
    CHECK_EQUAL(done.processes, 2u);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.master.get(), "\x1b:wq\n");
    eventually("text saved", [&] { return readFile(at.path + "/text") == "hello from vim\n"; });
    type(job.master.get(), "exit 4\n");
    CHECK_EQUAL(WEXITSTATUS(waitFor(job.pid)), 4);
  });
}

TEST("a tmux tree with its server, less and vim goes on") {
  needCell();
  if (access("/usr/bin/tmux", X_OK) < 0 || access("/usr/bin/less", X_OK) < 0) SKIP("needs tmux and less");
  Workplace at;
  std::string socket = at.path + "/socket";
  inCell([&] {
    Job job = start({"tmux", "-S", socket, "new", "-s", "one", "bash --norc"}, Wanted::pty);
    eventually("server up", [&] { return system(("tmux -S " + socket + " has-session -t one 2>/dev/null").c_str()) == 0; });
    CHECK_EQUAL(system(("tmux -S " + socket + " split-window 'less /etc/passwd' && tmux -S " + socket +
                        " split-window 'cat | tr a-z A-Z' && tmux -S " + socket + " new-window 'top -b -d 1 > /dev/null'").c_str()), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    auto done = mustDump(at, job);
    CHECK(done.processes >= 7);
  });
  inCell([&] {
    Job job = mustRestore(at);
    CHECK_EQUAL(system(("tmux -S " + socket + " list-panes -a | wc -l | grep -qx 4").c_str()), 0);
    type(job.master.get(), "\x02""d");
    CHECK_EQUAL(waitFor(job.pid), 0);
  });
}

TEST("a file that was deleted and is still open goes along") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"python3", "-u", "-c", "import os, sys\nf = open('" + at.path + "/gone', 'w+')\nf.write('content ' * 1000000)\nf.flush()\nos.unlink(f.name)\n"
                     "print('ready', flush=True)\nsys.stdin.readline()\nf.seek(0)\nprint('size', len(f.read()), flush=True)"}, Wanted::pipes);
    expect(job.out.get(), "ready");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "\n");
    expect(job.out.get(), "size 8000000");
  });
}

TEST("sockets inside of the tree stay connected") {
  needCell();
  Workplace at;
  std::string program = "import socket, os, sys\nu = socket.socketpair()\nl = socket.socket()\nl.bind(('127.0.0.1', 0))\nl.listen()\n"
      "if os.fork() == 0:\n  c = socket.create_connection(l.getsockname())\n  while True:\n    d = c.recv(100)\n    if not d: os._exit(0)\n    u[1].send(d.upper())\n"
      "s, _ = l.accept()\nprint('ready', flush=True)\nsys.stdin.readline()\ns.send(b'through tcp')\nprint(u[0].recv(100), flush=True)";
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program}, Wanted::pipes);
    expect(job.out.get(), "ready");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "\n");
    expect(job.out.get(), "THROUGH TCP");
  });
}

TEST("System V shared memory, semaphores and messages go along, twice") {
  needCell();
  Workplace at;
  const std::string program =
      "import ctypes, sys\nc = ctypes.CDLL(None)\nc.shmat.restype = ctypes.c_void_p\n"
      "memory, semaphores, queue = c.shmget(0x1234, 1 << 20, 0o1640), c.semget(0, 3, 0o1600), c.msgget(0x77, 0o1600)\nat = c.shmat(memory, None, 0)\n"
      "class M(ctypes.Structure): _fields_ = [('kind', ctypes.c_long), ('text', ctypes.c_char * 8)]\n"
      "unattached = c.shmget(0, 8192, 0o1600)\nother = c.shmat(unattached, None, 0)\nctypes.memmove(other + 4096, b'there', 5)\nc.shmdt(ctypes.c_void_p(other))\n"
      "ctypes.memmove(at + 70000, b'kept', 4)\nc.semctl(semaphores, 1, 16, 5)\nc.msgsnd(queue, ctypes.byref(M(3, b'early')), 8, 0)\nprint('ready', flush=True)\n"
      "for round in range(3):\n  sys.stdin.readline()\n  m = M()\n  got = c.msgrcv(queue, ctypes.byref(m), 8, 0, 0o4000)\n  c.msgsnd(queue, ctypes.byref(m), 8, 0)\n"
      "  other = c.shmat(unattached, None, 0)\n  there = ctypes.string_at(other + 4096, 5)\n  c.shmdt(ctypes.c_void_p(other))\n"
      "  print('round', round, ctypes.string_at(at + 70000, 4), there, c.semctl(semaphores, 1, 12), got, m.kind, m.text, c.shmget(0x1234, 0, 0) == memory, c.msgget(0x77, 0) == queue, flush=True)\n";
  auto round = [](Job& job, int number) {
    type(job.in.get(), "\n");
    expect(job.out.get(), "round " + std::to_string(number) + " b'kept' b'there' 5 8 3 b'early' True True\n");
  };
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program}, Wanted::pipes);
    expect(job.out.get(), "ready");
    round(job, 0);
    for (auto& obstacle : check(job.pid, job.streams)) CHECK(!obstacle.certain);
    mustDump(at, job);
  });
  for (int number : {1, 2})
    inCell([&] {
      Job job = mustRestore(at);
      round(job, number);
      for (auto& obstacle : check(job.pid, job.streams)) CHECK(!obstacle.certain);
      if (number == 1) mustDump(at, job);
      else CHECK_EQUAL(waitFor(job.pid), 0);
    });
}

TEST("a sqlite writer goes on in its transaction") {
  needCell();
  Workplace at;
  std::string program = "import sqlite3, sys\nd = sqlite3.connect('" + at.path + "/data')\nd.execute('pragma journal_mode=wal')\n"
      "d.execute('create table t(x)')\nd.commit()\nd.executemany('insert into t values(?)', [(i,) for i in range(1000)])\nprint('ready', flush=True)\n"
      "sys.stdin.readline()\nd.commit()\nprint('rows', d.execute('select count(*) from t').fetchone()[0], d.execute('pragma integrity_check').fetchone()[0], flush=True)";
  inCell([&] {
    Job job = start({"python3", "-u", "-c", program}, Wanted::pipes);
    expect(job.out.get(), "ready");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "\n");
    expect(job.out.get(), "rows 1000 ok");
  });
}

TEST("a program that is left running goes on, and its checkpoint holds the earlier state") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start(counter, Wanted::pipes);
    type(job.in.get(), "one\n");
    expect(job.out.get(), "line 1");
    mustDump(at, job, true);
    type(job.in.get(), "two\nquit\n");
    expect(job.out.get(), "line 3 quit");
    CHECK_EQUAL(WEXITSTATUS(waitFor(job.pid)), 7);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.in.get(), "other\n");
    expect(job.out.get(), "line 2 other");
  });
}

TEST("a tree that was restored is dumped again") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start({"bash", "--norc", "-i"}, Wanted::pty);
    type(job.master.get(), "Y=twice; echo rea''dy\n");
    expect(job.master.get(), "ready");
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    CHECK_EQUAL(system(("rm -rf " + at.images()).c_str()), 0);
    mustDump(at, job);
  });
  inCell([&] {
    Job job = mustRestore(at);
    type(job.master.get(), "echo go''ne $Y\n");
    expect(job.master.get(), "gone twice");
  });
}

TEST_MAIN
