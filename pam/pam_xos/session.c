#include <errno.h>
#include <pwd.h>
#include <security/pam_ext.h>
#include <security/pam_modutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "handle.h"

#define DATA "xos:opened"
// What sshd puts into PAM's environment (not the user's) about how she proved herself: sshd_config(5), ExposeAuthInfo.
#define SSH_INFO "SSH_AUTH_INFO_0"
enum { HEX = 32, VARIABLE_MAX = 8192 };

/// What open_session did, for close_session to undo.
struct opened {
  char session[HEX + 1];  ///< empty: the agent has not opened one
  struct xos_keyring keyring;
  size_t variables;
  char *variable[XOS_AGENT_FIELDS_MAX];  ///< names that were put into PAM's environment
};

static void release(pam_handle_t *pamh, void *data, int status) {
  (void)pamh, (void)status;
  struct opened *opened = data;
  if (!opened) return;
  for (size_t i = 0; i < opened->variables; i++) free(opened->variable[i]);
  free(opened);
}

static bool is_hex(const char *text) { return text && strlen(text) == HEX && strspn(text, "0123456789abcdef") == HEX; }

/// Undoes whatever of it was done, in reverse. Returns whether the agent knows about it.
static bool undo(pam_handle_t *pamh, const struct xos_options *options, struct opened *opened) {
  for (size_t i = opened->variables; i-- > 0;) pam_putenv(pamh, opened->variable[i]);
  xos_keyring_end(&opened->keyring);
  if (!opened->session[0]) return true;
  __attribute__((cleanup(xos_answer_drop))) struct xos_answer *answer = xos_ask(
      options, XOS_AGENT_ACCOUNT_MS, (struct xos_field[]){{"op", "close"}, {"session", opened->session}, {NULL, NULL}});
  if (answer && answer->status == XOS_STATUS_OK) return true;
  const char *reason = xos_answer_get(answer, "reason");
  pam_syslog(pamh, LOG_WARNING, "close of session '%s' was not taken (%s); it ends with its process", opened->session,
             reason ? reason : answer ? answer->why : "no memory");
  return false;
}

static bool put(pam_handle_t *pamh, struct opened *opened, const char *name, const char *value) {
  char text[VARIABLE_MAX];
  if (opened->variables == XOS_AGENT_FIELDS_MAX || (size_t)snprintf(text, sizeof text, "%s=%s", name, value) >= sizeof text) return false;
  char *copy = strdup(name);
  if (!copy) return false;
  if (pam_putenv(pamh, text) != PAM_SUCCESS) {
    free(copy);
    return false;
  }
  opened->variable[opened->variables++] = copy;
  return true;
}

/// The agent may name the session's own variables, never what decides which code a program of the user loads.
static bool variable_is_fine(const char *name) {
  static const char *const refused[] = {"PATH", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "GCONV_PATH", "LOCPATH", "NLSPATH",
                                        "GLIBC_TUNABLES", "MALLOC_TRACE", "HOME", "SHELL", "USER", "LOGNAME"};
  size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  if (length == 0 || length > 64 || name[length] || (name[0] >= '0' && name[0] <= '9') || strncmp(name, "LD_", 3) == 0) return false;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (strcmp(name, refused[i]) == 0) return false;
  return true;
}

static bool put_all(pam_handle_t *pamh, struct opened *opened, const struct xos_name *name, const struct xos_answer *answer) {
  for (size_t i = 0; i < answer->count; i++) {
    const struct xos_field *field = &answer->fields[i];
    if (strncmp(field->key, "env.", 4) != 0) continue;
    if (!variable_is_fine(field->key + 4)) pam_syslog(pamh, LOG_WARNING, "variable '%.64s' from the agent is left out", field->key + 4);
    else if (!put(pamh, opened, field->key + 4, field->value)) return false;
  }
  return put(pamh, opened, "XOS_VO", name->vo) && put(pamh, opened, "XOS_SESSION", opened->session);
}

