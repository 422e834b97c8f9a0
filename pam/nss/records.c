#include "records.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "../common/name.h"

enum nss_status xos_not_found(int *error) {
  *error = ENOENT;
  return NSS_STATUS_NOTFOUND;
}

int xos_record_next(const struct xos_kind *kind, struct xos_table *table, struct xos_record *record) {
  struct xos_name name;
  while (xos_table_next(table, record->field, kind->fields))
    if (xos_name_parse(record->field[0], &name) == XOS_NAME_GRID && kind->believe(record)) return 1;
  return 0;
}

enum nss_status xos_look_up(const struct xos_kind *kind, const char *name, id_t id, void *result, char *buffer, size_t size, int *error) {
  struct xos_table table;
  struct xos_record record;
  enum nss_status status = xos_table_open(&table, kind->path);
  if (status != NSS_STATUS_SUCCESS) {
    *error = errno;
    return status;
  }
  status = xos_not_found(error);
  char key[XOS_NAME_MAX + 2];
  if (name) snprintf(key, sizeof key, "%s:", name);
  else snprintf(key, sizeof key, ":%u:", id);
  while (status == NSS_STATUS_NOTFOUND && xos_table_seek(&table, key) && xos_record_next(kind, &table, &record))
    if (name ? strcmp(record.field[0], name) == 0 : record.id == id) status = kind->give(&record, result, buffer, size, error);
  xos_table_close(&table);
  return status;
}

enum nss_status xos_walk_rewind(struct xos_walk *walk) {
  pthread_mutex_lock(&walk->lock);
  xos_table_close(&walk->table);
  walk->has_held = 0;
  pthread_mutex_unlock(&walk->lock);
  return NSS_STATUS_SUCCESS;
}

enum nss_status xos_walk_next(const struct xos_kind *kind, struct xos_walk *walk, void *result, char *buffer, size_t size, int *error) {
  pthread_mutex_lock(&walk->lock);
  enum nss_status status = walk->table.text ? NSS_STATUS_SUCCESS : xos_table_open(&walk->table, kind->path);
  if (status != NSS_STATUS_SUCCESS) *error = errno;
  else if (!walk->has_held && !xos_record_next(kind, &walk->table, &walk->held)) status = xos_not_found(error);
  else status = kind->give(&walk->held, result, buffer, size, error);
  walk->has_held = status == NSS_STATUS_TRYAGAIN && walk->table.text;
  pthread_mutex_unlock(&walk->lock);
  return status;
}
