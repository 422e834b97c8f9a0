/* SPDX-License-Identifier: GPL-2.0 */
/* Runs a program as a process of a session and says what became of it. */
#ifndef SELFTEST_RUN_H
#define SELFTEST_RUN_H
#include <errno.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../uapi/xos_exec.h"

#define VO 7
#define UID (XOS_EXEC_UID_FIRST + 65536U * VO + 1)
#define INTERPRETER XOS_EXEC_PROGRAM

enum session {
	SESSION_KEY = 1,	/* xos:session */
	CREDENTIAL_KEY = 2,	/* xos:credential */
	LOGON_TYPE = 4,		/* the session's key is of another type */
	EXPIRED = 8, REVOKED = 16, INVALIDATED = 32,	/* the session's key is */
	CREDENTIAL_EXPIRED = 64, CREDENTIAL_REVOKED = 128, CREDENTIAL_GONE = 4096,
	CREDENTIAL_FORGED = 2048,	/* another one beside it, of another type */
	RING_REVOKED = 256, ELSEWHERE = 512,	/* in the process keyring */
	MANY = 1024,		/* 200 keys more */
	SESSION = SESSION_KEY | CREDENTIAL_KEY,
};

struct call {
	const char *path;
	char *const *argv;		/* {path, NULL} when NULL */
	const char *directory;
	uid_t uid;			/* UID when 0 */
	int session;			/* enum session */
	int (*before)(void);		/* in the child, as root; not 0: give up */
	int (*after)(void);		/* in the child, as the user */
	int (*exec)(const char *path, char *const *argv);	/* execv when NULL */
};

static int failures, checks;
#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
static inline bool check(bool good, const char *text, const char *file, int line)
{
	checks++;
	if (!good) {
		failures++;
		printf("not ok: %s:%d: %s\n", file, line, text);
	}
	return good;
}

static inline long keyctl(int operation, long a, long b, long c, long d)
{
	return syscall(SYS_keyctl, operation, a, b, c, d);
}

static inline long add_key(const char *type, const char *description, long ring)
{
	return syscall(SYS_add_key, type, description, "00", 2, ring);
}

static inline int expire(long key)
{
	const struct timespec wait = {.tv_sec = 2};

	if (keyctl(KEYCTL_SET_TIMEOUT, key, 1, 0, 0) < 0)
		return -1;
	return nanosleep(&wait, NULL);
}

/* As pam_xos does it: a new session keyring with root's keys, which the user possesses. */
static inline int make_session(int session)
{
	long ring = keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0), key, credential = 0, i;

	if (ring < 0)
		return -1;
	if (session & ELSEWHERE)
		ring = KEY_SPEC_PROCESS_KEYRING;
	if (session & CREDENTIAL_KEY) {
		credential = add_key("user", XOS_EXEC_KEY_CREDENTIAL, ring);
		if (credential < 0)
			return -1;
	}
	if (session & SESSION_KEY) {
		key = add_key(session & LOGON_TYPE ? "logon" : "user", XOS_EXEC_KEY_SESSION, ring);
		if (key < 0)
			return -1;
		if ((session & EXPIRED) && expire(key))
			return -1;
		if ((session & REVOKED) && keyctl(KEYCTL_REVOKE, key, 0, 0, 0) < 0)
			return -1;
		if ((session & INVALIDATED) && keyctl(KEYCTL_INVALIDATE, key, 0, 0, 0) < 0)
			return -1;
		if (!(session & (EXPIRED | REVOKED | INVALIDATED)) && keyctl(KEYCTL_SETPERM, key, 0x0b000000, 0, 0) < 0)
			return -1;
	}
	if ((session & CREDENTIAL_EXPIRED) && expire(credential))
		return -1;
	if ((session & CREDENTIAL_REVOKED) && keyctl(KEYCTL_REVOKE, credential, 0, 0, 0) < 0)
		return -1;
	if ((session & CREDENTIAL_GONE) && keyctl(KEYCTL_INVALIDATE, credential, 0, 0, 0) < 0)
		return -1;
	if ((session & CREDENTIAL_FORGED) && add_key("logon", XOS_EXEC_KEY_CREDENTIAL, ring) < 0)
		return -1;
	if ((session & RING_REVOKED) && keyctl(KEYCTL_REVOKE, ring, 0, 0, 0) < 0)
		return -1;
	for (i = 0; (session & MANY) && i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "filler:%ld", i);
		if (add_key("user", name, ring) < 0)
			return -1;
	}
	return 0;
}

