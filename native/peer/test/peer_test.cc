// peer_credentials, statfs and the refusals of mount without privilege-dependent results; mounts run in a namespace of their own.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <ranges>
#include <sched.h>
#include <span>
#include <string>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include "../src/peer.h"

static int failures = 0;
#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      failures++; \
    } \
  } while (0)

static int errno_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const xos::peer::SystemError& error) {
    return error.code().value();
  }
  return 0;
}

static void credentials_of_a_pair() {
  int pair[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  const auto found = xos::peer::peer_credentials(pair[0]);
  CHECK(found.pid == ::getpid());
  CHECK(found.uid == ::getuid());
  CHECK(found.gid == ::getgid());
  ::close(pair[1]);
  CHECK(xos::peer::peer_credentials(pair[0]).pid == ::getpid());  // who it was when it connected, also after it left
  ::close(pair[0]);
  CHECK(errno_of([&] { xos::peer::peer_credentials(pair[0]); }) == EBADF);
  CHECK(errno_of([] { xos::peer::peer_credentials(-1); }) == EBADF);
}

static void credentials_of_what_has_no_peer() {
  const int lonely = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(errno_of([&] { xos::peer::peer_credentials(lonely); }) == ENOTCONN);
  ::close(lonely);
  int pipes[2];
  CHECK(::pipe2(pipes, O_CLOEXEC) == 0);
  CHECK(errno_of([&] { xos::peer::peer_credentials(pipes[0]); }) == ENOTSOCK);
  ::close(pipes[0]);
  ::close(pipes[1]);
}

/// Where the kernel has no xos_cred, as in a build. With it: test/system/kmod/exec.test.ts.
static void revocation_without_the_module() {
  CHECK(!xos::peer::revoke_credentials({4294967295u}, {{1, 2}}));
  CHECK(!xos::peer::revoke_credentials({}, {}));
}

/// The mapping of whole huge pages, 16 MiB and what more yescrypt wants, that core dumps leave out; empty when there is none.
static std::span<const volatile char> kept_memory() {
  std::ifstream maps("/proc/self/smaps");
  std::span<const volatile char> found;
  for (std::string line; std::getline(maps, line);) {
    size_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%zx-%zx ", &begin, &end) == 2) found = {reinterpret_cast<const volatile char*>(begin), end - begin};
    if (line.starts_with("VmFlags:") && line.find(" dd") != std::string::npos && found.size() == size_t{18} << 20) return found;
  }
  return {};
}

static void passwords() {
  const std::vector<uint8_t> random(16, 7);
  const auto setting = xos::peer::password_setting("$y$", 1, random);
  const auto hash = xos::peer::hash_password("correct horse", setting);
  CHECK(setting.starts_with("$y$j75$") && hash.starts_with(setting) && hash.size() > setting.size() + 40);
  CHECK(xos::peer::hash_password("correct horse", hash) == hash);
  CHECK(xos::peer::hash_password("Correct horse", hash) != hash);
  CHECK(xos::peer::password_setting("$y$", 5, random).starts_with("$y$j9T$"));  // Debian's default
  // Debian's own cost: its memory comes in huge pages, is there once, and the hash is what crypt(3) makes of it.
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    long pages = 0, resident_pages = 0;
    statm >> pages >> resident_pages;
    return resident_pages;
  };
  const std::string dear = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$";
  const auto first = xos::peer::hash_password("correct horse", dear);
  CHECK(first == dear + "zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79");
  const long before = resident();
  for (int i = 0; i < 4; ++i) CHECK(xos::peer::hash_password("correct horse", first) == first);
  CHECK(resident() - before < 4096);
  // What it leaves there is wiped.
  const auto memory = kept_memory();
  CHECK(memory.size() >= size_t{16} << 20 && std::ranges::any_of(memory, [](char byte) { return byte != 0; }));
  xos::peer::wipe_password_memory();
  CHECK(std::ranges::all_of(memory, [](char byte) { return byte == 0; }));
  // Two at a time have memory of their own, and wiping between them takes none from under a hash.
  std::array<std::string, 2> together;
  {
    std::array<std::jthread, 2> threads;
    for (size_t k = 0; k < 2; ++k)
      threads[k] = std::jthread([&, k] {
        for (int i = 0; i < 4; ++i) {
          together[k] = xos::peer::hash_password(k == 0 ? "correct horse" : "Correct horse", first);
          xos::peer::wipe_password_memory();
        }
      });
  }
  CHECK(together[0] == first && together[1] != first && together[1].starts_with(dear));
  CHECK(resident() - before < 4096);
  CHECK(errno_of([] { xos::peer::hash_password("x", "no setting"); }) == EINVAL);
  CHECK(errno_of([&] { xos::peer::hash_password(std::string(512, 'x'), setting); }) == ERANGE);
  CHECK(xos::peer::hash_password(std::string(511, 'x'), setting).starts_with(setting));
  CHECK(errno_of([] { xos::peer::password_setting("$y$", 1, {1, 2, 3}); }) == EINVAL);
  CHECK(errno_of([&] { xos::peer::password_setting("$nope$", 1, random); }) == EINVAL);
}

