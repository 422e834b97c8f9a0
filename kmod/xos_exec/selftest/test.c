// SPDX-License-Identifier: GPL-2.0
/*
 * xos_exec in a guest: `test DIRECTORY` as root, with the module loaded; DIRECTORY holds the programs that are built here.
 * Works in mount namespaces of its own, so the node's own interpreter stays as it is. Ends with "ok: N checks" and status 0, or 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "table.h"

static char *const words[] = {"another name", "-x", "", "two words", NULL};

static void test_hand_over(void)
{
	const char *text;
	struct statistics before, after;
	int error;

	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION}));	/* no table yet */
	CHECK(table_set(XOS_EXEC_GRID) == 0);
	CHECK(table_statistics(VO, &before) == 0);
	text = run(&(struct call){"/t/prog", .argv = words, .session = SESSION}, &error);
	CHECK(!strcmp(text, "xexec interpreter\nxos_exec\n/t/prog\nanother name\n-x\n\ntwo words\n"));
	text = run(&(struct call){"a/b/deep", .argv = words, .directory = "/t", .session = SESSION}, &error);
	CHECK(!strcmp(text, "xexec interpreter\nxos_exec\na/b/deep\nanother name\n-x\n\ntwo words\n"));
	CHECK(table_statistics(VO, &after) == 0 && after.sent == before.sent + 2 && after.tables == 1);
	CHECK(stayed(&(struct call){"/t/prog", .session = 0}));
	CHECK(stayed(&(struct call){"/t/prog", .uid = 1000, .session = SESSION}));
	CHECK(stayed(&(struct call){"/t/prog", .uid = UID + 65536, .session = SESSION}));	/* a VO without a table */
	CHECK(stayed(&(struct call){"/t/prog", .uid = UID - 65536, .session = SESSION}));
	CHECK(stayed(&(struct call){"/t/prog", .uid = 0xfffffffe, .session = SESSION}));
	CHECK(went_to_grid(&(struct call){"/t/prog", .uid = UID | 0xffff, .session = SESSION}));
	CHECK(table_remove(VO) == 0);
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION}));
	CHECK(table_remove(VO) == -ENOENT);
}

static void test_session(void)
{
	CHECK(table_set(XOS_EXEC_GRID) == 0);
	CHECK(went_to_grid(&(struct call){"/t/prog", .session = SESSION}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION_KEY}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | CREDENTIAL_GONE}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | CREDENTIAL_REVOKED | CREDENTIAL_FORGED}));
	CHECK(went_to_grid(&(struct call){"/t/prog", .session = SESSION | LOGON_TYPE}));
	CHECK(stayed(&(struct call){"/t/prog", .session = CREDENTIAL_KEY}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | EXPIRED}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | REVOKED}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | INVALIDATED}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | CREDENTIAL_EXPIRED}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | CREDENTIAL_REVOKED}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | RING_REVOKED}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION | ELSEWHERE}));
	/* A ring that its owner filled up: whatever is found in it, nothing breaks. */
	int error;
	const char *text = run(&(struct call){"/t/prog", .session = SESSION | MANY}, &error);

	CHECK(error == 0 && (strstr(text, "xexec") == text || strstr(text, "prog") == text));
}

static void test_rules(void)
{
	const struct call call = {"/t/a/b/deep", .session = SESSION}, link = {"/t/a/link", .session = SESSION};
	struct statistics statistics;

	shell("ln -sf /t/a/b/deep /t/a/link");
	CHECK(table_set(XOS_EXEC_LOCAL) == 0 && stayed(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/a/b/deep", XOS_EXEC_GRID, 0, ANY}) == 0 && went_to_grid(&call));
	CHECK(went_to_grid(&link));	/* by the path without symbolic links */
	CHECK(table_set(XOS_EXEC_GRID, {"/t/a/link", XOS_EXEC_LOCAL, 0, ANY}) == 0 && stayed(&link) && went_to_grid(&call));	/* as typed */
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/*", XOS_EXEC_GRID, 0, ANY}) == 0 && stayed(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/**", XOS_EXEC_GRID, 0, ANY}) == 0 && went_to_grid(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/*/b/d??p", XOS_EXEC_GRID, 0, ANY}) == 0 && went_to_grid(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/a?b/deep", XOS_EXEC_GRID, 0, ANY}) == 0 && stayed(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/**/*e*", XOS_EXEC_GRID, 0, ANY}) == 0 && went_to_grid(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/a/b/dee", XOS_EXEC_GRID, 0, ANY}) == 0 && stayed(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/**", XOS_EXEC_GRID, 0, ANY}, {"/t/a/**", XOS_EXEC_LOCAL, 0, ANY}) == 0 && stayed(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/a/**", XOS_EXEC_LOCAL, 0, ANY}, {"/t/**", XOS_EXEC_GRID, 0, ANY}) == 0 && went_to_grid(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/**", XOS_EXEC_GRID, 0, 0}) == 0 && went_to_grid(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/**", XOS_EXEC_GRID, 0, 5}) == 0 && stayed(&call));
	CHECK(table_set(XOS_EXEC_LOCAL, {"/t/**", XOS_EXEC_GRID, 0, SELF}) == 0 && stayed(&call));
	CHECK(chown("/t/a/b/deep", UID, 0) == 0 && went_to_grid(&call) && chown("/t/a/b/deep", 0, 0) == 0);
	/* A pattern made to take long stays within its steps, and then the program stays here. */
	CHECK(table_set(XOS_EXEC_GRID, {"/**?**?**?**?**?**?**?**?**?**?**?**?**?**?**?**?**?**?**?**?*?*?*?*?*?*?*?*?*?*?*z", XOS_EXEC_GRID, 0, ANY}) == 0);
	CHECK(went_to_grid(&call) || stayed(&call));
	CHECK(table_statistics(VO, &statistics) == 0 && statistics.count == 1 && statistics.kept > 0);
}

