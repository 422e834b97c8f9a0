#include "engine.h"
#include "fd.h"
#include "obstacles.h"
#include "paths.h"
#include "temporary.h"
#include <algorithm>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <utility>

namespace xos::checkpoint {
namespace {

constexpr int vfork_ms_max = 2000;  // from a vfork to its exec, on a busy node

std::string valueOf(const std::string& status, const std::string& key) {
  size_t at = status.find("\n" + key + ":");
  if (at == std::string::npos) return "";
  at = status.find_first_not_of(" \t", at + key.size() + 2);
  return status.substr(at, status.find('\n', at) - at);
}

/// Programs that are known to restrict themselves with Landlock, which CRIU can neither read nor set again. The kernel does not tell
/// who has done so; that it forbade itself new privileges is the other half of the proof.
bool knownToUseLandlock(const std::string& program) {
  static const std::set<std::string> programs = {"xz", "unxz", "xzcat", "xzdec", "lzma", "unlzma", "lzcat", "lzmadec", "setpriv"};
  return programs.count(program) > 0;
}

bool startsWithAny(const std::string& path, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) { return path.starts_with(prefix); });
}

std::vector<std::string> mappedNames(pid_t pid) {
  std::istringstream lines(readFile("/proc/" + std::to_string(pid) + "/maps", 64u << 20));
  std::set<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    size_t at = line.find_first_of("/[", 50);
    // "a" in "anon_inode:…" begins neither with a slash nor with a bracket.
    size_t anonymous = line.find("anon_inode:", 50);
    if (anonymous != std::string::npos) at = anonymous;
    if (at != std::string::npos) names.insert(line.substr(at));
  }
  return {names.begin(), names.end()};
}

}  // namespace

void Findings::add(const Look& look, const char* code, const std::string& what, const std::string& advice, bool certain) {
  for (auto& known : list)
    if (known.pid == look.process.pid && known.what == what) return;
  list.push_back({std::string("XOS_CHECKPOINT_") + code, look.process.pid, look.process.program, what, advice, certain});
}

Look lookAt(const Process& process) {
  std::string base = "/proc/" + std::to_string(process.pid);
  Look look{.process = process, .status = readFile(base + "/status"), .executable = readLink(base + "/exe")};
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir((base + "/fd").c_str()), closedir);
  while (dirent* entry = directory ? readdir(directory.get()) : nullptr)
    if (entry->d_name[0] != '.') look.descriptors[std::stoi(entry->d_name)] = readLink(base + "/fd/" + entry->d_name);
  look.mapped = mappedNames(process.pid);
  return look;
}

void checkState(const Look& look, pid_t root_pid, Findings& findings) {
  std::string tracer = valueOf(look.status, "TracerPid");
  if (!tracer.empty() && tracer != "0")
    findings.add(look, "TRACED", "is being traced by process " + tracer, "end the debugger or strace and try again");
  if (valueOf(look.status, "NoNewPrivs") == "1") {
    if (knownToUseLandlock(look.process.program))
      findings.add(look, "LANDLOCK", "has put itself under Landlock restrictions",
                   look.process.program == "setpriv" ? "run it without setpriv"
                                                     : "let it finish, or use a program without such a sandbox (gzip, zstd, bzip2) instead");
    else if (valueOf(look.status, "Seccomp_filters") <= "1")  // one is the cell's own
      findings.add(look, "LANDLOCK", "has given up new privileges and may be under Landlock restrictions",
                   "if the checkpoint is refused, start it without its sandbox", false);
  }
  // Not "time": CRIU restores into a time namespace, so that clocks go on, and dumps it again.
  for (const std::string kind : {"user", "pid", "mnt", "net", "ipc", "uts"}) {
    std::string own = readLink("/proc/" + std::to_string(look.process.pid) + "/ns/" + kind);
    // A tree that was restored with System V objects has them in an ipc namespace of its own, as a whole.
    const std::string whose = kind == "ipc" ? std::to_string(root_pid) : "self";
    if (!own.empty() && own != readLink("/proc/" + whose + "/ns/" + kind))
      findings.add(look, "NAMESPACE", "has a " + kind + " namespace of its own",
                   "programs that make containers or sandboxes (unshare, bwrap, browsers) cannot be taken along; end it first");
  }
  if (look.process.state == 'D')
    findings.add(look, "STATE", "waits for a device or a server that does not answer", "try again when it goes on", false);
}

