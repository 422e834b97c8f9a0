// holder WHAT: gets hold of one thing, says "ready" and waits. Says "none: …" when there is no such thing here.
// A program of its own, without a sanitizer: it is dumped by CRIU (unsupported.cc).
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_alg.h>
#include <linux/if_ether.h>
#include <linux/landlock.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <linux/vm_sockets.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <sched.h>
#include <string>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

/// -1 with errno: there is no such thing here.
using Get = long (*)();

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) { return syscall(number, a, b, c, d, e); }
long address(const void* pointer) { return reinterpret_cast<long>(pointer); }

long bpfMap() {
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = attributes.value_size = 4;
  attributes.max_entries = 4;
  return call(SYS_bpf, BPF_MAP_CREATE, address(&attributes), sizeof attributes);
}

long perfEvent() {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_DUMMY;
  return call(SYS_perf_event_open, address(&attributes), 0, -1, -1);
}

long algorithm() {
  const int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);
  sockaddr_alg name{};
  name.salg_family = AF_ALG;
  strcpy(reinterpret_cast<char*>(name.salg_type), "hash");
  strcpy(reinterpret_cast<char*>(name.salg_name), "sha256");
  return fd < 0 ? -1 : bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name);
}

long sharedMemory() {
  const int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  if (id < 0 || shmat(id, nullptr, 0) == reinterpret_cast<void*>(-1)) return -1;
  return shmctl(id, IPC_RMID, nullptr);
}

long traced() {
  const pid_t child = fork();
  if (child == 0) for (;;) pause();
  return ptrace(PTRACE_SEIZE, child, nullptr, nullptr);
}

long secret() {
  const long fd = call(447 /* memfd_secret */);
  if (fd < 0 || ftruncate(static_cast<int>(fd), 4096) < 0) return -1;
  void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, static_cast<int>(fd), 0);
  if (at == MAP_FAILED) return -1;
  *static_cast<char*>(at) = 1;
  return close(static_cast<int>(fd));
}

/// A file of a mount that is in no tree any more.
long detachedMount() {
  char place[] = "/tmp/xos-holder-XXXXXX";
  if (!mkdtemp(place) || mount("none", place, "tmpfs", 0, nullptr) < 0) return -1;
  const int fd = open((std::string(place) + "/file").c_str(), O_CREAT | O_RDWR, 0600);
  if (umount2(place, MNT_DETACH) < 0) return -1;
  rmdir(place);
  return fd;
}

long hugePages() {
  void* at = mmap(nullptr, 2u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? -1 : 0;
}

long sharedByProcesses() {  // a process, not a thread, in the memory of another one
  static char stack[65536];
  return clone([](void*) { for (;;) pause(); return 0; }, stack + sizeof stack, CLONE_VM | SIGCHLD, nullptr);
}

/// Starts programs all the time: for a fifth of it there is a child of vfork(2) that has not executed anything yet.
long vforks() {
  if (fork() != 0) return 0;
  for (;;) {
    const pid_t child = vfork();
    if (child == 0) {
      usleep(25'000);
      execl("/bin/true", "true", nullptr);
      _exit(1);
    }
    waitpid(child, nullptr, 0);
    usleep(100'000);
  }
}

long queue() {
  mq_attr attributes{};
  attributes.mq_maxmsg = 4;
  attributes.mq_msgsize = 16;
  return mq_open("/xos-holder", O_CREAT | O_RDWR, 0600, &attributes);
}

long deletedDirectory() {
  char place[] = "/tmp/xos-holder-XXXXXX";
  return !mkdtemp(place) || chdir(place) < 0 ? -1 : rmdir(place);
}

long leased() {
  char name[] = "/tmp/xos-holder-XXXXXX";
  const int fd = mkstemp(name);
  const int reading = open(name, O_RDONLY);
  close(fd);
  return fcntl(reading, F_SETLEASE, F_RDLCK);
}

long largeDeleted() {
  char name[] = "/tmp/xos-holder-XXXXXX";
  const int fd = mkstemp(name);
  static char block[1 << 20];
  memset(block, 'x', sizeof block);
  for (int i = 0; i < 4; ++i)
    if (write(fd, block, sizeof block) < 0) return -1;
  return unlink(name);
}

long pidfdOf(pid_t pid) { return call(SYS_pidfd_open, pid); }

long userFault() { return call(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY); }

struct Thing {
  const char* name;
  Get get;
};

const Thing things[] = {
    {"nothing", [] { return 0L; }},
    {"fuse", [] { return static_cast<long>(open("/dev/fuse", O_RDWR)); }},
    {"perf", perfEvent},
    {"bpf-map", bpfMap},
    {"landlock-ruleset", [] {
       landlock_ruleset_attr attributes{};
       attributes.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE;
       return call(SYS_landlock_create_ruleset, address(&attributes), sizeof attributes);
     }},
    {"secret", secret},
    {"sysv-memory", sharedMemory},
    {"traced", traced},
    {"userfaultfd", userFault},
    {"fscontext", [] { return call(SYS_fsopen, address("tmpfs")); }},
    {"fanotify", [] { return static_cast<long>(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY)); }},
    {"pidfd", [] { return pidfdOf(getpid()); }},
    {"algorithm", algorithm},
    {"packet", [] { return static_cast<long>(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))); }},
    {"raw", [] { return static_cast<long>(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }},
    {"udp", [] { return static_cast<long>(socket(AF_INET, SOCK_DGRAM, 0)); }},
    {"tcp", [] { return static_cast<long>(socket(AF_INET, SOCK_STREAM, 0)); }},
    {"netlink", [] { return static_cast<long>(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)); }},
    {"vsock", [] { return static_cast<long>(socket(AF_VSOCK, SOCK_STREAM, 0)); }},
    {"detached-mount", detachedMount},
    {"huge-pages", hugePages},
    {"shared-memory-process", sharedByProcesses},
    {"vforks", vforks},
    {"queue", queue},
    {"deleted-directory", deletedDirectory},
    {"large-deleted", largeDeleted},
    {"lease", leased},
    {"inotify", [] {
       const int fd = inotify_init();
       return fd < 0 ? -1L : static_cast<long>(inotify_add_watch(fd, "/etc", IN_CREATE));
     }},
    {"user-namespace", [] { return static_cast<long>(unshare(CLONE_NEWUSER)); }},
    {"ipc-namespace", [] { return static_cast<long>(unshare(CLONE_NEWIPC)); }},
    {"child-ipc-namespace", [] {
       int ready[2];
       if (pipe(ready) < 0) return -1L;
       if (fork() == 0) {
         if (unshare(CLONE_NEWIPC) == 0) (void)!write(ready[1], "", 1);
         for (;;) pause();
       }
       char byte;
       return read(ready[0], &byte, 1) == 1 ? 0L : -1L;
     }},
    {"mount-namespace", [] { return static_cast<long>(unshare(CLONE_NEWNS)); }},
    {"pid-namespace", [] {
       if (unshare(CLONE_NEWPID) < 0) return -1L;
       const pid_t child = fork();
       if (child == 0) for (;;) pause();
       return static_cast<long>(child);
     }},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Thing& thing : things) {
    if (argc != 2 || strcmp(argv[1], thing.name) != 0) continue;
    if (thing.get() < 0) std::printf("none: %s\n", strerror(errno));
    else std::printf("ready\n");
    std::fflush(stdout);
    for (;;) pause();
  }
  std::printf("there is no '%s'\n", argc == 2 ? argv[1] : "");
  return 2;
}
