// group of grid users: getgrnam, getgrgid, getgrent and the groups of a login (initgroups). See passwd.c.
#include <errno.h>
#include <grp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../common/name.h"
#include "records.h"

enum { NAME, PASSWORD, GID, MEMBERS, FIELDS };

static int believe(struct xos_record *record) { return xos_table_id(record->field[GID], &record->id); }

/// One name of a list `a@v,b@v`; moves `*list` on, to NULL after the last one. Returns its length.
static size_t member(const char **list, const char **start) {
  *start = *list;
  size_t length = strcspn(*start, ",");
  *list = (*start)[length] ? *start + length + 1 : NULL;
  return length;
}

static int is_member(const char *list, const char *user) {
  size_t wanted = strlen(user);
  const char *start;
  while (list) {
    size_t length = member(&list, &start);
    if (length == wanted && memcmp(start, user, length) == 0) return 1;
  }
  return 0;
}

/// Lays out array, names and members in the caller's buffer, the array first and aligned.
static enum nss_status give(const struct xos_record *record, void *into, char *buffer, size_t size, int *error) {
  struct group *result = into;
  size_t skip = -(uintptr_t)buffer % _Alignof(char *), names = 1;
  const char *list = record->field[MEMBERS], *start;
  for (const char *at = list; *at; at++) names += *at == ',';
  size_t array = (names + 1) * sizeof(char *), text = strlen(record->field[NAME]) + 1 + 2 + strlen(list) + 1 + names;
  if (size < skip || size - skip < array + text) {
    *error = ERANGE;
    return NSS_STATUS_TRYAGAIN;
  }
  char **members = (char **)(void *)(buffer + skip), *to = (char *)members + array;
  result->gr_gid = record->id;
  result->gr_mem = members;
  result->gr_name = to;
  to = stpcpy(to, record->field[NAME]) + 1;
  result->gr_passwd = to;
  to = stpcpy(to, "*") + 1;
  while (list) {
    size_t length = member(&list, &start);
    if (length == 0) continue;
    *members++ = memcpy(to, start, length);
    to[length] = '\0';
    to += length + 1;
  }
  *members = NULL;
  return NSS_STATUS_SUCCESS;
}

static const struct xos_kind kind = {.path = "/run/xos/group", .fields = FIELDS, .believe = believe, .give = give};
static struct xos_walk walk = XOS_WALK_INITIALIZER;

enum nss_status _nss_xos_getgrnam_r(const char *name, struct group *result, char *buffer, size_t size, int *error) {
  struct xos_name parts;
  if (xos_name_parse(name, &parts) != XOS_NAME_GRID) return xos_not_found(error);
  return xos_look_up(&kind, name, 0, result, buffer, size, error);
}

enum nss_status _nss_xos_getgrgid_r(gid_t gid, struct group *result, char *buffer, size_t size, int *error) {
  if (gid < XOS_ID_FIRST || gid > XOS_ID_LAST) return xos_not_found(error);
  return xos_look_up(&kind, NULL, gid, result, buffer, size, error);
}

static int has(const gid_t *groups, long count, gid_t gid) {
  for (long i = 0; i < count; i++)
    if (groups[i] == gid) return 1;
  return 0;
}

/// Adds the groups that list `user` to `*groups`, which holds `*count` of `*size` and may be reallocated up to `limit` (<= 0: no limit).
enum nss_status _nss_xos_initgroups_dyn(const char *user, gid_t first, long *count, long *size, gid_t **groups, long limit, int *error) {
  struct xos_name parts;
  if (xos_name_parse(user, &parts) != XOS_NAME_GRID) return xos_not_found(error);
  struct xos_table table;
  struct xos_record record;
  enum nss_status status = xos_table_open(&table, kind.path);
  if (status != NSS_STATUS_SUCCESS) {
    *error = errno;
    return status;
  }
  while (xos_table_seek(&table, user) && xos_record_next(&kind, &table, &record)) {
    if (record.id == first || has(*groups, *count, record.id) || !is_member(record.field[MEMBERS], user)) continue;
    if (*count == *size) {
      if (limit > 0 && *size >= limit) break;
      long larger = *size > 0 ? 2 * *size : 16;
      if (limit > 0 && larger > limit) larger = limit;
      gid_t *moved = realloc(*groups, (size_t)larger * sizeof **groups);
      if (!moved) {
        *error = ENOMEM;
        status = NSS_STATUS_TRYAGAIN;
        break;
      }
      *groups = moved;
      *size = larger;
    }
    (*groups)[(*count)++] = record.id;
  }
  xos_table_close(&table);
  return status;
}

enum nss_status _nss_xos_setgrent(int stay_open) {
  (void)stay_open;
  return xos_walk_rewind(&walk);
}

enum nss_status _nss_xos_endgrent(void) { return xos_walk_rewind(&walk); }

enum nss_status _nss_xos_getgrent_r(struct group *result, char *buffer, size_t size, int *error) { return xos_walk_next(&kind, &walk, result, buffer, size, error); }
