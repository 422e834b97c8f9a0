// SPDX-License-Identifier: GPL-2.0
/*
 * `load MODULE.ko ROUNDS DIRECTORY`: loads and unloads the module ROUNDS times while other processes execute programs in and out of sessions
 * and a third replaces tables. Prints what of the kernel's memory is in use before and after. Status 1 when an execve failed or the module
 * could not be unloaded. Needs what test.c prepares: it makes the same.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "selftest_module.h"
#include "table.h"

static volatile struct {
	unsigned long executed, failed;
	int stop;
} *shared;

static void execute(uid_t uid, int session)
{
	static char *const argv[] = {"/t/prog", "x", NULL}, *const env[] = {NULL};
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	if (become(uid, session))
		_exit(1);
	while (!shared->stop) {
		pid_t pid;
		int status;

		if (posix_spawn(&pid, "/t/prog", &actions, NULL, argv, env) || waitpid(pid, &status, 0) != pid || status)
			__atomic_add_fetch(&shared->failed, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&shared->executed, 1, __ATOMIC_RELAXED);
	}
	_exit(0);
}

static void replace_tables(void)
{
	const struct rule rules[] = {{"/t/**", XOS_EXEC_GRID, 0, ANY}, {"/usr/**", XOS_EXEC_LOCAL, 0, ANY}};
	const struct timespec pause = {.tv_nsec = 200000};

	while (!shared->stop) {
		table_set_of(VO, XOS_EXEC_GRID, 0, rules, 2);	/* -ENOENT while the module is out */
		nanosleep(&pause, NULL);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	const struct rule rule = {"/t/**", XOS_EXEC_GRID, 0, ANY};
	pid_t pids[4];
	unsigned long busy = 0;
	long before = 0;
	int rounds, round, i;

	if (argc != 4)
		return 2;
	rounds = atoi(argv[2]);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	prepare(argv[3]);
	module_unload("xos_exec", NULL);
	for (i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			if (i == 3)
				replace_tables();
			execute(i == 0 ? 1000 : UID, i == 2 ? SESSION | CREDENTIAL_REVOKED : SESSION);
		}
	}
	for (round = 0; round < rounds; round++) {
		if (round == rounds / 10)
			before = memory_kib("SUnreclaim:");	/* caches are warm now */
		if (module_load(argv[1])) {
			printf("not ok: cannot load in round %d: %s\n", round, strerror(errno));
			break;
		}
		table_set_of(VO, XOS_EXEC_GRID, 0, &rule, 1);
		if (module_unload("xos_exec", &busy)) {
			printf("not ok: cannot unload in round %d: %s\n", round, strerror(errno));
			break;
		}
	}
	shared->stop = 1;
	for (i = 0; i < 4; i++)
		waitpid(pids[i], NULL, 0);
	printf("%s: %d of %d rounds, %lu programs, %lu failed, %lu times busy, SUnreclaim %ld -> %ld KiB\n", round == rounds && !shared->failed ? "ok" : "not ok",
	       round, rounds, shared->executed, shared->failed, busy, before, memory_kib("SUnreclaim:"));
	return round != rounds || shared->failed;
}
