#include <security/pam_ext.h>
#include <string.h>
#include <syslog.h>
#include "handle.h"

/// Why a new password was not good enough: by the rule that the agent names, or in its own words if they are a plain line.
static void explain(pam_handle_t *pamh, const struct xos_answer *answer) {
  const char *reason = xos_answer_get(answer, "reason"), *message = xos_answer_get(answer, "message"), *rule = xos_answer_get(answer, "rule");
  bool bad = reason && strcmp(reason, "XOS_BAD_PASSWORD") == 0;
  unsigned least = xos_answer_number(answer, "least", 1000), count = xos_answer_number(answer, "count", 1000);
  bool plain = bad && message && strlen(message) <= 200;
  for (const char *at = message; plain && *at; at++) plain = *at >= ' ' && *at <= '~';
  if (bad && rule && strcmp(rule, "short") == 0 && least) xos_say(pamh, PAM_ERROR_MSG, "The password was not changed: it needs at least %u characters.", least);
  else if (bad && rule && strcmp(rule, "used") == 0 && count) xos_say(pamh, PAM_ERROR_MSG, "The password was not changed: it must differ from your last %u.", count);
  else if (reason && strcmp(reason, "XOS_WRONG_PASSWORD") == 0) xos_say(pamh, PAM_ERROR_MSG, "The password was not changed: the current password is wrong.");
  else if (plain) xos_say(pamh, PAM_ERROR_MSG, "The password was not changed: %s.", message);
  else xos_say(pamh, PAM_ERROR_MSG, "The password was not changed.");
}

/// Both rounds of pam_chauthtok(3) come here; the present password is asked for in the first one, before other modules ask for the new.
static int ask_old(pam_handle_t *pamh, const char **old) {
  int result = pam_get_authtok(pamh, PAM_OLDAUTHTOK, old, NULL);
  return result == PAM_SUCCESS && (!*old || !**old) ? PAM_AUTHTOK_RECOVERY_ERR : result;
}

static int change(pam_handle_t *pamh, int flags, const struct xos_options *options, const char *user, const struct xos_name *name) {
  const char *old = NULL, *new = NULL;
  int result = ask_old(pamh, &old);
  if (result != PAM_SUCCESS) return result;
  result = pam_get_authtok(pamh, PAM_AUTHTOK, &new, NULL);  // what pam_pwquality has taken, or asked for twice and compared
  if (result != PAM_SUCCESS) return result;
  if (!new || !*new) return PAM_AUTHTOK_ERR;
  char handle[512];
  bool known = xos_handle_get(pamh, options, handle, sizeof handle);
  __attribute__((cleanup(xos_answer_drop))) struct xos_answer *answer = xos_ask(options, XOS_AGENT_DECIDE_MS, (struct xos_field[]){
      {"op", "password"}, {"user", user}, {"old", old}, {"new", new}, {"handle", known ? handle : NULL}, {"service", xos_item(pamh, PAM_SERVICE)},
      {"tty", xos_item(pamh, PAM_TTY)}, {"rhost", xos_item(pamh, PAM_RHOST)}, {NULL, NULL}});
  explicit_bzero(handle, sizeof handle);
  if (answer && answer->status == XOS_STATUS_OK) return PAM_SUCCESS;
  const char *reason = xos_answer_get(answer, "reason");
  bool locked = reason && strcmp(reason, "XOS_LOCKED") == 0;
  // A refusal may be about the new password (too short); that the user has to be told, "Login refused." would be wrong.
  if (answer && answer->status == XOS_STATUS_DENIED && !locked) {
    pam_syslog(pamh, LOG_NOTICE, "change of password of '%s' denied: %s", user, reason ? reason : "no reason given");
    if (!(flags & PAM_SILENT)) explain(pamh, answer);
    return PAM_AUTHTOK_ERR;
  }
  return xos_refused(pamh, flags, "change of password", user, name, answer, PAM_AUTHTOK_ERR);
}

PAM_EXTERN int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv) {
  struct xos_options options = xos_options_read(pamh, argc, argv);
  const char *user, *old = NULL;
  struct xos_name name;
  int result = xos_user(pamh, &user, &name);
  if (result != PAM_SUCCESS) return result;
  return flags & PAM_PRELIM_CHECK ? ask_old(pamh, &old) : change(pamh, flags, &options, user, &name);
}
