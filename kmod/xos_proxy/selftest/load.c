// SPDX-License-Identifier: GPL-2.0
/*
 * `load MODULE.ko ROUNDS`: loads and unloads the module ROUNDS times while processes come, stop, go on and are killed, each round with a watcher
 * that watches and charges some of them. Prints what of the kernel's memory is in use before and after.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../uapi/xos_proxy.h"
#include "check.h"
#include "selftest_module.h"

enum { PROCESSES = 16 };

static volatile struct {
	pid_t pids[PROCESSES];
	unsigned long killed;
	int stop;
} *shared;

static void pause_us(long us)
{
	const struct timespec time = {.tv_nsec = us * 1000};

	nanosleep(&time, NULL);
}

/* Sixteen processes that are stopped, go on and are killed, all the time. */
static void make_traffic(void)
{
	unsigned int seed = 1;

	while (!shared->stop) {
		int which = rand_r(&seed) % PROCESSES;
		pid_t pid = shared->pids[which];

		if (!pid) {
			pid = fork();
			if (pid == 0)
				for (;;)
					pause();
			shared->pids[which] = pid;
		} else if (rand_r(&seed) % 4) {
			kill(pid, rand_r(&seed) % 2 ? SIGSTOP : SIGCONT);
		} else {
			shared->pids[which] = 0;
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			shared->killed++;
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		if (shared->pids[i])
			kill(shared->pids[i], SIGKILL);
	_exit(0);
}

static int open_device(void)
{
	int tries, fd = -1;

	for (tries = 0; tries < 1000 && fd < 0; tries++) {	/* devtmpfs makes the node a moment later */
		fd = open(XOS_PROXY_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			pause_us(1000);
	}
	return fd;
}

static unsigned long events_seen;

static void watch_some(int fd, int round)
{
	struct xos_proxy_event events[PROCESSES];
	ssize_t size;
	int i;

	for (i = 0; i < PROCESSES; i++) {
		const struct xos_proxy_watch watch = {.cookie = i, .pid = shared->pids[i]};
		const struct xos_proxy_usage usage = {.cookie = i, .user_ns = round * 1000000ULL, .memory = 64ULL << 20, .memory_max = 64ULL << 20};

		if (watch.pid && ioctl(fd, XOS_PROXY_ADD, &watch) == 0)
			ioctl(fd, XOS_PROXY_USAGE, &usage);
	}
	for (i = 0; i < 5; i++) {
		pause_us(2000);
		size = read(fd, events, sizeof(events));
		if (size > 0)
			events_seen += size / sizeof(*events);
	}
}

int main(int argc, char **argv)
{
	int rounds, round, fd;
	long before = 0;
	pid_t traffic;

	if (argc != 3)
		return 2;
	rounds = atoi(argv[2]);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	module_unload("xos_proxy", NULL);
	traffic = fork();
	if (traffic == 0)
		make_traffic();
	for (round = 0; round < rounds && failures == 0; round++) {
		if (round == rounds / 10)
			before = memory_kib("SUnreclaim:");	/* caches are warm now */
		if (!CHECK(module_load(argv[1]) == 0))
			break;
		fd = open_device();
		CHECK(fd >= 0);
		watch_some(fd, round);
		CHECK(syscall(SYS_delete_module, "xos_proxy", O_NONBLOCK) < 0 && errno == EWOULDBLOCK);	/* in use */
		close(fd);
		CHECK(syscall(SYS_delete_module, "xos_proxy", 0) == 0);
	}
	shared->stop = 1;
	waitpid(traffic, NULL, 0);
	CHECK(events_seen > 0 && shared->killed > 0);
	printf("%d of %d rounds, %lu events, %lu processes killed, SUnreclaim %ld -> %ld KiB\n", round, rounds, events_seen, shared->killed, before,
	       memory_kib("SUnreclaim:"));
	return report();
}
