#include "swrk.h"
#include "tree.h"
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace xos::checkpoint {
namespace {

constexpr const char* criu_path = "/usr/sbin/criu";

/// posix_spawn's attributes and actions, destroyed on every path.
struct SpawnPlan {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  SpawnPlan() {
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

/// Real ids as the effective ones, until its end. With others exec(2) is a "secure execution", in which ld.so takes no preloaded library
/// by its path (ld.so(8)); the library gives CRIU the real ids that we have.
class PlainIds {
 public:
  PlainIds() {
    uid_t effective_uid, saved_uid;
    gid_t effective_gid, saved_gid;
    getresuid(&uid_, &effective_uid, &saved_uid);
    getresgid(&gid_, &effective_gid, &saved_gid);
    if (setresuid(effective_uid, -1, -1) < 0 || setresgid(effective_gid, -1, -1) < 0) { /* then it is not loaded, and CRIU works alone */ }
  }
  ~PlainIds() {
    if (setresgid(gid_, -1, -1) < 0 || setresuid(uid_, -1, -1) < 0) _exit(1);
  }
  std::string text() const { return "XOS_CAPTURE_IDS=" + std::to_string(uid_) + " " + std::to_string(gid_); }

 private:
  uid_t uid_;
  gid_t gid_;
};

Failure cannotStart(const char* step, int error) {
  return {"XOS_CHECKPOINT_ENGINE",
          std::string("cannot start CRIU ('") + criu_path + "'): " + step + ": " + std::strerror(error) +
              "; install the package criu (4.2.1 or later) on this node",
          ""};
}

}  // namespace

std::variant<std::unique_ptr<Swrk>, Failure> Swrk::start(const std::vector<int>& inherited, const std::vector<std::string>& environment, Ipc ipc) {
  std::unique_ptr<Swrk> swrk(new Swrk);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return cannotStart("socketpair", errno);
  swrk->socket_.reset(pair[0]);
  Fd theirs(pair[1]);
  swrk->log_.reset(memfd_create("criu-log", MFD_CLOEXEC));
  if (!swrk->log_) return cannotStart("memfd_create", errno);

  SpawnPlan plan;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  sigdelset(&all, SIGKILL);
  sigdelset(&all, SIGSTOP);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setsigdefault(&plan.attributes, &all);
  posix_spawnattr_setflags(&plan.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_addopen(&plan.actions, 0, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&plan.actions, swrk->log_.get(), 1);
  posix_spawn_file_actions_adddup2(&plan.actions, swrk->log_.get(), 2);
  // To its own number: glibc then only clears the close-on-exec flag.
  posix_spawn_file_actions_adddup2(&plan.actions, theirs.get(), theirs.get());
  for (int fd : inherited) posix_spawn_file_actions_adddup2(&plan.actions, fd, fd);
  // What the embedding program opened without O_CLOEXEC must not reach the restored processes.
  std::vector<int> kept = inherited;
  kept.push_back(theirs.get());
  kept.insert(kept.end(), {0, 1, 2});
  int highest = *std::max_element(kept.begin(), kept.end());
  for (int fd = 3; fd < highest; ++fd) {
    bool ours = std::find(kept.begin(), kept.end(), fd) != kept.end();
    if (!ours && fcntl(fd, F_GETFD) >= 0) posix_spawn_file_actions_addclose(&plan.actions, fd);
  }
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, highest + 1);

  std::string number = std::to_string(theirs.get());
  char* argv[] = {const_cast<char*>("criu"), const_cast<char*>("swrk"), number.data(), nullptr};
  std::vector<char*> variables{const_cast<char*>("PATH=/usr/sbin:/usr/bin:/sbin:/bin")};
  for (auto& variable : environment) variables.push_back(const_cast<char*>(variable.c_str()));
  std::optional<PlainIds> plain;
  std::string ids;
  if (!environment.empty()) variables.push_back((ids = plain.emplace().text()).data());
  variables.push_back(nullptr);
  int error = 0;
  // Namespaces are a thread's, and its child's.
  std::thread([&] {
    if (ipc == Ipc::own && unshare(CLONE_NEWIPC) < 0) error = errno;
    else error = posix_spawn(&swrk->pid_, criu_path, &plan.actions, &plan.attributes, argv, variables.data());
  }).join();
  if (error) {
    swrk->pid_ = -1;
    return cannotStart("exec", error);
  }
  swrk->alive_.reset(static_cast<int>(syscall(SYS_pidfd_open, swrk->pid_, 0)));
  if (!swrk->alive_) return cannotStart("pidfd_open", errno);
  return swrk;
}

Swrk::~Swrk() { finish(0); }

bool Swrk::send(const std::string& message) {
  ssize_t put;
  do put = ::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL);
  while (put < 0 && errno == EINTR);
  return put == static_cast<ssize_t>(message.size());
}

std::variant<Swrk::Message, Swrk::End> Swrk::receive(int timeout_ms) {
  // Its socket does not end with it: CRIU tries out ptrace on a fork that has it too, and outlives a CRIU that is killed.
  pollfd ready[] = {{.fd = socket_.get(), .events = POLLIN}, {.fd = alive_.get(), .events = POLLIN}};
  int count = poll(ready, 2, timeout_ms);
  if (count == 0 || (count < 0 && errno == EINTR)) return End::timed_out;
  if (count < 0 || !ready[0].revents) return End::closed;

  std::string bytes(65536, '\0');
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
  iovec piece{bytes.data(), bytes.size()};
  msghdr header{.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t got;
  do got = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  Message message;
  for (auto* part = CMSG_FIRSTHDR(&header); got >= 0 && part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      message.fd.reset(fd);
    }
  }
  if (got <= 0) return End::closed;
  auto response = rpc::decodeResponse(std::string_view(bytes.data(), static_cast<size_t>(got)));
  if (!response || (header.msg_flags & MSG_TRUNC)) return End::malformed;
  message.response = std::move(*response);
  return message;
}

void Swrk::finish(int timeout_ms) {
  if (pid_ < 0) return;
  socket_.reset();
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  int flags = WNOHANG;
  for (;;) {
    pid_t got = waitpid(pid_, nullptr, flags);
    if (got == pid_ || (got < 0 && errno != EINTR)) break;
    if (std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    } else {
      kill(pid_, SIGKILL);
      flags = 0;
    }
  }
  pid_ = -1;
}

void endOrphans(pid_t root_pid) {
  std::vector<pid_t> orphans;
  for (auto& process : processTree(getpid()))
    if (process.parent == getpid() && process.pid != root_pid) orphans.push_back(process.pid);
  // All before the first is waited for: one that another one traces is given to us when that one is gone.
  for (pid_t pid : orphans) kill(pid, SIGKILL);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (pid_t pid : orphans) {
    while (waitpid(pid, nullptr, __WALL | WNOHANG) == 0 && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::string Swrk::logTail(size_t bytes_max) const {
  struct stat status;  // not lseek: CRIU writes through the same open file description
  if (fstat(log_.get(), &status) < 0 || status.st_size == 0) return "";
  off_t size = status.st_size;
  size_t bytes = std::min(static_cast<size_t>(size), bytes_max);
  std::string tail(bytes, '\0');
  ssize_t got = pread(log_.get(), tail.data(), bytes, size - static_cast<off_t>(bytes));
  tail.resize(got > 0 ? static_cast<size_t>(got) : 0);
  if (static_cast<size_t>(size) > bytes_max) tail.erase(0, tail.find('\n') + 1);
  return tail;
}

}  // namespace xos::checkpoint
