// dm-verity through the device mapper's own ioctls (linux/dm-ioctl.h; table: Documentation/admin-guide/device-mapper/verity.rst).
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

union request {
	struct dm_ioctl head;
	char bytes[4096];
};

static void prepare(union request *request, uint32_t flags)
{
	memset(request, 0, sizeof(*request));
	request->head = (struct dm_ioctl){
		.version = { DM_VERSION_MAJOR, 0, 0 }, .data_size = sizeof(*request), .data_start = sizeof(struct dm_ioctl), .flags = flags, .name = "xos-root",
	};
}

static int load_table(int control, const char *device, const struct root *root, union request *request)
{
	prepare(request, DM_READONLY_FLAG);
	request->head.target_count = 1;
	struct dm_target_spec *target = (struct dm_target_spec *)(request->bytes + request->head.data_start);
	target->length = root->blocks * 8;
	strcpy(target->target_type, "verity");
	char *table = (char *)(target + 1);
	size_t room = sizeof(*request) - request->head.data_start - sizeof(*target);
	// A block that is not what was signed ends this boot: the loader goes back to the version before when this one is on trial.
	int length = snprintf(table, room, "1 %s %s 4096 4096 %llu %llu sha256 %s %s 1 panic_on_corruption", device, device,
		(unsigned long long)root->blocks, (unsigned long long)root->blocks + 1, root->hash, root->salt);
	if (length < 0 || (size_t)length >= room) {
		errno = E2BIG;
		return -1;
	}
	target->next = (uint32_t)((sizeof(*target) + (size_t)length + 1 + 7) & ~7UL);
	return ioctl(control, DM_TABLE_LOAD, request);
}

int open_verity(const char *device, const struct root *root, char path[64])
{
	union request request;
	int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (control < 0) return -1;
	prepare(&request, DM_READONLY_FLAG);
	int result = ioctl(control, DM_DEV_CREATE, &request);
	if (result == 0) {
		unsigned number = minor(request.head.dev);
		snprintf(path, 64, "/dev/dm-%u", number);
		result = load_table(control, device, root, &request);
	}
	if (result == 0) {
		prepare(&request, DM_READONLY_FLAG); // without DM_SUSPEND_FLAG this call resumes: the table becomes the live one
		result = ioctl(control, DM_DEV_SUSPEND, &request);
	}
	int error = errno;
	close(control);
	errno = error;
	return result;
}
