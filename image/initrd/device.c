// Which block device holds the root: the one with a dm-verity head of our UUID where the data end.
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/** Head of a hash tree as cryptsetup lays it out (its docs: on-disk format of dm-verity, version 1). */
struct verity_head {
	uint8_t magic[8];
	uint32_t version, type;
	uint8_t uuid[16];
	uint8_t rest[512 - 32];
};

bool is_root(int fd, const struct root *root)
{
	struct verity_head head;
	if (pread(fd, &head, sizeof(head), (off_t)(root->blocks * 4096)) != sizeof(head) || memcmp(head.magic, "verity\0\0", 8) != 0) return false;
	char uuid[37];
	const uint8_t *u = head.uuid;
	snprintf(uuid, sizeof(uuid), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	return strcmp(uuid, root->uuid) == 0;
}

/** A loop device over a file, read-only; it goes with the last who has it open. */
static bool make_loop(const char *file, const struct root *root, char path[64])
{
	int image = open(file, O_RDONLY | O_CLOEXEC);
	if (image < 0) return false;
	bool made = false;
	if (is_root(image, root)) {
		load_module("loop");
		int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
		int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(path, 64, "/dev/loop%d", number);
		int loop = number < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
		struct loop_config config = { .fd = (uint32_t)image, .block_size = 4096, .info = { .lo_flags = LO_FLAGS_READ_ONLY } };
		made = loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) == 0;
		if (!made) note("cannot make a loop device over '%s': %s", file, strerror(errno));
		if (loop >= 0) close(loop);
		if (control >= 0) close(control);
	}
	close(image);
	return made;
}

/** A medium with our ISO 9660 file system: the root is a file on it. */
static bool try_iso(int fd, const char *device, const struct root *root, char path[64])
{
	char head[64];
	if (pread(fd, head, sizeof(head), 32768) != sizeof(head) || memcmp(head + 1, "CD001", 5) != 0 || memcmp(head + 40, "XTREEMOS", 8) != 0) return false;
	load_module("isofs");
	mkdir("/run/xos-medium", 0700);
	if (mount(device, "/run/xos-medium", "iso9660", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return false;
	if (make_loop("/run/xos-medium/xos/root.img", root, path)) return true;
	umount2("/run/xos-medium", MNT_DETACH);
	return false;
}

static void read_parent(const char *name, char parent[32])
{
	char link[512], path[128];
	snprintf(path, sizeof(path), "/sys/class/block/%.32s", name);
	ssize_t length = readlink(path, link, sizeof(link) - 1);
	parent[0] = '\0';
	if (length < 0) return;
	link[length] = '\0';
	char *last = strrchr(link, '/');
	if (!last) return;
	*last = '\0';
	char *before = strrchr(link, '/');
	// A partition's folder is inside its disk's.
	snprintf(path, sizeof(path), "/sys/class/block/%.32s/partition", name);
	if (before && access(path, F_OK) == 0) snprintf(parent, 32, "%.31s", before + 1);
}

static bool try_device(const char *name, const struct root *root, char path[64], char parent[32])
{
	char device[64];
	snprintf(device, sizeof(device), "/dev/%.32s", name);
	int fd = open(device, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) return false;
	bool found = is_root(fd, root);
	if (found) {
		strcpy(path, device);
		read_parent(name, parent);
	} else if ((found = try_iso(fd, device, root, path))) {
		parent[0] = '\0';
	}
	close(fd);
	return found;
}

bool find_root(const struct root *root, char path[64], char parent[32])
{
	parent[0] = '\0';
	// A boot loader from the network has put it beside the initrd.
	if (make_loop("/root.img", root, path)) return true;
	DIR *list = opendir("/sys/class/block");
	if (!list) return false;
	bool found = false;
	for (struct dirent *item; !found && (item = readdir(list));) {
		static const char *const skipped[] = { ".", "loop", "ram", "dm-", "zram", "fd" };
		bool skip = false;
		for (size_t i = 0; i < sizeof(skipped) / sizeof(*skipped); i++) skip |= strncmp(item->d_name, skipped[i], strlen(skipped[i])) == 0;
		if (!skip) found = try_device(item->d_name, root, path, parent);
	}
	closedir(list);
	return found;
}

static bool has_name(const char *partition, const char *name)
{
	char path[128], line[256];
	snprintf(path, sizeof(path), "/sys/class/block/%.32s/uevent", partition);
	FILE *file = fopen(path, "re");
	if (!file) return false;
	bool found = false;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "PARTNAME=", 9)) found = strcmp(line + 9, name) == 0;
	}
	fclose(file);
	return found;
}

bool find_partition(const char *parent, const char *name, char path[64])
{
	char folder[64];
	snprintf(folder, sizeof(folder), "/sys/class/block/%.31s", parent);
	DIR *list = opendir(folder);
	if (!list) return false;
	bool found = false;
	for (struct dirent *item; !found && (item = readdir(list));) {
		if (strncmp(item->d_name, parent, strlen(parent)) != 0 || !has_name(item->d_name, name)) continue;
		snprintf(path, 64, "/dev/%.32s", item->d_name);
		found = access(path, F_OK) == 0;
	}
	closedir(list);
	return found;
}
