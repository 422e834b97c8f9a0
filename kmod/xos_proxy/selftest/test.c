// SPDX-License-Identifier: GPL-2.0
/* xos_proxy in a guest: `test` as root, with the module loaded. Ends with "ok: N checks" and status 0, or 1. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../uapi/xos_proxy.h"
#include "check.h"

#define MIB (1ULL << 20)
#define SECOND 1000000000ULL

static int open_device(void)
{
	return open(XOS_PROXY_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

static int add(int fd, unsigned long long cookie, pid_t pid)
{
	const struct xos_proxy_watch watch = {.cookie = cookie, .pid = pid};

	return ioctl(fd, XOS_PROXY_ADD, &watch) ? -errno : 0;
}

static int drop(int fd, unsigned long long cookie)
{
	const __u64 which = cookie;

	return ioctl(fd, XOS_PROXY_REMOVE, &which) ? -errno : 0;
}

static int use(int fd, unsigned long long cookie, double user, double system, unsigned long long now, unsigned long long most)
{
	const struct xos_proxy_usage usage = {
		.cookie = cookie, .user_ns = user * SECOND, .system_ns = system * SECOND, .memory = now, .memory_max = most,
	};

	return ioctl(fd, XOS_PROXY_USAGE, &usage) ? -errno : 0;
}

static void pause_ms(int ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

/* A process that does nothing until it is killed. */
static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A number of /proc/PID/FILE behind `field`; -1 when there is none. */
static long number(pid_t pid, const char *file, const char *field)
{
	char path[64], line[1024];
	long value = -1;
	FILE *stream;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	stream = fopen(path, "r");
	while (stream && fgets(line, sizeof(line), stream))
		if (!strncmp(line, field, strlen(field)))
			value = atol(line + strlen(field));
	if (stream)
		fclose(stream);
	return value;
}

/* Field `which` of /proc/PID/stat, counted from 3 behind the name. */
static long stat_field(pid_t pid, int which)
{
	char path[64], line[1024] = "", *at;
	FILE *stream;
	int i;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	stream = fopen(path, "r");
	if (!stream || !fgets(line, sizeof(line), stream))
		return -1;
	fclose(stream);
	at = strrchr(line, ')') + 2;
	for (i = 3; i < which; i++)
		at = strchr(at, ' ') + 1;
	return atol(at);
}

static double seconds(struct timeval time)
{
	return time.tv_sec + time.tv_usec / 1e6;
}

static bool near(double value, double wanted, double by)
{
	return value >= wanted - by && value <= wanted + by;
}

static void test_time(void)
{
	int fd = open_device(), status;
	pid_t pid = sleeper();
	struct rusage used, before, after;
	double tick = sysconf(_SC_CLK_TCK);

	getrusage(RUSAGE_CHILDREN, &before);
	CHECK(fd >= 0 && add(fd, 1, pid) == 0);
	CHECK(use(fd, 1, 3, 1, 0, 0) == 0);
	CHECK(near(stat_field(pid, 14) / tick, 3, 0.1) && near(stat_field(pid, 15) / tick, 1, 0.1));
	CHECK(use(fd, 1, 3, 1, 0, 0) == 0);	/* nothing new */
	CHECK(use(fd, 1, 5.5, 1.5, 0, 700 * MIB) == 0);
	CHECK(near(stat_field(pid, 14) / tick, 5.5, 0.1) && near(stat_field(pid, 15) / tick, 1.5, 0.1));
	CHECK(use(fd, 1, 1, 0, 0, 100 * MIB) == 0);	/* a new count: 1 s more */
	kill(pid, SIGKILL);
	pause_ms(100);
	CHECK(use(fd, 1, 2, 0, 0, 0) == 0);	/* not waited for yet */
	CHECK(wait4(pid, &status, 0, &used) == pid);
	CHECK(near(seconds(used.ru_utime), 7.5, 0.2) && near(seconds(used.ru_stime), 1.5, 0.2));
	CHECK(used.ru_maxrss == 700 * 1024);
	getrusage(RUSAGE_CHILDREN, &after);
	CHECK(near(seconds(after.ru_utime) - seconds(before.ru_utime), 7.5, 0.2) && after.ru_maxrss >= 700 * 1024);
	CHECK(use(fd, 1, 100, 0, 0, 0) == 0);	/* gone: nobody is charged, nothing breaks */
	CHECK(drop(fd, 1) == 0 && drop(fd, 1) == -ENOENT && use(fd, 1, 1, 1, 0, 0) == -ENOENT);
	close(fd);
}

