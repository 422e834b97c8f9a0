// xos-container hold: a network namespace for the grid's bridge, as long as this process lives.
// xos-container run: one node. This process (the keeper) starts the node's init in namespaces of its own and waits for it.
//
// Talk with the caller, lines on standard input and output:
//   → made, pid N  the namespaces exist: the caller may put the process on record and give the network an interface
//   ← go           the tree may be made and init started; end of input instead: the caller is gone, undo
//   → ready        init runs; from here on the keeper needs nobody
// Death: the init gets SIGKILL when the keeper dies, and with the init of a pid namespace everything in it goes, mounts included.
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>

#include "mounts.h"
#include "process.h"

namespace xos::container {
namespace {

void loopback_up() {
  Fd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket_fd || ioctl(socket_fd.get(), SIOCSIFFLAGS, &request) < 0) fail("cannot bring the loopback interface up");
}

/// Reads until '\n' or the end; true for a line "go".
bool read_go(int fd) {
  std::string line;
  for (;;) {
    char c;
    ssize_t got = read(fd, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    if (c == '\n') return line == "go";
    line += c;
  }
}

void null_streams(bool errors_too) {
  Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) fail("cannot open /dev/null");
  for (int fd = 0; fd <= (errors_too ? 2 : 1); fd++)
    if (dup2(null.get(), fd) < 0) fail("cannot redirect descriptor " + std::to_string(fd));
}

[[noreturn]] void be_init(const Options& options, const TreePlan& plan, Pipe& made, Pipe& go, Pipe& trouble) {
  try {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) fail("cannot tie the node to its keeper");
    go.write.reset();
    if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) < 0) fail("cannot make the namespaces of a node");
    write_all(made.write.get(), "x");
    // Also covers a keeper that died before prctl: its end of the pipe is gone then.
    if (!read_go(go.read.get())) _exit(1);
    new_session_keyring();
    loopback_up();
    enter_tree(plan);
    std::string name = options.need("name");
    if (sethostname(name.data(), name.size()) < 0) fail("cannot set the host name '" + name + "'");
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    null_streams(false);
    if (dup2(2, 1) < 0) fail("cannot redirect the output of init");
    close_on_exec_from(3);
    const char* environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", nullptr};
    auto arguments = exec_arguments(options.command);
    execve(arguments[0], arguments.data(), const_cast<char**>(environment));
    fail("cannot start '" + options.command[0] + "' in the node");
  } catch (const std::exception& error) {
    try {
      write_all(trouble.write.get(), error.what());
    } catch (const std::exception&) {
    }
    _exit(1);
  }
}

TreePlan read_plan(const Options& options) {
  TreePlan plan{options.all("lower"), options.get("upper"), options.get("work"), options.need("mountpoint"), {}};
  if (plan.lowers.empty() || options.command.empty()) refuse("--lower and a command after -- are needed");
  for (const auto& bind : options.all("bind")) {
    size_t colon = bind.rfind(':');
    if (colon == std::string::npos) refuse("--bind takes SOURCE:TARGET, not '" + bind + "'");
    plan.binds.emplace_back(bind.substr(0, colon), bind.substr(colon + 1));
  }
  return plan;
}

}  // namespace

int hold(const Options&) {
  setsid();
  if (unshare(CLONE_NEWNET) < 0) fail("cannot make the grid's network namespace");
  loopback_up();
  write_all(1, "made\n");
  if (!read_go(0)) return 1;
  write_all(1, "ready\n");
  null_streams(true);
  close_range(3, ~0U, 0);
  if (chdir("/") < 0) fail("cannot go to '/'");
  for (;;) pause();
}

int run(const Options& options) {
  TreePlan plan = read_plan(options);
  setsid();
  Pipe made = make_pipe(), go = make_pipe(), trouble = make_pipe();
  if (unshare(CLONE_NEWPID) < 0) fail("cannot make a pid namespace");
  pid_t init = fork();
  if (init < 0) fail("cannot start the node's init");
  if (init == 0) be_init(options, plan, made, go, trouble);
  made.write.reset();
  go.read.reset();
  trouble.write.reset();

  char byte;
  if (read(made.read.get(), &byte, 1) == 1) {
    write_all(1, "pid " + std::to_string(init) + "\n");
    if (read_go(0)) write_all(go.write.get(), "go\n");
  }
  go.write.reset();
  // The pipe ends without a word when init is exec'ed (close on exec) or gave up for want of a "go".
  std::string reason;
  char buffer[512];
  for (ssize_t got; (got = read(trouble.read.get(), buffer, sizeof buffer)) != 0;) {
    if (got > 0) reason.append(buffer, got);
    else if (errno != EINTR) break;
  }
  if (!reason.empty()) {
    wait_for(init);
    write_all(1, "error " + reason + "\n");
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  try {
    write_all(1, "ready\n");
  } catch (const Failure&) {
    // The caller left meanwhile; the node runs and is on record by its pid.
  }
  null_streams(true);
  if (chdir("/") < 0) fail("cannot go to '/'");
  return shell_status(wait_for(init));
}

}  // namespace xos::container
