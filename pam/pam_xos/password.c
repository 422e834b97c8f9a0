#include <security/pam_ext.h>
#include <string.h>
#include <syslog.h>
#include "module.h"

/// Why a new password was not good enough, in the agent's words if they are a plain line.
static void explain(pam_handle_t *pamh, const struct xos_answer *answer) {
  const char *reason = xos_answer_get(answer, "reason"), *message = xos_answer_get(answer, "message");
  bool plain = reason && message && strcmp(reason, "XOS_BAD_PASSWORD") == 0 && strlen(message) <= 200;
  for (const char *at = message; plain && *at; at++) plain = *at >= ' ' && *at <= '~';
  if (plain) pam_error(pamh, "The password was not changed: %s.", message);
  else pam_error(pamh, "The password was not changed.");
}

static int change(pam_handle_t *pamh, int flags, const struct xos_options *options, const char *user, const struct xos_name *name) {
  const char *old = NULL, *new = NULL;
  int result = pam_get_authtok(pamh, PAM_OLDAUTHTOK, &old, NULL);
  if (result != PAM_SUCCESS) return result;
  result = pam_get_authtok(pamh, PAM_AUTHTOK, &new, NULL);  // asks twice and compares
  if (result != PAM_SUCCESS) return result;
  if (!new || !*new) return PAM_AUTHTOK_ERR;
  __attribute__((cleanup(xos_answer_drop))) struct xos_answer *answer = xos_ask(options, XOS_AGENT_DECIDE_MS, (struct xos_field[]){
      {"op", "password"}, {"user", user}, {"old", old}, {"new", new}, {NULL, NULL}});
  if (answer && answer->status == XOS_STATUS_OK) return PAM_SUCCESS;
  // A refusal may be about the new password (too short); that the user has to be told, "Login refused." would be wrong.
  if (answer && answer->status == XOS_STATUS_DENIED) {
    const char *reason = xos_answer_get(answer, "reason");
    pam_syslog(pamh, LOG_NOTICE, "change of password of '%s' denied: %s", user, reason ? reason : "no reason given");
    if (!(flags & PAM_SILENT)) explain(pamh, answer);
    return PAM_AUTHTOK_ERR;
  }
  return xos_refused(pamh, flags, "change of password", user, name, answer, PAM_AUTHTOK_ERR);
}

PAM_EXTERN int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv) {
  struct xos_options options = xos_options_read(pamh, argc, argv);
  const char *user;
  struct xos_name name;
  int result = xos_user(pamh, &user, &name);
  if (result == PAM_SUCCESS && !(flags & PAM_PRELIM_CHECK)) result = change(pamh, flags, &options, user, &name);
  return result;
}
