#include "module.h"

PAM_EXTERN int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv) {
  struct xos_options options = xos_options_read(pamh, argc, argv);
  const char *user;
  struct xos_name name;
  int result = xos_user(pamh, &user, &name);
  if (result != PAM_SUCCESS) return result;
  __attribute__((cleanup(xos_answer_drop))) struct xos_answer *answer =
      xos_ask(&options, XOS_AGENT_ACCOUNT_MS, (struct xos_field[]){{"op", "account"}, {"user", user}, {NULL, NULL}});
  if (answer && answer->status == XOS_STATUS_OK) return PAM_SUCCESS;
  return xos_refused(pamh, flags, "account", user, &name, answer, PAM_PERM_DENIED);
}
