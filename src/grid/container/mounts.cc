#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "process.h"

namespace xos::container {
namespace {

void mount_at(const char* source, const std::string& target, const char* type, unsigned long flags, const std::string& data) {
  if (mount(source, target.c_str(), type, flags, data.c_str()) < 0) fail("cannot mount " + std::string(type ? type : source) + " at '" + target + "'");
}

void make_folder(const std::string& path, mode_t mode = 0755) {
  if (mkdir(path.c_str(), mode) < 0 && errno != EEXIST) fail("cannot make the folder '" + path + "'");
}

/// Overlay splits its options at ',' and its lower folders at ':'.
std::string escaped(const std::string& path) {
  std::string out;
  for (char c : path) {
    if (c == ',' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

void mount_root(const TreePlan& plan) {
  std::string upper = plan.upper, work = plan.work;
  if (upper.empty()) {
    // The tmpfs is covered by the overlay at the same place and goes with it.
    mount_at("tmpfs", plan.mountpoint, "tmpfs", 0, "mode=0755");
    upper = plan.mountpoint + "/upper";
    work = plan.mountpoint + "/work";
    make_folder(upper);
    make_folder(work);
  }
  std::string lower;
  for (const auto& path : plan.lowers) lower += (lower.empty() ? "" : ":") + escaped(path);
  mount_at("overlay", plan.mountpoint, "overlay", 0, "lowerdir=" + lower + ",upperdir=" + escaped(upper) + ",workdir=" + escaped(work));
}

void mount_dev(const std::string& dev) {
  mount_at("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=0755,size=1m");
  struct Node { const char* name; unsigned major, minor; mode_t mode; };
  make_folder(dev + "/net");
  for (const Node& node : {Node{"null", 1, 3, 0666}, Node{"zero", 1, 5, 0666}, Node{"full", 1, 7, 0666}, Node{"random", 1, 8, 0666},
                           Node{"urandom", 1, 9, 0666}, Node{"tty", 5, 0, 0666}, Node{"net/tun", 10, 200, 0666}, Node{"fuse", 10, 229, 0666}}) {
    std::string path = dev + "/" + node.name;
    if (mknod(path.c_str(), S_IFCHR | node.mode, makedev(node.major, node.minor)) < 0) fail("cannot make the device '" + path + "'");
  }
  make_folder(dev + "/pts");
  mount_at("devpts", dev + "/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
  make_folder(dev + "/shm");
  mount_at("tmpfs", dev + "/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  for (auto [target, name] : {std::pair{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"},
                              {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}})
    if (symlink(target, (dev + "/" + name).c_str()) < 0) fail("cannot make the link '" + dev + "/" + name + "'");
}

bool may_raise_limits() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) < 0) return false;
  return data[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE);
}

/// CRIU raises its limit of open files to fs.nr_open and gives up where it may not (a machine that is itself a container). There the
/// node shows its hard limit under that name: a file of its own laid over the sysctl, so that the machine's value stays as it is.
void show_file_limit(const std::string& root) {
  if (may_raise_limits()) return;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) fail("cannot read the limit of open files");
  std::string path = root + "/run/nr_open";
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!fd) fail("cannot make '" + path + "'");
  write_all(fd.get(), std::to_string(limit.rlim_max) + "\n");
  mount_at(path.c_str(), root + "/proc/sys/fs/nr_open", nullptr, MS_BIND, "");
}

}  // namespace

void enter_tree(const TreePlan& plan) {
  umask(0);
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) fail("cannot make the mounts private");
  mount_root(plan);
  const std::string& root = plan.mountpoint;
  for (const auto& [source, target] : plan.binds) mount_at(source.c_str(), root + target, nullptr, MS_BIND, "");
  mount_at("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
  mount_at("sysfs", root + "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
  mount_dev(root + "/dev");
  mount_at("tmpfs", root + "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
  show_file_limit(root);

  // pivot_root(2): the old root is mounted over the new one and then let go; nothing of the machine's tree stays reachable.
  if (chdir(root.c_str()) < 0) fail("cannot go to '" + root + "'");
  if (syscall(SYS_pivot_root, ".", ".") < 0) fail("cannot pivot into '" + root + "'");
  if (umount2(".", MNT_DETACH) < 0) fail("cannot let go of the machine's root");
  if (chdir("/") < 0) fail("cannot go to '/'");
  // What a daemon of the node mounts later (volumes, homes) is to be seen in the sessions' own mount namespaces.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) < 0) fail("cannot make the mounts shared");
  umask(022);
}

}  // namespace xos::container
