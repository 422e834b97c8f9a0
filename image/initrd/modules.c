// Kernel modules by the device that needs them. The list /modules is made when the image is built; a line is
//   FILE NEEDED,NEEDED,…|- ALIAS ALIAS …
// in the order of need. An alias is a pattern for a device's modalias, or the module's own name with a * in front of it when it is needed in any case.
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MODULES_MAX 256
#define LINE_MAX_BYTES (256 * 1024)

static struct module {
	char *name, *needs, *aliases;
	bool is_loaded;
} modules[MODULES_MAX];
static size_t module_count;

static void read_list(void)
{
	if (module_count) return;
	FILE *file = fopen("/modules/list", "re");
	char *line = NULL;
	size_t size = 0;
	if (!file) return;
	while (module_count < MODULES_MAX && getline(&line, &size, file) > 0) {
		char *rest = line;
		rest[strcspn(rest, "\n")] = '\0';
		struct module *module = &modules[module_count++];
		module->name = strdup(strsep(&rest, " "));
		module->needs = strdup(rest ? strsep(&rest, " ") : "-");
		module->aliases = strdup(rest ? rest : "");
	}
	free(line);
	fclose(file);
}

static int insert(struct module *module)
{
	char path[160];
	if (module->is_loaded) return 0;
	module->is_loaded = true; // also when it fails: trying again would fail again
	char needs[1024];
	snprintf(needs, sizeof(needs), "%s", module->needs);
	for (char *rest = needs, *name; strcmp(module->needs, "-") && (name = strsep(&rest, ","));) load_module(name);
	snprintf(path, sizeof(path), "/modules/%s.ko", module->name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	long result = syscall(SYS_finit_module, fd, "", 0);
	int error = errno;
	close(fd);
	errno = error;
	return result < 0 && error != EEXIST ? -1 : 0;
}

int load_module(const char *name)
{
	read_list();
	for (size_t i = 0; i < module_count; i++) if (!strcmp(modules[i].name, name)) return insert(&modules[i]);
	errno = ENOENT;
	return -1;
}

void load_always(void)
{
	read_list();
	for (size_t i = 0; i < module_count; i++) {
		if (modules[i].aliases[0] == '*' && insert(&modules[i]) < 0) note("cannot load the module '%s': %s", modules[i].name, strerror(errno));
	}
}

static void match(const char *modalias)
{
	for (size_t i = 0; i < module_count; i++) {
		if (modules[i].is_loaded) continue;
		for (char *pattern = modules[i].aliases; pattern && *pattern;) {
			char one[256];
			size_t length = strcspn(pattern, " ");
			snprintf(one, sizeof(one), "%.*s", (int)(length < 255 ? length : 255), pattern);
			if (fnmatch(one, modalias, 0) == 0) {
				if (insert(&modules[i]) < 0) note("cannot load the module '%s': %s", modules[i].name, strerror(errno));
				break;
			}
			pattern += length;
			pattern += strspn(pattern, " ");
		}
	}
}

static void match_bus(const char *bus)
{
	char path[512], text[512];
	snprintf(path, sizeof(path), "/sys/bus/%s/devices", bus);
	DIR *list = opendir(path);
	if (!list) return;
	for (struct dirent *item; (item = readdir(list));) {
		if (item->d_name[0] == '.') continue;
		snprintf(path, sizeof(path), "/sys/bus/%s/devices/%.200s/modalias", bus, item->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) continue;
		ssize_t length = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (length <= 0) continue;
		text[length] = '\0';
		text[strcspn(text, "\n")] = '\0';
		match(text);
	}
	closedir(list);
}

void load_for_devices(void)
{
	static const char *const buses[] = { "pci", "virtio", "usb", "scsi", "acpi", "platform", "mmc", "vmbus", "xen", "nvme" };
	read_list();
	for (size_t i = 0; i < sizeof(buses) / sizeof(*buses); i++) match_bus(buses[i]);
}
