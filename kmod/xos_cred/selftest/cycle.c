// cycle ROUNDS FILE.ko…: loads the modules in this order and unloads them in reverse, ROUNDS times, in one process: what insmod and rmmod do without
// what it costs to start them (test/system/kmod/load.test.ts). Ends with 0, or says what failed in which round.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MODULES_MAX = 8, TRIES = 300 };

/// /path/name.ko as the kernel calls it.
static void name_of(const char *path, char *name, size_t size)
{
	const char *slash = strrchr(path, '/');
	snprintf(name, size, "%s", slash ? slash + 1 : path);
	char *dot = strrchr(name, '.');
	if (dot) *dot = '\0';
}

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	int result = (int)syscall(SYS_finit_module, fd, "", 0), error = errno;
	close(fd);
	errno = error;
	return result;
}

/// One that is in use for a moment (a call under way) is tried again, for at most half a minute.
static int unload(const char *name)
{
	for (int i = 0; i < TRIES; i++) {
		if (syscall(SYS_delete_module, name, O_NONBLOCK) == 0) return 0;
		if (errno != EAGAIN && errno != EBUSY) return -1;
		usleep(100000);
	}
	return -1;
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc > 2 + MODULES_MAX) return fprintf(stderr, "usage: cycle ROUNDS FILE.ko…\n"), 2;
	for (long round = 1; round <= atol(argv[1]); round++) {
		for (int i = 2; i < argc; i++)
			if (load(argv[i]) < 0) return fprintf(stderr, "round %ld: cannot load '%s': %s\n", round, argv[i], strerror(errno)), 1;
		// Sometimes used for a while, sometimes gone at once.
		if (round % 4) usleep((unsigned)(random() % 40000));
		for (int i = argc - 1; i >= 2; i--) {
			char name[64];
			name_of(argv[i], name, sizeof name);
			if (unload(name) < 0) return fprintf(stderr, "round %ld: cannot unload '%s': %s\n", round, name, strerror(errno)), 1;
		}
	}
	return 0;
}
