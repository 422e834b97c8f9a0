// Jobs of a cell: streams, ids, signals, terminals, ends.
#include "test_cell.h"

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
