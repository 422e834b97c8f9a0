// What the files of pam_xos share. The entry points (pam_sm_*) are in auth.c, account.c, session.c and password.c.
#pragma once
#include <security/pam_modules.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "../common/agent.h"
#include "../common/name.h"

/// Arguments of a line in /etc/pam.d. Strings belong to libpam and live as long as the call.
struct xos_options {
  const char *socket;       ///< socket=PATH       the agent's socket
  const char *interpreter;  ///< interpreter=PATH  who gets the programs of a session; must carry the mark
  int timeout_ms;           ///< timeout_ms=N      bound of every answer; 0: the bound of each question (agent.h)
  bool no_exec;             ///< no_exec           no namespaces: programs stay on this node
  bool handle_env;          ///< handle_env        auth runs in another process than session (sshd): hand over by PAM's environment
  bool ssh_certificate;     ///< ssh_certificate   sshd's word (SSH_AUTH_INFO_0) about a certificate of the VO opens a session too
  bool no_handle_ignore;    ///< no_handle=ignore  who was not authenticated by us (su by root) gets in, without a grid session
};

/// Reads the arguments; an unknown one is logged and otherwise passed over, as every PAM module does.
struct xos_options xos_options_read(pam_handle_t *pamh, int argc, const char **argv);

/// Whose turn it is. Gets the user's name, asking for it if nobody did yet, and says whether it is one of ours.
/// Returns PAM_SUCCESS with `*user` (owned by libpam) and `*name`; PAM_IGNORE for users of the node; PAM_USER_UNKNOWN for a malformed name.
int xos_user(pam_handle_t *pamh, const char **user, struct xos_name *name);

/// PAM_SERVICE, PAM_TTY …, NULL if unset.
const char *xos_item(pam_handle_t *pamh, int item);

/// Asks the agent with the options' socket and bound (`bound_ms` unless the options set one). NULL only without memory.
struct xos_answer *xos_ask(const struct xos_options *options, int bound_ms, const struct xos_field *request);

/// Tells the user a line (PAM_TEXT_INFO or PAM_ERROR_MSG) in her language: `text` is looked up, then filled in as printf(3) does.
__attribute__((format(printf, 3, 4))) void xos_say(pam_handle_t *pamh, int style, const char *text, ...);

/// What went wrong, once to the user (unless `flags` has PAM_SILENT) in a polite line and once to the log with its reason.
/// Where the agent says how long to take over a refusal, PAM's delay after a failure is at least that long (pam_fail_delay(3)).
/// Returns the status that fits: denied → `denied`, expired → PAM_ACCT_EXPIRED, else PAM_AUTHINFO_UNAVAIL.
int xos_refused(pam_handle_t *pamh, int flags, const char *what, const char *user, const struct xos_name *name,
                const struct xos_answer *answer, int denied);

/// A number among the fields of an answer, at most `most`; 0 when there is none.
unsigned xos_answer_number(const struct xos_answer *answer, const char *key, unsigned most);

/// The id of the session that is open in this handle; NULL when none is. Valid until it is closed.
const char *xos_session_id(pam_handle_t *pamh);
/// Takes the credential out of the open session's keyring; the session itself goes on.
void xos_session_drop_credential(pam_handle_t *pamh);

/// The session keyring of a login. Serial numbers, 0 where there is none.
struct xos_keyring {
  int32_t ring;
  int32_t session;
  int32_t credential;
  bool guarded;  ///< the credential's key is of type xos_cred (kmod/xos_cred), else of type user
};

/// Joins a new session keyring with an empty `xos:credential` in it. On failure nothing has changed; returns 0 or -errno.
int xos_keyring_join(struct xos_keyring *keyring);
/// Fills it: `xos:session` with `payload`, `xos:credential` with `credential` (NULL: the empty key goes), and gives the ring to the user.
int xos_keyring_fill(struct xos_keyring *keyring, const char *payload, const char *credential, uid_t uid, gid_t gid);
/// Makes the credential unusable for every process of the session; xosd then renews no more.
void xos_keyring_drop_credential(struct xos_keyring *keyring);
/// Ends all of it for every process that still holds it, and joins a fresh one. Safe on a half-filled one and when called twice.
void xos_keyring_end(struct xos_keyring *keyring);

/// Sees to it that programs without the mark that the calling process starts are handed to `interpreter`: by the kernel module xos_exec where it is
/// loaded, else by moving the process into a new user and mount namespace.
/// All or nothing: 0, or -1 with the caller where it was and a plain reason in `why`.
int xos_namespace_enter(const char *interpreter, char *why, size_t size);
