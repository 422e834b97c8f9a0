// A real xos-cell in real namespaces, spoken to as the relay does. Needs root and a root directory that is a mount point.
#pragma once
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

inline constexpr uid_t user = 1879113729;

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
    CHECK(fchown(ends[1], uid, uid) == 0);
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
  /// What the relay says of the VO's policy before the first job.
  void confine(const std::string& json) { CHECK(cell::send_frame(socket_.get(), frame_confine, 0, {reinterpret_cast<const uint8_t*>(json.data()), json.size()})); }
  void enter(int group) { CHECK(cell::send_frame(socket_.get(), frame_leaf, 7, {}, {&group, 1})); }
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
