// SPDX-License-Identifier: GPL-2.0
/* Patterns of paths. The same language as native/relay/src/policy.cc; kept apart because neither can use the other's code. */
#include <linux/string.h>

#include "internal.h"

size_t xos_literal_length(const char *pattern)
{
	return strcspn(pattern, "*?");
}

/*
 * Without recursion: it is enough to come back to the last '*', and when that may not take more, to the last '**'. What an earlier '*' of the
 * same directory could take, the last one can take too; across a '/' the earlier one has no choice; and '**' takes whatever one before it could.
 */
bool xos_match(const char *pattern, const char *path, int *steps)
{
	const char *star = NULL, *star_path = NULL;	/* behind the last '*', and where it ends so far */
	const char *deep = NULL, *deep_path = NULL;	/* the same of the last '**' */

	for (;;) {
		if (--*steps < 0)
			return false;
		if (pattern[0] == '*' && pattern[1] == '*') {
			pattern += 2;
			deep = pattern;
			deep_path = path;
			star = NULL;
			continue;
		}
		if (*pattern == '*') {
			star = ++pattern;
			star_path = path;
			continue;
		}
		if (!*pattern && !*path)
			return true;
		if (*path && (*pattern == '?' ? *path != '/' : *pattern == *path)) {
			pattern++;
			path++;
			continue;
		}
		if (star && *star_path && *star_path != '/') {
			path = ++star_path;
			pattern = star;
		} else if (deep && *deep_path) {
			path = ++deep_path;
			pattern = deep;
			star = NULL;
		} else {
			return false;
		}
	}
}
