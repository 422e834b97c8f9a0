/* SPDX-License-Identifier: GPL-2.0 */
/* For self-tests: what insmod and rmmod do, without what it costs to start them, and what of the kernel's memory is in use. */
#ifndef SELFTEST_MODULE_H
#define SELFTEST_MODULE_H
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* 0, or -1 with errno. */
static inline int module_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), result, error;

	if (fd < 0)
		return -1;
	result = (int)syscall(SYS_finit_module, fd, "", 0);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

/* One that is in use for a moment (a call under way) is tried again, for half a minute; `busy`, if any, counts those times. 0, or -1 with errno. */
static inline int module_unload(const char *name, unsigned long *busy)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int tries;

	for (tries = 0; tries < 30000; tries++) {
		if (syscall(SYS_delete_module, name, O_NONBLOCK) == 0)
			return 0;
		if (errno != EAGAIN && errno != EBUSY)
			return -1;
		if (busy)
			++*busy;
		nanosleep(&pause, NULL);
	}
	return -1;
}

/* A line of /proc/meminfo, such as "SUnreclaim:"; -1 when there is none. */
static inline long memory_kib(const char *field)
{
	char line[256];
	long value = -1;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, field, strlen(field)))
			value = atol(line + strlen(field));
	if (file)
		fclose(file);
	return value;
}
#endif
