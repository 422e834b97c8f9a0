// Programs of a session that are started by name reach our interpreter. Where the kernel module xos_exec is loaded it hands them over, and the
// session stays in the node's namespaces. Elsewhere namespaces of its own do it:
//
// A helper that is cloned off makes a user namespace (identity map, so every file keeps its owner) and a mount namespace, mounts a
// binfmt_misc of their own (kernel >= 6.7) and registers the interpreter there; the caller joins both in one setns() when all of it
// stands. So a step that fails leaves the caller, which is login or sshd and cannot go back out of a user namespace, where it was.
// Sources: user_namespaces(7), mount_namespaces(7), setns(2), Documentation/admin-guide/binfmt-misc.rst.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "module.h"
#include "../../kmod/xos_exec/uapi/xos_exec.h"

#define BINFMT "/proc/sys/fs/binfmt_misc"
enum { STEP_MS = 5000, MARK_AT = 9, MARK = 0x78 };  // the mark is the ELF padding byte that image/base sets, 'x'

/// What the helper tells: the step it has done, or the one that failed and its errno.
enum step { STEP_UNSHARED, STEP_READY, STEP_NO_USER_NAMESPACE, STEP_NO_SLAVE, STEP_NO_BINFMT, STEP_NO_REGISTER };
struct report {
  enum step step;
  int error;
};

static int write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t size = (ssize_t)strlen(text), done = write(fd, text, (size_t)size);
  int error = done == size ? 0 : done < 0 ? -errno : -EIO;
  if (close(fd) != 0 && error == 0) error = -errno;
  return error;
}

/// An interpreter without the mark would be handed to itself, and every exec of the session would fail with ELOOP.
static int interpreter_is_fine(const char *path, char *why, size_t size) {
  unsigned char head[16] = {0};
  if (path[0] != '/' || strlen(path) > 200 || strchr(path, ':') || strchr(path, '\\')) {
    snprintf(why, size, "'%.100s' is no path for an interpreter", path);
    return 0;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    snprintf(why, size, "cannot open '%.100s': %s", path, strerror(errno));
    return 0;
  }
  ssize_t got = pread(fd, head, sizeof head, 0);
  close(fd);
  if (got != sizeof head || memcmp(head, "\x7f" "ELF", 4) != 0 || head[MARK_AT] != MARK) {
    snprintf(why, size, "'%.100s' carries no mark of a local program", path);
    return 0;
  }
  return 1;
}

static void tell(int fd, enum step step, int error) {
  struct report report = {step, error};
  while (send(fd, &report, sizeof report, MSG_NOSIGNAL) < 0 && errno == EINTR) {}
}

/// The helper. Runs in a copy of the caller's memory, so only system calls from here on; ends by itself when the caller is gone.
__attribute__((noreturn)) static void make_namespaces(int fd, const char *registration) {
  char go;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    tell(fd, STEP_NO_USER_NAMESPACE, errno);
    _exit(1);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  tell(fd, STEP_UNSHARED, 0);
  ssize_t got;
  while ((got = recv(fd, &go, 1, 0)) < 0 && errno == EINTR) {}
  if (got != 1) _exit(1);
  int error = 0;
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) {  // homes that are mounted later still arrive
    tell(fd, STEP_NO_SLAVE, errno);
  } else if (mount("binfmt_misc", BINFMT, "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
    tell(fd, STEP_NO_BINFMT, errno);
  } else if ((error = write_file(BINFMT "/register", registration)) != 0) {
    tell(fd, STEP_NO_REGISTER, -error);
  } else {
    tell(fd, STEP_READY, 0);
    while ((got = recv(fd, &go, 1, 0)) < 0 && errno == EINTR) {}  // holds the namespaces until the caller is in
  }
  _exit(0);
}

/// Waits for the helper's next report; false when it died or took too long.
static bool hear(int fd, struct report *report) {
  struct pollfd one = {.fd = fd, .events = POLLIN};
  int ready;
  while ((ready = poll(&one, 1, STEP_MS)) < 0 && errno == EINTR) {}
  ssize_t got = ready == 1 ? recv(fd, report, sizeof *report, MSG_DONTWAIT) : -1;
  return got == sizeof *report;
}

/// The maps can only be written from outside: whoever is in the namespace lacks the right over its parent.
static int write_maps(pid_t helper) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/uid_map", helper);
  int error = write_file(path, "0 0 4294967295\n");
  if (error != 0) return error;
  snprintf(path, sizeof path, "/proc/%d/gid_map", helper);
  return write_file(path, "0 0 4294967295\n");
}

