// xos-container enter --pid P --start T [--secret FILE] [--env K=V]… -- CMD ARG…
// The word {secret-fd} in CMD becomes the number of a descriptor from which the content of FILE can be read.
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace xos::container {
namespace {

volatile sig_atomic_t child_pid = 0;

/// A signal sent to us by a process goes on to the command; one of the terminal has reached the command already.
void pass_on(int number, siginfo_t* info, void*) {
  if (child_pid > 0 && info->si_code != SI_KERNEL) kill(child_pid, number);
}

void pass_signals_on() {
  struct sigaction action{};
  action.sa_sigaction = pass_on;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  for (int number : {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2}) sigaction(number, &action, nullptr);
}

/// A pipe that holds the secret: small enough that it never blocks, and read by nobody else.
Fd secret_pipe(const std::string& file) {
  if (file.empty()) return {};
  std::string secret = read_file(file);
  if (secret.size() > 4096) refuse("the secret in '" + file + "' is too long");
  Pipe pipe = make_pipe();
  write_all(pipe.write.get(), secret);
  std::fill(secret.begin(), secret.end(), '\0');
  return std::move(pipe.read);
}

}  // namespace

void join_node(const Options& options) {
  pid_t pid = std::stoi(options.need("pid"));
  Fd node(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!node) fail("cannot reach the node's init (process " + std::to_string(pid) + ")");
  if (start_time(pid) != std::stoull(options.need("start"))) refuse("process " + std::to_string(pid) + " is not the node's init any more");
  if (setns(node.get(), CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) < 0) fail("cannot enter the node");
}

void exec_in_node(const Options& options, int secret_fd) {
  std::vector<std::string> command = options.command;
  for (auto& word : command)
    if (word == "{secret-fd}") word = std::to_string(secret_fd);
  std::vector<std::string> environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root"};
  for (const auto& extra : options.all("env")) environment.push_back(extra);
  new_session_keyring();
  close_on_exec_from(3);
  if (secret_fd >= 0 && fcntl(secret_fd, F_SETFD, 0) < 0) fail("cannot pass the secret on");
  if (chdir(options.get("cwd", "/root").c_str()) < 0 && chdir("/") < 0) fail("cannot go to '/'");
  if (setgroups(0, nullptr) < 0 || setgid(0) < 0 || setuid(0) < 0) fail("cannot become root of the node");
  umask(022);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number = 1; number < 65; number++) signal(number, SIG_DFL);
  execvpe(command[0].c_str(), exec_arguments(command).data(), exec_arguments(environment).data());
  int reason = errno;
  dprintf(2, "xgrid: cannot run '%s' in the node: %s\n", command[0].c_str(), strerror(reason));
  _exit(reason == ENOENT ? 127 : 126);
}

int enter(const Options& options) {
  if (options.command.empty()) refuse("a command after -- is needed");
  Fd secret = secret_pipe(options.get("secret"));
  join_node(options);
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t child = fork();
  if (child < 0) fail("cannot start a process in the node");
  if (child == 0) {
    // TERM and not KILL: the session that the command opened is to be closed by it.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    exec_in_node(options, secret.get());
  }
  secret.reset();
  child_pid = child;
  pass_signals_on();
  sigprocmask(SIG_SETMASK, &before, nullptr);
  return shell_status(wait_for(child));
}

}  // namespace xos::container
