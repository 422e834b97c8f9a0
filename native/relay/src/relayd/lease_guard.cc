#include "lease_guard.h"

#include "channel.h"
#include "log.h"
#include "loop.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace xos::relay {
namespace {

constexpr int slots = 4096;
using Until = std::atomic<int64_t>;
static_assert(Until::is_always_lock_free);

/// A slot with its process, or without: forget it.
bool send_slot(int socket, int slot, int pidfd) {
  cell::Ancillary ancillary;
  iovec piece{&slot, sizeof slot};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  if (pidfd >= 0) ancillary.put(header, {&pidfd, 1});
  ssize_t sent;
  while ((sent = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT)) < 0 && errno == EINTR) {}
  return sent == static_cast<ssize_t>(sizeof slot);
}

/// False at the relay's end.
bool receive_slot(int socket, int (&processes)[slots]) {
  int slot = -1;
  cell::Ancillary ancillary;
  iovec piece{&slot, sizeof slot};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = ancillary.space;
  header.msg_controllen = sizeof ancillary.space;
  const ssize_t got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EINTR) return true;
  if (got <= 0) return false;
  std::vector<int> fds;
  cell::Ancillary::collect(header, fds);
  const int pidfd = fds.empty() ? -1 : fds[0];
  if (got != static_cast<ssize_t>(sizeof slot) || slot < 0 || slot >= slots) {
    if (pidfd >= 0) close(pidfd);
    return true;
  }
  if (processes[slot] >= 0) close(processes[slot]);
  processes[slot] = pidfd;
  return true;
}

void end_process(int pidfd) { syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0); }

[[noreturn]] void guard(int socket, const Until* until) {
  static int processes[slots];
  for (int& each : processes) each = -1;
  const int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  for (;;) {
    int64_t next_ms = INT64_MAX;
    const int64_t now_ms = Loop::boot_ms();
    for (int slot = 0; slot < slots; slot++) {
      if (processes[slot] < 0) continue;
      const int64_t until_ms = until[slot].load(std::memory_order_relaxed);
      if (until_ms == 0) continue;
      if (until_ms > now_ms) {
        next_ms = std::min(next_ms, until_ms);
        continue;
      }
      log(Priority::warning, "the home of a job is silent and may start it elsewhere: its cell is ended");
      end_process(processes[slot]);
      close(processes[slot]);
      processes[slot] = -1;
    }
    itimerspec when{};
    if (next_ms != INT64_MAX) when.it_value = {next_ms / 1000, next_ms % 1000 * 1000000 + 1};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, nullptr);
    pollfd polls[2] = {{socket, POLLIN, 0}, {timer, POLLIN, 0}};
    if (poll(polls, 2, timer < 0 ? 500 : -1) < 0 && errno != EINTR) break;
    if (polls[0].revents && !receive_slot(socket, processes)) break;
  }
  for (const int pidfd : processes)
    if (pidfd >= 0) end_process(pidfd);
  _exit(0);
}

}  // namespace

LeaseGuard::LeaseGuard() {
  void* const page = mmap(nullptr, slots * sizeof(Until), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int sockets[2];
  if (page == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
    log(Priority::error, "cannot make the guard of protected jobs: %s", strerror(errno));
    return;
  }
  until_ = static_cast<Until*>(page);
  unique_fd ours(sockets[0]), theirs(sockets[1]);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(theirs.get(), 3);
    close_range(4, ~0u, 0);
    prctl(PR_SET_NAME, "xos-lease-guard");
    signal(SIGTERM, SIG_IGN);  // the relay's end is its own, and not before
    guard(3, until_);
  }
  if (pid < 0) {
    log(Priority::error, "cannot make the guard of protected jobs: fork: %s", strerror(errno));
    return;
  }
  socket_ = std::move(ours);
  for (int slot = slots; slot-- > 0;) free_.push_back(slot);
}

LeaseGuard::~LeaseGuard() {
  if (until_) munmap(until_, slots * sizeof(Until));
}

int LeaseGuard::add(int pidfd, int64_t until_ms) {
  if (free_.empty() || !socket_) {
    log(Priority::warning, "a protected job is not guarded: %s", socket_ ? "there are too many" : "there is no guard");
    return -1;
  }
  const int slot = free_.back();
  until_[slot].store(until_ms, std::memory_order_relaxed);
  if (!send_slot(socket_.get(), slot, pidfd)) {
    log(Priority::warning, "a protected job is not guarded: %s", strerror(errno));
    return -1;
  }
  free_.pop_back();
  return slot;
}

void LeaseGuard::remove(int slot) {
  if (slot < 0) return;
  until_[slot].store(0, std::memory_order_relaxed);
  send_slot(socket_.get(), slot, -1);
  free_.push_back(slot);
}

}  // namespace xos::relay
