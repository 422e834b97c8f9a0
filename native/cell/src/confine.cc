#include "confine.h"

#include "unique_fd.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace xos::cell {
namespace {

std::string trouble(const std::string& what) { return "cannot " + what + ": " + strerror(errno); }

bool present(const char* path) {
  struct stat info;
  return lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/// Names go into paths.
bool plain(const std::string& name) { return !name.empty() && name.find('/') == name.npos && name != "." && name != ".."; }

bool lay_over(const std::string& from, const std::string& to, unsigned long more = 0) { return mount(from.c_str(), to.c_str(), nullptr, MS_BIND | more, nullptr) == 0; }

/// An empty tmpfs over `path`, with the directory `keep` of it (not empty) as it was before.
std::string cover(const std::string& path, const std::string& keep, unsigned long flags) {
  if (!present(path.c_str())) return {};
  const unique_fd kept(keep.empty() ? -1 : open((path + "/" + keep).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (mount("tmpfs", path.c_str(), "tmpfs", flags, "mode=0755,size=16m") < 0) return trouble("cover '" + path + "'");
  if (!kept) return {};
  const std::string inside = path + "/" + keep;
  // Through the descriptor: the name leads into the tmpfs by now.
  if (mkdir(inside.c_str(), 0755) < 0 || !lay_over("/proc/self/fd/" + std::to_string(kept.get()), inside, MS_REC)) return trouble("keep '" + inside + "'");
  return {};
}

/// A directory that only this user's cells of this VO see, over a place where everybody writes. It stays from job to job.
std::string own_temporary(const Confinement& wanted, const char* over) {
  if (!present(over)) return {};
  std::string at = "/var/lib/xos";
  if (mkdir(at.c_str(), 0755) < 0 && errno != EEXIST) return trouble("make '" + at + "'");
  // All above the last one is root's, so that nobody can put a link into the way.
  for (const std::string& part : {std::string("tmp"), wanted.vo, std::to_string(wanted.uid), std::string(over == std::string("/tmp") ? "tmp" : "var-tmp")}) {
    at += "/" + part;
    if (mkdir(at.c_str(), 0711) < 0 && errno != EEXIST) return trouble("make '" + at + "'");
  }
  const unique_fd directory(open(at.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory || fchown(directory.get(), wanted.uid, wanted.uid) < 0 || fchmod(directory.get(), 0700) < 0) return trouble("prepare '" + at + "'");
  if (!lay_over("/proc/self/fd/" + std::to_string(directory.get()), over)) return trouble("lay '" + at + "' over '" + over + "'");
  if (mount(nullptr, over, nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV, nullptr) < 0) return trouble(std::string("take devices and setuid from '") + over + "'");
  return {};
}

std::string own_network() {
  if (unshare(CLONE_NEWNET) < 0) return trouble("make a network namespace");
  const unique_fd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!any || ioctl(any.get(), SIOCSIFFLAGS, &request) < 0) return trouble("bring up the loopback interface");
  // The one before shows the interfaces of the network that it was mounted in. What is mounted below it stays there.
  const unique_fd groups(open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!present("/sys/class")) return {};
  if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0) return trouble("mount '/sys'");
  if (groups && present("/sys/fs/cgroup") && !lay_over("/proc/self/fd/" + std::to_string(groups.get()), "/sys/fs/cgroup", MS_REC)) return trouble("keep '/sys/fs/cgroup'");
  return {};
}

/// /dev with what programs expect and nothing else.
std::string few_devices() {
  const unique_fd old(open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!old) return trouble("open '/dev'");
  if (mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0) return trouble("cover '/dev'");
  const std::string before = "/proc/self/fd/" + std::to_string(old.get()) + "/";
  for (const char* name : {"null", "zero", "full", "random", "urandom", "tty"}) {
    const std::string path = std::string("/dev/") + name;
    const unique_fd made(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!made || !lay_over(before + name, path)) return trouble("keep '" + path + "'");
  }
  // pts is the cell's own, shm follows below when the cell is isolated.
  for (const char* name : {"pts", "shm"}) {
    const std::string path = std::string("/dev/") + name;
    if (mkdir(path.c_str(), 0755) < 0 || !lay_over(before + name, path)) return trouble("keep '" + path + "'");
  }
  for (const auto& [target, name] : {std::pair{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}})
    if (symlink(target, (std::string("/dev/") + name).c_str()) < 0) return trouble(std::string("link '/dev/") + name + "'");
  return {};
}

std::string hide_others(const Confinement& wanted) {
  // Homes and volumes of the user and of its VO, of /run only what a job of the grid needs: the names and our sockets, which check who calls.
  const std::string home = wanted.home.starts_with("/home/") ? wanted.home.substr(6) : "";
  if (!home.empty() && !plain(home)) return "cannot use '" + wanted.home + "' as a home";
  constexpr unsigned long flags = MS_NOSUID | MS_NODEV;
  for (const auto& [path, keep] : {std::pair<std::string, std::string>{"/home", home}, {"/grid", wanted.vo}, {"/run", "xos"}, {"/mnt", ""}, {"/media", ""}, {"/srv", ""}})
    if (std::string failed = cover(path, keep, flags); !failed.empty()) return failed;
  if (present("/sys/fs/cgroup") && mount("tmpfs", "/sys/fs/cgroup", "tmpfs", flags | MS_RDONLY, "mode=0555,size=4k") < 0) return trouble("cover '/sys/fs/cgroup'");
  if (present("/dev/shm") && mount("tmpfs", "/dev/shm", "tmpfs", flags, "mode=1777") < 0) return trouble("make a '/dev/shm'");
  for (const char* path : {"/tmp", "/var/tmp"})
    if (std::string failed = own_temporary(wanted, path); !failed.empty()) return failed;
  return {};
}

}  // namespace

bool read_confinement(const nlohmann::json& request, Confinement& wanted) {
  if (!request.is_object()) return false;
  try {
    wanted.vo = request.at("vo");
    wanted.uid = request.at("uid");
    wanted.home = request.value("home", "");
    wanted.isolated = request.value("isolated", false);
    wanted.untrusted = request.value("untrusted", false);
    wanted.own_network = request.value("own_network", false);
    wanted.few_devices = request.value("few_devices", false);
  } catch (const nlohmann::json::exception&) {
    return false;
  }
  return plain(wanted.vo) && wanted.uid != 0;
}

std::string confine(const Confinement& wanted) {
  std::string failed;
  // Abstract sockets belong to the network namespace: who is to see no others' needs one of its own.
  if (wanted.own_network || wanted.isolated) failed = own_network();
  if (failed.empty() && wanted.few_devices) failed = few_devices();
  if (failed.empty() && wanted.isolated) failed = hide_others(wanted);
  return failed;
}

}  // namespace xos::cell
