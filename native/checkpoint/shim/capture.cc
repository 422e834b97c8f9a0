// Preloaded into CRIU (LD_PRELOAD) for a copy-on-write capture: takes the memory of the processes that CRIU has frozen away from it.
//
// CRIU asks the kernel which pages of a process it has to store with ioctl(PAGEMAP_SCAN) on /proc/PID/pagemap. At that moment the whole
// tree stands still, CRIU's parasite waits in the process's first thread for the next command, and we are CRIU's own thread, which is
// the tracer. So we let the parasite's thread make a copy-on-write clone of its process, and answer CRIU without the pages that the
// clone has as well; those are told to the engine (record.h), which copies them out of the clone when the tree runs again.
//
// What must hold, also when CRIU is killed (SIGKILL) between any two instructions here:
// - The clone never runs a line of the program. It is born traced (CLONE_PTRACE) with a stack pointer that leads nowhere and every
//   signal blocked (as the parasite has it): without a tracer its first push is its end. From then on PTRACE_O_EXITKILL holds.
// - The process is unharmed. Its thread takes the clone's pid for the length of a message; the parasite finds that too short and cures
//   the process, as it does when CRIU is gone.
// - Nothing else sees the clone: it has no exit signal (or its parent is the cell's pid 1), and descriptors are shared, not copied, so that
//   none of them is flushed or kept open by it.
// When a clone is refused, CRIU's question fails, and its dump with it: it would store the pages itself, but into memory. Pages that the clone
// has not, for whatever reason, stay in the answer and are stored by CRIU.
#include "record.h"
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using xos::checkpoint::clone_bytes_min;
using xos::checkpoint::Record;
using xos::checkpoint::RecordKind;

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t nowhere = 16;  // the clone's stack pointer

struct Range {
  uint64_t start, end;
};

struct Target {
  pid_t pid;
  int clone_pagemap;            ///< -1: CRIU stores it itself
  std::vector<Range> private_;  ///< mappings that CRIU takes page by page
};

int report_fd = -1, hold_fd = -1, service_fd = -1;
pid_t criu = -1;  // this process: its forks make no clones
bool any_clone = false, refused = false;
std::vector<Target> targets;

void report(RecordKind kind, pid_t pid, uint64_t first, uint64_t second) {
  const Record record{kind, pid, first, second};
  if (write(report_fd, &record, sizeof record) != sizeof record) abort();  // memfd; CRIU's death makes the dump fail
}

int numberIn(const char* name) {
  const char* text = getenv(name);
  return text ? atoi(text) : -1;
}

/// Keeps SIGCHLD from CRIU, whose handler takes any stop of a tracee for an accident; all that happened meanwhile was ours.
class QuietChildren {
 public:
  QuietChildren() {
    sigemptyset(&child_);
    sigaddset(&child_, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_, &before_);
  }
  ~QuietChildren() {
    const timespec none{};
    while (sigtimedwait(&child_, nullptr, &none) == SIGCHLD) {}
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t child_, before_;
};

bool stopped(pid_t pid) {
  int status = 0;
  pid_t got;
  do got = waitpid(pid, &status, __WALL);
  while (got < 0 && errno == EINTR);
  return got == pid && WIFSTOPPED(status);
}

bool interrupted(pid_t pid) { return ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) == 0 && stopped(pid); }

/// Runs the thread to its next system call (twice: into it, and out of it).
bool toSystemCall(pid_t pid) { return ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr) == 0 && stopped(pid); }

bool isSystemCall(pid_t pid, uint64_t at) {
  errno = 0;
  const long word = ptrace(PTRACE_PEEKTEXT, pid, at, nullptr);
  return errno == 0 && (word & 0xffff) == 0x050f;
}

/// Stops the parasite's thread where it waits for a command, in a system call. False: it runs on.
bool stopInSystemCall(pid_t pid, user_regs_struct& registers) {
  for (int attempt = 0; attempt < 2000; ++attempt) {
    if (!interrupted(pid)) return false;
    const bool read = ptrace(PTRACE_GETREGS, pid, nullptr, &registers) == 0;
    const auto result = static_cast<int64_t>(registers.rax);
    if (read && static_cast<int64_t>(registers.orig_rax) >= 0 && result <= -512 && result >= -516 && isSystemCall(pid, registers.rip - 2))
      return true;
    if (ptrace(PTRACE_CONT, pid, nullptr, nullptr) < 0) return false;
    const timespec pause{0, 20'000};
    nanosleep(&pause, nullptr);
  }
  return false;
}

/// The pid of the real parent, from /proc/PID/stat.
pid_t parentOf(pid_t pid) {
  char path[64], text[512];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (got <= 0) return -1;
  text[got] = 0;
  const char* after = std::strrchr(text, ')');
  int parent = -1;
  return after && std::sscanf(after + 1, " %*c %d", &parent) == 1 ? parent : -1;
}

/// The kernel takes it first when the job's memory runs out.
void offerToOomKiller(pid_t pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "1000", 4) < 0) { /* a preference only */ }
  close(fd);
}

