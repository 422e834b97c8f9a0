// The least of a test harness: a failed CHECK is told with its place, and the test goes on; finish() is main's result.
#pragma once
#include <stdio.h>

static int checks_failed;
#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      checks_failed++; \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
    } \
  } while (0)

static inline int finish(const char *name) {
  printf("%s: %s\n", name, checks_failed ? "FAILED" : "passed");
  return checks_failed != 0;
}