static void explain(const struct report *report, char *why, size_t size) {
  static const char *const steps[] = {
      [STEP_NO_USER_NAMESPACE] = "cannot make a user namespace",
      [STEP_NO_SLAVE] = "cannot detach the session's mounts",
      [STEP_NO_BINFMT] = "the kernel has no binfmt_misc for user namespaces (Linux 6.7 or newer)",
      [STEP_NO_REGISTER] = "cannot register the interpreter",
  };
  const char *step = (size_t)report->step < sizeof steps / sizeof *steps ? steps[report->step] : NULL;
  snprintf(why, size, "%s: %s", step ? step : "unexpected report", strerror(report->error));
}

/// Goes to `path` with the rights of the real user: when that is not root (su) he may have moved another directory there meanwhile,
/// one that he could not have entered himself.
static bool go_back(const char *path) {
  int user = setfsuid(getuid()), group = setfsgid(getgid());
  bool there = chdir(path) == 0;
  setfsgid((gid_t)group);
  setfsuid((uid_t)user);
  return there;
}

/// setns() puts the caller at the root of the new mount namespace; who had a directory (su) gets it back there.
static int join(int pidfd, char *why, size_t size) {
  char here[PATH_MAX];
  bool known = getcwd(here, sizeof here) != NULL;
  if (setns(pidfd, CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    snprintf(why, size, "cannot join the session's namespaces: %s", strerror(errno));
    return -1;
  }
  if (known) (void)go_back(here);  // else it stays at "/"
  return 0;
}

static int drive(int fd, pid_t helper, int pidfd, char *why, size_t size) {
  struct report report;
  if (!hear(fd, &report)) {
    snprintf(why, size, "the helper did not come up");
    return -1;
  }
  if (report.step == STEP_UNSHARED) {
    int error = write_maps(helper);
    if (error != 0) {
      snprintf(why, size, "cannot map the users of the session: %s", strerror(-error));
      return -1;
    }
    if (send(fd, "", 1, MSG_NOSIGNAL) != 1 || !hear(fd, &report)) {
      snprintf(why, size, "the helper did not finish");
      return -1;
    }
  }
  if (report.step != STEP_READY) {
    explain(&report, why, size);
    return -1;
  }
  return join(pidfd, why, size);
}

static bool is_namespace(const char *path, unsigned number) {
  struct stat info;
  return stat(path, &info) == 0 && info.st_ino == number;
}

/// The module serves the node's first namespaces (numbers: include/linux/proc_ns.h, stable since Linux 3.8) and has its interpreter compiled in.
static bool module_hands_over(const char *interpreter) {
  static const unsigned first_user = 0xEFFFFFFD, first_pid = 0xEFFFFFFC;
  return strcmp(interpreter, XOS_EXEC_PROGRAM) == 0 && access("/sys/module/xos_exec/holders", F_OK) == 0 &&
         is_namespace("/proc/self/ns/user", first_user) && is_namespace("/proc/self/ns/pid", first_pid);
}

int xos_namespace_enter(const char *interpreter, char *why, size_t size) {
  if (!interpreter_is_fine(interpreter, why, size)) return -1;
  if (module_hands_over(interpreter)) return 0;
  // Matches 64-bit little-endian ELF whose mark is unset: marked programs never leave the kernel's own path.
  // P keeps the name the program was called by; F opens the interpreter now, so that it is found from any root.
  char registration[320];
  snprintf(registration, sizeof registration,
           ":xos:M:0:\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\x00\\xff:%s:PF", interpreter);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    snprintf(why, size, "cannot make a socket: %s", strerror(errno));
    return -1;
  }
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);  // the caller's handlers are not to run in the helper
  // No signal at its end (the caller may count its children by SIGCHLD), hence __WALL below.
  int pidfd = -1, result = -1;
  pid_t helper = (pid_t)syscall(SYS_clone, CLONE_PIDFD, 0, &pidfd, 0, 0);
  if (helper == 0) {
    close(pair[0]);
    make_namespaces(pair[1], registration);
  }
  if (helper < 0) snprintf(why, size, "cannot start a helper: %s", strerror(errno));
  sigprocmask(SIG_SETMASK, &before, NULL);
  close(pair[1]);
  if (helper > 0) {
    result = drive(pair[0], helper, pidfd, why, size);
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    while (waitpid(helper, NULL, __WALL) < 0 && errno == EINTR) {}
    close(pidfd);
  }
  close(pair[0]);
  return result;
}
