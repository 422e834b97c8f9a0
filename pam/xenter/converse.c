#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "xenter.h"

bool xenter_password_read(struct xenter_password *password, int fd) {
  // Byte by byte: what stands behind the newline may be the command's (--password-fd 0).
  size_t used = 0;
  int error = 0;
  for (bool more = true; more && used < sizeof password->text - 1;) {
    ssize_t got = read(fd, password->text + used, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) error = errno;
    more = got == 1 && password->text[used] != '\n';
    used += more;
  }
  if (fd > 2) close(fd);
  password->text[used] = '\0';
  password->known = used > 0 && strlen(password->text) == used;
  if (!password->known) fprintf(stderr, "xenter: no password on descriptor %d%s%s\n", fd, error ? ": " : "", error ? strerror(error) : "");
  return password->known;
}

void xenter_password_wipe(struct xenter_password *password) { explicit_bzero(password, sizeof *password); }

static int answer_one(const struct pam_message *message, struct pam_response *response, const struct xenter_password *password) {
  switch (message->msg_style) {
    case PAM_ERROR_MSG:
    case PAM_TEXT_INFO:
      fprintf(stderr, "%s\n", message->msg);
      return PAM_SUCCESS;
    case PAM_PROMPT_ECHO_OFF:
      if (!password->known) {
        fprintf(stderr, "xenter: asked for '%s' and has no terminal; give the password with --password-fd\n", message->msg);
        return PAM_CONV_ERR;
      }
      response->resp = strdup(password->text);
      return response->resp ? PAM_SUCCESS : PAM_BUF_ERR;
    default:
      return PAM_CONV_ERR;
  }
}

int xenter_converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data) {
  if (count <= 0 || count > PAM_MAX_NUM_MSG) return PAM_CONV_ERR;
  struct pam_response *all = calloc((size_t)count, sizeof *all);
  if (!all) return PAM_BUF_ERR;
  int result = PAM_SUCCESS;
  for (int i = 0; i < count && result == PAM_SUCCESS; i++) result = answer_one(messages[i], &all[i], data);
  if (result == PAM_SUCCESS) {
    *responses = all;
    return result;
  }
  for (int i = 0; i < count; i++) {
    if (!all[i].resp) continue;
    explicit_bzero(all[i].resp, strlen(all[i].resp));
    free(all[i].resp);
  }
  free(all);
  return result;
}