static void bind_and_unmount() {
  if (::geteuid() != 0 || ::unshare(CLONE_NEWNS) != 0) {
    std::printf("skip bind_and_unmount: needs root and a mount namespace\n");
    return;
  }
  ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  char from[] = "/tmp/peer_from_XXXXXX", to[] = "/tmp/peer_to_XXXXXX";
  CHECK(::mkdtemp(from) != nullptr && ::mkdtemp(to) != nullptr);
  CHECK(::mkdir((std::string(from) + "/inside").c_str(), 0700) == 0);
  xos::peer::mount(from, to, MS_BIND);
  CHECK(::access((std::string(to) + "/inside").c_str(), F_OK) == 0);
  xos::peer::unmount(to, MNT_DETACH);
  CHECK(::access((std::string(to) + "/inside").c_str(), F_OK) != 0);
  CHECK(errno_of([&] { xos::peer::unmount(to, MNT_DETACH); }) == EINVAL);
  CHECK(errno_of([&] { xos::peer::mount("/no/such", to, MS_BIND); }) == ENOENT);
  ::rmdir((std::string(from) + "/inside").c_str());
  ::rmdir(from);
  ::rmdir(to);
}

static void freed_memory_goes_back() {
#ifdef __SANITIZE_ADDRESS__
  std::printf("skip freed_memory_goes_back: the sanitizer has an allocator of its own\n");
#else
  const auto resident = [] {
    long pages = 0;
    FILE* statm = std::fopen("/proc/self/statm", "re");
    if (statm != nullptr && std::fscanf(statm, "%*d %ld", &pages) != 1) pages = 0;
    if (statm != nullptr) std::fclose(statm);
    return pages * ::sysconf(_SC_PAGESIZE);
  };
  const long before = resident();
  for (int round = 0; round < 4; round++) std::vector<char>(16 << 20, 'x');
  xos::peer::trim_memory();
  CHECK(resident() < before + (8 << 20));
#endif
}

int main() {
  credentials_of_a_pair();
  credentials_of_what_has_no_peer();
  bind_and_unmount();
  CHECK(xos::peer::stat_file_system("/").blocks > 0);
  CHECK(errno_of([] { xos::peer::stat_file_system("/no/such/path"); }) == ENOENT);
  CHECK(!xos::peer::read_session_key("xos:no-such-key-for-a-test").has_value());
  revocation_without_the_module();
  passwords();
  CHECK(errno_of([] { xos::peer::update_key(0x7ffffff0, reinterpret_cast<const uint8_t*>("x"), 1); }) == ENOKEY);
  xos::peer::tune_allocator();
  freed_memory_goes_back();
  xos::peer::set_dumpable(false);
  CHECK(::prctl(PR_GET_DUMPABLE) == 0);
  xos::peer::set_dumpable(true);
  CHECK(::prctl(PR_GET_DUMPABLE) == 1);
  if (failures == 0) std::printf("peer_test: ok\n");
  return failures == 0 ? 0 : 1;
}
