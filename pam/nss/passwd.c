// passwd of grid users: getpwnam, getpwuid, getpwent. Called by the C library; shapes and answers as nss(5) and glibc's "NSS Module
// Interface" want them. No daemon is asked, so a look-up cannot hang.
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include "../common/name.h"
#include "records.h"

enum { NAME, PASSWORD, UID, GID, GECOS, HOME, SHELL, FIELDS };

static int believe(struct xos_record *record) {
  return xos_table_id(record->field[UID], &record->id) && xos_table_id(record->field[GID], &record->gid) && record->field[HOME][0] == '/' && record->field[SHELL][0] == '/';
}

static char *copy(char **buffer, size_t *left, const char *text) {
  size_t size = strlen(text) + 1;
  if (size > *left) return NULL;
  char *start = memcpy(*buffer, text, size);
  *buffer += size;
  *left -= size;
  return start;
}

static enum nss_status give(const struct xos_record *record, void *into, char *buffer, size_t size, int *error) {
  struct passwd *result = into;
  // "*": no password of a grid user is ever checked on the node, so none can match.
  if (!(result->pw_name = copy(&buffer, &size, record->field[NAME])) || !(result->pw_passwd = copy(&buffer, &size, "*")) ||
      !(result->pw_gecos = copy(&buffer, &size, record->field[GECOS])) || !(result->pw_dir = copy(&buffer, &size, record->field[HOME])) ||
      !(result->pw_shell = copy(&buffer, &size, record->field[SHELL]))) {
    *error = ERANGE;
    return NSS_STATUS_TRYAGAIN;
  }
  result->pw_uid = record->id;
  result->pw_gid = record->gid;
  return NSS_STATUS_SUCCESS;
}

static const struct xos_kind kind = {.path = "/run/xos/passwd", .fields = FIELDS, .believe = believe, .give = give};
static struct xos_walk walk = XOS_WALK_INITIALIZER;

enum nss_status _nss_xos_getpwnam_r(const char *name, struct passwd *result, char *buffer, size_t size, int *error) {
  struct xos_name parts;
  if (xos_name_parse(name, &parts) != XOS_NAME_GRID) return xos_not_found(error);
  return xos_look_up(&kind, name, 0, result, buffer, size, error);
}

enum nss_status _nss_xos_getpwuid_r(uid_t uid, struct passwd *result, char *buffer, size_t size, int *error) {
  if (uid < XOS_ID_FIRST || uid > XOS_ID_LAST) return xos_not_found(error);
  return xos_look_up(&kind, NULL, uid, result, buffer, size, error);
}

enum nss_status _nss_xos_setpwent(int stay_open) {
  (void)stay_open;
  return xos_walk_rewind(&walk);
}

enum nss_status _nss_xos_endpwent(void) { return xos_walk_rewind(&walk); }

enum nss_status _nss_xos_getpwent_r(struct passwd *result, char *buffer, size_t size, int *error) { return xos_walk_next(&kind, &walk, result, buffer, size, error); }
