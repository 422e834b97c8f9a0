/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTEST_CHECK_H
#define SELFTEST_CHECK_H
#include <stdbool.h>
#include <stdio.h>

static int failures, checks;
#define CHECK(condition) check((condition), #condition, __LINE__)
static inline bool check(bool good, const char *text, int line)
{
	checks++;
	if (!good) {
		failures++;
		printf("not ok: line %d: %s\n", line, text);
	}
	return good;
}

static inline int report(void)
{
	printf("%s: %d checks, %d failures\n", failures ? "not ok" : "ok", checks, failures);
	return failures != 0;
}
#endif
