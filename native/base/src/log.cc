#include "log.h"

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace xos {

void log(Priority priority, const char* format, ...) {
  static const bool debug = getenv("XOS_DEBUG") != nullptr;
  if (priority == Priority::debug && !debug) return;
  const int saved_errno = errno;
  char line[4096];
  const int prefix = snprintf(line, sizeof line, "<%d>", static_cast<int>(priority));
  va_list arguments;
  va_start(arguments, format);
  errno = saved_errno;  // %m
  int text = vsnprintf(line + prefix, sizeof line - prefix - 1, format, arguments);
  va_end(arguments);
  if (text < 0) text = 0;
  int length = prefix + text;
  if (length > static_cast<int>(sizeof line) - 2) length = sizeof line - 2;
  for (int i = prefix; i < length; i++)
    if (static_cast<unsigned char>(line[i]) < 0x20 && line[i] != '\t') line[i] = '?';  // a name in a message must not forge a line
  line[length++] = '\n';
  if (write(STDERR_FILENO, line, length) < 0) { /* nobody left to tell */ }
  errno = saved_errno;
}

}  // namespace xos
