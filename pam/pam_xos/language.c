#include "language.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS "/etc/default/locale"
#define CATALOGUES "/usr/lib/xos/locale"
enum { SETTINGS_MAX = 16 * 1024, CATALOGUE_MAX = 1024 * 1024, MO_MAGIC = 0x950412de, LANGUAGE_MAX = 32 };

/// A plain file of at most `most` bytes, NUL-ended; NULL when it is none.
static char *read_file(const char *path, size_t most, size_t *size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return NULL;
  struct stat info;
  char *text = NULL;
  *size = 0;
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size >= 0 && (size_t)info.st_size <= most) text = malloc((size_t)info.st_size + 1);
  while (text && *size < (size_t)info.st_size) {
    ssize_t got = read(fd, text + *size, (size_t)info.st_size - *size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    *size += (size_t)got;
  }
  if (text) text[*size] = '\0';
  close(fd);
  return text;
}

/// The value of NAME=value in `settings`, without quotes; only if it can be no path.
static int setting(const char *settings, const char *name, char language[LANGUAGE_MAX]) {
  size_t length = strlen(name);
  for (const char *line = settings; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, name, length) != 0 || line[length] != '=') continue;
    const char *value = line + length + 1;
    value += *value == '"' || *value == '\'';
    size_t size = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_");
    if (size < 2 || size >= LANGUAGE_MAX) return 0;
    memcpy(language, value, size);
    language[size] = '\0';
    return 1;
  }
  return 0;
}

static uint32_t word(const char *text, size_t at) {
  uint32_t value;
  memcpy(&value, text + at, sizeof value);
  return value;
}

/// A string of the catalogue that the table entry at `entry` points to; NULL when it lies outside. (GNU gettext manual, "MO Files".)
static const char *string_at(const char *text, size_t size, size_t entry) {
  if (entry + 8 > size) return NULL;
  size_t length = word(text, entry), at = word(text, entry + 4);
  return at < size && length < size - at && text[at + length] == '\0' ? text + at : NULL;
}

static const char *look_up(const char *catalogue, size_t size, const char *text) {
  if (size < 28 || word(catalogue, 0) != MO_MAGIC) return NULL;
  size_t count = word(catalogue, 8), originals = word(catalogue, 12), translations = word(catalogue, 16);
  if (count > 10000 || originals > size || translations > size) return NULL;
  for (size_t i = 0; i < count; i++) {
    const char *original = string_at(catalogue, size, originals + 8 * i), *translation = string_at(catalogue, size, translations + 8 * i);
    if (original && translation && strcmp(original, text) == 0) return *translation ? translation : NULL;
  }
  return NULL;
}

/// Whether both take the same arguments of printf(3), in the same order.
static int same_conversions(const char *one, const char *two) {
  for (;;) {
    one = strchr(one, '%');
    two = strchr(two, '%');
    if (!one || !two) return one == two;
    size_t length = 1 + strcspn(one + 1, "%cdiouxXsp");
    if (strncmp(one, two, length + 1) != 0 || one[length] == '\0') return 0;
    one += length + 1;
    two += length + 1;
  }
}

static char *translate_to(const char *language, const char *text) {
  char path[sizeof CATALOGUES + LANGUAGE_MAX + 32];
  snprintf(path, sizeof path, CATALOGUES "/%s/LC_MESSAGES/xos-pam.mo", language);
  size_t size;
  char *catalogue = read_file(path, CATALOGUE_MAX, &size), *copy = NULL;
  const char *found = catalogue ? look_up(catalogue, size, text) : NULL;
  if (found && same_conversions(text, found)) copy = strdup(found);
  free(catalogue);
  return copy;
}

char *xos_translate(const char *text) {
  static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
  size_t size;
  char language[LANGUAGE_MAX], *translation = NULL, *settings = read_file(SETTINGS, SETTINGS_MAX, &size);
  for (size_t i = 0; settings && i < sizeof names / sizeof *names; i++) {
    if (!setting(settings, names[i], language)) continue;
    translation = translate_to(language, text);
    char *country = strchr(language, '_');
    if (!translation && country) {
      *country = '\0';
      translation = translate_to(language, text);
    }
    break;
  }
  free(settings);
  return translation ? translation : strdup(text);
}

void xos_text_drop(char **text) { free(*text); }