static void test_memory(void)
{
	int fd = open_device();
	pid_t pid = sleeper();
	long own = number(pid, "status", "VmRSS:"), score = number(pid, "oom_score", "");

	CHECK(fd >= 0 && add(fd, 2, pid) == 0 && score > 0);
	CHECK(use(fd, 2, 0, 0, 512 * MIB, 512 * MIB) == 0);
	CHECK(near(number(pid, "status", "VmRSS:") - own, 512 * 1024, 1024) && near(number(pid, "status", "RssShmem:"), 512 * 1024, 1024));
	CHECK(near(stat_field(pid, 24) * 4.0, own + 512 * 1024, 1024));
	CHECK(number(pid, "oom_score", "") == 0);	/* never the one that is killed for it */
	CHECK(use(fd, 2, 0, 0, 64 * MIB, 512 * MIB) == 0 && near(number(pid, "status", "VmRSS:") - own, 64 * 1024, 1024));
	CHECK(use(fd, 2, 0, 0, 0, 512 * MIB) == 0 && near(number(pid, "status", "VmRSS:") - own, 0, 1024));
	CHECK(number(pid, "oom_score", "") == score);
	CHECK(use(fd, 2, 0, 0, 512 * MIB, 512 * MIB) == 0);
	CHECK(drop(fd, 2) == 0 && near(number(pid, "status", "VmRSS:") - own, 0, 1024) && number(pid, "oom_score", "") == score);
	CHECK(add(fd, 2, pid) == 0 && use(fd, 2, 0, 0, 512 * MIB, 0) == 0);
	end(pid);	/* its memory goes while some of it is shown: the kernel must not find its counters wrong */
	CHECK(use(fd, 2, 1, 0, 256 * MIB, 0) == 0);
	close(fd);
	pid = sleeper();
	fd = open_device();
	CHECK(add(fd, 2, pid) == 0 && use(fd, 2, 0, 0, 512 * MIB, 0) == 0);
	close(fd);	/* as when the relay dies */
	CHECK(near(number(pid, "status", "VmRSS:") - own, 0, 1024) && number(pid, "oom_score", "") == score);
	end(pid);
}

/* A process that takes memory itself, and one that executes another program, lose what is shown, and the kernel's mercy. */
static void test_hoarder(void)
{
	int fd = open_device(), orders[2], tries;
	char word = 0;
	pid_t pid;

	CHECK(pipe(orders) == 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(orders[0], &word, 1) == 1)
			memset(mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, 64 * MIB);
		for (;;)
			pause();
	}
	CHECK(add(fd, 3, pid) == 0 && use(fd, 3, 0, 0, 512 * MIB, 0) == 0 && number(pid, "oom_score", "") == 0);
	CHECK(write(orders[1], "x", 1) == 1);
	for (tries = 0; tries < 600 && number(pid, "status", "RssAnon:") < 60 * 1024; tries++)
		pause_ms(100);
	CHECK(use(fd, 3, 0, 0, 512 * MIB, 0) == 0);
	CHECK(number(pid, "status", "VmRSS:") < 128 * 1024 && number(pid, "oom_score", "") > 0);
	CHECK(use(fd, 3, 0, 0, 512 * MIB, 0) == 0 && number(pid, "status", "VmRSS:") < 128 * 1024);	/* for good */
	end(pid);
	close(orders[0]);
	close(orders[1]);
	CHECK(pipe(orders) == 0);
	pid = fork();
	if (pid == 0) {
		if (read(orders[0], &word, 1) == 1)
			execl("/bin/sleep", "sleep", "100", NULL);
		_exit(1);
	}
	CHECK(add(fd, 4, pid) == 0 && use(fd, 4, 2, 0, 512 * MIB, 0) == 0);
	CHECK(write(orders[1], "x", 1) == 1);
	for (tries = 0; tries < 600 && number(pid, "comm", "sleep") < 0; tries++)
		pause_ms(100);
	CHECK(number(pid, "status", "VmRSS:") < 32 * 1024 && number(pid, "oom_score", "") > 0);
	CHECK(use(fd, 4, 3, 0, 512 * MIB, 0) == 0 && number(pid, "status", "VmRSS:") < 32 * 1024);
	CHECK(near(stat_field(pid, 14) / (double)sysconf(_SC_CLK_TCK), 3, 0.2));	/* its time goes on */
	end(pid);
	close(orders[0]);
	close(orders[1]);
	close(fd);
}

