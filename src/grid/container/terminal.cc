// xos-container terminal --pid P --start T [--type-secret FILE] [--env K=V]… -- CMD ARG…
// A fresh terminal of the node's own devpts for CMD, relayed to the caller's terminal in raw mode, with its size.
// --type-secret: types the content of FILE once, when the command asks without echo (as login does for the password).
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "commands.h"

namespace xos::container {
namespace {

/// Raw mode of the caller's terminal, taken back in every way out.
class RawMode {
 public:
  RawMode() {
    if (!isatty(0) || tcgetattr(0, &before_) < 0) return;
    termios raw = before_;
    cfmakeraw(&raw);
    active_ = tcsetattr(0, TCSAFLUSH, &raw) == 0;
  }
  ~RawMode() {
    if (active_) tcsetattr(0, TCSADRAIN, &before_);
  }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

 private:
  termios before_{};
  bool active_ = false;
};

void copy_size(int master) {
  winsize size{};
  if (ioctl(0, TIOCGWINSZ, &size) == 0 && size.ws_row > 0) ioctl(master, TIOCSWINSZ, &size);
}

bool echo_is_off(int master) {
  termios mode{};
  return tcgetattr(master, &mode) == 0 && !(mode.c_lflag & ECHO) && (mode.c_lflag & ICANON);
}

Fd open_master(std::string& name) {
  Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  char buffer[64];
  if (!master || grantpt(master.get()) < 0 || unlockpt(master.get()) < 0 || ptsname_r(master.get(), buffer, sizeof buffer) != 0)
    fail("cannot make a terminal in the node");
  name = buffer;
  return master;
}

[[noreturn]] void run_on(const std::string& name, const Options& options) {
  prctl(PR_SET_PDEATHSIG, SIGHUP);
  setsid();
  int slave = open(name.c_str(), O_RDWR);
  if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) < 0) _exit(126);
  for (int fd = 0; fd <= 2; fd++)
    if (dup2(slave, fd) < 0) _exit(126);
  exec_in_node(options, -1);
}

bool has_ended(pid_t child) {
  siginfo_t info{};
  return waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child;
}

/// What is still in the terminal when the command has ended; jobs that it left behind may keep the terminal open for ever.
void drain(int master) {
  char buffer[16384];
  pollfd watched{master, POLLIN, 0};
  while (poll(&watched, 1, 0) > 0 && (watched.revents & POLLIN)) {
    ssize_t got = read(master, buffer, sizeof buffer);
    if (got <= 0) return;
    write_all(1, {buffer, static_cast<size_t>(got)});
  }
}

/// Moves bytes until the command ends. `secret` is typed once, at the first prompt without echo; until then nothing else is.
void relay(int master, int signals, pid_t child, std::string secret) {
  char buffer[16384];
  bool input_open = true;
  for (;;) {
    pollfd watched[3] = {{master, POLLIN, 0}, {signals, POLLIN, 0}, {input_open && secret.empty() ? 0 : -1, POLLIN, 0}};
    if (poll(watched, 3, secret.empty() ? -1 : 50) < 0 && errno != EINTR) fail("cannot wait for the terminal");
    if (watched[1].revents & POLLIN) {
      signalfd_siginfo info;
      if (read(signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGWINCH) copy_size(master);
        else if (info.ssi_signo != SIGCHLD) return;  // hang up: closing the master tells the session
        else if (has_ended(child)) return drain(master);
      }
    }
    if (watched[0].revents & (POLLIN | POLLHUP)) {
      ssize_t got = read(master, buffer, sizeof buffer);
      if (got <= 0 && errno != EINTR) {
        // EIO: nobody has the terminal open. login hangs it up (vhangup) and opens it anew, so this is an end only with login's own.
        if (has_ended(child)) return;
        usleep(10'000);
      }
      if (got > 0) write_all(1, {buffer, static_cast<size_t>(got)});
    }
    if (!secret.empty() && echo_is_off(master)) {
      write_all(master, secret + "\n");
      secret.assign(secret.size(), '\0');
      secret.clear();
    }
    if (input_open && watched[2].revents & (POLLIN | POLLHUP)) {
      ssize_t got = read(0, buffer, sizeof buffer);
      if (got > 0) write_all(master, {buffer, static_cast<size_t>(got)});
      else if (got == 0) {
        // End of a script on standard input: what Ctrl-D is on a terminal.
        write_all(master, "\x04");
        input_open = false;
      }
    }
  }
}

}  // namespace

int terminal(const Options& options) {
  if (options.command.empty()) refuse("a command after -- is needed");
  std::string secret_file = options.get("type-secret");
  std::string secret = secret_file.empty() ? "" : read_file(secret_file);
  while (!secret.empty() && secret.back() == '\n') secret.pop_back();

  sigset_t watched;
  sigemptyset(&watched);
  for (int number : {SIGWINCH, SIGCHLD, SIGTERM, SIGHUP}) sigaddset(&watched, number);
  sigprocmask(SIG_BLOCK, &watched, nullptr);
  Fd signals(signalfd(-1, &watched, SFD_CLOEXEC));
  if (!signals) fail("cannot watch signals");

  join_node(options);
  std::string name;
  Fd master = open_master(name);
  copy_size(master.get());
  pid_t child = fork();
  if (child < 0) fail("cannot start a process in the node");
  if (child == 0) run_on(name, options);
  {
    RawMode raw;
    relay(master.get(), signals.get(), child, std::move(secret));
  }
  master.reset();
  return shell_status(wait_for(child));
}

}  // namespace xos::container
