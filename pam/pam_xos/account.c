#include <security/pam_ext.h>
#include <string.h>
#include "handle.h"

PAM_EXTERN int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv) {
  struct xos_options options = xos_options_read(pamh, argc, argv);
  const char *user;
  struct xos_name name;
  int result = xos_user(pamh, &user, &name);
  if (result != PAM_SUCCESS) return result;
  char handle[512];
  bool known = xos_handle_get(pamh, &options, handle, sizeof handle);
  __attribute__((cleanup(xos_answer_drop))) struct xos_answer *answer = xos_ask(&options, XOS_AGENT_ACCOUNT_MS, (struct xos_field[]){
      {"op", "account"}, {"user", user}, {"handle", known ? handle : NULL}, {NULL, NULL}});
  explicit_bzero(handle, sizeof handle);
  if (!answer || answer->status != XOS_STATUS_OK) return xos_refused(pamh, flags, "account", user, &name, answer, PAM_PERM_DENIED);
  if (!xos_answer_get(answer, "change")) return PAM_SUCCESS;
  if (!(flags & PAM_SILENT)) xos_say(pamh, PAM_TEXT_INFO, "Your password has expired; choose a new one.");
  return PAM_NEW_AUTHTOK_REQD;
}
