#include "handle.h"
#include <security/pam_ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATA "xos:handle"
#define VARIABLE "XOS_LOGIN_HANDLE"
enum { HANDLE_MAX = 512 };

static void wipe(pam_handle_t *pamh, void *data, int status) {
  (void)pamh, (void)status;
  if (!data) return;
  explicit_bzero(data, strlen(data));
  free(data);
}

int xos_handle_keep(pam_handle_t *pamh, const struct xos_options *options, const char *handle) {
  if (strlen(handle) >= HANDLE_MAX) return PAM_AUTHINFO_UNAVAIL;
  if (options->handle_env) {
    // sshd asks for the password in a child, of which only the status and PAM's environment come back (OpenSSH, auth-pam.c,
    // import_environments). It is taken out again before the user's shell gets that environment, and means nothing to who is not root.
    char variable[sizeof VARIABLE + HANDLE_MAX];
    snprintf(variable, sizeof variable, VARIABLE "=%s", handle);
    int result = pam_putenv(pamh, variable);
    explicit_bzero(variable, sizeof variable);
    if (result != PAM_SUCCESS) return result;
  }
  char *copy = strdup(handle);
  if (!copy) return PAM_BUF_ERR;
  int result = pam_set_data(pamh, DATA, copy, wipe);
  if (result != PAM_SUCCESS) wipe(pamh, copy, 0);
  return result;
}

bool xos_handle_get(pam_handle_t *pamh, const struct xos_options *options, char *out, size_t size) {
  const void *data = NULL;
  if (pam_get_data(pamh, DATA, &data) != PAM_SUCCESS) data = NULL;
  if (!data && options->handle_env) data = pam_getenv(pamh, VARIABLE);
  return data && (size_t)snprintf(out, size, "%s", (const char *)data) < size;
}

void xos_handle_forget(pam_handle_t *pamh) {
  const void *data;
  if (pam_get_data(pamh, DATA, &data) == PAM_SUCCESS && data) pam_set_data(pamh, DATA, NULL, NULL);
  char *variable = (char *)(uintptr_t)pam_getenv(pamh, VARIABLE);
  if (variable) {
    explicit_bzero(variable, strlen(variable));  // libpam frees it without wiping
    pam_putenv(pamh, VARIABLE);
  }
}
