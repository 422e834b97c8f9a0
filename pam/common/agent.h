// One question to the node's agent (xosd) over /run/xos/agent.sock, and its answer. Format: docs/architecture.md, "Control operations".
//
// Nothing here logs, reads the environment or keeps state, and nothing waits without a bound: the caller is a login that must not hang.
#pragma once
#include <stddef.h>

#define XOS_AGENT_SOCKET "/run/xos/agent.sock"

enum {
  XOS_AGENT_CONNECT_MS = 300,            ///< an agent that does not take a connection within this is away
  XOS_AGENT_ACCOUNT_MS = 5000,           ///< answered from what the node knows
  XOS_AGENT_DECIDE_MS = 15000,           ///< the registry may have to be asked, or a home to be mounted
  XOS_AGENT_REQUEST_MAX = 16 * 1024,     ///< bytes
  XOS_AGENT_ANSWER_MAX = 64 * 1024,      ///< bytes, the empty line included
  XOS_AGENT_FIELDS_MAX = 64,
};

enum xos_status {
  XOS_STATUS_OK,
  XOS_STATUS_DENIED,
  XOS_STATUS_EXPIRED,
  XOS_STATUS_UNAVAILABLE,  ///< said by the agent, or made here: no agent, no answer in time, or an answer that is none
};

struct xos_field {
  const char *key;
  const char *value;
};

struct xos_answer {
  enum xos_status status;
  size_t count;
  struct xos_field fields[XOS_AGENT_FIELDS_MAX];  ///< without `status`; they point into `text`
  char why[160];                                  ///< for the log, when the answer was made here; else empty
  size_t size;
  char text[XOS_AGENT_ANSWER_MAX + 1];
};

/// Asks and waits at most `timeout_ms`. `request` ends with a field whose key is NULL; fields whose value is NULL are left out.
/// Always gives an answer that the caller frees with xos_answer_free(); NULL only when there is no memory.
struct xos_answer *xos_agent_ask(const char *socket, int timeout_ms, const struct xos_field *request);

/// The value of a field, or NULL. Owned by the answer.
const char *xos_answer_get(const struct xos_answer *answer, const char *key);

/// Wipes and frees; NULL is fine.
void xos_answer_free(struct xos_answer *answer);

/// For `__attribute__((cleanup(xos_answer_drop)))`.
static inline void xos_answer_drop(struct xos_answer **answer) { xos_answer_free(*answer); }
