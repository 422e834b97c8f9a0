// A real xos-cell in real namespaces, spoken to as the relay does. Needs root and a root directory that is a mount point.
#include "channel.h"
#include "protocol.h"
#include "test.h"
#include "unique_fd.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace xos;
using namespace xos::relay;

namespace {

constexpr uid_t user = 1879113729;

struct Answer {
  Header header{};
  std::vector<uint8_t> payload;
  std::vector<int> fds;
  Exit exit() const {
    Exit end;
    if (header.type == frame_refused) test::fail(__FILE__, __LINE__, "refused: " + std::string(payload.begin() + 2 + 4 + 19 + 4, payload.end()));
    CHECK_EQUAL(header.type, static_cast<uint16_t>(frame_exit));
    memcpy(&end, payload.data(), sizeof end);
    return end;
  }
};

class TestCell {
 public:
  TestCell() {
    int sockets[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    socket_.reset(sockets[0]);
    unique_fd theirs(sockets[1]);
    pid_ = static_cast<pid_t>(syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (pid_ == 0) {
      // A cell wants a root that is a mount; in a chroot we make one.
      if (mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) < 0 && (mount("/", "/mnt", nullptr, MS_BIND | MS_REC, nullptr) < 0 || chroot("/mnt") < 0)) _exit(3);
      if (theirs.get() == cell::channel_fd) fcntl(cell::channel_fd, F_SETFD, 0);
      else dup2(theirs.get(), cell::channel_fd);
      execl(XOS_CELL, "xos-cell", "--channel=3", nullptr);
      _exit(127);
    }
    if (pid_ < 0) SKIP(std::string("no namespaces here: ") + strerror(errno));
    theirs.reset();
    CHECK_EQUAL(receive().header.type, static_cast<uint16_t>(frame_cell_ready));
  }
  ~TestCell() {
    socket_.reset();
    waitpid(pid_, nullptr, 0);
  }

  Answer receive() {
    Answer answer;
    pollfd ready{socket_.get(), POLLIN, 0};
    CHECK(poll(&ready, 1, 10000) == 1);
    CHECK(cell::receive_frame(socket_.get(), answer.header, answer.payload, answer.fds));
    return answer;
  }
  /// Starts a shell command; what it writes is read with output().
  void spawn(const std::string& command, uid_t uid = user, bool terminal = false, const char* path = "/bin/sh", const char* cwd = "/") {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    output_.reset(ends[0]);
    Buffer buffer;
    Writer out(buffer);
    const Identity identity{uid, uid, 1};
    const uint32_t group = 1234;
    out.raw(&identity, sizeof identity);
    out.raw(&group, sizeof group);
    out.text("n1-1");
    out.text("n2");
    SpecHead head;
    head.streams[0] = kind_null;
    head.streams[1] = kind_pipe;
    head.streams[2] = kind_as_out;
    head.has_terminal = terminal;
    for (auto& limit : head.limits) limit[0] = limit[1] = ~0ull;
    out.raw(&head, sizeof head);
    out.text(cwd);
    out.text(path);
    const char* arguments[] = {"sh", "-c", command.c_str()};
    const char* environment[] = {"PATH=/usr/bin:/bin", "XOS_JOB=forged"};
    out.strings(arguments, 3);
    out.strings(environment, 2);
    const int theirs = ends[1];
    CHECK(cell::send_frame(socket_.get(), frame_spawn, 7, {buffer.data(), buffer.size()}, {&theirs, 1}));
    close(theirs);
  }
  std::string output() {
    std::string text;
    char bytes[4096];
    ssize_t got;
    while ((got = read(output_.get(), bytes, sizeof bytes)) > 0) text.append(bytes, got);
    return text;
  }
  void signal(uint8_t number, bool typed = false) {
    const uint8_t payload[2] = {number, typed};
    CHECK(cell::send_frame(socket_.get(), frame_signal, 7, payload));
  }
  int socket() const { return socket_.get(); }
  pid_t pid() const { return pid_; }

 private:
  unique_fd socket_, output_;
  pid_t pid_ = -1;
};

}  // namespace

TEST("a job is its session's leader with pid 100, the user's ids, its own /proc and nothing else open") {
  TestCell cell;
  cell.spawn("echo $$ $(id -u) $(id -g) $(id -G) $XOS_JOB $XOS_NODE_NAME; ps -o sid= -p $$; ls /proc | grep -c '^[0-9]'; ls /proc/self/fd | wc -l");
  const std::string text = cell.output();
  const Exit end = cell.receive().exit();
  CHECK_EQUAL(end.code, 0);
  CHECK_EQUAL(end.reusable, 1);
  CHECK_EQUAL(text.substr(0, text.find('\n')), "100 1879113729 1879113729 1879113729 1234 n1-1 n2");
  CHECK(text.find("\n  100\n") != text.npos || text.find("\n    100\n") != text.npos);
}

TEST("a cell serves one job after the other, and refuses a second at the same time") {
  TestCell cell;
  for (int i = 0; i < 5; i++) {
    cell.spawn("exit " + std::to_string(i));
    CHECK_EQUAL(cell.receive().exit().code, i);
  }
  cell.spawn("sleep 100");
  cell.spawn("true");
  CHECK_EQUAL(cell.receive().header.type, static_cast<uint16_t>(frame_refused));
  cell.signal(SIGKILL);
  CHECK_EQUAL(cell.receive().exit().signal, SIGKILL);
}

TEST("nothing runs as root, with a missing program or in a missing directory, and the answer says which") {
  TestCell cell;
  cell.spawn("true", 0);
  CHECK_EQUAL(cell.receive().header.type, static_cast<uint16_t>(frame_refused));
  cell.spawn("true", user, false, "/no/such");
  Answer answer = cell.receive();
  CHECK_EQUAL(answer.header.type, static_cast<uint16_t>(frame_refused));
  CHECK_EQUAL(answer.payload[1], 127);
  cell.spawn("true", user, true, "/bin/sh", "/no/such");
  answer = cell.receive();
  CHECK_EQUAL(answer.header.type, static_cast<uint16_t>(frame_refused));
  CHECK(std::string(answer.payload.begin(), answer.payload.end()).find("/no/such") != std::string::npos);
  cell.spawn("exit 9");
  CHECK_EQUAL(cell.receive().exit().code, 9);
}

TEST("what a job leaves running is ended, and the cell says when it is empty") {
  TestCell cell;
  cell.spawn("trap '' HUP; sleep 1000 & sleep 1000 & exit 3");
  const Exit end = cell.receive().exit();
  CHECK_EQUAL(end.code, 3);
  CHECK_EQUAL(end.reusable, 0);
  const Answer empty = cell.receive();
  CHECK_EQUAL(empty.header.type, static_cast<uint16_t>(frame_cell_empty));
  CHECK_EQUAL(empty.payload[0], 1);
}

TEST("System V memory that a job leaves behind uses the cell up") {
  TestCell cell;
  cell.spawn("exec python3 -c 'import ctypes;ctypes.CDLL(None).shmget(0,4096,0o1600)'");
  CHECK_EQUAL(cell.receive().exit().reusable, 0);
  const Answer empty = cell.receive();
  CHECK_EQUAL(empty.header.type, static_cast<uint16_t>(frame_cell_empty));
  CHECK_EQUAL(empty.payload[0], 0);
}

TEST("io_uring is not there") {
  TestCell cell;
  cell.spawn("exec python3 -c 'import ctypes,os;l=ctypes.CDLL(None,use_errno=True);r=l.syscall(425,8,0);print(r,ctypes.get_errno()==38)'");
  CHECK_EQUAL(cell.output(), "-1 True\n");
  cell.receive().exit();
}

TEST("a job on a terminal stops by ^Z though it stands alone, goes on, and dies by ^C") {
  TestCell cell;
  cell.spawn("tty < /dev/tty; exec sleep 1000", user, true);
  Answer terminal = cell.receive();
  CHECK_EQUAL(terminal.header.type, static_cast<uint16_t>(frame_cell_pty));
  CHECK_EQUAL(terminal.fds.size(), 1u);
  unique_fd master(terminal.fds[0]);
  usleep(200000);
  cell.signal(SIGTSTP, true);
  Answer state = cell.receive();
  CHECK_EQUAL(state.header.type, static_cast<uint16_t>(frame_state));
  CHECK_EQUAL(state.payload[0], static_cast<uint8_t>(state_stopped));
  cell.signal(SIGCONT);
  CHECK_EQUAL(cell.receive().payload[0], static_cast<uint8_t>(state_running));
  cell.signal(SIGINT, true);
  CHECK_EQUAL(cell.receive().exit().signal, SIGINT);
}

TEST("a malformed order is refused and the cell goes on") {
  TestCell cell;
  const uint8_t nonsense[40] = {1, 2, 3};
  CHECK(cell::send_frame(cell.socket(), frame_spawn, 7, nonsense));
  CHECK_EQUAL(cell.receive().header.type, static_cast<uint16_t>(frame_refused));
  cell.spawn("exit 4");
  CHECK_EQUAL(cell.receive().exit().code, 4);
}

TEST("with its relay's end of the socket the cell and all in it ends") {
  pid_t pid;
  unique_fd alive;
  {
    TestCell cell;
    cell.spawn("sleep 1000");
    pid = cell.pid();
    alive.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    CHECK(alive.valid());
  }  // waits for pid 1, which ends when the socket does, and with it its namespace
  pollfd ended{alive.get(), POLLIN, 0};
  CHECK(poll(&ended, 1, 10000) == 1);
}

TEST_MAIN
