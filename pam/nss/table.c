#include "table.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/name.h"

static enum nss_status fail(int fd, int error) {
  close(fd);
  errno = error;
  return error == ENOMEM ? NSS_STATUS_TRYAGAIN : NSS_STATUS_UNAVAIL;
}

enum nss_status xos_table_open(struct xos_table *table, const char *path) {
  // O_NONBLOCK: a fifo of that name must not hang every `ls -l`.
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return NSS_STATUS_UNAVAIL;
  struct stat info;
  if (fstat(fd, &info) != 0) return fail(fd, errno);
  if (!S_ISREG(info.st_mode) || info.st_uid != 0 || (info.st_mode & (S_IWGRP | S_IWOTH))) return fail(fd, EPERM);
  if (info.st_size > XOS_TABLE_MAX) return fail(fd, EFBIG);
  size_t size = (size_t)info.st_size, used = 0;
  char *text = malloc(size + 1);
  if (!text) return fail(fd, ENOMEM);
  while (used < size) {
    ssize_t got = read(fd, text + used, size - used);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      int error = errno;
      free(text);
      return fail(fd, error);
    }
    used += (size_t)got;
  }
  close(fd);
  text[used] = '\n';  // ends a last line that was not; takes the place of the NUL that no one needs
  *table = (struct xos_table){text, text, text + used + 1};
  return NSS_STATUS_SUCCESS;
}

void xos_table_close(struct xos_table *table) {
  free(table->text);
  *table = (struct xos_table){0};
}

int xos_table_next(struct xos_table *table, char *fields[], int wanted) {
  while (table->cursor < table->end) {
    char *line = table->cursor, *stop = memchr(line, '\n', (size_t)(table->end - line));
    table->cursor = stop + 1;
    if (memchr(line, '\0', (size_t)(stop - line))) continue;
    *stop = '\0';
    int count = 0;
    for (char *at = line; at; count++) {
      char *colon = strchr(at, ':');
      if (count < wanted) fields[count] = at;
      if (colon) *colon++ = '\0';
      at = colon;
    }
    if (count == wanted) return 1;
  }
  return 0;
}

int xos_table_seek(struct xos_table *table, const char *text) {
  char *found = memmem(table->cursor, (size_t)(table->end - table->cursor), text, strlen(text));
  if (!found) return 0;
  char *before = memrchr(table->cursor, '\n', (size_t)(found - table->cursor));
  if (before) table->cursor = before + 1;
  return 1;
}

int xos_table_id(const char *text, id_t *id) {
  size_t length = strspn(text, "0123456789");
  if (length == 0 || length > 10 || text[length]) return 0;
  unsigned long long number = strtoull(text, NULL, 10);
  if (number < XOS_ID_FIRST || number > XOS_ID_LAST) return 0;
  *id = (id_t)number;
  return 1;
}