/// Lets the stopped thread make the clone: its pid, or a negative errno. The thread is stopped again behind the system call.
int64_t cloneStopped(pid_t pid, const user_regs_struct& registers) {
  user_regs_struct call = registers;
  call.rip -= 2;
  call.orig_rax = ~0ull;  // nothing is to be restarted
  call.rax = SYS_clone;
  // A child of pid 1 ends under its eyes, and one of any other process leaves silently: CLONE_PARENT would give it its sibling's signal.
  call.rdi = CLONE_PTRACE | CLONE_FILES | (parentOf(pid) == 1 ? CLONE_PARENT : 0);
  call.rsi = nowhere;
  call.rdx = call.r10 = call.r8 = 0;
  if (ptrace(PTRACE_SETREGS, pid, nullptr, &call) < 0) return -errno;
  if (!toSystemCall(pid) || !toSystemCall(pid) || ptrace(PTRACE_GETREGS, pid, nullptr, &call) < 0) return -ESRCH;
  return static_cast<int64_t>(call.rax);
}

/// The clone of a process that has CRIU's parasite, stopped for good. Negative errno: there is none and the process is as it was.
int64_t makeClone(pid_t pid) {
  const QuietChildren quiet;
  user_regs_struct registers;
  if (!stopInSystemCall(pid, registers)) return -EBUSY;
  const int64_t clone = cloneStopped(pid, registers);
  if (clone > 0) {
    const auto child = static_cast<pid_t>(clone);
    if (!stopped(child) || ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_EXITKILL) < 0) abort();
    any_clone = true;
    offerToOomKiller(child);
  }
  // The kernel restarts an interrupted call only on the way on which it was interrupted: we do it instead.
  registers.rip -= 2;
  registers.rax = registers.orig_rax;
  registers.orig_rax = ~0ull;
  if (ptrace(PTRACE_SETREGS, pid, nullptr, &registers) < 0 || ptrace(PTRACE_CONT, pid, nullptr, nullptr) < 0) abort();
  return clone;
}

/// Private mappings of ordinary pages. Not the kernel's own ([vdso], [vvar]), and none of huge pages: those are reserved for one process,
/// and the kernel takes them from a clone when the other one writes.
std::vector<Range> privateMappings(pid_t pid) {
  std::vector<Range> found;
  char path[64], line[4352];
  std::snprintf(path, sizeof path, "/proc/%d/maps", pid);
  FILE* maps = fopen(path, "re");
  while (maps && fgets(line, sizeof line, maps)) {
    unsigned long start, end;
    char rights[8];
    if (std::sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3) continue;
    const bool own = std::strstr(line, "[v") != nullptr || std::strstr(line, "/anon_hugepage") != nullptr;
    if (rights[3] == 'p' && !own) found.push_back({start, end});
  }
  if (maps) fclose(maps);
  return found;
}

