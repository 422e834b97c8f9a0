#include "codec.h"

// Not isalnum(): its answer depends on the locale of the program that loaded us.
static int plain(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '@' || c == '.' || c == '_' ||
         c == ':' || c == '/' || c == '+' || c == '-';
}

static int digit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

long xos_percent_encode(char *out, size_t size, const char *text) {
  static const char digits[] = "0123456789ABCDEF";
  size_t used = 0;
  for (const unsigned char *from = (const unsigned char *)text; *from; from++) {
    size_t need = plain(*from) ? 1 : 3;
    if (used + need + 1 > size) {
      if (size) out[0] = '\0';
      return -1;
    }
    if (need == 1) {
      out[used++] = (char)*from;
    } else {
      out[used++] = '%';
      out[used++] = digits[*from >> 4];
      out[used++] = digits[*from & 15];
    }
  }
  if (used >= size) return -1;
  out[used] = '\0';
  return (long)used;
}

long xos_percent_decode(char *text) {
  char *to = text;
  for (const unsigned char *from = (const unsigned char *)text; *from;) {
    if (*from != '%') {
      if (!plain(*from)) return -1;
      *to++ = (char)*from++;
      continue;
    }
    int high = digit(from[1]);
    int low = high < 0 ? -1 : digit(from[2]);  // from[2] is read only when from[1] is no NUL
    if (low < 0 || (high == 0 && low == 0)) return -1;
    *to++ = (char)(high << 4 | low);
    from += 3;
  }
  *to = '\0';
  return (long)(to - text);
}
