// xenter: a whole PAM login without a terminal. What its files share.
#pragma once
#include <security/pam_appl.h>
#include <stdbool.h>
#include <sys/types.h>

enum {
  EXIT_REFUSED = 1,      ///< PAM said no, or could not say
  EXIT_USAGE = 2,        ///< wrong arguments, or not root
  EXIT_NO_EXEC = 126,    ///< as shells do: found but not executable
  EXIT_NOT_FOUND = 127,  ///< as shells do
};

struct xenter_options {
  const char *service;
  int password_fd;  ///< -1: none
  const char *user;
  char **command;  ///< NULL-ended, at least one
};

/// Standard streams that were closed when we were started stay closed for the command.
struct xenter_streams {
  bool closed[3];
};

/// What PAM's conversation answers from. The password is wiped by xenter_password_wipe().
struct xenter_password {
  bool known;
  char text[PAM_MAX_RESP_SIZE];
};

/// Reads a password up to its newline or end from `fd` and closes that. False, with a message printed, when there is none.
bool xenter_password_read(struct xenter_password *password, int fd);
void xenter_password_wipe(struct xenter_password *password);

/// The conversation (pam_conv(3)); `data` is a struct xenter_password. Messages go to standard error.
int xenter_converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data);

/// Runs the command as the user of the open session and waits. Returns xenter's exit status: the command's, or 128 + signal.
int xenter_run(pam_handle_t *pamh, const struct xenter_options *options, const struct xenter_streams *streams);