/* The events of `cookie` that are there now, all together; -errno. */
static int events(int fd, unsigned long long cookie)
{
	struct xos_proxy_event event;
	ssize_t size = read(fd, &event, sizeof(event));

	if (size < 0)
		return -errno;
	return size == sizeof(event) && event.cookie == cookie && event.zero == 0 ? (int)event.events : -EDOM;
}

static void test_signals(void)
{
	int fd = open_device(), poller = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event wanted = {.events = EPOLLIN}, got;
	struct pollfd look = {.fd = fd, .events = POLLIN};
	struct xos_proxy_event many[8];
	pid_t pid = sleeper(), other = sleeper(), unwatched = sleeper();

	CHECK(fd >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted) == 0);
	CHECK(add(fd, 0xffffffffffffffffULL, pid) == 0 && add(fd, 6, other) == 0);
	CHECK(events(fd, 5) == -EAGAIN && poll(&look, 1, 0) == 0);
	CHECK(kill(pid, SIGSTOP) == 0 && poll(&look, 1, 1000) == 1 && epoll_wait(poller, &got, 1, 1000) == 1);
	CHECK(events(fd, 0xffffffffffffffffULL) == XOS_PROXY_STOP && events(fd, 5) == -EAGAIN && epoll_wait(poller, &got, 1, 0) == 0);
	CHECK(kill(pid, SIGCONT) == 0 && events(fd, 0xffffffffffffffffULL) == XOS_PROXY_CONT);
	CHECK(kill(pid, SIGSTOP) == 0 && kill(pid, SIGCONT) == 0 && events(fd, 0xffffffffffffffffULL) == XOS_PROXY_CONT);
	CHECK(kill(pid, SIGCONT) == 0 && kill(pid, SIGSTOP) == 0 && events(fd, 0xffffffffffffffffULL) == XOS_PROXY_STOP);
	CHECK(kill(other, SIGUSR1) == 0 && waitpid(other, NULL, 0) == other && events(fd, 6) == -EAGAIN);	/* it saw that itself */
	CHECK(kill(unwatched, SIGSTOP) == 0 && kill(unwatched, SIGKILL) == 0 && events(fd, 5) == -EAGAIN);
	CHECK(drop(fd, 6) == 0);
	other = sleeper();
	CHECK(add(fd, 6, other) == 0);
	CHECK(kill(other, SIGSTOP) == 0 && kill(pid, SIGKILL) == 0 && read(fd, many, sizeof(many)) == 2 * sizeof(*many));
	CHECK(many[0].cookie == 6 && many[0].events == XOS_PROXY_STOP);
	CHECK(many[1].cookie == 0xffffffffffffffffULL && many[1].events == XOS_PROXY_KILL);
	CHECK(kill(other, SIGKILL) == 0 && drop(fd, 6) == 0 && events(fd, 6) == -EAGAIN);	/* let go of: nothing of it comes */
	waitpid(pid, NULL, 0);
	waitpid(other, NULL, 0);
	waitpid(unwatched, NULL, 0);
	close(poller);
	close(fd);
}

static void on_alarm(int unused)
{
	(void)unused;
}