static void set_place(const char *text)
{
	if (text)
		CHECK(setxattr("/t/prog", XOS_EXEC_XATTR, text, strlen(text), 0) == 0);
	else
		CHECK(removexattr("/t/prog", XOS_EXEC_XATTR) == 0);
}

static int write_attribute(void)
{
	return setxattr("/t/tmp/mine", XOS_EXEC_XATTR, "grid", 4, 0) < 0 && errno == EPERM ? 0 : 1;
}

static void test_attribute_and_cost(void)
{
	const struct call call = {"/t/prog", .session = SESSION};
	const struct rule plain = {"/t/**", XOS_EXEC_AUTO, 0, ANY}, high = {"/t/**", XOS_EXEC_AUTO, XOS_EXEC_COST_HIGH, ANY};

	CHECK(table_set(XOS_EXEC_LOCAL) == 0);
	set_place("grid");
	CHECK(went_to_grid(&call));
	CHECK(table_set(XOS_EXEC_GRID) == 0);
	set_place("local");
	CHECK(stayed(&call));
	CHECK(table_set(XOS_EXEC_GRID, {"/t/prog", XOS_EXEC_GRID, 0, ANY}) == 0 && went_to_grid(&call));	/* a rule goes before it */
	CHECK(table_set(XOS_EXEC_GRID, {"/t/prog", XOS_EXEC_AUTO, 0, ANY}) == 0 && stayed(&call));
	set_place("cost=low");
	CHECK(stayed(&call));
	set_place("cost=normal");
	CHECK(went_to_grid(&call));
	CHECK(table_set_of(VO, XOS_EXEC_GRID, XOS_EXEC_COST_HIGH, &plain, 1) == 0 && stayed(&call));
	CHECK(table_set_of(VO, XOS_EXEC_LOCAL, XOS_EXEC_COST_HIGH, &high, 1) == 0 && went_to_grid(&call));	/* the rule's class, not the file's */
	set_place("cost=high");
	CHECK(table_set_of(VO, XOS_EXEC_LOCAL, XOS_EXEC_COST_HIGH, &plain, 1) == 0 && went_to_grid(&call));
	set_place("gridd");
	CHECK(stayed(&call));
	set_place("a text that is longer than any of those that count");
	CHECK(stayed(&call));
	set_place(NULL);
	shell("cp /t/prog /t/tmp/mine && chmod 755 /t/tmp/mine");
	CHECK(chown("/t/tmp/mine", UID, UID) == 0);
	CHECK(stayed(&(struct call){"/t/tmp/mine", .session = SESSION, .after = write_attribute}));
}

/* execveat(2) with a descriptor */
static int exec_descriptor(const char *path, char *const *argv)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return syscall(SYS_execveat, fd, "", argv, (char *const[]){NULL}, 0x1000);
}

static int exec_memory(const char *path, char *const *argv)
{
	static char block[1 << 22];
	int from = open(path, O_RDONLY | O_CLOEXEC), to = memfd_create("prog", 0);
	ssize_t size = read(from, block, sizeof(block));

	if (write(to, block, size) != size)
		return -1;
	return syscall(SYS_execveat, to, "", argv, (char *const[]){NULL}, 0x1000);
}

static int exec_deleted(const char *path, char *const *argv)
{
	char name[64];
	int fd = open(path, O_RDONLY);

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (unlink(path))
		return -1;
	return execv(name, argv);
}

