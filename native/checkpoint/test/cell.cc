#include "cell.h"
#include "test.h"
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <thread>

namespace xos::checkpoint::test {
namespace {

using xos::test::Failure;

[[noreturn]] void broken(const std::string& what) { throw Failure{what + ": " + std::strerror(errno)}; }
void must(bool ok, const std::string& what) {
  if (!ok) broken(what);
}

/// A mount tree of the cell's own whose root is a mount. Under chroot (where pivot_root is refused) the new root is moved over the old.
void makeRoot() {
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);  // refused in a chroot, whose mounts are private already
  std::string root = "/tmp/xos-test-cell";
  mkdir(root.c_str(), 0755);
  must(mount("/", root.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0, "bind /");
  must(chdir(root.c_str()) == 0, "chdir");
  if (syscall(SYS_pivot_root, ".", ".") == 0) {
    must(umount2(".", MNT_DETACH) == 0, "umount old root");
  } else {
    must(mount(".", "/", nullptr, MS_MOVE, nullptr) == 0, "move root");
    must(chroot(".") == 0, "chroot");
  }
  must(chdir("/") == 0, "chdir /");
}

void makeDevices() {
  must(mount("proc", "/proc", "proc", 0, nullptr) == 0, "mount /proc");
  must(mount("tmpfs", "/dev", "tmpfs", 0, "mode=755") == 0, "mount /dev");
  struct Device {
    const char* name;
    int major, minor;
  };
  umask(0);
  for (auto [name, high, low] : {Device{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9},
                                 {"tty", 5, 0}, {"fuse", 10, 229}})
    must(mknod((std::string("/dev/") + name).c_str(), S_IFCHR | 0666, makedev(high, low)) == 0, name);
  umask(022);
  mkdir("/dev/pts", 0755);
  mkdir("/dev/shm", 01777);
  must(mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=0620,gid=5") == 0, "mount devpts");
  must(mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777") == 0, "mount /dev/shm");
  must(symlink("pts/ptmx", "/dev/ptmx") == 0, "ptmx");
  must(symlink("/proc/self/fd", "/dev/fd") == 0, "fd");
  // The first run of CRIU in a boot finds out what the kernel can and keeps it here; a node's /run is a tmpfs.
  must(mount("tmpfs", "/run", "tmpfs", 0, "mode=755") == 0, "mount /run");
}

/// As the cell does it for its jobs: io_uring is not there. In the job only, for CRIU may read filters only while it has none itself.
bool hideIoUring() {
  sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program{.len = 4, .filter = filter};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

/// pid 1 of the cell. Reports a failure through `report`.
[[noreturn]] void beInit(const std::function<void()>& body, int report) {
  std::string trouble;
  try {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    makeRoot();
    makeDevices();
    if (getenv("XOS_SECCOMP_INIT")) must(hideIoUring(), "seccomp");
    body();
  } catch (const Failure& failure) {
    trouble = failure.what;
  } catch (const xos::test::Skipped& skip) {
    trouble = "SKIP" + skip.why;
  } catch (const std::exception& error) {
    trouble = std::string("threw: ") + error.what();
  }
  fflush(nullptr);
  writeAll(report, trouble.data(), trouble.size());
  _exit(trouble.empty() ? 0 : 1);
}

void setLastPid(int pid) {
  Fd file(open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC));
  std::string text = std::to_string(pid);
  must(file && writeAll(file.get(), text.data(), text.size()), "ns_last_pid");
}

Fd nullDevice() { return Fd(open("/dev/null", O_RDWR | O_CLOEXEC)); }

uint64_t inodeOf(int fd) {
  struct stat status;
  fstat(fd, &status);
  return status.st_ino;
}

}  // namespace

void inCell(const std::function<void()>& body) {
  int ends[2];
  must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
  Fd reading(ends[0]), writing(ends[1]);
  fflush(nullptr);
  // A child of its own makes the namespaces, so that this process stays where it is.
  pid_t outer = fork();
  must(outer >= 0, "fork");
  if (outer == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0) _exit(101);
    pid_t init = fork();
    if (init == 0) beInit(body, writing.get());
    int status = 0;
    while (waitpid(init, &status, 0) < 0 && errno == EINTR) {}
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 102);
  }
  writing.reset();
  std::string trouble = readFile("/proc/self/fd/" + std::to_string(reading.get()));
  int status = waitFor(outer);  // at once: the pipe's end was its death
  if (trouble.starts_with("SKIP")) throw xos::test::Skipped{trouble.substr(4)};
  if (!trouble.empty()) throw Failure{"in the cell: " + trouble};
  if (status != 0) throw Failure{"the cell died with wait status " + std::to_string(status)};
}

std::string cellObstacle() {
  if (geteuid() != 0) return "needs root";
  if (access("/usr/sbin/criu", X_OK) < 0) return "needs CRIU (package criu 4.2.1)";
  return "";
}

Job start(const std::vector<std::string>& argv, Wanted wanted, uid_t uid) {
  Job job;
  Fd child[3];
  if (wanted == Wanted::pty) {
    job.master.reset(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
    unsigned index = 0;
    int unlocked = 0;
    must(job.master && ioctl(job.master.get(), TIOCSPTLCK, &unlocked) == 0 && ioctl(job.master.get(), TIOCGPTN, &index) == 0, "pty");
    std::string slave = "/dev/pts/" + std::to_string(index);
    for (auto& fd : child) fd.reset(open(slave.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    winsize size{.ws_row = 33, .ws_col = 99};
    ioctl(job.master.get(), TIOCSWINSZ, &size);
    job.streams.push_back({StreamKind::pty, index, {0, 1, 2}});
  } else if (wanted == Wanted::pipes) {
    Fd* relay[] = {&job.in, &job.out, &job.error};
    for (int i = 0; i < 3; ++i) {
      int ends[2];
      must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
      child[i].reset(ends[i ? 1 : 0]);
      relay[i]->reset(ends[i ? 0 : 1]);
      job.streams.push_back({i ? StreamKind::pipe_out : StreamKind::pipe_in, inodeOf(child[i].get()), {i}});
    }
  } else {
    for (auto& fd : child) fd = nullDevice();
  }
  std::vector<char*> pointers;
  for (auto& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  setLastPid(99);
  job.pid = fork();
  must(job.pid >= 0, "fork");
  if (job.pid == 0) {
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int i = 0; i < 3; ++i) dup2(child[i].get(), i);
    if (wanted == Wanted::pty) ioctl(0, TIOCSCTTY, 0);
    close_range(3, ~0u, 0);
    if (!hideIoUring()) _exit(125);
    if (uid && (setgid(uid) < 0 || setuid(uid) < 0)) _exit(126);
    setenv("TERM", "xterm", 1);
    execvp(pointers[0], pointers.data());
    _exit(127);
  }
  return job;
}

Job attach(RestoreResult& result) {
  Job job;
  job.pid = result.root_pid;
  for (auto& stream : result.streams) {
    job.streams.push_back({stream.kind, stream.inode, stream.target_fds});
    if (stream.kind == StreamKind::pty) job.master.reset(stream.fd);
    if (stream.kind == StreamKind::pipe_in) job.in.reset(stream.fd);
    if (stream.kind == StreamKind::pipe_out) (stream.target_fds[0] == 1 ? job.out : job.error).reset(stream.fd);
  }
  return job;
}

std::string expect(int fd, const std::string& text) {
  std::string all;
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (all.find(text) == std::string::npos) {
    pollfd ready{.fd = fd, .events = POLLIN};
    char piece[4096];
    int count = poll(&ready, 1, 100);
    ssize_t got = count > 0 ? read(fd, piece, sizeof piece) : 0;
    if (got > 0) all.append(piece, static_cast<size_t>(got));
    if (count > 0 && got <= 0) throw Failure{"end of stream while waiting for '" + text + "', read: '" + all + "'"};
    if (std::chrono::steady_clock::now() > until) throw Failure{"'" + text + "' never came, read: '" + all + "'"};
  }
  return all;
}

void type(int fd, const std::string& text) { must(writeAll(fd, text.data(), text.size()), "write"); }

void eventually(const std::string& what, const std::function<bool()>& condition) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) throw Failure{"never: " + what};
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

int waitFor(pid_t pid) {
  int status = -1;
  eventually("process " + std::to_string(pid) + " ends", [&] { return waitpid(pid, &status, WNOHANG) != 0; });
  return status;
}

}  // namespace xos::checkpoint::test
