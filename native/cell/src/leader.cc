#include "leader.h"

#include "world.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace xos::cell {
namespace {

struct Child {
  const Plan* plan;
  bool has_leader;
  volatile Step step;
  volatile int reason;
  int enter;  ///< cgroup.procs to write to first; -1: none
};

/// Raw system calls: glibc's setuid() would signal the threads of the parent whose memory a vfork child shares.
bool become(const Plan& plan) {
  const Order& order = plan.order;
  return hide_io_uring() && syscall(SYS_setgroups, order.groups.size(), order.groups.data()) == 0 && syscall(SYS_setresgid, order.identity.gid, order.identity.gid, order.identity.gid) == 0 &&
         syscall(SYS_setresuid, order.identity.uid, order.identity.uid, order.identity.uid) == 0 && (!order.filter || load_filter(*order.filter));
}

void limit(const relay::SpecHead& head) {
  for (int kind = 0; kind < RLIM_NLIMITS && kind < 16; kind++) {
    rlimit mine, wanted;
    if (syscall(SYS_prlimit64, 0, kind, nullptr, &mine) < 0) continue;
    // A limit at home never becomes more than this node allows.
    wanted.rlim_max = std::min<rlim_t>(head.limits[kind][1], mine.rlim_max);
    wanted.rlim_cur = std::min<rlim_t>(head.limits[kind][0], wanted.rlim_max);
    if (wanted.rlim_cur != mine.rlim_cur || wanted.rlim_max != mine.rlim_max) syscall(SYS_prlimit64, 0, kind, &wanted, nullptr);
  }
  if (head.nice > 0) syscall(SYS_setpriority, PRIO_PROCESS, 0, std::min(head.nice, 19));
}

bool place_streams(const Plan& plan) {
  int sources[3];
  for (int fd = 0; fd < 3; fd++) {
    // Above 9, so that no target overwrites a source that is still needed.
    sources[fd] = plan.fds[fd] < 0 ? -1 : fcntl(plan.fds[fd], F_DUPFD_CLOEXEC, 10);
    if (plan.fds[fd] >= 0 && sources[fd] < 0) return false;
  }
  for (int fd = 0; fd < 3; fd++) {
    if (sources[fd] < 0) close(fd);
    else if (dup2(sources[fd], fd) < 0) return false;
  }
  return true;
}

void set_signals(const relay::SpecHead& head) {
  for (int number = 1; number < 65; number++) {
    const bool ignored = head.ignored >> (number - 1) & 1;
    if (number == SIGKILL || number == SIGSTOP) continue;
    struct { void* handler; unsigned long flags; void* restorer; uint64_t mask; } action{reinterpret_cast<void*>(ignored ? SIG_IGN : SIG_DFL), 0, nullptr, 0};
    syscall(SYS_rt_sigaction, number, &action, nullptr, 8);
  }
  const uint64_t blocked = head.blocked;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, 8);
}

int run_child(void* argument) {
  Child& child = *static_cast<Child*>(argument);
  const Plan& plan = *child.plan;
  const auto fail = [&](Step step) {
    child.reason = errno;
    child.step = step;
    _exit(126);
    return 0;
  };
  if (child.enter >= 0 && write(child.enter, "0", 1) != 1) return fail(Step::process);
  if (child.has_leader) {
    setpgid(0, 0);
    if (plan.terminal >= 0 && !plan.order.spec.head.background) {
      const pid_t self = syscall(SYS_getpid);
      ioctl(plan.terminal, TIOCSPGRP, &self);  // SIGTTOU is blocked: we are of the background until it is done
    }
  } else {
    setsid();
    // What loses its parent stays below the job's root, where a checkpoint finds it.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  if (!place_streams(plan)) return fail(Step::streams);
  limit(plan.order.spec.head);  // after the descriptors: they may be more than the job is allowed
  if (!child.has_leader && !become(plan)) return fail(Step::identity);
  umask(plan.order.spec.head.umask & 0777);
  if (chdir(plan.cwd.c_str()) < 0) return fail(Step::directory);
  set_signals(plan.order.spec.head);
  execve(plan.path.c_str(), plan.arguments.data(), plan.environment.data());
  return fail(Step::exec);
}

/// clone(2) of run_child() with our memory lent, directly into control group `group` (-1: ours): the child runs no instruction outside of it.
/// clone3 has no wrapper in glibc, and a child on a stack of its own cannot return from one written in C.
pid_t clone_into(int group, char* stack, size_t stack_bytes, Child& child) {
#if defined(__x86_64__)
  clone_args arguments{};
  arguments.flags = CLONE_VM | CLONE_VFORK | (group < 0 ? 0 : CLONE_INTO_CGROUP);
  arguments.exit_signal = SIGCHLD;
  arguments.stack = reinterpret_cast<uint64_t>(stack);
  arguments.stack_size = stack_bytes;
  arguments.cgroup = group < 0 ? 0 : static_cast<uint64_t>(group);
  // Named registers: an operand of the compiler's choice may be the stack pointer itself, which is another one in the child.
  register int (*function)(void*) asm("r8") = run_child;
  register void* argument asm("r9") = &child;
  long result = SYS_clone3;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "mov %%r9, %%rdi\n\t"
      "call *%%r8\n\t"
      "hlt\n"  // run_child() never returns
      "1:"
      : "+a"(result)
      : "D"(&arguments), "S"(sizeof arguments), "r"(function), "r"(argument)
      : "rcx", "r11", "memory");
  if (result >= 0) return static_cast<pid_t>(result);
  errno = static_cast<int>(-result);
  return -1;
#else
  // The child moves itself, before anything of the job runs.
  if (group >= 0 && (child.enter = openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC)) < 0) return -1;
  const pid_t pid = clone(run_child, stack + stack_bytes, CLONE_VM | CLONE_VFORK | SIGCHLD, &child);
  if (group >= 0) close(child.enter);
  return pid;