static inline int become(uid_t uid, int session)
{
	if (session && make_session(session))
		return -1;
	return syscall(SYS_setresgid, uid, uid, uid) || syscall(SYS_setresuid, uid, uid, uid) ? -1 : 0;
}

static inline void child(const struct call *call, int out, int report)
{
	char *const argv[] = {(char *)call->path, NULL};
	int error;

	dup2(out, 1);
	dup2(out, 2);
	if (call->directory && chdir(call->directory))
		_exit(99);
	if ((call->before && call->before()) || become(call->uid ? call->uid : UID, call->session) || (call->after && call->after())) {
		dprintf(1, "cannot prepare: %s\n", strerror(errno));
		_exit(99);
	}
	(call->exec ? call->exec : execv)(call->path, call->argv ? call->argv : argv);
	error = errno;
	if (write(report, &error, sizeof(error)) < 0)
		_exit(98);
	_exit(127);
}

/* The program's output (static), "" when execve failed; `error`: its errno or 0. */
static inline const char *run(const struct call *call, int *error)
{
	static char text[1 << 16];
	int out[2], report[2], size = 0, got, status;
	pid_t pid;

	*error = 0;
	if (pipe2(out, 02000000) || pipe2(report, 02000000))
		abort();
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		child(call, out[1], report[1]);
	close(out[1]);
	close(report[1]);
	while ((got = read(out[0], text + size, sizeof(text) - 1 - size)) > 0)
		size += got;
	text[size] = '\0';
	if (read(report[0], error, sizeof(*error)) <= 0)
		*error = 0;
	close(out[0]);
	close(report[0]);
	waitpid(pid, &status, 0);
	return text;
}

/* The first line of it. */
static inline bool went_to_grid(const struct call *call)
{
	int error;
	const char *text = run(call, &error);
	bool grid = !strncmp(text, "xexec interpreter\n", 18);

	if (!grid)
		printf("# '%s' gave (%s) %s\n", call->path, strerror(error), text);
	return grid;
}

/* Natively, and not "neither". */
static inline bool stayed(const struct call *call)
{
	const char *name = strrchr(call->path, '/');
	int error;
	const char *text = run(call, &error);
	size_t length;

	name = name ? name + 1 : call->path;
	length = strlen(name);
	if (!strncmp(text, name, length) && text[length] == '\n')
		return true;
	printf("# '%s' gave (%s) %s\n", call->path, strerror(error), text);
	return false;
}

/* Runs a line of the shell; ends the test when it fails. */
static inline void shell(const char *line)
{
	if (system(line)) {
		printf("not ok: cannot prepare: %s\n", line);
		exit(1);
	}
}

/* /t with the programs, and the interpreter of the tests where the module looks for it; seen by this process and its children only. */
static inline void prepare(const char *directory)
{
	char line[4096];

	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		exit(1);
	shell("mkdir -p /t /usr/lib/xos/bin && mount -t tmpfs -o mode=755 t /t && mkdir -p /t/a/b /t/lib && mount -t tmpfs -o mode=755 t /usr/lib/xos/bin");
	snprintf(line, sizeof(line),
		 "cp %s/program /t/prog && cp %s/interpreter %s && printf x | dd of=%s bs=1 seek=9 conv=notrunc 2>/dev/null && cp /t/prog /t/a/b/deep "
		 "&& chmod 755 /t/prog /t/a/b/deep %s && mkdir -p /t/tmp && chmod 1777 /t/tmp", directory, directory, INTERPRETER, INTERPRETER, INTERPRETER);
	shell(line);
}
#endif
