#include "usage.h"

#include "unique_fd.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <unistd.h>

namespace xos::cell {
namespace {

void add_process(int directory, const char* number, relay::Usage& usage) {
  static const long ticks = sysconf(_SC_CLK_TCK), page_kb = sysconf(_SC_PAGESIZE) / 1024;
  char path[300], line[1024];
  snprintf(path, sizeof path, "%s/stat", number);
  const unique_fd fd(openat(directory, path, O_RDONLY | O_CLOEXEC));
  const ssize_t size = fd ? read(fd.get(), line, sizeof line - 1) : -1;
  if (size <= 0) return;  // it ended
  line[size] = 0;
  const char* at = strrchr(line, ')');
  unsigned long user, system;
  long waited_user, waited_system, pages;
  // proc_pid_stat(5), fields 14 to 17 and 24; the first behind the name is the third.
  if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %*d %*d %*u %*u %ld", &user, &system, &waited_user, &waited_system, &pages) != 5) return;
  const uint64_t us = 1000000 / static_cast<uint64_t>(ticks);
  usage.user_us += (user + static_cast<unsigned long>(waited_user)) * us;
  usage.system_us += (system + static_cast<unsigned long>(waited_system)) * us;
  usage.memory_kb += static_cast<uint64_t>(pages * page_kb);
}

/// The value of a line `NAME VALUE`; false when there is no such line.
bool find_value(const char* text, const char* name, uint64_t& value) {
  const size_t length = strlen(name);
  for (const char* line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : nullptr)
    if (strncmp(line, name, length) == 0 && line[length] == ' ') {
      value = strtoull(line + length + 1, nullptr, 10);
      return true;
    }
  return false;
}

bool read_text(const unique_fd& file, char* text, size_t size) {
  const ssize_t got = file ? pread(file.get(), text, size - 1, 0) : -1;
  if (got <= 0) return false;
  text[got] = 0;
  return true;
}

}  // namespace

GroupCounters::GroupCounters(int directory)
    : cpu_(openat(directory, "cpu.stat", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)), memory_(openat(directory, "memory.stat", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) {}

bool GroupCounters::read(relay::Usage& usage) const {
  char text[8192];
  uint64_t anonymous = 0, mapped = 0;
  if (!read_text(cpu_, text, sizeof text) || !find_value(text, "user_usec", usage.user_us) || !find_value(text, "system_usec", usage.system_us)) return false;
  if (!read_text(memory_, text, sizeof text) || !find_value(text, "anon", anonymous)) return false;
  find_value(text, "file_mapped", mapped);
  usage.memory_kb = (anonymous + mapped) / 1024;
  return true;
}

relay::Usage measure_usage(const GroupCounters& group) {
  relay::Usage usage;
  if (group.read(usage)) return usage;
  usage = {};
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc"), closedir);
  while (directory) {
    const dirent* entry = readdir(directory.get());
    if (!entry) break;
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && strcmp(entry->d_name, "1") != 0) add_process(dirfd(directory.get()), entry->d_name, usage);
  }
  return usage;
}

}  // namespace xos::cell
