#include "where.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace xos::relay {

namespace {

const char* const socket_path = "/run/xos/xosd.sock";
// xosd gives a query ten seconds.
constexpr int answer_ms_max = 15'000;
constexpr size_t line_bytes_max = 65'536;

long now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000L + now.tv_nsec / 1'000'000;
}

/// As a JSON text without its quotes. False when it does not fit.
bool escape(const char* text, char* to, size_t size) {
  size_t at = 0;
  for (const unsigned char* c = reinterpret_cast<const unsigned char*>(text); *c; c++) {
    if (at + 7 > size) return false;
    if (*c < 0x20 || *c == '"' || *c == '\\') at += static_cast<size_t>(snprintf(to + at, size - at, "\\u%04x", *c));
    else to[at++] = static_cast<char>(*c);
  }
  to[at] = 0;
  return true;
}

int connect_daemon() {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, socket_path);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

bool send_all(int fd, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

/// One line, its end cut off. False at the end of the stream, after the time, or when it is too long.
bool read_line(int fd, char* line, size_t size) {
  const long until_ms = now_ms() + answer_ms_max;
  size_t length = 0;
  while (length + 1 < size) {
    const long left_ms = until_ms - now_ms();
    pollfd wait{fd, POLLIN, 0};
    const int ready = left_ms <= 0 ? 0 : poll(&wait, 1, static_cast<int>(left_ms));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t got = read(fd, line + length, size - 1 - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    length += static_cast<size_t>(got);
    line[length] = 0;
    if (char* end = strchr(line, '\n')) {
      *end = 0;
      return true;
    }
  }
  return false;
}

}  // namespace

bool text_field(const char* line, const char* name, char* value, size_t size) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\":\"", name);
  const char* from = strstr(line, key);
  if (!from) return false;
  from += strlen(key);
  size_t at = 0;
  for (; *from && *from != '"'; from++) {
    if (at + 1 >= size) return false;
    if (*from == '\\') {
      from++;
      // What needs another escape than these stays out of names and messages of ours.
      value[at++] = *from == '"' || *from == '\\' || *from == '/' ? *from : ' ';
      if (!*from) return false;
    } else {
      value[at++] = *from;
    }
  }
  value[at] = 0;
  return *from == '"';
}

bool choose_node(const char* query, char* node, size_t node_size, char* why, size_t why_size) {
  static char escaped[16'384], request[sizeof escaped + 64], answer[line_bytes_max];
  if (!escape(query, escaped, sizeof escaped)) {
    snprintf(why, why_size, "the query is too long");
    return false;
  }
  const int length = snprintf(request, sizeof request, "{\"id\":1,\"op\":\"job-choose\",\"where\":\"%s\"}\n", escaped);
  const int fd = connect_daemon();
  const bool answered = fd >= 0 && send_all(fd, request, static_cast<size_t>(length)) && read_line(fd, answer, sizeof answer);
  if (fd >= 0) close(fd);
  if (!answered) {
    snprintf(why, why_size, "xosd of this node does not answer");
    return false;
  }
  if (strstr(answer, "\"ok\":true") && text_field(answer, "node", node, node_size) && *node) return true;
  if (!text_field(answer, "message", why, why_size)) snprintf(why, why_size, "xosd gave no node");
  return false;
}

}  // namespace xos::relay
