// passwd of grid users: getpwnam, getpwuid, getpwent. Called by the C library; shapes and answers as nss(5) and glibc's "NSS Module
// Interface" want them. No daemon is asked, so a look-up cannot hang.
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include "../common/name.h"
#include "table.h"

#define PATH "/run/xos/passwd"
enum { NAME, PASSWORD, UID, GID, GECOS, HOME, SHELL, FIELDS };

struct record {
  char *field[FIELDS];
  uid_t uid;
  gid_t gid;
};

/// The next record that may be believed.
static int next(struct xos_table *table, struct record *record) {
  struct xos_name name;
  while (xos_table_next(table, record->field, FIELDS)) {
    if (xos_name_parse(record->field[NAME], &name) == XOS_NAME_GRID && xos_table_id(record->field[UID], &record->uid) &&
        xos_table_id(record->field[GID], &record->gid) && record->field[HOME][0] == '/' && record->field[SHELL][0] == '/')
      return 1;
  }
  return 0;
}

static char *copy(char **buffer, size_t *left, const char *text) {
  size_t size = strlen(text) + 1;
  if (size > *left) return NULL;
  char *start = memcpy(*buffer, text, size);
  *buffer += size;
  *left -= size;
  return start;
}

static enum nss_status give(const struct record *record, struct passwd *result, char *buffer, size_t size, int *error) {
  // "*": no password of a grid user is ever checked on the node, so none can match.
  if (!(result->pw_name = copy(&buffer, &size, record->field[NAME])) || !(result->pw_passwd = copy(&buffer, &size, "*")) ||
      !(result->pw_gecos = copy(&buffer, &size, record->field[GECOS])) || !(result->pw_dir = copy(&buffer, &size, record->field[HOME])) ||
      !(result->pw_shell = copy(&buffer, &size, record->field[SHELL]))) {
    *error = ERANGE;
    return NSS_STATUS_TRYAGAIN;
  }
  result->pw_uid = record->uid;
  result->pw_gid = record->gid;
  return NSS_STATUS_SUCCESS;
}

static enum nss_status not_found(int *error) {
  *error = ENOENT;
  return NSS_STATUS_NOTFOUND;
}

/// Looks for the first record with this name or, when that is NULL, with this uid.
static enum nss_status look_up(const char *name, uid_t uid, struct passwd *result, char *buffer, size_t size, int *error) {
  struct xos_table table;
  struct record record;
  enum nss_status status = xos_table_open(&table, PATH);
  if (status != NSS_STATUS_SUCCESS) {
    *error = errno;
    return status;
  }
  status = not_found(error);
  char key[XOS_NAME_MAX + 2];
  if (name) snprintf(key, sizeof key, "%s:", name);
  else snprintf(key, sizeof key, ":%u:", uid);
  while (status == NSS_STATUS_NOTFOUND && xos_table_seek(&table, key) && next(&table, &record))
    if (name ? strcmp(record.field[NAME], name) == 0 : record.uid == uid) status = give(&record, result, buffer, size, error);
  xos_table_close(&table);
  return status;
}

enum nss_status _nss_xos_getpwnam_r(const char *name, struct passwd *result, char *buffer, size_t size, int *error) {
  struct xos_name parts;
  if (xos_name_parse(name, &parts) != XOS_NAME_GRID) return not_found(error);
  return look_up(name, 0, result, buffer, size, error);
}

enum nss_status _nss_xos_getpwuid_r(uid_t uid, struct passwd *result, char *buffer, size_t size, int *error) {
  if (uid < XOS_ID_FIRST || uid > XOS_ID_LAST) return not_found(error);
  return look_up(NULL, uid, result, buffer, size, error);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct xos_table walk;
static struct record held;  // a record that did not fit the caller's buffer is given again
static int has_held;

static void rewind_walk(void) {
  pthread_mutex_lock(&lock);
  xos_table_close(&walk);
  has_held = 0;
  pthread_mutex_unlock(&lock);
}

enum nss_status _nss_xos_setpwent(int stay_open) {
  (void)stay_open;
  rewind_walk();
  return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_xos_endpwent(void) {
  rewind_walk();
  return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_xos_getpwent_r(struct passwd *result, char *buffer, size_t size, int *error) {
  pthread_mutex_lock(&lock);
  enum nss_status status = walk.text ? NSS_STATUS_SUCCESS : xos_table_open(&walk, PATH);
  if (status != NSS_STATUS_SUCCESS) *error = errno;
  else if (!has_held && !next(&walk, &held)) status = not_found(error);
  else status = give(&held, result, buffer, size, error);
  has_held = status == NSS_STATUS_TRYAGAIN && walk.text;
  pthread_mutex_unlock(&lock);
  return status;
}