#endif
}

/// fork(2) directly into control group `group`, or where we are when it is -1.
pid_t fork_into(int group) {
  if (group < 0) return fork();
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<uint64_t>(group);
  return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
}

/// A child that shares our memory until it has executed: no page tables to copy, and its errors need no pipe.
Outcome vfork_child(const Plan& plan, bool has_leader) {
  constexpr size_t stack_bytes = 256 << 10;
  static char* const stack = static_cast<char*>(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
  if (stack == MAP_FAILED) return {Step::process, ENOMEM};
  Child child{&plan, has_leader, Step::done, 0, -1};
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child
  // A program with a leader is born where the leader is, whose filter may deny clone3.
  const pid_t pid = has_leader ? clone(run_child, stack + stack_bytes, CLONE_VM | CLONE_VFORK | SIGCHLD, &child) : clone_into(plan.order.group, stack, stack_bytes, child);
  const int reason = errno;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return {Step::process, reason};
  if (child.step != Step::done) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
    return {child.step, child.reason};
  }
  return {Step::done, 0, pid, pid};
}

[[noreturn]] void end_as(int status) {
  if (!WIFSIGNALED(status)) _exit(WEXITSTATUS(status));
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(WTERMSIG(status), SIG_DFL);
  kill(getpid(), WTERMSIG(status));
  _exit(128 + WTERMSIG(status));
}

// Of the one leader that a process can be, for its signal handler.
volatile int own_terminal = -1;
volatile pid_t led = -1;           ///< the program
volatile pid_t had_terminal = -1;  ///< the process group that the terminal was taken from

/// All of them are blocked while one is handled: what was told first is done first.
void follow(int number) {
  const pid_t self = getpid();
  const pid_t now = tcgetpgrp(own_terminal);
  if (number == leader_takes_terminal && now != self) {
    had_terminal = now;
    tcsetpgrp(own_terminal, self);
  } else if (number == leader_gives_terminal && now == self) {
    const pid_t to = had_terminal > 1 && kill(-had_terminal, 0) == 0 ? had_terminal : led;
    tcsetpgrp(own_terminal, to);
  } else if (number == SIGCONT && led > 1) {
    kill(-led, SIGCONT);
    if (now > 1 && now != self && now != led) kill(-now, SIGCONT);
  } else if (number == SIGTSTP && led > 1) {
    kill(now > 1 && now != self ? -now : -led, SIGTSTP);
  }
}

void listen_to_cell() {
  struct sigaction action {};
  action.sa_handler = follow;
  sigfillset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int number : {leader_takes_terminal, leader_gives_terminal, SIGCONT, SIGTSTP}) sigaction(number, &action, nullptr);
}

[[noreturn]] void lead(const Plan& plan, int report) {
  Outcome outcome;
  // Ignored and not blocked: nothing may be pending when the leader dies by the program's signal.
  for (int number = 1; number < 65; number++)
    if (number != SIGCHLD) signal(number, SIG_IGN);
  signal(SIGCHLD, SIG_DFL);
  sigset_t nothing;
  sigemptyset(&nothing);
  sigprocmask(SIG_SETMASK, &nothing, nullptr);
  if (setsid() < 0 || ioctl(plan.terminal, TIOCSCTTY, 0) < 0) outcome = {Step::process, errno};
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (outcome.step == Step::done && !become(plan)) outcome = {Step::identity, errno};
  if (outcome.step == Step::done) outcome = vfork_child(plan, true);
  outcome.root = getpid();
  own_terminal = plan.terminal;
  led = outcome.program;
  listen_to_cell();
  if (write(report, &outcome, sizeof outcome) != sizeof outcome || outcome.step != Step::done) _exit(126);
  prctl(PR_SET_NAME, "xos-leader");
  // Only the terminal open, and the root directory: the leader must stand in nobody's way. CRIU gives a restored session its terminal through a
  // descriptor of its leader (4.2.1 fails with "BUG at files.c" when there is none).
  for (int fd = 0; fd < 3; fd++) dup2(plan.terminal, fd);
  own_terminal = 0;
  close_range(3, ~0u, 0);
  if (chdir("/") < 0) _exit(126);
  for (;;) {
    int status;
    const pid_t pid = waitpid(-1, &status, WUNTRACED);
    if (pid < 0) {
      if (errno == EINTR) continue;
      _exit(126);
    }
    if (pid != outcome.program) continue;
    if (WIFSTOPPED(status)) kill(getpid(), SIGSTOP);  // pid 1 sees the leader stop; it continues both
    else end_as(status);
  }
}

}  // namespace

Outcome launch(const Plan& plan) { return vfork_child(plan, false); }

Outcome launch_with_leader(const Plan& plan) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) < 0) return {Step::process, errno};
  const pid_t pid = fork_into(plan.order.group);
  if (pid == 0) lead(plan, report[1]);
  const int reason = errno;
  close(report[1]);
  Outcome outcome;
  if (pid < 0) {
    close(report[0]);
    return {Step::process, reason};
  }
  ssize_t got;
  while ((got = read(report[0], &outcome, sizeof outcome)) < 0 && errno == EINTR) {}
  close(report[0]);
  if (got != sizeof outcome) outcome = {Step::process, ECHILD};
  if (outcome.step != Step::done) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
    return outcome;
  }
  outcome.root = pid;
  return outcome;
}

}  // namespace xos::cell