static void test_files(void)
{
	const char *text;
	int error;

	CHECK(table_set(XOS_EXEC_GRID) == 0);
	shell("cp /t/prog /t/marked && printf x | dd of=/t/marked bs=1 seek=9 conv=notrunc 2>/dev/null; cp /t/prog /t/suid; cp /t/prog /t/sgid; cp /t/prog /t/caps;"
	      "cp /t/prog /t/dark; chmod 4755 /t/suid; chmod 2755 /t/sgid; chmod 755 /t/caps /t/marked; chmod 711 /t/dark;"
	      "printf '#!/t/prog -o\\n' > /t/script; chmod 755 /t/script; printf '#!/t/script\\n' > /t/nested; chmod 755 /t/nested; cp /t/prog /t/gone; chmod 755 /t/gone");
	CHECK(stayed(&(struct call){"/t/marked", .session = SESSION}));
	CHECK(stayed(&(struct call){"/t/suid", .session = SESSION}));
	CHECK(stayed(&(struct call){"/t/sgid", .session = SESSION}));
	/* cap_net_raw=ep, version 2 */
	CHECK(setxattr("/t/caps", "security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20, 0) == 0);
	CHECK(stayed(&(struct call){"/t/caps", .session = SESSION}));
	CHECK(stayed(&(struct call){"/t/dark", .session = SESSION}));
	text = run(&(struct call){"/t/prog", .session = SESSION, .exec = exec_descriptor}, &error);
	CHECK(!strstr(text, "interpreter") && !error && text[0]);
	text = run(&(struct call){"/t/prog", .session = SESSION, .exec = exec_memory}, &error);
	CHECK(!strstr(text, "interpreter") && !error && text[0]);
	shell("chown 0777 /t 2>/dev/null; cp /t/prog /t/tmp/gone");
	CHECK(chown("/t/tmp/gone", UID, UID) == 0);
	text = run(&(struct call){"/t/tmp/gone", .session = SESSION, .exec = exec_deleted}, &error);
	CHECK(!strstr(text, "interpreter") && !error && text[0]);
	text = run(&(struct call){"/t/script", .argv = words, .session = SESSION}, &error);
	CHECK(!strcmp(text, "xexec interpreter\nxos_exec\n/t/prog\n/t/prog\n-o\n/t/script\n-x\n\ntwo words\n"));
	text = run(&(struct call){"/t/nested", .argv = words, .session = SESSION}, &error);
	CHECK(!strncmp(text, "xexec interpreter\nxos_exec\n/t/prog\n/t/prog\n-o\n/t/script\n/t/nested\n", 60));
	shell("printf '\\177ELF\\002\\001\\001' > /t/short; printf '\\177ELF\\001\\001\\001aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' > /t/half;"
	      "head -c 64 /t/prog > /t/head; : > /t/empty; chmod 755 /t/short /t/half /t/head /t/empty");
	run(&(struct call){"/t/short", .session = SESSION}, &error);
	CHECK(error == ENOEXEC);
	run(&(struct call){"/t/half", .session = SESSION}, &error);
	CHECK(error == ENOEXEC);
	run(&(struct call){"/t/empty", .session = SESSION}, &error);
	CHECK(error == ENOEXEC);
	CHECK(went_to_grid(&(struct call){"/t/head", .session = SESSION}));	/* what is behind the header is the other node's business */
	run(&(struct call){"/t/missing", .session = SESSION}, &error);
	CHECK(error == ENOENT);
}

static int chrooted(void) { return chroot("/t/root") || chdir("/"); }
static int traced(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0); }
static int no_new_privs(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static int other_effective(void) { return syscall(SYS_setresgid, -1, -1, -1); }
static int in_user_namespace(void) { return unshare(CLONE_NEWUSER); }
static int in_mount_namespace(void) { return unshare(CLONE_NEWNS); }

static int in_pid_namespace(void)
{
	pid_t pid;
	int status;

	if (unshare(CLONE_NEWPID))
		return -1;
	pid = fork();
	if (pid == 0)
		return 0;
	waitpid(pid, &status, 0);
	_exit(WEXITSTATUS(status));
}

static int exec_with_root_saved(const char *path, char *const *argv)
{
	(void)argv;
	return execl(path, path, NULL);
}

static void test_callers(void)
{
	pid_t pid;
	int status;

	CHECK(table_set(XOS_EXEC_GRID) == 0);
	shell("mkdir -p /t/root/t /t/root/usr/lib/xos/bin && cp /t/prog /t/root/t/ && cp -p " INTERPRETER " /t/root/usr/lib/xos/bin/");
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION, .before = chrooted}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION, .after = no_new_privs}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION, .after = in_user_namespace}));
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION, .before = in_pid_namespace}));
	CHECK(went_to_grid(&(struct call){"/t/prog", .session = SESSION, .before = in_mount_namespace}));
	CHECK(went_to_grid(&(struct call){"/t/prog", .session = SESSION, .after = other_effective, .exec = exec_with_root_saved}));
	/* A debugger sees the program it started. */
	pid = fork();
	if (pid == 0)
		_exit(become(UID, SESSION) || traced() || execl("/t/prog", "prog", NULL));
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	char link[64], target[256] = "";

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	CHECK(readlink(link, target, sizeof(target) - 1) > 0 && !strcmp(target, "/t/prog"));
	kill(pid, 9);
	waitpid(pid, &status, 0);
	/* Real and effective user differ: in the middle of a setuid program. */
	pid = fork();
	if (pid == 0) {
		if (become(0, SESSION) || syscall(SYS_setresuid, UID, 0, 0))
			_exit(99);
		close(1);
		open("/t/tmp/out", O_RDWR | O_CREAT | O_TRUNC, 0600);
		execl("/t/prog", "prog", NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	CHECK(status == 0 && system("head -n 1 /t/tmp/out | grep -qx prog") == 0);
}

static int here(void) { return setenv("XOS_TEST_HERE", "1", 1); }

static void test_interpreter(void)
{
	const struct call call = {"/t/prog", .session = SESSION};
	struct statistics statistics;

	CHECK(table_set(XOS_EXEC_GRID) == 0);
	CHECK(stayed(&(struct call){"/t/prog", .session = SESSION, .after = here}));	/* its own execve of the program */
	shell("chmod 775 " INTERPRETER);
	CHECK(stayed(&call));
	shell("chmod 4755 " INTERPRETER);
	CHECK(stayed(&call));
	shell("chmod 755 " INTERPRETER "; chown 5 " INTERPRETER);
	CHECK(stayed(&call));
	shell("chown 0 " INTERPRETER "; chmod 644 " INTERPRETER);
	CHECK(stayed(&call));
	shell("chmod 755 " INTERPRETER "; mv " INTERPRETER " /t/kept");
	CHECK(stayed(&call));
	CHECK(table_statistics(VO, &statistics) == 0 && statistics.unable >= 5);
	shell("mkdir " INTERPRETER);
	CHECK(stayed(&call));
	shell("rmdir " INTERPRETER "; printf '\\0' | dd of=/t/kept bs=1 seek=9 conv=notrunc 2>/dev/null; cp -p /t/kept " INTERPRETER);
	CHECK(went_to_grid(&call));	/* without its mark it is not handed to itself */
	CHECK(stayed(&(struct call){INTERPRETER, .session = SESSION}));
	shell("printf x | dd of=" INTERPRETER " bs=1 seek=9 conv=notrunc 2>/dev/null");
	CHECK(went_to_grid(&call));
}

/* What an execve may carry is the same with the module: at the limit the program runs here instead of failing. */
static int exec_large(const char *path, char *const *argv)
{
	const struct rlimit limit = {1 << 20, RLIM_INFINITY};
	static char word[4096];
	static char *list[1 << 16];
	int count, from = 1, to = 60000;

	(void)argv;
	setrlimit(RLIMIT_STACK, &limit);
	memset(word, 'w', 3);
	/* The most words that execve takes, found by trying in children. */
	while (from < to) {
		pid_t pid;
		int status;

		count = (from + to + 1) / 2;
		for (int i = 0; i < count; i++)
			list[i] = word;
		list[count] = NULL;
		pid = fork();
		if (pid == 0) {
			int null = open("/dev/null", O_RDWR);

			dup2(null, 1);
			execve(path, list, (char *const[]){NULL});
			_exit(77);
		}
		waitpid(pid, &status, 0);
		if (WEXITSTATUS(status) == 77)
			to = count - 1;
		else
			from = count;
	}
	dprintf(1, "%d\n", from);
	_exit(0);
}

static void test_limits(void)
{
	int error, with, without;

	CHECK(table_set(XOS_EXEC_GRID) == 0);
	with = atoi(run(&(struct call){"/t/prog", .session = SESSION, .exec = exec_large}, &error));
	CHECK(table_remove(0) == 0);
	without = atoi(run(&(struct call){"/t/prog", .session = SESSION, .exec = exec_large}, &error));
	CHECK(with > 1000 && with == without);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2 || geteuid() != 0) {
		printf("usage: test DIRECTORY, as root\n");
		return 2;
	}
	prepare(argv[1]);
	table_remove(0);
	test_hand_over();
	test_session();
	test_rules();
	test_attribute_and_cost();
	test_files();
	test_callers();
	test_interpreter();
	test_limits();
	table_remove(0);
	printf("%s: %d checks, %d failures\n", failures ? "not ok" : "ok", checks, failures);
	return failures != 0;
}
