// A watch over a version on trial, that needs nothing of what it watches: whatever keeps the system from coming up, the machine starts
// again, and the loader goes back to the version before.
#include "init.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIRMED "/run/xos-confirmed"
/** Set by systemd-boot while it counts (Boot Loader Interface of the UAPI group). */
#define COUNTING "/run/xos-efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
/** An oops is no end of the machine by itself, and whether what is left of it comes up is chance. */
#define PANIC_ON_OOPS "/proc/sys/kernel/panic_on_oops"

static bool uefi_counts(void)
{
	if (access("/sys/firmware/efi/efivars", F_OK) < 0) return false;
	load_module("efivarfs");
	mkdir("/run/xos-efivars", 0700);
	if (mount("efivarfs", "/run/xos-efivars", "efivarfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return false;
	bool counts = access(COUNTING, F_OK) == 0;
	umount2("/run/xos-efivars", MNT_DETACH);
	rmdir("/run/xos-efivars");
	return counts;
}

static bool read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return false;
	size_t got = 0;
	for (ssize_t more; got < size - 1 && (more = read(fd, text + got, size - 1 - got)) > 0;) got += (size_t)more;
	close(fd);
	text[got] = '\0';
	return got > 0;
}

/** The number behind a word that begins a line. */
static unsigned long long number_of(const char *text, const char *word)
{
	size_t length = strlen(word);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		if (*line == '\n') line++;
		if (!strncmp(line, word, length) && line[length] == ' ') return strtoull(line + length, NULL, 10);
	}
	return 0;
}

void parse_activity(const char *stat, const char *vmstat, struct activity *seen)
{
	unsigned long long user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
	sscanf(stat, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal);
	*seen = (struct activity){
		.busy = user + nice + system + iowait + irq + softirq + steal,
		.forks = number_of(stat, "processes"),
		.pages = number_of(vmstat, "pgpgin"),
	};
}

bool stands_still(const struct activity *before, const struct activity *now)
{
	return now->forks == before->forks && now->pages == before->pages && now->busy - before->busy < STILL_BUSY;
}

static bool look(struct activity *seen)
{
	// Behind the counters of each CPU and each interrupt there are those that are meant.
	static char stat[256 * 1024], vmstat[16 * 1024];
	if (!read_file("/proc/stat", stat, sizeof(stat)) || !read_file("/proc/vmstat", vmstat, sizeof(vmstat))) return false;
	parse_activity(stat, vmstat, seen);
	return true;
}

static void set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) return;
	if (write(fd, value, 1) < 0) { /* as it was, then */ }
	close(fd);
}

_Noreturn static void watch(const struct root *root)
{
	struct activity before = { 0 }, now;
	char oops[4] = "0";
	unsigned still_s = 0;
	read_file(PANIC_ON_OOPS, oops, sizeof(oops));
	set(PANIC_ON_OOPS, "1");
	for (unsigned waited = 0; waited < root->trial_s && still_s < root->still_s; waited++) {
		if (access(CONFIRMED, F_OK) == 0) {
			set(PANIC_ON_OOPS, oops);
			_exit(0);
		}
		sleep(1);
		still_s = look(&now) && stands_still(&before, &now) ? still_s + 1 : 0;
		before = now;
	}
	if (still_s >= root->still_s) fail("nobody confirmed this version, and nothing has happened for %u s: it hangs; starting again", root->still_s);
	fail("nobody confirmed this version within %u s; starting again", root->trial_s);
}

void watch_trial(const struct root *root)
{
	if (!root->is_trial && !uefi_counts()) return;
	note("this version is on trial: the one before is started again unless it is confirmed within %u s, or when nothing happens for %u s", root->trial_s, root->still_s);
	pid_t pid = fork();
	if (pid != 0) return; // without a watch (-1) a start that hangs waits for a person, one that fails is still counted
	prctl(PR_SET_NAME, "@xos-trial");
	setsid();
	watch(root);
}