void checkDescriptors(const Look& look, Findings& findings) {
  static const std::vector<std::string> plain = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
                                                 "/dev/ptmx", "/dev/pts/", "/dev/shm/", "/dev/mqueue/"};
  static const std::vector<std::string> dumpable = {"anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[signalfd]",
                                                    "anon_inode:[timerfd]", "anon_inode:inotify", "anon_inode:[fanotify]", "anon_inode:[pidfd]"};
  for (auto& [fd, target] : look.descriptors) {
    std::string where = " (descriptor " + std::to_string(fd) + ")";
    if (target == "anon_inode:[io_uring]")
      findings.add(look, "IO_URING", "uses io_uring" + where, "start it with io_uring off (node: UV_USE_IO_URING=0)");
    else if (target.starts_with("anon_inode:") && !startsWithAny(target, dumpable))
      findings.add(look, "DEVICE", "uses the kernel object '" + target.substr(11) + "'" + where, "CRIU cannot take it along; end what uses it");
    else if (target.starts_with("/dev/") && !startsWithAny(target, plain))
      findings.add(look, "DEVICE", "has the device '" + target + "' open" + where, "close it (end what uses it) and try again");
  }
}

void checkMappings(const Look& look, Findings& findings) {
  for (auto& name : look.mapped) {
    if (name.starts_with("/secretmem") || name.starts_with("[secretmem"))
      findings.add(look, "MEMORY", "keeps memory secret from the kernel (memfd_secret)", "it cannot be taken along");
    else if (name.starts_with("/anon_hugepage"))
      findings.add(look, "MEMORY", "uses reserved huge pages (MAP_HUGETLB)", "start it without them (transparent huge pages can be taken along)");
    else if (name == "anon_inode:[io_uring]")
      findings.add(look, "IO_URING", "uses io_uring", "start it with io_uring off (node: UV_USE_IO_URING=0)");
    else if (name.starts_with("/dev/") && !startsWithAny(name, {"/dev/zero", "/dev/shm/", "/dev/null"}))
      findings.add(look, "DEVICE", "has mapped the device '" + name + "'", "end what uses it and try again");
  }
}

void checkPlaces(const Look& look, Findings& findings) {
  static const std::vector<std::string> local = {"/run/", "/root/"};
  auto note = [&](const std::string& path, const std::string& verb) {
    if (startsWithAny(path, local))
      findings.add(look, "FILE", verb + " '" + path + "', which only this node has",
                   "it can be restarted on this node only; keep files in your home directory to restart it on others", false);
  };
  note(look.executable, "runs");
  for (auto& [fd, target] : look.descriptors) note(target, "has open");
  for (auto& name : look.mapped)
    if (name != look.executable) note(name, "has mapped");
  note(readLink("/proc/" + std::to_string(look.process.pid) + "/cwd") + "/", "works in");
}

/// Temporary files that would not go along.
void checkTemporaries(const std::vector<Look>& looks, int64_t began_ms, Findings& findings) {
  if (looks.empty()) return;
  TemporaryScope scope{.uid = static_cast<uid_t>(std::strtoul(valueOf(looks[0].status, "Uid").c_str(), nullptr, 10)), .began_ms = began_ms, .held = {}};
  std::map<std::string, const Look*> holders;
  for (auto& look : looks)
    for (auto& path : pathsOf(look.process.pid)) {
      if (!temporaryRoot(path).empty()) holders.emplace(path, &look);
      scope.held.insert(path);
    }
  for (auto& file : findTemporaries(scope).left) {
    const auto holder = holders.find(file.path);
    const Look& look = holder == holders.end() ? looks[0] : *holder->second;
    findings.add(look, "FILE", std::string(holder == holders.end() ? "may need '" : "has open '") + file.path + "', which only this node has (" + file.why + ")",
                 "it can be restarted on this node only; keep files in your home directory to restart it on others", false);
  }
}

