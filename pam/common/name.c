#include "name.h"
#include <string.h>

static int letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static int part(char *to, const char *from, size_t length) {
  if (length == 0 || length > XOS_NAME_PART_MAX || !letter(from[0])) return 0;
  for (size_t i = 0; i < length; i++) {
    if (!letter(from[i]) && from[i] != '.' && from[i] != '-') return 0;
    to[i] = from[i];
  }
  to[length] = '\0';
  return 1;
}

enum xos_name_kind xos_name_parse(const char *text, struct xos_name *name) {
  const char *at = text ? strchr(text, '@') : NULL;
  if (!at) return XOS_NAME_LOCAL;
  if (!part(name->user, text, (size_t)(at - text)) || !part(name->vo, at + 1, strlen(at + 1))) return XOS_NAME_BAD;
  return XOS_NAME_GRID;
}
