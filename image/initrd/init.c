#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FAIL_PAUSE_S 2

static void say(const char *level, const char *format, va_list list)
{
	char text[512];
	int length = snprintf(text, sizeof(text), "%sxos: ", level);
	length += vsnprintf(text + length, sizeof(text) - (size_t)length - 1, format, list);
	if (length > (int)sizeof(text) - 2) length = sizeof(text) - 2;
	text[length++] = '\n';
	// The kernel's log reaches every console that was asked for, and stays readable with dmesg.
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd < 0) fd = dup(STDERR_FILENO);
	if (write(fd, text, (size_t)length) < 0) { /* nobody is left to be told */ }
	close(fd);
}

void note(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	say("<4>", format, list);
	va_end(list);
}

void fail(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	say("<0>", format, list);
	va_end(list);
	sleep(FAIL_PAUSE_S);
	sync();
	reboot(RB_AUTOBOOT);
	_exit(1); // the kernel panics, and restarts by its own panic=
}

static bool is_hex(const char *text, size_t length)
{
	return strlen(text) == length && strspn(text, "0123456789abcdef") == length;
}

static bool parse_value(char *value, struct root *root)
{
	char *rest = value, *part[4] = {0};
	for (int i = 0; i < 4; i++) part[i] = strsep(&rest, ":");
	if (rest || !part[3]) return false;
	char *end;
	errno = 0;
	root->blocks = strtoull(part[3], &end, 10);
	if (errno || *end || end == part[3] || root->blocks == 0 || root->blocks > UINT64_MAX / 8) return false;
	if (strlen(part[0]) != 36 || !is_hex(part[1], 64) || !is_hex(part[2], 64)) return false;
	strcpy(root->uuid, part[0]);
	strcpy(root->hash, part[1]);
	strcpy(root->salt, part[2]);
	return true;
}

bool parse_root(char *line, struct root *root)
{
	bool found = false;
	*root = (struct root){ .format = "erofs", .wait_s = 30, .trial_s = 300, .still_s = 15 };
	for (char *word, *save = NULL; (word = strtok_r(save ? NULL : line, " \n", &save));) {
		char *value = strchr(word, '=');
		if (value) *value++ = '\0';
		if (!strcmp(word, "xos.volatile")) root->is_volatile = true;
		if (!strcmp(word, "xos.trial")) root->is_trial = true;
		if (!value) continue;
		// The first one counts: it is the signed one, and what somebody types is put behind it.
		if (!strcmp(word, "xos.root") && !found && !(found = parse_value(value, root))) return false;
		if (!strcmp(word, "xos.format")) snprintf(root->format, sizeof(root->format), "%s", value);
		if (!strcmp(word, "xos.wait")) root->wait_s = (unsigned)strtoul(value, NULL, 10);
		if (!strcmp(word, "xos.trial_s")) root->trial_s = (unsigned)strtoul(value, NULL, 10);
		if (!strcmp(word, "xos.still_s")) root->still_s = (unsigned)strtoul(value, NULL, 10);
	}
	return found;
}

#ifndef XOS_INIT_TEST
static void mount_or_fail(const char *source, const char *target, const char *type, unsigned long flags, const char *options)
{
	if (mkdir(target, 0755) < 0 && errno != EEXIST) fail("cannot make '%s': %s", target, strerror(errno));
	if (mount(source, target, type, flags, options) < 0) fail("cannot mount '%s' on '%s': %s", source, target, strerror(errno));
}

static void read_command_line(struct root *root)
{
	char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	if (length < 0) fail("cannot read the kernel command line: %s", strerror(errno));
	close(fd);
	line[length] = '\0';
	if (!parse_root(line, root)) fail("cannot find the root: the kernel command line has no good xos.root=UUID:HASH:SALT:BLOCKS; boot another version from the boot menu");
}

static void wait_for_root(const struct root *root, char device[64], char parent[32])
{
	struct timespec begin, now, pause = { .tv_nsec = 20000000 };
	clock_gettime(CLOCK_MONOTONIC, &begin);
	bool told = false;
	for (;;) {
		load_for_devices();
		if (find_root(root, device, parent)) return;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - begin.tv_sec >= (time_t)root->wait_s) break;
		if (!told && now.tv_sec - begin.tv_sec >= 5) {
			note("still looking for the disk with the root %s", root->uuid);
			told = true;
		}
		nanosleep(&pause, NULL);
	}
	fail("cannot find the root %s on any disk within %u s: the disk is not connected, has no driver here, or its hash tree was overwritten", root->uuid, root->wait_s);
}

/** The data partition of the disk that the root is on; false on a read-only medium, or when it was left out on purpose. */
static bool find_data(const struct root *root, const char *parent, char path[64])
{
	if (root->is_volatile || !*parent) return false;
	struct timespec pause = { .tv_nsec = 20000000 };
	for (int i = 0; i < 100; i++, nanosleep(&pause, NULL)) if (find_partition(parent, "xos-data", path)) return true;
	note("no partition 'xos-data' on '%s': nothing that is written will be kept", parent);
	return false;
}

/** The initrd's files are memory until they are removed. */
static void remove_tree(int folder);

static void switch_root(const struct root *root)
{
	int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char *const moved[] = { "/dev", "/proc", "/sys", "/run" };
	for (size_t i = 0; i < sizeof(moved) / sizeof(*moved); i++) {
		char target[64];
		snprintf(target, sizeof(target), "/sysroot%s", moved[i]);
		if (mount(moved[i], target, NULL, MS_MOVE, NULL) < 0) fail("cannot move '%s' into the root: %s", moved[i], strerror(errno));
	}
	if (chdir("/sysroot") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) fail("cannot change into the root: %s", strerror(errno));
	watch_trial(root);
	if (old >= 0) remove_tree(old);
	execl("/sbin/init", "/sbin/init", (char *)NULL);
	fail("cannot run '/sbin/init' of the root: %s", strerror(errno));
}

static void remove_tree(int folder)
{
	struct stat top, entry;
	DIR *list = fdopendir(folder);
	if (!list || fstat(folder, &top) < 0) return;
	for (struct dirent *item; (item = readdir(list));) {
		if (!strcmp(item->d_name, ".") || !strcmp(item->d_name, "..")) continue;
		if (fstatat(folder, item->d_name, &entry, AT_SYMLINK_NOFOLLOW) < 0 || entry.st_dev != top.st_dev) continue;
		if (S_ISDIR(entry.st_mode)) {
			int inner = openat(folder, item->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (inner >= 0) remove_tree(inner);
			unlinkat(folder, item->d_name, AT_REMOVEDIR);
		} else {
			unlinkat(folder, item->d_name, 0);
		}
	}
	closedir(list);
}

int main(void)
{
	struct root root;
	char device[64], parent[32], mapped[64], data[64];
	mount_or_fail("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
	mount_or_fail("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_or_fail("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_or_fail("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=20%");
	read_command_line(&root);
	load_always();
	wait_for_root(&root, device, parent);
	if (open_verity(device, &root, mapped) < 0) fail("cannot check '%s' against its root hash: %s", device, strerror(errno));
	mkdir("/sysroot", 0755);
	if (mount(mapped, "/sysroot", root.format, MS_RDONLY | MS_NODEV, NULL) < 0) {
		fail("cannot mount the root on '%s': %s; its blocks are not what was signed, or cannot be read", device, strerror(errno));
	}
	mount_writable(find_data(&root, parent, data) ? data : NULL);
	switch_root(&root);
}
#endif