uint64_t privateBytes(pid_t pid) {
  char path[64], text[128] = {};
  std::snprintf(path, sizeof path, "/proc/%d/statm", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  unsigned long all, resident, shared;
  if (got <= 0 || std::sscanf(text, "%lu %lu %lu", &all, &resident, &shared) != 3 || shared > resident) return 0;
  return (resident - shared) * page_bytes;
}

Target& targetOf(pid_t pid) {
  for (auto& target : targets)
    if (target.pid == pid) return target;
  Target target{pid, -1, {}};
  if (privateBytes(pid) >= clone_bytes_min) {
    const int64_t clone = makeClone(pid);
    refused = clone <= 0;
    report(refused ? RecordKind::refused : RecordKind::clone, pid, static_cast<uint64_t>(clone), 0);
    if (!refused) {
      char path[64];
      std::snprintf(path, sizeof path, "/proc/%d/pagemap", static_cast<pid_t>(clone));
      target.clone_pagemap = open(path, O_RDONLY | O_CLOEXEC);
      target.private_ = privateMappings(pid);
    }
  }
  targets.push_back(target);
  return targets.back();
}

/// Which process a descriptor of .../PID/pagemap belongs to; 0 when it is something else.
pid_t pagemapOwner(int fd) {
  char path[64], link[128];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(path, link, sizeof link - 1);
  int pid = 0, used = 0;
  if (length <= 0) return 0;
  link[length] = 0;
  return std::sscanf(link, "/proc/%d/pagemap%n", &pid, &used) == 1 && used == length && pid != getpid() ? pid : 0;
}

using Ioctl = int (*)(int, unsigned long, ...);

/// Pages of the clone between `start` and `end` that it has itself. False: not known.
bool clonePages(Ioctl next, const Target& target, uint64_t start, uint64_t end, std::vector<Range>& pages) {
  page_region regions[512];
  while (start < end) {
    pm_scan_arg scan{};
    scan.size = sizeof scan;
    scan.start = start;
    scan.end = end;
    scan.vec = reinterpret_cast<uintptr_t>(regions);
    scan.vec_len = sizeof regions / sizeof *regions;
    scan.category_inverted = scan.category_mask = PAGE_IS_PFNZERO | PAGE_IS_FILE;
    scan.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
    scan.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
    const int count = next(target.clone_pagemap, PAGEMAP_SCAN, &scan);
    if (count < 0 || scan.walk_end <= start) return false;
    for (int i = 0; i < count; ++i) {
      if (!pages.empty() && pages.back().end == regions[i].start) pages.back().end = regions[i].end;
      else pages.push_back({regions[i].start, regions[i].end});
    }
    start = scan.walk_end;
  }
  return true;
}

std::vector<Range> common(const std::vector<Range>& one, const std::vector<Range>& other) {
  std::vector<Range> both;
  for (size_t i = 0, j = 0; i < one.size() && j < other.size();) {
    const uint64_t start = one[i].start > other[j].start ? one[i].start : other[j].start;
    const uint64_t end = one[i].end < other[j].end ? one[i].end : other[j].end;
    if (start < end) both.push_back({start, end});
    if (one[i].end < other[j].end) ++i;
    else ++j;
  }
  return both;
}

/// `region` without `taken` (sorted), appended to `rest`.
void without(const page_region& region, const std::vector<Range>& taken, std::vector<page_region>& rest) {
  uint64_t at = region.start;
  for (auto& range : taken) {
    if (range.end <= at || range.start >= region.end) continue;
    if (range.start > at) rest.push_back({at, range.start, region.categories});
    at = range.end;
  }
  if (at < region.end) rest.push_back({at, region.end, region.categories});
}

/// Takes what the clone has out of the kernel's answer: how many regions are left.
int hide(Ioctl next, const Target& target, const pm_scan_arg& scan, int count) {
  auto* regions = reinterpret_cast<page_region*>(scan.vec);
  std::vector<Range> cloned, seen;
  if (!clonePages(next, target, scan.start, scan.walk_end, cloned)) return count;
  for (int i = 0; i < count; ++i)
    if (regions[i].categories & (PAGE_IS_PRESENT | PAGE_IS_SWAPPED)) seen.push_back({regions[i].start, regions[i].end});
  const auto taken = common(common(seen, cloned), target.private_);
  std::vector<page_region> rest;
  for (int i = 0; i < count; ++i) without(regions[i], taken, rest);
  if (rest.size() > scan.vec_len) return count;
  for (auto& range : taken) report(RecordKind::pages, target.pid, range.start, range.end);
  for (size_t i = 0; i < rest.size(); ++i) regions[i] = rest[i];
  return static_cast<int>(rest.size());
}

/// `criu swrk SOCKET`: glibc gives a constructor the arguments of main().
__attribute__((constructor)) void begin(int argc, char** argv, char**) {
  report_fd = numberIn("XOS_CAPTURE_REPORT");
  hold_fd = numberIn("XOS_CAPTURE_HOLD");
  criu = getpid();
  service_fd = report_fd >= 0 && argc == 3 ? fcntl(atoi(argv[2]), F_DUPFD_CLOEXEC, 3) : -1;
  // The engine's real ids: with those CRIU may look at the limits of the job's processes (prlimit(2)).
  const char* ids = getenv("XOS_CAPTURE_IDS");
  unsigned uid, gid;
  if (ids && std::sscanf(ids, "%u %u", &uid, &gid) == 2 && (setresgid(gid, -1, -1) < 0 || setresuid(uid, -1, -1) < 0)) abort();
}

/// The clones die with their tracer: CRIU ends when the engine has what it wants. A CRIU that gives up without an answer (it exits when a
/// tracee dies) must not be waited for: the engine sees the end of the socket, behind an answer if there was one.
__attribute__((destructor)) void end() {
  char byte;
  if (!any_clone || getpid() != criu) return;
  if (service_fd >= 0) shutdown(service_fd, SHUT_RDWR);
  while (read(hold_fd, &byte, 1) > 0 || errno == EINTR) errno = 0;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...) {
  static const auto next = reinterpret_cast<Ioctl>(dlsym(RTLD_NEXT, "ioctl"));
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  const int result = next(fd, request, argument);
  if (request != PAGEMAP_SCAN || result <= 0 || report_fd < 0 || hold_fd < 0) return result;
  const int error = errno;
  const auto& scan = *static_cast<pm_scan_arg*>(argument);
  const pid_t pid = pagemapOwner(fd);
  int left = result;
  if (pid > 0 && scan.size == sizeof scan) {
    const Target& target = targetOf(pid);
    if (refused) return errno = ECANCELED, -1;
    if (target.clone_pagemap >= 0) left = hide(next, target, scan, result);
  }
  errno = error;
  return left;
}
