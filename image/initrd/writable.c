// What may be written: /etc, /var and the like are overlays on folders of the data partition, so a new version of the base shows through
// everywhere nobody has changed anything. /usr has none: programs are those that were signed.
#include "init.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define WRITABLE "/sysroot/writable"

static void make_folder(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST) fail("cannot make '%s' on the data partition: %s; free some space there, or start with xos.volatile on the kernel command line", path, strerror(errno));
}

static void overlay(const char *name, const char *target)
{
	char upper[128], work[128], point[128], options[512];
	snprintf(point, sizeof(point), WRITABLE "/%s", name);
	make_folder(point, 0755);
	snprintf(upper, sizeof(upper), WRITABLE "/%s/upper", name);
	struct stat is;
	snprintf(point, sizeof(point), "/sysroot%s", target);
	// The upper folder's own mode is what the merged one shows.
	make_folder(upper, stat(point, &is) == 0 ? is.st_mode & 07777 : 0755);
	snprintf(work, sizeof(work), WRITABLE "/%s/work", name);
	make_folder(work, 0700);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", point, upper, work);
	if (mount("overlay", point, "overlay", 0, options) < 0) fail("cannot make '%s' writable: %s", target, strerror(errno));
}

static void bind(const char *name, const char *target, mode_t mode)
{
	char folder[128], point[128];
	snprintf(folder, sizeof(folder), WRITABLE "/%s", name);
	make_folder(folder, mode);
	snprintf(point, sizeof(point), "/sysroot%s", target);
	if (mount(folder, point, NULL, MS_BIND, NULL) < 0) fail("cannot make '%s' writable: %s", target, strerror(errno));
}

void mount_writable(const char *data)
{
	if (data && mount(data, WRITABLE, "ext4", MS_NOATIME, NULL) < 0) {
		note("cannot mount the data partition '%s': %s; nothing that is written will be kept; repair it with e2fsck", data, strerror(errno));
		data = NULL;
	}
	if (!data && mount("tmpfs", WRITABLE, "tmpfs", 0, "mode=0700,size=50%") < 0) fail("cannot mount a tmpfs for what is written: %s", strerror(errno));
	overlay("etc", "/etc");
	overlay("var", "/var");
	overlay("root", "/root");
	overlay("local", "/usr/local");
	overlay("opt", "/opt");
	// No overlay under the daemons' own data: it would only cost.
	bind("xos", "/var/lib/xos", 0755);
	bind("home", "/home", 0755);
	bind("srv", "/srv", 0755);
	bind("grid", "/grid", 0755);
}
