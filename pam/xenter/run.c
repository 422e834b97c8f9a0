#include <errno.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "xenter.h"

#define PATH_USER "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH, SIGALRM};

/// A clean environment: nothing of the caller's but the language and the kind of terminal; then what PAM's modules set.
static bool environment(pam_handle_t *pamh, const struct passwd *user) {
  const char *language = getenv("LANG"), *terminal = getenv("TERM");
  char *lang = strdup(language && *language ? language : "C.UTF-8"), *term = strdup(terminal && *terminal ? terminal : "dumb");
  char **pam = pam_getenvlist(pamh);
  if (!lang || !term || !pam || clearenv() != 0) return false;
  bool fine = setenv("PATH", PATH_USER, 1) == 0 && setenv("LANG", lang, 1) == 0 && setenv("TERM", term, 1) == 0;
  for (char **one = pam; *one; one++) fine = putenv(*one) == 0 && fine;
  return fine && setenv("HOME", user->pw_dir, 1) == 0 && setenv("USER", user->pw_name, 1) == 0 &&
         setenv("LOGNAME", user->pw_name, 1) == 0 && setenv("SHELL", *user->pw_shell ? user->pw_shell : "/bin/sh", 1) == 0;
}

static int child_failed(const char *what, const char *on) {
  fprintf(stderr, "xenter: cannot %s '%s': %s\n", what, on, strerror(errno));
  return EXIT_REFUSED;
}

/// In the child: becomes the user for good and starts the command. Returns only when it cannot.
static int become(pam_handle_t *pamh, const struct xenter_options *options, const struct xenter_streams *streams,
                  const struct passwd *user, pid_t parent) {
  // pam_open_session() came first, so these need nothing but the rights over the session's own user namespace.
  if (initgroups(user->pw_name, user->pw_gid) != 0) return child_failed("set the groups of", user->pw_name);
  if (setgid(user->pw_gid) != 0) return child_failed("set the group of", user->pw_name);
  if (setuid(user->pw_uid) != 0) return child_failed("become", user->pw_name);
  if (user->pw_uid != 0 && setuid(0) == 0) {
    fprintf(stderr, "xenter: '%s' could become root again; not started\n", user->pw_name);
    return EXIT_REFUSED;
  }
  prctl(PR_SET_PDEATHSIG, SIGHUP);  // as a terminal would when its login is gone; after setuid, which clears it
  if (getppid() != parent) return EXIT_REFUSED;
  if (!environment(pamh, user)) return child_failed("make the environment of", user->pw_name);
  if (chdir(user->pw_dir) != 0) {
    fprintf(stderr, "xenter: cannot enter the home '%s': %s; starting in '/'\n", user->pw_dir, strerror(errno));
    if (chdir("/") != 0) return child_failed("enter", "/");
  }
  // close_range() on exec, so that a failing exec can still say so.
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  for (int fd = 0; fd < 3; fd++)
    if (streams->closed[fd]) close(fd);
  execvp(options->command[0], options->command);
  int status = errno == ENOENT || errno == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NO_EXEC;
  child_failed("start", options->command[0]);
  return status;
}

/// Waits for the command and passes on what other processes send to us. What the terminal's driver sends it sends to the whole
/// foreground group, the command included, so that is not passed on a second time.
static int wait_for(pid_t child, const sigset_t *signals) {
  for (;;) {
    siginfo_t info;
    int signal = sigwaitinfo(signals, &info);
    if (signal < 0) continue;  // EINTR
    if (signal != SIGCHLD) {
      if (info.si_code <= 0) kill(child, signal);
      continue;
    }
    int status;
    pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child && WIFEXITED(status)) return WEXITSTATUS(status);
    if (ended == child && WIFSIGNALED(status)) return 128 + WTERMSIG(status);
  }
}

int xenter_run(pam_handle_t *pamh, const struct xenter_options *options, const struct xenter_streams *streams) {
  struct passwd *user = getpwnam(options->user);
  if (!user) {
    fprintf(stderr, "xenter: the name service does not know '%s'\n", options->user);
    return EXIT_REFUSED;
  }
  sigset_t signals, before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++) sigaddset(&signals, forwarded[i]);
  signal(SIGCHLD, SIG_DFL);  // a caller's SIG_IGN is inherited and would take the exit status away
  sigprocmask(SIG_BLOCK, &signals, &before);
  pid_t parent = getpid(), child = fork();
  if (child < 0) {
    fprintf(stderr, "xenter: cannot fork: %s\n", strerror(errno));
    sigprocmask(SIG_SETMASK, &before, NULL);
    return EXIT_REFUSED;
  }
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, NULL);
    _exit(become(pamh, options, streams, user, parent));
  }
  int status = wait_for(child, &signals);
  // Stay blocked: a signal between here and pam_close_session() must not leave the session open.
  return status;
}
