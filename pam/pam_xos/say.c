#include <security/pam_ext.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "language.h"
#include "module.h"

int xos_user(pam_handle_t *pamh, const char **user, struct xos_name *name) {
  int result = pam_get_user(pamh, user, NULL);
  if (result != PAM_SUCCESS) return result;
  switch (xos_name_parse(*user, name)) {
    case XOS_NAME_LOCAL: return PAM_IGNORE;
    case XOS_NAME_GRID: return PAM_SUCCESS;
    case XOS_NAME_BAD: break;
  }
  // The name itself is not logged: it may be a password typed at the wrong prompt.
  pam_syslog(pamh, LOG_NOTICE, "refused a user name with '@' that is not of the form NAME@VO");
  return PAM_USER_UNKNOWN;
}

const char *xos_item(pam_handle_t *pamh, int item) {
  const void *value = NULL;
  return pam_get_item(pamh, item, &value) == PAM_SUCCESS ? value : NULL;
}

struct xos_answer *xos_ask(const struct xos_options *options, int bound_ms, const struct xos_field *request) {
  return xos_agent_ask(options->socket, options->timeout_ms ? options->timeout_ms : bound_ms, request);
}

void xos_say(pam_handle_t *pamh, int style, const char *text, ...) {
  __attribute__((cleanup(xos_text_drop))) char *translated = xos_translate(text);
  va_list arguments;
  va_start(arguments, text);
  char *line = NULL;
  if (vasprintf(&line, translated ? translated : text, arguments) < 0) line = NULL;
  va_end(arguments);
  if (line) pam_prompt(pamh, style, NULL, "%s", line);
  free(line);
}

unsigned xos_answer_number(const struct xos_answer *answer, const char *key, unsigned most) {
  const char *text = xos_answer_get(answer, key);
  if (!text || !*text || strlen(text) > 9 || strspn(text, "0123456789") != strlen(text)) return 0;
  unsigned long number = strtoul(text, NULL, 10);
  return number > most ? most : (unsigned)number;
}

/// A denial in words. Why is only told where it is the same for names that exist and names that do not.
static void say_denied(pam_handle_t *pamh, const char *reason, const struct xos_name *name, const struct xos_answer *answer) {
  unsigned seconds = (xos_answer_number(answer, "retry_after_ms", 3600000) + 999) / 1000;
  if (strcmp(reason, "XOS_VO_UNKNOWN") == 0) xos_say(pamh, PAM_ERROR_MSG, "The virtual organisation '%s' is not known here.", name->vo);
  else if (strcmp(reason, "XOS_LOCKED") == 0 && seconds > 0) xos_say(pamh, PAM_ERROR_MSG, "Too many failed logins; try again in %u seconds.", seconds);
  else xos_say(pamh, PAM_ERROR_MSG, "Login refused.");
}

int xos_refused(pam_handle_t *pamh, int flags, const char *what, const char *user, const struct xos_name *name,
                const struct xos_answer *answer, int denied) {
  const char *reason = xos_answer_get(answer, "reason");
  if (!reason) reason = !answer ? "no memory" : answer->why[0] ? answer->why : "no reason given";
  bool silent = flags & PAM_SILENT;
  unsigned delay_ms = xos_answer_number(answer, "delay_ms", 10000);
  if (delay_ms > 0) pam_fail_delay(pamh, delay_ms * 1000);
  enum xos_status status = answer ? answer->status : XOS_STATUS_UNAVAILABLE;
  if (status == XOS_STATUS_OK) status = XOS_STATUS_UNAVAILABLE;  // said yes, but something in it was wrong
  switch (status) {
    case XOS_STATUS_DENIED:
      pam_syslog(pamh, LOG_NOTICE, "%s of '%s' denied: %s", what, user, reason);
      if (!silent) say_denied(pamh, reason, name, answer);
      return denied;
    case XOS_STATUS_EXPIRED:
      pam_syslog(pamh, LOG_NOTICE, "%s of '%s' denied: %s", what, user, xos_answer_get(answer, "reason") ? reason : "expired");
      if (!silent) xos_say(pamh, PAM_ERROR_MSG, "The membership of '%s' in '%s' has expired.", name->user, name->vo);
      return PAM_ACCT_EXPIRED;
    default:
      pam_syslog(pamh, LOG_ERR, "%s of '%s' impossible: %s", what, user, reason);
      if (!silent) xos_say(pamh, PAM_ERROR_MSG, "The grid cannot be reached; try again later.");
      return PAM_AUTHINFO_UNAVAIL;
  }
}