/// A number of the grid's range, or -1.
static int64_t id_of(const char *text) {
  if (!text || !*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 10) return -1;
  int64_t id = strtoll(text, NULL, 10);
  return id >= (int64_t)XOS_ID_FIRST && id <= (int64_t)XOS_ID_LAST ? id : -1;
}

/// login, su and sshd take the numbers from the name service; a session for other numbers than the agent's would be someone else's.
static const char *ids_of(pam_handle_t *pamh, const char *user, const struct xos_answer *answer, uid_t *uid, gid_t *gid) {
  int64_t u = id_of(xos_answer_get(answer, "uid")), g = id_of(xos_answer_get(answer, "gid"));
  if (u < 0 || g < 0) return "the agent's uid or gid is outside the grid's range";
  struct passwd *known = pam_modutil_getpwnam(pamh, user);
  if (!known) return "the name service does not know the user (is 'xos' in /etc/nsswitch.conf?)";
  if (known->pw_uid != (uid_t)u || known->pw_gid != (gid_t)g) return "the name service and the agent give the user different numbers";
  *uid = (uid_t)u;
  *gid = (gid_t)g;
  return NULL;
}

/// A session without the VO's word is one of this node only; how long, the log of xosd says.
static void say_notice(pam_handle_t *pamh, int flags, const struct xos_answer *answer) {
  const char *notice = xos_answer_get(answer, "notice");
  if (notice && strcmp(notice, "offline") == 0 && !(flags & PAM_SILENT))
    xos_say(pamh, PAM_TEXT_INFO, "The grid cannot be reached: you are logged in to this node only, and programs stay here.");
}

/// Asks the agent and puts what it gave into keyring and environment. Returns a PAM status; what was done is in `opened` in any case.
static int fill(pam_handle_t *pamh, int flags, const struct xos_options *options, const char *user, const struct xos_name *name,
                struct opened *opened) {
  char handle[512] = "", pid[16], key[16];
  bool known = xos_handle_get(pamh, options, handle, sizeof handle);
  const char *ssh = options->ssh_certificate && !known ? pam_getenv(pamh, SSH_INFO) : NULL;
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  snprintf(key, sizeof key, "%d", (int)opened->keyring.credential);
  __attribute__((cleanup(xos_answer_drop))) struct xos_answer *answer = xos_ask(options, XOS_AGENT_DECIDE_MS, (struct xos_field[]){
      {"op", "open"}, {"handle", known ? handle : NULL}, {"ssh", ssh}, {"user", user}, {"tty", xos_item(pamh, PAM_TTY)}, {"pid", pid},
      {"service", xos_item(pamh, PAM_SERVICE)}, {"credential_key", key}, {NULL, NULL}});
  explicit_bzero(handle, sizeof handle);
  if (!answer || answer->status != XOS_STATUS_OK) {
    int result = xos_refused(pamh, flags, "session", user, name, answer, PAM_PERM_DENIED);
    return result == PAM_AUTHINFO_UNAVAIL ? PAM_SESSION_ERR : PAM_PERM_DENIED;
  }
  const char *session = xos_answer_get(answer, "session"), *secret = xos_answer_get(answer, "secret");
  if (is_hex(session)) memcpy(opened->session, session, HEX + 1);
  uid_t uid;
  gid_t gid;
  const char *wrong = is_hex(session) && is_hex(secret) ? ids_of(pamh, user, answer, &uid, &gid) : "the agent's session or secret is malformed";
  if (!wrong) {
    char payload[2 * HEX + 2];
    snprintf(payload, sizeof payload, "%s:%s", session, secret);
    int error = xos_keyring_fill(&opened->keyring, payload, xos_answer_get(answer, "credential"), uid, gid);
    explicit_bzero(payload, sizeof payload);
    if (error != 0) wrong = strerror(-error);
  }
  if (!wrong && !put_all(pamh, opened, name, answer)) wrong = "the session's environment does not fit";
  if (!wrong) {
    say_notice(pamh, flags, answer);
    return PAM_SUCCESS;
  }
  snprintf(answer->why, sizeof answer->why, "%s", wrong);
  xos_refused(pamh, flags, "session", user, name, answer, PAM_SESSION_ERR);
  return PAM_SESSION_ERR;
}

