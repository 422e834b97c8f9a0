// Names and numbers of grid users: `alice@demo`, and the range of numbers that belongs to virtual organisations.
#pragma once
#include <stdint.h>

enum {
  XOS_NAME_PART_MAX = 63,                          ///< bytes of the user's and of the VO's part
  XOS_NAME_MAX = 2 * XOS_NAME_PART_MAX + 1,
};
/// First and last uid and gid of the grid (src/account/uid.ts): 4,095 virtual organisations of 65,536; below are the node's own users.
#define XOS_ID_FIRST UINT32_C(1879048192)
#define XOS_ID_LAST UINT32_C(2147483647)

enum xos_name_kind {
  XOS_NAME_LOCAL,  ///< no '@': a user of this node, none of our business
  XOS_NAME_GRID,   ///< NAME@VO
  XOS_NAME_BAD,    ///< has an '@' and is yet no name that the grid could know
};

struct xos_name {
  char user[XOS_NAME_PART_MAX + 1];
  char vo[XOS_NAME_PART_MAX + 1];
};

/// Says what `text` is and, for XOS_NAME_GRID, fills `name`. `text` may be NULL or anything a stranger typed.
/// Parts begin with a letter, a digit or '_' and go on with these, '.' and '-', so that a name is never a path, an option or a pattern.
enum xos_name_kind xos_name_parse(const char *text, struct xos_name *name);
