#include <security/pam_ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "handle.h"

static int authenticate(pam_handle_t *pamh, int flags, const struct xos_options *options, const char *user, const struct xos_name *name) {
  const char *password = NULL;
  int result = pam_get_authtok(pamh, PAM_AUTHTOK, &password, NULL);
  if (result != PAM_SUCCESS) return result;
  if (!password || !*password) {
    pam_syslog(pamh, LOG_NOTICE, "authentication of '%s' denied: empty password", user);
    return PAM_AUTH_ERR;
  }
  __attribute__((cleanup(xos_answer_drop))) struct xos_answer *answer = xos_ask(options, XOS_AGENT_DECIDE_MS, (struct xos_field[]){
      {"op", "auth"}, {"user", user}, {"password", password}, {"service", xos_item(pamh, PAM_SERVICE)},
      {"tty", xos_item(pamh, PAM_TTY)}, {"rhost", xos_item(pamh, PAM_RHOST)}, {NULL, NULL}});
  if (!answer || answer->status != XOS_STATUS_OK) {
    result = xos_refused(pamh, flags, "authentication", user, name, answer, PAM_AUTH_ERR);
    return result == PAM_ACCT_EXPIRED ? PAM_AUTH_ERR : result;  // not among the answers of pam_authenticate(3)
  }
  const char *who = xos_answer_get(answer, "user");
  const char *handle = xos_answer_get(answer, "handle");
  if (!who || strcmp(who, user) != 0 || !handle || !*handle) {
    snprintf(answer->why, sizeof answer->why, "the agent's answer %s", handle ? "is about another user" : "has no handle");
    return xos_refused(pamh, flags, "authentication", user, name, answer, PAM_AUTH_ERR);
  }
  return xos_handle_keep(pamh, options, handle);
}

PAM_EXTERN int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
  struct xos_options options = xos_options_read(pamh, argc, argv);
  const char *user;
  struct xos_name name;
  int result = xos_user(pamh, &user, &name);
  if (result == PAM_SUCCESS) result = authenticate(pamh, flags, &options, user, &name);
  return result;
}

/// A new credential for the session that is open here. Not having it is no failure of who asks (a screen that is unlocked): the old one
/// holds, and xosd renews it by itself.
static void refresh(pam_handle_t *pamh, const struct xos_options *options, const char *user) {
  const char *session = xos_session_id(pamh);
  if (!session) return;
  __attribute__((cleanup(xos_answer_drop))) struct xos_answer *answer = xos_ask(
      options, XOS_AGENT_ACCOUNT_MS, (struct xos_field[]){{"op", "refresh"}, {"session", session}, {NULL, NULL}});
  if (answer && answer->status == XOS_STATUS_OK) return;
  const char *reason = xos_answer_get(answer, "reason");
  pam_syslog(pamh, LOG_WARNING, "credential of '%s' was not renewed: %s", user, reason ? reason : answer ? answer->why : "no memory");
}

// Groups come from the name service (initgroups), the credential is put into the keyring when the session opens.
PAM_EXTERN int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv) {
  struct xos_options options = xos_options_read(pamh, argc, argv);
  const char *user;
  struct xos_name name;
  int result = xos_user(pamh, &user, &name);
  if (result != PAM_SUCCESS) return result;
  // Not for PAM_REINITIALIZE_CRED, which login(1) asks for as soon as the session is open: nothing is older than a moment then.
  if (flags & PAM_REFRESH_CRED) refresh(pamh, &options, user);
  else if (flags & PAM_DELETE_CRED) xos_session_drop_credential(pamh);
  return PAM_SUCCESS;
}
