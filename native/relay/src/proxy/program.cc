#include "program.h"

#include "policy.h"

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char** environ;

namespace xos::relay {
namespace {

constexpr size_t policy_bytes_max = 64 << 10;
constexpr char mark = 'x';          // at e_ident[9], in the padding of the ELF header
constexpr int mark_offset = 9;

bool is_hex(const char* text, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f'))) return false;
  return true;
}

/// Under one of the trees that every node of the VO has alike.
bool is_shared_place(const char* path, bool directory) {
  static const char* const trees[] = {"/home/", "/grid/", "/usr/", "/opt/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/etc/"};
  if (directory && strcmp(path, "/") == 0) return true;
  for (const char* tree : trees) {
    const size_t length = strlen(tree);
    if (strncmp(path, tree, length) == 0) return true;
    if (directory && strlen(path) == length - 1 && strncmp(path, tree, length - 1) == 0) return true;
  }
  return false;
}

/// Descriptors above 2 cannot follow the job: it would find them closed.
bool has_other_descriptors() {
  const int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return true;
  char entries[2048];
  bool found = false;
  long got;
  while (!found && (got = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0) {
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      const int number = atoi(entry->d_name);
      if (number > 2 && number != fd) found = true;
      at += entry->d_reclen;
    }
  }
  close(fd);
  return found;
}

std::string_view read_small(const char* path, char* buffer, size_t size) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  ssize_t got = read(fd, buffer, size);
  close(fd);
  return got > 0 ? std::string_view(buffer, got) : std::string_view();
}

/// The file's own wish. Not asked of volumes, as the kernel module does not.
Attribute attribute_of(const Program& program) {
  char text[16];
  if (strncmp(program.real, "/grid/", 6) == 0 || strncmp(program.real, "/home/", 6) == 0) return {};
  const ssize_t size = getxattr(program.real, "security.xos.place", text, sizeof text);
  return size > 0 ? read_attribute(std::string_view(text, size)) : Attribute{};
}

Placement policy_for(const Program& program, std::string_view& node) {
  static char system_lines[policy_bytes_max], user_lines[policy_bytes_max];
  char path[4096];
  const char* vo = getenv("XOS_VO");
  const Subject subject{program.absolute, program.real, vo ? vo : "", program.owner, geteuid()};
  Policy policy;
  // The relay keeps all of /etc/xos/policy.d merged in one file, so that an exec reads one.
  apply_policy(read_small("/run/xos/policy", system_lines, sizeof system_lines), subject, policy);
  if (program.by_module) policy.placement = Placement::grid;  // the same lines, read in the kernel already, with the attribute
  const char* home = getenv("HOME");
  if (home && home[0] == '/' && snprintf(path, sizeof path, "%s/.config/xos/policy", home) < static_cast<int>(sizeof path))
    apply_policy(read_small(path, user_lines, sizeof user_lines), subject, policy);
  node = policy.node;
  return decide(policy, policy.placement == Placement::unspecified ? attribute_of(program) : Attribute{});
}

bool copy_marked(int from, int to, off_t size) {
  off_t at = 0;
  while (at < size) {
    const ssize_t moved = sendfile(to, from, &at, size - at);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return false;
  }
  return pwrite(to, &mark, 1, mark_offset) == 1;
}

/// The marked copy of `source` in the user's cache, made when it is not there; -1 when the cache cannot be used.
bool cached_copy(int source, const struct stat& info, char* path, size_t size) {
  char directory[64];
  snprintf(directory, sizeof directory, "/run/xos/local/%u", geteuid());
  if (mkdir(directory, 0700) < 0 && errno != EEXIST) return false;
  struct stat owner;
  // Somebody else's directory, or one that others may write to, would let them choose what we run.
  if (lstat(directory, &owner) < 0 || !S_ISDIR(owner.st_mode) || owner.st_uid != geteuid() || (owner.st_mode & 077)) return false;
  snprintf(path, size, "%s/%lx-%lx-%lx-%lx.%lx", directory, static_cast<long>(info.st_dev), static_cast<long>(info.st_ino), static_cast<long>(info.st_size),
           static_cast<long>(info.st_mtim.tv_sec), static_cast<long>(info.st_mtim.tv_nsec));
  if (access(path, X_OK) == 0) return true;
  char fresh[160];
  snprintf(fresh, sizeof fresh, "%s/.new-%d", directory, getpid());
  const int to = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700);
  if (to < 0) return false;
  const bool good = copy_marked(source, to, info.st_size) && fchmod(to, 0500) == 0;
  close(to);
  if (good && rename(fresh, path) == 0) return true;
  unlink(fresh);
  return false;
}

}  // namespace

