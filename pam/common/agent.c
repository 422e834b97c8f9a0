#include "agent.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "codec.h"

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/// Turns the answer into one made here. Returns -1, so that a failing step can return it.
__attribute__((format(printf, 2, 3))) static int unavailable(struct xos_answer *answer, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(answer->why, sizeof answer->why, format, list);
  va_end(list);
  answer->status = XOS_STATUS_UNAVAILABLE;
  answer->count = 0;
  return -1;
}

/// Writes the request's lines into `out`. Returns their length or -1 when they are too long or a key is no key.
static long compose(char *out, size_t size, const struct xos_field *request) {
  size_t used = 0;
  for (const struct xos_field *field = request; field->key; field++) {
    if (!field->value) continue;
    size_t key = strlen(field->key);
    if (used + key + 3 > size) return -1;
    memcpy(out + used, field->key, key);
    used += key;
    out[used++] = '=';
    long value = xos_percent_encode(out + used, size - used, field->value);
    if (value < 0) return -1;
    used += (size_t)value;
    if (used + 2 > size) return -1;
    out[used++] = '\n';
  }
  out[used++] = '\n';
  return (long)used;
}

/// Waits until the socket is ready for `events`. Returns 0, or -1 when the time is up.
static int wait_for(int fd, short events, int64_t deadline) {
  for (;;) {
    int64_t left = deadline - now_ms();
    if (left <= 0) return -1;
    struct pollfd one = {.fd = fd, .events = events};
    int ready = poll(&one, 1, (int)left);
    if (ready > 0) return 0;
    if (ready < 0 && errno != EINTR && errno != EAGAIN) return -1;
  }
}

static int connect_agent(struct xos_answer *answer, const char *path, int64_t deadline) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return unavailable(answer, "socket path '%.60s' is too long", path);
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return unavailable(answer, "cannot make a socket: %s", strerror(errno));
  int64_t limit = now_ms() + XOS_AGENT_CONNECT_MS;
  if (limit > deadline) limit = deadline;
  while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    // A full backlog answers EAGAIN and poll() says nothing about it (unix(7)), so it is tried again until the bound.
    if ((errno == EAGAIN || errno == EINTR) && now_ms() < limit) {
      nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
      continue;
    }
    unavailable(answer, "cannot reach the agent at '%.80s': %s", path, strerror(errno));
    close(fd);
    return -1;
  }
  // Whoever listens there learns passwords: only root may.
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != 0) {
    close(fd);
    return unavailable(answer, "the agent at '%.80s' is not root", path);
  }
  return fd;
}

static int send_all(struct xos_answer *answer, int fd, const char *data, size_t size, int64_t deadline) {
  while (size) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent >= 0) {
      data += sent;
      size -= (size_t)sent;
    } else if (errno == EAGAIN) {
      if (wait_for(fd, POLLOUT, deadline) != 0) return unavailable(answer, "the agent did not take the question in time");
    } else if (errno != EINTR) {
      return unavailable(answer, "cannot send to the agent: %s", strerror(errno));
    }
  }
  return 0;
}

/// Receives up to and including the empty line. A hostile agent can neither overrun the buffer nor hold us past the deadline.
static int receive(struct xos_answer *answer, int fd, int64_t deadline) {
  for (;;) {
    if (answer->size == XOS_AGENT_ANSWER_MAX) return unavailable(answer, "the agent's answer is longer than %d bytes", XOS_AGENT_ANSWER_MAX);
    if (now_ms() >= deadline) return unavailable(answer, "the agent gave no whole answer in time");
    ssize_t got = recv(fd, answer->text + answer->size, XOS_AGENT_ANSWER_MAX - answer->size, 0);
    if (got == 0) return unavailable(answer, "the agent closed before its answer was whole");
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return unavailable(answer, "cannot receive from the agent: %s", strerror(errno));
      if (wait_for(fd, POLLIN, deadline) != 0) return unavailable(answer, "the agent gave no whole answer in time");
      continue;
    }
    size_t from = answer->size ? answer->size - 1 : 0;
    answer->size += (size_t)got;
    char *end = memmem(answer->text + from, answer->size - from, "\n\n", 2);
    if (!end) continue;
    end[1] = '\0';
    answer->size = (size_t)(end + 1 - answer->text);
    return 0;
  }
}

static int key_is_fine(const char *key) {
  size_t length = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
  return length > 0 && length <= 128 && key[length] == '\0';
}

static int read_status(struct xos_answer *answer, const char *value) {
  static const char *const names[] = {"ok", "denied", "expired", "unavailable"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(value, names[i]) == 0) {
      answer->status = (enum xos_status)i;
      return 0;
    }
  }
  return unavailable(answer, "the agent's answer has no known status");
}

static int parse(struct xos_answer *answer) {
  if (strlen(answer->text) != answer->size) return unavailable(answer, "the agent's answer has a NUL byte");
  int lines = 0;
  for (char *line = answer->text, *end; *line; line = end + 1, lines++) {
    end = strchr(line, '\n');
    *end = '\0';
    char *value = strchr(line, '=');
    if (!value) return unavailable(answer, "line %d of the agent's answer has no '='", lines + 1);
    *value++ = '\0';
    if (!key_is_fine(line) || xos_percent_decode(value) < 0)
      return unavailable(answer, "line %d of the agent's answer is malformed", lines + 1);
    if (lines == 0) {
      if (strcmp(line, "status") != 0) return unavailable(answer, "the agent's answer does not begin with its status");
      if (read_status(answer, value) != 0) return -1;
      continue;
    }
    if (strcmp(line, "status") == 0 || xos_answer_get(answer, line))
      return unavailable(answer, "the agent's answer has a field twice");
    if (answer->count == XOS_AGENT_FIELDS_MAX)
      return unavailable(answer, "the agent's answer has more than %d fields", XOS_AGENT_FIELDS_MAX);
    answer->fields[answer->count++] = (struct xos_field){line, value};
  }
  return lines ? 0 : unavailable(answer, "the agent's answer is empty");
}

struct xos_answer *xos_agent_ask(const char *socket, int timeout_ms, const struct xos_field *request) {
  struct xos_answer *answer = calloc(1, sizeof *answer);
  char *question = malloc(XOS_AGENT_REQUEST_MAX);
  int64_t deadline = now_ms() + timeout_ms;
  int fd = -1;
  if (!answer || !question) {
    free(answer);
    answer = NULL;
    goto out;
  }
  long size = compose(question, XOS_AGENT_REQUEST_MAX, request);
  if (size < 0) {
    unavailable(answer, "the question is longer than %d bytes", XOS_AGENT_REQUEST_MAX);
    goto out;
  }
  fd = connect_agent(answer, socket, deadline);
  if (fd >= 0 && send_all(answer, fd, question, (size_t)size, deadline) == 0 && receive(answer, fd, deadline) == 0) parse(answer);
out:
  if (fd >= 0) close(fd);
  if (question) {
    explicit_bzero(question, XOS_AGENT_REQUEST_MAX);
    free(question);
  }
  return answer;
}

const char *xos_answer_get(const struct xos_answer *answer, const char *key) {
  for (size_t i = 0; answer && i < answer->count; i++)
    if (strcmp(answer->fields[i].key, key) == 0) return answer->fields[i].value;
  return NULL;
}

void xos_answer_free(struct xos_answer *answer) {
  if (!answer) return;
  explicit_bzero(answer, sizeof *answer);
  free(answer);
}