static void test_waiting(void)
{
	struct sigaction action = {.sa_handler = on_alarm};	/* no SA_RESTART */
	int fd = open(XOS_PROXY_DEVICE, O_RDWR | O_CLOEXEC);
	pid_t pid = sleeper(), sender;

	CHECK(fd >= 0 && add(fd, 7, pid) == 0);
	sender = fork();
	if (sender == 0) {
		pause_ms(300);
		kill(pid, SIGSTOP);
		_exit(0);
	}
	CHECK(events(fd, 7) == XOS_PROXY_STOP);
	sigaction(SIGALRM, &action, NULL);
	alarm(1);
	CHECK(events(fd, 7) == -EINTR);
	waitpid(sender, NULL, 0);
	end(pid);
	close(fd);
}

static int as_user(void)
{
	int fd;

	chmod(XOS_PROXY_DEVICE, 0666);
	if (syscall(SYS_setresgid, 1000, 1000, 1000) || syscall(SYS_setresuid, 1000, 1000, 1000))
		return 1;
	fd = open_device();
	return fd >= 0 || errno != EPERM || unshare(CLONE_NEWUSER) || open_device() >= 0 || errno != EPERM;
}

static void test_refusals(void)
{
	const struct xos_proxy_watch flagged = {.cookie = 8, .pid = getpid(), .flags = 1};
	int fd = open_device(), second = open_device(), status;
	struct xos_proxy_event event;
	pid_t pid = fork();

	if (pid == 0)
		_exit(as_user());
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	chmod(XOS_PROXY_DEVICE, 0600);
	pid = sleeper();
	CHECK(add(fd, 8, 1) == -EINVAL && add(fd, 8, 2) == -EINVAL);	/* process 1, kthreadd */
	CHECK(add(fd, 8, 0) == -EINVAL && add(fd, 8, -5) == -EINVAL && add(fd, 8, 4000000) == -ESRCH);
	CHECK(ioctl(fd, XOS_PROXY_ADD, &flagged) < 0 && errno == EINVAL);
	CHECK(add(fd, 8, pid) == 0 && add(fd, 9, pid) == -EBUSY && add(second, 8, pid) == -EBUSY && add(fd, 8, getpid()) == -EBUSY);
	CHECK(use(second, 8, 1, 1, 0, 0) == -ENOENT && drop(second, 8) == -ENOENT);
	CHECK(use(fd, 8, 0, 0, XOS_PROXY_MEMORY_MAX + 1, 0) == -EINVAL && use(fd, 8, 0, 0, 0, XOS_PROXY_MEMORY_MAX + 1) == -EINVAL);
	CHECK(use(fd, 8, 1e8, 0, 0, 0) == -EINVAL && use(fd, 8, 0, 1e8, 0, 0) == -EINVAL);
	CHECK(ioctl(fd, XOS_PROXY_USAGE, (void *)1) < 0 && errno == EFAULT);
	CHECK(ioctl(fd, XOS_PROXY_ADD, NULL) < 0 && errno == EFAULT);
	CHECK(ioctl(fd, 0x12345678, NULL) < 0 && errno == ENOTTY);
	CHECK(read(fd, &event, sizeof(event) - 1) < 0 && errno == EINVAL);
	CHECK(kill(pid, SIGSTOP) == 0 && syscall(SYS_read, fd, 1L, sizeof(event)) < 0 && errno == EFAULT);
	CHECK(write(fd, &event, sizeof(event)) < 0);
	end(pid);
	CHECK(add(fd, 10, pid) == -ESRCH);
	close(second);
	close(fd);
}

/* Seeded, so a failure can be had again. */
static void test_noise(void)
{
	int fd = open_device(), round, taken = 0;
	unsigned char bytes[64];
	pid_t pid = sleeper();

	srandom(9);
	for (round = 0; round < 50000; round++) {
		static const unsigned long commands[] = {XOS_PROXY_ADD, XOS_PROXY_USAGE, XOS_PROXY_REMOVE};
		unsigned int i;

		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = random() % 4 ? 0 : random();
		*(__u64 *)bytes = random() % 4;
		if (random() % 2)
			((struct xos_proxy_watch *)bytes)->pid = pid;
		taken += ioctl(fd, commands[random() % 3], bytes) == 0;
	}
	CHECK(taken > 100);
	end(pid);
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_time();
	test_memory();
	test_hoarder();
	test_signals();
	test_waiting();
	test_refusals();
	test_noise();
	return report();
}
