// SPDX-License-Identifier: GPL-2.0
/*
 * What an execve costs: `cost MODULE.ko DIRECTORY COUNT`, as root of a guest under QEMU's -icount, where a nanosecond is an instruction.
 * Prints lines "NAME nanoseconds-per-program", each the median of COUNT times fork, execve of a program that does nothing, its end and its wait:
 * the kernel's own threads, which run now and then, count in some of them.
 * The interpreter is that same program, so "redirected" is the cost of handing over and not of what xexec does then.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "table.h"

static int count;

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const long long x = *(const long long *)a, y = *(const long long *)b;

	return x < y ? -1 : x > y;
}

static void round_of(const char *path)
{
	char *const argv[] = {(char *)path, NULL}, *const env[] = {NULL};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execve(path, argv, env);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		_exit(1);
}

/* In a child of its own, which becomes who it is to be measured as. */
static void measure(const char *name, const char *path, uid_t uid, int session)
{
	pid_t pid = fork();
	int status, i;

	if (pid == 0) {
		long long *taken = calloc(count, sizeof(*taken)), begun;

		if (become(uid, session))
			_exit(1);
		for (i = 0; i < 50; i++)
			round_of(path);	/* caches */
		for (i = 0; i < count; i++) {
			begun = now();
			round_of(path);
			taken[i] = now() - begun;
		}
		qsort(taken, count, sizeof(*taken), compare);
		dprintf(1, "%s %lld\n", name, taken[count / 2]);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		dprintf(1, "# cannot measure %s\n", name);
}

/* Forty rules as a node may have them, none about the program but the last looked at. */
static int set_rules(uint8_t action)
{
	static char patterns[40][40];
	struct rule rules[41] = {{"/t/nothing", action, 0, ANY}};
	int i;

	for (i = 0; i < 40; i++) {
		snprintf(patterns[i], sizeof(patterns[i]), "/usr/lib/package-%d/**", i);
		rules[i + 1] = (struct rule){patterns[i], XOS_EXEC_LOCAL, 0, ANY};
	}
	return table_set_of(VO, XOS_EXEC_GRID, 0, rules, 41);
}

int main(int argc, char **argv)
{
	char line[4096];
	int module;

	if (argc != 4 || atoi(argv[3]) < 1)
		return 2;
	count = atoi(argv[3]);
	snprintf(line, sizeof(line),
		 "mkdir -p /t /usr/lib/xos/bin && for each in /t/nothing /t/marked %s; do cp %s/nothing $each && chmod 755 $each; done; "
		 "for each in /t/marked %s; do printf x | dd of=$each bs=1 seek=9 conv=notrunc 2>/dev/null; done", INTERPRETER, argv[2], INTERPRETER);
	shell(line);
	measure("without", "/t/nothing", 1000, 0);
	module = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (module < 0 || syscall(SYS_finit_module, module, "", 0))
		return 1;
	measure("loaded", "/t/nothing", 1000, 0);
	if (set_rules(XOS_EXEC_GRID))
		return 1;
	measure("outside", "/t/nothing", 1000, 0);
	measure("outside-keys", "/t/nothing", 1000, SESSION);
	measure("marked", "/t/marked", UID, SESSION);
	measure("redirected", "/t/nothing", UID, SESSION);
	if (set_rules(XOS_EXEC_LOCAL))
		return 1;
	measure("kept", "/t/nothing", UID, SESSION);
	return 0;
}