const char* Program::name() const {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

void say(const char* format, ...) {
  char line[2048] = "xos: ";
  va_list arguments;
  va_start(arguments, format);
  int length = 5 + vsnprintf(line + 5, sizeof line - 7, format, arguments);
  va_end(arguments);
  if (length > static_cast<int>(sizeof line) - 2) length = sizeof line - 2;
  line[length++] = '\n';
  if (write(STDERR_FILENO, line, length) < 0) { /* stderr is closed: nobody to tell */ }
}

bool read_session_key(char session[33], char secret[33]) {
  const long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "xos:session", 0);
  if (key < 0) return false;
  char payload[80];
  const long bytes = syscall(SYS_keyctl, KEYCTL_READ, key, payload, sizeof payload);
  if (bytes < 65 || bytes > 66 || payload[32] != ':' || !is_hex(payload, 32) || !is_hex(payload + 33, 32)) return false;
  memcpy(session, payload, 32);
  memcpy(secret, payload + 33, 32);
  session[32] = secret[32] = 0;
  return true;
}

bool resolve(Program& program) {
  if (!getcwd(program.cwd, sizeof program.cwd) || program.cwd[0] != '/') return false;
  const bool absolute = program.path[0] == '/';
  const int length = absolute ? snprintf(program.absolute, sizeof program.absolute, "%s", program.path)
                              : snprintf(program.absolute, sizeof program.absolute, "%s/%s", strcmp(program.cwd, "/") ? program.cwd : "", program.path);
  if (length >= static_cast<int>(sizeof program.absolute)) return false;
  const int fd = open(program.path, O_PATH | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat info;
  if (fstat(fd, &info) == 0) program.owner = info.st_uid;
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t got = readlink(link, program.real, sizeof program.real - 1);
  close(fd);
  if (got <= 0) return false;
  program.real[got] = 0;
  return true;
}

bool must_stay_local(Program& program) {
  const char* wanted = getenv("XOS_NODE");
  std::string_view node;
  if (program.typed) {
    const char* local = getenv("XOS_LOCAL");
    if (local && *local && strcmp(local, "0") != 0) return true;
    if (!is_shared_place(program.real, false)) return true;
    if (policy_for(program, node) == Placement::local) return true;
    if (has_other_descriptors()) return true;  // with xrun the user has decided
  }
  if (!is_shared_place(program.cwd, true)) return true;
  if (program.node[0]) return false;
  if (wanted && *wanted) node = wanted;
  if (node.size() < sizeof program.node) memcpy(program.node, node.data(), node.size());
  return false;
}

void run_here(const Program& program) {
  if (program.by_module) {  // it lets the program pass, since it is our process that executes it
    execve(program.path, program.arguments, environ);
    const int reason = errno;
    say("cannot run '%s' here: %s", program.path, strerror(reason));
    _exit(reason == ENOENT ? 127 : 126);
  }
  const int source = open(program.path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (source < 0 || fstat(source, &info) < 0 || !S_ISREG(info.st_mode)) {
    const int reason = source < 0 ? errno : EACCES;
    say("cannot run '%s' here: it cannot be read: %s", program.path, strerror(reason));
    _exit(reason == ENOENT ? 127 : 126);
  }
  char path[160];
  if (cached_copy(source, info, path, sizeof path)) execve(path, program.arguments, environ);
  const int copy = memfd_create(program.name(), MFD_CLOEXEC);
  if (copy >= 0 && copy_marked(source, copy, info.st_size)) syscall(SYS_execveat, copy, "", program.arguments, environ, AT_EMPTY_PATH);
  say("cannot run '%s' here: %s", program.path, strerror(errno));
  _exit(126);
}

void wear_name_of(const Program& program) {
  prctl(PR_SET_NAME, program.name());
  // The strings of argv lie one after another (execve(2)); ours begin at program.arguments[0]. PR_SET_MM_MAP wants all addresses of the
  // address space, and needs no privilege as long as the executable is left alone.
  char line[1024];
  const std::string_view text = read_small("/proc/self/stat", line, sizeof line - 1);
  const size_t name_end = text.rfind(')');
  if (name_end == text.npos || !program.arguments[0]) return;
  line[text.size()] = 0;
  unsigned long field[60] = {};
  int number = 3;
  char* at = line + name_end + 2;
  for (; number < 52 && *at; number++) {
    if (number == 3) at++;
    else field[number] = strtoul(at, &at, 10);
    while (*at == ' ') at++;
  }
  if (number < 52) return;
  prctl_mm_map map{};
  map.start_code = field[26];
  map.end_code = field[27];
  map.start_stack = field[28];
  map.start_data = field[45];
  map.end_data = field[46];
  map.start_brk = field[47];
  map.brk = reinterpret_cast<unsigned long>(sbrk(0));
  map.arg_start = reinterpret_cast<unsigned long>(program.arguments[0]);
  map.arg_end = field[49];
  map.env_start = field[50];
  map.env_end = field[51];
  map.exe_fd = static_cast<uint32_t>(-1);
  if (map.arg_start < field[48] || map.arg_start >= map.arg_end) return;
  prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

}  // namespace xos::relay