/// Files of mounts that the process cannot see: CRIU finds no name for them.
void checkMounts(const Look& look, Findings& findings) {
  constexpr decltype(std::declval<struct statfs>().f_type) mqueue_magic = 0x19800202;  // fs/mqueue: no header of the kernel has it
  const std::string base = "/proc/" + std::to_string(look.process.pid);
  std::set<std::string> mounts;
  std::istringstream lines(readFile(base + "/mountinfo", 64u << 20));
  for (std::string line; std::getline(lines, line);) mounts.insert(line.substr(0, line.find(' ')));
  // The mount in which its root lies is not in the list when the root is a directory of it (chroot).
  struct statx root;
  if (statx(AT_FDCWD, (base + "/root").c_str(), AT_STATX_DONT_SYNC, STATX_MNT_ID, &root) == 0 && root.stx_mask & STATX_MNT_ID) mounts.insert(std::to_string(root.stx_mnt_id));
  for (auto& [fd, _] : look.descriptors) {
    // The process runs and may be using the number anew: what is held here is one file, whose name and mount belong together.
    Fd held(open((base + "/fd/" + std::to_string(fd)).c_str(), O_PATH | O_CLOEXEC));
    const std::string target = held ? readLink("/proc/self/fd/" + std::to_string(held.get())) : "";
    if (target.empty() || target[0] != '/' || target.starts_with("/memfd:")) continue;
    struct statx file;
    if (mounts.empty() || statx(held.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &file) < 0 || !(file.stx_mask & STATX_MNT_ID)) continue;
    if (mounts.count(std::to_string(file.stx_mnt_id))) continue;
    const std::string where = " (descriptor " + std::to_string(fd) + ")";
    struct statfs status;
    if (fstatfs(held.get(), &status) == 0 && status.f_type == mqueue_magic)
      findings.add(look, "DEVICE", "has the POSIX message queue '" + target + "' open" + where, "close it (end what uses it) and try again");
    else
      findings.add(look, "MOUNT", "has '" + target + "' open" + where + ", of a file system that is mounted nowhere in the job", "close it (end what uses it) and try again");
  }
}

/// A child in the memory of its parent: clone(2) with CLONE_VM for good. One of vfork(2) that is about to execute something is
/// waited for, as CRIU does when it stops the parent.
void checkSharedMemory(const std::vector<Look>& looks, Findings& findings) {
  std::map<pid_t, const Look*> by_pid;
  for (auto& look : looks) by_pid[look.process.pid] = &look;
  std::vector<const Look*> sharing;
  for (auto& look : looks)
    if (by_pid.count(look.process.parent)) sharing.push_back(&look);
  auto alone = [](const Look* look) { return syscall(SYS_kcmp, look->process.pid, look->process.parent, KCMP_VM, 0, 0) != 0; };
  for (int waited_ms = 0; std::erase_if(sharing, alone), !sharing.empty() && waited_ms < vfork_ms_max; waited_ms += 10) usleep(10'000);
  for (auto* look : sharing)
    findings.add(*look, "MEMORY", "shares all memory with its parent, process " + std::to_string(look->process.parent), "try again: a program does so for a moment when it starts another one");
}

std::vector<Obstacle> check(pid_t root_pid, const std::vector<GivenStream>&, int64_t began_ms) {
  std::vector<Look> looks;
  Findings findings;
  for (auto& process : processTree(root_pid)) {
    if (process.state == 'Z' || process.state == 'X') continue;
    looks.push_back(lookAt(process));
  }
  for (auto& look : looks) {
    checkState(look, root_pid, findings);
    checkDescriptors(look, findings);
    checkMappings(look, findings);
    checkMounts(look, findings);
    checkPlaces(look, findings);
  }
  checkTemporaries(looks, began_ms, findings);
  checkSharedMemory(looks, findings);
  checkSockets(looks, findings);
  std::stable_sort(findings.list.begin(), findings.list.end(), [](auto& a, auto& b) { return a.certain > b.certain; });
  return findings.list;
}

}  // namespace xos::checkpoint
