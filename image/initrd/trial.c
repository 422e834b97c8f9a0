// A watch over a version on trial, that needs nothing of what it watches: whatever keeps the system from coming up, the machine starts
// again, and the loader goes back to the version before.
#include "init.h"

#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIRMED "/run/xos-confirmed"
/** Set by systemd-boot while it counts (Boot Loader Interface of the UAPI group). */
#define COUNTING "/run/xos-efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

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

void watch_trial(const struct root *root)
{
	if (!root->is_trial && !uefi_counts()) return;
	note("this version is on trial: it is started again unless it is confirmed within %u s", root->trial_s);
	pid_t pid = fork();
	if (pid != 0) return; // without a watch (-1) a start that hangs waits for a person, one that fails is still counted
	prctl(PR_SET_NAME, "@xos-trial");
	setsid();
	for (unsigned waited = 0; waited < root->trial_s; waited++) {
		if (access(CONFIRMED, F_OK) == 0) _exit(0);
		sleep(1);
	}
	note("nobody confirmed this version within %u s; starting again", root->trial_s);
	sync();
	reboot(RB_AUTOBOOT);
	_exit(1);
}
