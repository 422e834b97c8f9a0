// The first process of an image: finds the root of exactly the version whose kernel was booted, and hands over to it.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What the kernel command line says: xos.root=UUID:HASH:SALT:BLOCKS, of a dm-verity tree behind BLOCKS blocks of 4 KiB. */
struct root {
	char uuid[37];
	char hash[65];
	char salt[65];
	uint64_t blocks;
	char format[16];     /**< xos.format=erofs|squashfs */
	bool is_volatile;    /**< xos.volatile: nothing is kept, as on a medium that can't be written */
	unsigned wait_s;     /**< xos.wait=SECONDS for the disk to show up */
	bool is_trial;       /**< xos.trial: GRUB counts this start */
	unsigned trial_s;    /**< xos.trial_s=SECONDS that a version on trial has to be confirmed in */
	unsigned still_s;    /**< xos.still_s=SECONDS without anything happening after which a version on trial is taken to hang */
};

/** Says what cannot be done, waits a moment for people to read it, and restarts: the boot loader counts the attempt. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Reads the command line; false when it has no xos.root or one with a mistake. `line` is changed. */
bool parse_root(char *line, struct root *root);

/** Loads the modules that are needed in any case, then (each call) those of devices that have appeared. */
void load_always(void);
void load_for_devices(void);
/** Loads one module and what it needs, by name; 0 or -1 with errno. */
int load_module(const char *name);

/** Whether the 4 KiB at the end of the data are the hash tree's head that `root` means. */
bool is_root(int fd, const struct root *root);
/** Path of a block device (or loop device over the file of an ISO or of the initrd) that holds the root; false when there is none yet. `parent` becomes its disk's name, or is empty. */
bool find_root(const struct root *root, char path[64], char parent[32]);
/** Path of the partition of that disk which is called `name` in the GPT. */
bool find_partition(const char *parent, const char *name, char path[64]);

/** Makes /dev/dm-0, each block of which is checked against the root hash as it is read. -1 with errno. */
int open_verity(const char *device, const struct root *root, char path[64]);

/** Lays what can be written over /sysroot: folders of the data partition, or of a tmpfs when `data` is null. */
void mount_writable(const char *data);

/** What a machine that comes up does: it computes, starts processes, and reads its disk. Counted since its start. */
struct activity {
	unsigned long long busy;  /**< all CPUs, in hundredths of a second; waiting for a disk is work too */
	unsigned long long forks; /**< processes and threads */
	unsigned long long pages; /**< read from disks */
};

/** Hundredths of a second of CPU time, in a second, that a machine uses which does nothing. */
#define STILL_BUSY 25

/** From the texts of /proc/stat and /proc/vmstat. */
void parse_activity(const char *stat, const char *vmstat, struct activity *seen);
/** Whether nothing happened in the second between the two. A machine that gets no CPU time itself, being a virtual one, does not stand still by that: its CPU time counts. */
bool stands_still(const struct activity *before, const struct activity *now);

/** While the loader counts this start: leaves a process behind that restarts the machine when it stands still, or when nobody makes /run/xos-confirmed in time. */
void watch_trial(const struct root *root);
