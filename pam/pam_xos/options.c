#include <errno.h>
#include <security/pam_ext.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "module.h"

static const char *after(const char *argument, const char *key) {
  size_t length = strlen(key);
  return strncmp(argument, key, length) == 0 ? argument + length : NULL;
}

struct xos_options xos_options_read(pam_handle_t *pamh, int argc, const char **argv) {
  struct xos_options options = {.socket = XOS_AGENT_SOCKET, .interpreter = "/usr/lib/xos/bin/xexec"};
  for (int i = 0; i < argc; i++) {
    const char *value;
    if ((value = after(argv[i], "socket="))) {
      options.socket = value;
    } else if ((value = after(argv[i], "interpreter="))) {
      options.interpreter = value;
    } else if ((value = after(argv[i], "timeout_ms="))) {
      char *end;
      errno = 0;
      long number = strtol(value, &end, 10);
      if (errno == 0 && *value && !*end && number > 0 && number <= 600000) options.timeout_ms = (int)number;
      else pam_syslog(pamh, LOG_ERR, "timeout_ms='%s' is no number of 1 to 600000 milliseconds", value);
    } else if (strcmp(argv[i], "no_exec") == 0) {
      options.no_exec = true;
    } else if (strcmp(argv[i], "handle_env") == 0) {
      options.handle_env = true;
    } else if (strcmp(argv[i], "ssh_certificate") == 0) {
      options.ssh_certificate = true;
    } else if (strcmp(argv[i], "no_handle=ignore") == 0) {
      options.no_handle_ignore = true;
    } else if (!after(argv[i], "use_first_pass") && !after(argv[i], "try_first_pass")) {  // those pam_get_authtok() reads by itself
      pam_syslog(pamh, LOG_ERR, "unknown argument '%s'", argv[i]);
    }
  }
  return options;
}
