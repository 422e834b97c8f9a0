// What passwd and group have in common: records that may be believed, a look-up by name or number, an enumeration.
#pragma once
#include <pthread.h>
#include "table.h"

struct xos_record {
  char *field[XOS_RECORD_FIELDS_MAX];  ///< the name is the first one
  id_t id;                             ///< what it is looked up by: uid or gid
  id_t gid;
};

/// A kind of records.
struct xos_kind {
  const char *path;
  int fields;
  /// Whether the record may be believed; its name is a grid user's. Sets the numbers.
  int (*believe)(struct xos_record *record);
  /// Lays it out in the caller's buffer as the C library wants it. NSS_STATUS_TRYAGAIN with ERANGE when that is too small.
  enum nss_status (*give)(const struct xos_record *record, void *result, char *buffer, size_t size, int *error);
};

/// An enumeration, one for each kind and process, as the interface has it.
struct xos_walk {
  pthread_mutex_t lock;
  struct xos_table table;
  struct xos_record held;  ///< a record that did not fit the caller's buffer is given again
  int has_held;
};
#define XOS_WALK_INITIALIZER {.lock = PTHREAD_MUTEX_INITIALIZER}

enum nss_status xos_not_found(int *error);

/// The next record that may be believed; 0 at the end.
int xos_record_next(const struct xos_kind *kind, struct xos_table *table, struct xos_record *record);

/// Gives the first record with this name or, when that is NULL, with this number.
enum nss_status xos_look_up(const struct xos_kind *kind, const char *name, id_t id, void *result, char *buffer, size_t size, int *error);

enum nss_status xos_walk_rewind(struct xos_walk *walk);
enum nss_status xos_walk_next(const struct xos_kind *kind, struct xos_walk *walk, void *result, char *buffer, size_t size, int *error);
