// What check() says about processes that really hold what cannot be taken along.
#include "engine.h"
#include "fd.h"
#include "test.h"
#include <algorithm>
#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <functional>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>

using namespace xos::checkpoint;

namespace {

/// What the test itself was given may lie on mounts outside of the image root, which would be told of its children.
[[maybe_unused]] const int closed = close_range(3, ~0u, 0);

/// A child that did `prepare` and then waits; killed at the end.
class Child {
 public:
  explicit Child(const std::function<void()>& prepare) {
    int ends[2];
    CHECK_EQUAL(pipe2(ends, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int null = open("/dev/null", O_RDWR);
      for (int fd : {0, 1, 2}) dup2(null, fd);
      prepare();
      (void)!write(ends[1], "r", 1);
      for (;;) pause();
    }
    close(ends[1]);
    char ready = 0;
    ready_ = read(ends[0], &ready, 1) == 1;
    close(ends[0]);
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  bool ready() const { return ready_; }
  pid_t pid() const { return pid_; }
  /// Codes of what certainly stands in the way.
  std::vector<std::string> obstacles() const {
    std::vector<std::string> codes;
    for (auto& obstacle : check(pid_, {}))
      if (obstacle.certain) codes.push_back(obstacle.code.substr(15));
    return codes;
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

using Codes = std::vector<std::string>;

}  // namespace

TEST("an ordinary process with files, pipes, timers and sockets of its own has no obstacle") {
  Child child([] {
    int pair[2];
    (void)!pipe(pair);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    open("/dev/null", O_RDWR);
    open("/etc/passwd", O_RDONLY);
  });
  CHECK(child.obstacles() == Codes());
}

TEST("a socket whose other end is outside is named, one inside of the tree is not") {
  int pair[2];
  CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  Child child([&] { close(pair[0]); });
  CHECK(child.obstacles() == Codes({"SOCKET"}));
  close(pair[0]);
  close(pair[1]);
  Child both([] {
    int inner[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, inner);
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(inner[0]);
      for (;;) pause();
    }
    close(inner[1]);
  });
  CHECK(both.obstacles() == Codes());
}

TEST("a TCP connection to outside is named with its address") {
  Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length) < 0) SKIP("no loopback interface");
  listen(listener.get(), 5);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
  Child child([&] {
    close(listener.get());
    int own = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(own, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) _exit(1);
  });
  CHECK(child.ready());
  auto found = check(child.pid(), {});
  auto at = std::find_if(found.begin(), found.end(), [](auto& o) { return o.code == "XOS_CHECKPOINT_SOCKET"; });
  CHECK(at != found.end());
  CHECK_EQUAL(at->what, "has a network connection to 127.0.0.1 port " + std::to_string(ntohs(address.sin_port)));
  CHECK_EQUAL(at->pid, child.pid());
}

TEST("a process that is traced is named with its tracer") {
  Child child([] {});
  CHECK_EQUAL(ptrace(PTRACE_SEIZE, child.pid(), nullptr, nullptr), 0);
  CHECK(child.obstacles() == Codes({"TRACED"}));
  CHECK_EQUAL(check(child.pid(), {})[0].what, "is being traced by process " + std::to_string(getpid()));
}

TEST("System V shared memory goes along") {
  int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  if (id < 0) SKIP("no System V shared memory");
  Child child([&] { (void)!shmat(id, nullptr, 0); });
  shmctl(id, IPC_RMID, nullptr);
  CHECK(child.obstacles() == Codes({}));
}

TEST("a device is named, and a kernel object that cannot be dumped") {
  if (access("/dev/fuse", R_OK | W_OK) < 0) SKIP("needs /dev/fuse");
  Child child([] { open("/dev/fuse", O_RDWR); });
  CHECK(child.obstacles() == Codes({"DEVICE"}));
  CHECK(check(child.pid(), {})[0].what.find("'/dev/fuse'") != std::string::npos);
}

TEST("a namespace of its own is named") {
  if (geteuid() != 0) SKIP("needs root");
  Child child([] { if (unshare(CLONE_NEWNET | CLONE_NEWUTS) < 0) _exit(1); });
  if (!child.ready()) SKIP("no new namespaces here");
  CHECK(child.obstacles() == Codes({"NAMESPACE", "NAMESPACE"}));
}

TEST("xz in its sandbox is named, other programs that gave up privileges only perhaps") {
  Child child([] {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_NAME, "xz");
  });
  CHECK(child.obstacles() == Codes({"LANDLOCK"}));
  Child other([] { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); });
  CHECK(other.obstacles() == Codes());
  auto found = check(other.pid(), {});
  CHECK(std::any_of(found.begin(), found.end(), [](auto& o) { return o.code == "XOS_CHECKPOINT_LANDLOCK" && !o.certain; }));
}

TEST("a temporary file that does not go along is mentioned, and does not stand in the way") {
  if (geteuid() != 0) SKIP("needs root");
  char name[] = "/tmp/xos-check-XXXXXX";
  Fd file(mkstemp(name));  // root's
  Child child([] { if (setgid(12345) < 0 || setuid(12345) < 0) _exit(1); });
  auto found = check(child.pid(), {});
  unlink(name);
  CHECK(std::any_of(found.begin(), found.end(), [&](auto& o) { return o.code == "XOS_CHECKPOINT_FILE" && !o.certain && o.what.find(name) != std::string::npos; }));
  CHECK(child.obstacles() == Codes());
}

TEST("a file and a pipe that take turns at one number are not taken for a file of nowhere") {
  Child child([] {
    std::thread([] {
      int ends[2];
      if (pipe(ends) < 0) return;
      for (;;) {
        const int file = open("/etc/passwd", O_RDONLY);
        dup2(file, 9);
        close(file);
        dup2(ends[0], 9);
      }
    }).detach();
  });
  for (int i = 0; i < 300; ++i)
    for (auto& obstacle : check(child.pid(), {})) CHECK_EQUAL(obstacle.what, "");
}
TEST("nothing is said about a process that is not there") { CHECK(check(2'000'000'000, {}).empty()); }

TEST_MAIN
