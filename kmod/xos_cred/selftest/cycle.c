// cycle ROUNDS FILE.ko…: loads the modules in this order and unloads them in reverse, ROUNDS times, in one process: what insmod and rmmod do without
// what it costs to start them (test/system/kmod/load.test.ts). Ends with 0, or says what failed in which round.
#define _GNU_SOURCE
#include "selftest_module.h"

enum { MODULES_MAX = 8 };

/// /path/name.ko as the kernel calls it.
static void name_of(const char *path, char *name, size_t size)
{
	const char *slash = strrchr(path, '/');
	snprintf(name, size, "%s", slash ? slash + 1 : path);
	char *dot = strrchr(name, '.');
	if (dot) *dot = '\0';
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc > 2 + MODULES_MAX) return fprintf(stderr, "usage: cycle ROUNDS FILE.ko…\n"), 2;
	for (long round = 1; round <= atol(argv[1]); round++) {
		for (int i = 2; i < argc; i++)
			if (module_load(argv[i]) < 0) return fprintf(stderr, "round %ld: cannot load '%s': %s\n", round, argv[i], strerror(errno)), 1;
		// Sometimes used for a while, sometimes gone at once.
		if (round % 4) usleep((unsigned)(random() % 40000));
		for (int i = argc - 1; i >= 2; i--) {
			char name[64];
			name_of(argv[i], name, sizeof name);
			if (module_unload(name, NULL) < 0) return fprintf(stderr, "round %ld: cannot unload '%s': %s\n", round, name, strerror(errno)), 1;
		}
	}
	return 0;
}
