// A file of records, one a line, as xosd writes it: /run/xos/passwd and /run/xos/group. Read whole, since a VO's list is a few
// megabytes at most and xosd replaces it by rename(2), so one read is one state.
#pragma once
#include <nss.h>
#include <stddef.h>
#include <sys/types.h>

struct xos_table {
  char *text;    ///< NULL: not open
  char *cursor;  ///< where the next record begins
  char *end;
};

enum { XOS_TABLE_MAX = 64 * 1024 * 1024, XOS_RECORD_FIELDS_MAX = 7 };

/// Reads `path`. Refused (NSS_STATUS_UNAVAIL, errno EPERM) unless it is a plain file that belongs to root and that only root can write:
/// whoever writes it says who is who. NSS_STATUS_TRYAGAIN without memory.
enum nss_status xos_table_open(struct xos_table *table, const char *path);
void xos_table_close(struct xos_table *table);

/// The next line cut at its colons into exactly `wanted` fields, in place, so the table has to be read from front to end and once.
/// Lines of another shape are passed over. Returns 0 at the end.
int xos_table_next(struct xos_table *table, char *fields[], int wanted);

/// Moves to the next line that holds `text` anywhere, so that only few lines are looked at closely. Returns 0 when there is none.
int xos_table_seek(struct xos_table *table, const char *text);

/// A plain decimal number within the grid's range; 0 says no (a record that claims to be root is one that is not there).
int xos_table_id(const char *text, id_t *id);
