// xenter [--service NAME] [--password-fd N] USER@VO -- COMMAND [ARGUMENT]…   See README.md.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "xenter.h"

static int usage(const char *wrong, const char *what) {
  if (wrong) fprintf(stderr, "xenter: %s%s%s%s\n", wrong, what ? " '" : "", what ? what : "", what ? "'" : "");
  fprintf(stderr, "usage: xenter [--service NAME] [--password-fd N] USER@VO -- COMMAND [ARGUMENT]...\n");
  return EXIT_USAGE;
}

/// By hand: getopt_long would permute, and the options behind `--` are the command's.
static int parse(int argc, char **argv, struct xenter_options *options) {
  int at = 1;
  for (; at < argc && strncmp(argv[at], "--", 2) == 0 && argv[at][2]; at += 2) {
    if (at + 1 >= argc) return usage("missing value of", argv[at]);
    const char *value = argv[at + 1];
    if (strcmp(argv[at], "--service") == 0) {
      if (!*value || strchr(value, '/')) return usage("bad service", value);
      options->service = value;
    } else if (strcmp(argv[at], "--password-fd") == 0) {
      char *end;
      long fd = strtol(value, &end, 10);
      if (!*value || *end || fd < 0 || fd > 1 << 20) return usage("bad descriptor", value);
      options->password_fd = (int)fd;
    } else {
      return usage("unknown option", argv[at]);
    }
  }
  if (at >= argc) return usage("no user", NULL);
  options->user = argv[at++];
  if (!*options->user || options->user[0] == '-') return usage("bad user", options->user);
  if (at >= argc || strcmp(argv[at], "--") != 0 || at + 1 >= argc) return usage("no command behind '--'", NULL);
  options->command = argv + at + 1;
  return 0;
}

/// Fills the places of closed standard streams, so that no socket of ours lands on them.
static struct xenter_streams guard_streams(void) {
  struct xenter_streams streams = {0};
  for (int fd = 0; fd < 3; fd++) {
    if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    streams.closed[fd] = true;
    if (open("/dev/null", O_RDWR) != fd) _exit(EXIT_USAGE);
  }
  return streams;
}

static int failed(pam_handle_t *pamh, const char *what, const char *user, int result) {
  fprintf(stderr, "xenter: %s of '%s' refused: %s\n", what, user, pam_strerror(pamh, result));
  return EXIT_REFUSED;
}

/// Authenticate, account, credentials, session, command, and back the same way.
static int login(pam_handle_t *pamh, const struct xenter_options *options, const struct xenter_streams *streams,
                 struct xenter_password *password) {
  if (isatty(0)) pam_set_item(pamh, PAM_TTY, ttyname(0));
  pam_set_item(pamh, PAM_RUSER, "root");
  int result = pam_authenticate(pamh, PAM_DISALLOW_NULL_AUTHTOK);
  xenter_password_wipe(password);
  if (result != PAM_SUCCESS) return failed(pamh, "login", options->user, result);
  result = pam_acct_mgmt(pamh, PAM_DISALLOW_NULL_AUTHTOK);
  if (result != PAM_SUCCESS) return failed(pamh, "account", options->user, result);
  result = pam_setcred(pamh, PAM_ESTABLISH_CRED);
  if (result != PAM_SUCCESS) return failed(pamh, "credential", options->user, result);
  umask(022);
  int status;
  result = pam_open_session(pamh, 0);
  if (result == PAM_SUCCESS) {
    status = xenter_run(pamh, options, streams);
    pam_close_session(pamh, 0);
  } else {
    status = failed(pamh, "session", options->user, result);
  }
  pam_setcred(pamh, PAM_DELETE_CRED | PAM_SILENT);
  return status;
}

int main(int argc, char **argv) {
  struct xenter_streams streams = guard_streams();
  struct xenter_options options = {.service = "xgrid", .password_fd = -1};
  int wrong = parse(argc, argv, &options);
  if (wrong) return wrong;
  if (getuid() != 0 || geteuid() != 0) {
    fprintf(stderr, "xenter: only root can log another user in; use login or ssh\n");
    return EXIT_USAGE;
  }
  static struct xenter_password password;
  if (options.password_fd >= 0 && !xenter_password_read(&password, options.password_fd)) return EXIT_USAGE;
  struct pam_conv conversation = {xenter_converse, &password};
  pam_handle_t *pamh = NULL;
  int result = pam_start(options.service, options.user, &conversation, &pamh);
  if (result != PAM_SUCCESS) {
    xenter_password_wipe(&password);
    fprintf(stderr, "xenter: cannot start PAM's service '%s': %s\n", options.service, pam_strerror(pamh, result));
    return EXIT_REFUSED;
  }
  int status = login(pamh, &options, &streams, &password);
  xenter_password_wipe(&password);
  pam_end(pamh, PAM_SUCCESS);
  return status;
}