/// From here on programs may leave this node. Failing to get there is told and is no reason to refuse the login.
static void enter(pam_handle_t *pamh, int flags, const struct xos_options *options, const char *user) {
  char why[256] = "";
  if (xos_namespace_enter(options->interpreter, why, sizeof why) == 0) return;
  pam_syslog(pamh, LOG_WARNING, "programs of '%s' stay on this node: %s", user, why);
  if (!(flags & PAM_SILENT)) xos_say(pamh, PAM_TEXT_INFO, "Programs of this session stay on this node: %s.", why);
}

static int open_session(pam_handle_t *pamh, int flags, const struct xos_options *options, const char *user, const struct xos_name *name) {
  const void *before;
  if (pam_get_data(pamh, DATA, &before) == PAM_SUCCESS && before) {
    pam_syslog(pamh, LOG_ERR, "session of '%s' is open already", user);
    return PAM_SESSION_ERR;
  }
  struct opened *opened = calloc(1, sizeof *opened);
  if (!opened) return PAM_BUF_ERR;
  int result = PAM_SESSION_ERR;
  int error = xos_keyring_join(&opened->keyring);
  if (error != 0) pam_syslog(pamh, LOG_ERR, "cannot make a session keyring for '%s': %s", user, strerror(-error));
  else result = fill(pamh, flags, options, user, name, opened);
  if (result == PAM_SUCCESS) result = pam_set_data(pamh, DATA, opened, release);
  if (result != PAM_SUCCESS) {
    undo(pamh, options, opened);
    release(pamh, opened, 0);
    return result;
  }
  xos_handle_forget(pamh);
  if (!options->no_exec) enter(pamh, flags, options, user);  // last: there is no way back out of it
  return PAM_SUCCESS;
}

static struct opened *opened_here(pam_handle_t *pamh) {
  const void *data = NULL;
  return pam_get_data(pamh, DATA, &data) == PAM_SUCCESS ? (struct opened *)(uintptr_t)data : NULL;
}

const char *xos_session_id(pam_handle_t *pamh) {
  struct opened *opened = opened_here(pamh);
  return opened && opened->session[0] ? opened->session : NULL;
}

void xos_session_drop_credential(pam_handle_t *pamh) {
  struct opened *opened = opened_here(pamh);
  if (opened) xos_keyring_drop_credential(&opened->keyring);
}

PAM_EXTERN int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv) {
  struct xos_options options = xos_options_read(pamh, argc, argv);
  const char *user;
  struct xos_name name;
  int result = xos_user(pamh, &user, &name);
  if (result != PAM_SUCCESS) return result;
  char handle[512];
  bool known = xos_handle_get(pamh, &options, handle, sizeof handle) || (options.ssh_certificate && pam_getenv(pamh, SSH_INFO));
  explicit_bzero(handle, sizeof handle);
  if (!known && options.no_handle_ignore) {
    pam_syslog(pamh, LOG_INFO, "'%s' was not authenticated by the grid: no grid session", user);
    return PAM_IGNORE;
  }
  return open_session(pamh, flags, &options, user, &name);
}

PAM_EXTERN int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv) {
  (void)flags;
  struct xos_options options = xos_options_read(pamh, argc, argv);
  const void *data = NULL;
  if (pam_get_data(pamh, DATA, &data) != PAM_SUCCESS || !data) return PAM_IGNORE;  // nothing of ours is open
  undo(pamh, &options, (struct opened *)(uintptr_t)data);
  pam_set_data(pamh, DATA, NULL, NULL);  // frees it
  return PAM_SUCCESS;
}
