#include "world.h"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace xos::cell {
namespace {

}  // namespace

bool set_last_pid(int pid) {
  const int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[16];
  const int length = snprintf(text, sizeof text, "%d", pid);
  const bool written = write(fd, text, length) == length;
  close(fd);
  return written;
}

const char* make_world() {
  // Slave: volumes that are mounted on the node later appear in here too, and nothing goes back.
  if (mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) < 0) return "make the mounts of the cell its own";
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0) return "mount /proc";
  if (mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5") < 0) return "mount /dev/pts";
  struct stat info;
  if (lstat("/dev/ptmx", &info) == 0 && S_ISCHR(info.st_mode) && mount("/dev/pts/ptmx", "/dev/ptmx", nullptr, MS_BIND, nullptr) < 0) return "lay /dev/ptmx over";
  // The first job gets pid 100: a restore needs the low numbers for CRIU itself.
  if (!set_last_pid(99)) return "set ns_last_pid";
  return nullptr;
}

/// Programs fall back to epoll when io_uring is "not there"; with it CRIU could not dump them (node 24 maps a ring at start).
bool hide_io_uring() {
  const sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),  // the same number on every architecture
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof filter / sizeof filter[0], const_cast<sock_filter*>(filter)};
  // Root needs no no_new_privs for this, and without it programs of the job may still be setuid.
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

bool ipc_left_behind() {
  struct shm_info memory{};
  struct seminfo semaphores{};
  struct msginfo queues{};
  if (shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&memory)) < 0 || memory.used_ids) return true;
  if (semctl(0, 0, SEM_INFO, &semaphores) < 0 || semaphores.semusz) return true;
  return msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&queues)) < 0 || queues.msgpool;
}

}  // namespace xos::cell
