// Temporary files of a job: found, stored, put back with its user's rights, and what must not come of hostile ones.
#include "rig.h"
#include "as_user.h"
#include "images.h"
#include "temporary.h"
#include <algorithm>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

using namespace xos::checkpoint;
using namespace xos::checkpoint::test;

namespace {

constexpr uid_t user = 12345, other = 12346;

/// /var/tmp and /dev/shm of a node of its own. /tmp, where the test's own files are, stays.
void onFreshNode() {
  for (const char* root : {"/var/tmp", "/dev/shm"}) CHECK_EQUAL(mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"), 0);
  umask(022);
}

void inNode(const std::function<void()>& body) {
  inCell([&] {
    onFreshNode();
    body();
  });
}

void make(const std::string& path, const std::string& content, uid_t uid = user, mode_t mode = 0600) {
  // Without O_CREAT where it is there: root may not otherwise open a user's file in a sticky directory (fs.protected_regular).
  Fd file(open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
  if (!file) file.reset(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  CHECK(file && writeAll(file.get(), content.data(), content.size()));
  CHECK_EQUAL(fchown(file.get(), uid, uid), 0);
  CHECK_EQUAL(fchmod(file.get(), mode), 0);
}

void makeDirectory(const std::string& path, uid_t uid = user, mode_t mode = 0700) {
  CHECK_EQUAL(mkdir(path.c_str(), 0700), 0);
  CHECK_EQUAL(chown(path.c_str(), uid, uid), 0);
  CHECK_EQUAL(chmod(path.c_str(), mode), 0);
}

/// 0: there is nothing of that name.
struct stat look(const std::string& path) {
  struct stat status{};
  if (lstat(path.c_str(), &status) < 0) status = {};
  return status;
}

/// As the cell does it: prlimit(2) on a process of another user needs its real ids where CAP_SYS_RESOURCE is missing.
void lendRealIds() {
  (void)!system("/usr/sbin/criu check > /dev/null 2>&1");  // what it finds out about the kernel needs root's
  CHECK(setresgid(user, 0, 0) == 0 && setresuid(user, 0, 0) == 0);
}

int64_t wallMs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

std::string pathsOf(const std::vector<TemporaryFile>& files) {
  std::string all;
  for (auto& file : files) all += file.path + " ";
  return all;
}

Manifest store(const Workplace& at, TemporaryScope scope) {
  scope.uid = user;
  Manifest manifest;
  manifest.facts = {.node = "n1", .uid = user, .gid = user};
  manifest.temporaries = findTemporaries(scope);
  Fd directory(open(at.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  unlinkat(directory.get(), temporary_name, 0);
  CHECK(storeTemporaries(manifest.temporaries, directory.get(), user, user, false, manifest.files));
  // Through its text, as a restore has it.
  auto decoded = decodeManifest(frameManifest(encodeManifest(manifest), ""), "test");
  CHECK(std::holds_alternative<Manifest>(decoded));
  return std::get<Manifest>(decoded);
}

/// Code and words of what was wrong; empty: it was put back and stays.
std::string put(const Workplace& at, const Manifest& manifest) {
  Fd directory(open(at.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  TemporariesBack back(manifest, directory.get());
  const auto trouble = back.put();
  CHECK_EQUAL(geteuid(), 0u);
  if (!trouble) return back.keep(), "";
  return trouble->first + ": " + trouble->second;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

/// The manifest of files that cell A stored, for cell B.
void keepText(const Workplace& at, const Manifest& manifest) { make(at.path + "/manifest", frameManifest(encodeManifest(manifest), ""), 0); }
Manifest keptManifest(const Workplace& at) { return std::get<Manifest>(readManifest(at.path)); }

}  // namespace

TEST("what a job has and what is younger than it goes along; what is older or somebody else's does not") {
  needCell();
  inNode([] {
    make("/var/tmp/older", "x");
    make("/var/tmp/older-open", "x");
    makeDirectory("/var/tmp/work");
    make("/var/tmp/work/inside", "x");
    makeDirectory("/var/tmp/of-a-deleted-file");
    makeDirectory("/var/tmp/older-directory");
    struct stat last = look("/var/tmp/older-directory");
    eventually("the clock goes on", [&] { return wallMs() > last.st_mtim.tv_sec * 1000 + last.st_mtim.tv_nsec / 1'000'000 + 1; });
    TemporaryScope scope{.uid = user, .began_ms = wallMs(), .held = {"/var/tmp/older-open", "/var/tmp/work", "/var/tmp/of-a-deleted-file/?", "/var/tmp/foreign"}};
    make("/var/tmp/foreign", "x", other, 0644);
    make("/dev/shm/young", "x");
    make("/dev/shm/foreign", "x", other, 0666);
    make("/var/tmp/older-directory/young", "x");
    make("/var/tmp/runs-as-me", "x", user, 04755);
    auto found = findTemporaries(scope);
    CHECK_EQUAL(pathsOf(found.taken), std::string("/var/tmp/of-a-deleted-file /var/tmp/older-directory /var/tmp/older-directory/young /var/tmp/older-open /var/tmp/work /var/tmp/work/inside /dev/shm/young "));
    CHECK_EQUAL(found.left.size(), 2u);
    CHECK(has(found.left[0].path + found.left[0].why, "/var/tmp/runs-as-meit runs with the rights"));
    CHECK(has(found.left[1].path + found.left[1].why, "/var/tmp/foreignit is not the user's own"));
    scope.uid = 0;
    CHECK(findTemporaries(scope).taken.empty());
  });
}

TEST("files, holes, pipes, links, permissions and times come back on another node") {
  needCell();
  Workplace at;
  constexpr off_t huge = 1ll << 40;
  inNode([&] {
    const int64_t began = wallMs();
    makeDirectory("/var/tmp/closed", user, 0700);
    make("/var/tmp/closed/text", "some text", user, 0640);
    CHECK_EQUAL(symlink("text", "/var/tmp/closed/link"), 0);
    CHECK_EQUAL(lchown("/var/tmp/closed/link", user, user), 0);
    CHECK_EQUAL(mkfifo("/var/tmp/closed/pipe", 0600), 0);
    CHECK_EQUAL(chown("/var/tmp/closed/pipe", user, user), 0);
    make("/dev/shm/empty", "", user, 0444);
    make("/dev/shm/holes", "begin");
    Fd holes(open("/dev/shm/holes", O_WRONLY | O_CLOEXEC));
    CHECK_EQUAL(pwrite(holes.get(), "middle", 6, huge / 2), 6);
    CHECK_EQUAL(ftruncate(holes.get(), huge), 0);
    CHECK_EQUAL(link("/dev/shm/holes", "/var/tmp/elsewhere"), -1);  // another file system
    CHECK_EQUAL(link("/dev/shm/holes", "/dev/shm/other-name"), 0);
    const timespec times[2] = {{.tv_sec = 1'000'000'000, .tv_nsec = 123'456'789}, {.tv_sec = 1'000'000'000, .tv_nsec = 123'456'789}};
    for (const char* path : {"/var/tmp/closed/text", "/var/tmp/closed"}) CHECK_EQUAL(utimensat(AT_FDCWD, path, times, 0), 0);
    CHECK_EQUAL(chmod("/var/tmp/closed", 0500), 0);
    keepText(at, store(at, {.began_ms = began, .held = {}}));
  });
  CHECK(look(at.path + "/temporary.img").st_size < 100'000);
  inNode([&] {
    const Manifest manifest = keptManifest(at);
    for (int round = 0; round < 2; ++round) {  // the second time it is all there
      CHECK_EQUAL(put(at, manifest), std::string());
      auto directory = look("/var/tmp/closed"), text = look("/var/tmp/closed/text"), holes = look("/dev/shm/holes");
      CHECK_EQUAL(directory.st_mode, 0500u | S_IFDIR);
      CHECK_EQUAL(directory.st_mtim.tv_nsec, 123'456'789);
      CHECK_EQUAL(directory.st_uid, user);
      CHECK_EQUAL(text.st_mode, 0640u | S_IFREG);
      CHECK_EQUAL(text.st_mtim.tv_nsec, 123'456'789);
      CHECK_EQUAL(text.st_uid, user);
      CHECK_EQUAL(text.st_gid, user);
      CHECK_EQUAL(readFile("/var/tmp/closed/link"), std::string("some text"));
      CHECK(S_ISFIFO(look("/var/tmp/closed/pipe").st_mode));
      CHECK_EQUAL(look("/dev/shm/empty").st_mode, 0444u | S_IFREG);
      CHECK_EQUAL(holes.st_size, huge);
      CHECK(holes.st_blocks * 512 < 100'000);
      CHECK_EQUAL(look("/dev/shm/other-name").st_ino, holes.st_ino);
      char words[7] = {};
      CHECK_EQUAL(pread(Fd(open("/dev/shm/holes", O_RDONLY | O_CLOEXEC)).get(), words, 6, huge / 2), 6);
      CHECK_EQUAL(std::string(words), std::string("middle"));
    }
  });
}

TEST("more than may go along stays, and is asked for by name, size and node") {
  needCell();
  Workplace at;
  inNode([&] {
    make("/var/tmp/large", std::string(3 << 20, 'x'));
    make("/var/tmp/small", "y");
    const auto manifest = store(at, {.began_ms = 1, .bytes_max = 1 << 20, .held = {"/var/tmp/large"}});
    CHECK_EQUAL(pathsOf(manifest.temporaries.taken), std::string("/var/tmp/small "));
    CHECK_EQUAL(put(at, manifest), std::string());
    keepText(at, manifest);
  });
  inNode([&] {
    const std::string why = put(at, keptManifest(at));
    CHECK(has(why, "XOS_CHECKPOINT_FILE: it needs '/var/tmp/large' (3 MiB), which stayed on node 'n1'"));
    CHECK_EQUAL(look("/var/tmp/small").st_nlink, 0u);
  });
}

TEST("a file that the tree has is made as it was, another that is there stays as it is") {
  needCell();
  Workplace at;
  inNode([&] {
    make("/var/tmp/open", "before");
    make("/var/tmp/closed", "before");
    CHECK_EQUAL(link("/var/tmp/open", "/var/tmp/open-too"), 0);
    const auto manifest = store(at, {.began_ms = 1, .held = {"/var/tmp/open"}});
    make("/var/tmp/open", "changed since");
    make("/var/tmp/closed", "changed since");
    CHECK_EQUAL(unlink("/var/tmp/open-too"), 0);
    make("/var/tmp/open-too", "changed since");
    CHECK_EQUAL(put(at, manifest), std::string());
    CHECK_EQUAL(readFile("/var/tmp/open"), std::string("before"));
    CHECK_EQUAL(readFile("/var/tmp/closed"), std::string("changed since"));
    const auto inode = look("/var/tmp/open").st_ino;
    CHECK_EQUAL(look("/var/tmp/open-too").st_ino, inode);
    CHECK_EQUAL(put(at, manifest), std::string());
    CHECK_EQUAL(look("/var/tmp/open").st_ino, inode);
  });
}

TEST("contents that were changed or cut are refused, and nothing of them is seen") {
  needCell();
  Workplace at;
  inNode([&] {
    make("/var/tmp/one", std::string(100'000, 'x'));
    make("/var/tmp/two", "y");
    keepText(at, store(at, {.began_ms = 1, .held = {}}));
  });
  inNode([&] {
    const Manifest manifest = keptManifest(at);
    const std::string image = at.path + "/temporary.img";
    Fd file(open(image.c_str(), O_RDWR | O_CLOEXEC));
    CHECK_EQUAL(pwrite(file.get(), "z", 1, 100'000), 1);
    CHECK(has(put(at, manifest), "XOS_CHECKPOINT_DAMAGED: its file 'temporary.img' was changed"));
    CHECK_EQUAL(pwrite(file.get(), "y", 1, 100'000), 1);
    CHECK_EQUAL(ftruncate(file.get(), 5), 0);
    CHECK(has(put(at, manifest), "XOS_CHECKPOINT_DAMAGED: "));
    CHECK_EQUAL(unlink(image.c_str()), 0);
    CHECK_EQUAL(symlink("/etc/shadow", image.c_str()), 0);
    CHECK(!put(at, manifest).empty());
    CHECK(filesIn(Fd(open("/var/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)).get()).empty());
    // Right by its checksum, and shorter than the extents say: found at the end, and taken away again.
    Manifest longer = manifest;
    CHECK_EQUAL(unlink(image.c_str()), 0);
    make(image, "");
    for (auto& one : longer.files) one.size = 0, one.crc32c = 0;
    CHECK(has(put(at, longer), "shorter than what should be in it"));
    CHECK(filesIn(Fd(open("/var/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)).get()).empty());
  });
}

TEST("links, foreign files and impossible names in the way are refused, and lead nowhere") {
  needCell();
  Workplace at;
  inNode([&] {
    makeDirectory("/var/tmp/directory");
    make("/var/tmp/directory/file", "content");
    make("/var/tmp/open", "content");
    keepText(at, store(at, {.began_ms = 1, .held = {"/var/tmp/open"}}));
  });
  inNode([&] {
    const Manifest manifest = keptManifest(at);
    const std::string elsewhere = at.path + "/elsewhere";
    makeDirectory(elsewhere, user);
    CHECK_EQUAL(symlink(elsewhere.c_str(), "/var/tmp/directory"), 0);
    CHECK(has(put(at, manifest), "'/var/tmp/directory', and on this node there is something else of that name"));
    CHECK_EQUAL(unlink("/var/tmp/directory"), 0);
    makeDirectory("/var/tmp/directory", other, 0777);
    CHECK(has(put(at, manifest), "there is something else of that name"));
    CHECK_EQUAL(rmdir("/var/tmp/directory"), 0);
    make("/var/tmp/open", "of another", other, 0666);
    CHECK(has(put(at, manifest), "'/var/tmp/open', and on this node there is something else of that name"));
    CHECK_EQUAL(readFile("/var/tmp/open"), std::string("of another"));
    CHECK_EQUAL(look("/var/tmp/directory").st_nlink, 0u);  // made before it failed, and gone again
    CHECK_EQUAL(unlink("/var/tmp/open"), 0);
    CHECK_EQUAL(symlink((elsewhere + "/made").c_str(), "/var/tmp/open"), 0);
    CHECK(has(put(at, manifest), "there is something else of that name"));
    CHECK_EQUAL(unlink("/var/tmp/open"), 0);
    CHECK(filesIn(Fd(open(elsewhere.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)).get()).empty());
    for (const std::string& path : {std::string("/etc/xos-test"), std::string("/var/tmp/../../etc/xos-test"), std::string("/var/tmp/directory/../x"), std::string("/var/tmp//x"), std::string("/var/tmp/"),
                                    std::string("/tmp"), std::string("/var/tmp/a\0b", 12)}) {
      Manifest forged = manifest;
      forged.temporaries.taken.push_back({.kind = TemporaryFile::Kind::fifo, .path = path, .extents = {}, .target = ""});
      CHECK(has(put(at, forged), "XOS_CHECKPOINT_DAMAGED"));
    }
    CHECK_EQUAL(look("/etc/xos-test").st_nlink, 0u);
    // Nobody gets rights by it that he has not: no set-user-ID, nothing where only root may write.
    Manifest forged = manifest;
    for (auto& file : forged.temporaries.taken) file.mode |= 06000;
    makeDirectory("/var/tmp/roots", 0, 0755);
    forged.temporaries.taken.push_back({.kind = TemporaryFile::Kind::fifo, .path = "/var/tmp/roots/pipe", .extents = {}, .target = ""});
    CHECK(has(put(at, forged), "that place belongs to somebody else"));
    forged.temporaries.taken.pop_back();
    CHECK_EQUAL(put(at, forged), std::string());
    CHECK_EQUAL(look("/var/tmp/open").st_mode, 0600u | S_IFREG);
    CHECK_EQUAL(look("/var/tmp/directory").st_mode, 0700u | S_IFDIR);
    forged.facts.uid = 0;
    CHECK(has(put(at, forged), "XOS_CHECKPOINT_DAMAGED"));
  });
}

TEST("killed in the middle it leaves whole files or none, and can be done again") {
  needCell();
  Workplace at;
  constexpr int count = 60;
  const std::string content(200'000, 'c');
  inNode([&] {
    makeDirectory("/var/tmp/d");
    for (int i = 0; i < count; ++i) make("/var/tmp/d/" + std::to_string(i), content);
    keepText(at, store(at, {.began_ms = 1, .held = {}}));
  });
  inNode([&] {
    const Manifest manifest = keptManifest(at);
    int cut = 0;
    for (int round = 0; round < 12; ++round) {
      CHECK_EQUAL(system("rm -rf /var/tmp/d"), 0);
      const pid_t child = fork();
      if (child == 0) _exit(put(at, manifest).empty() ? 0 : 1);
      const std::string last = "/var/tmp/d/" + std::to_string(round * count / 12);
      eventually("it is at work", [&] { return look(last).st_nlink > 0 || waitpid(child, nullptr, WNOHANG) != 0; });
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
      const auto there = filesIn(Fd(open("/var/tmp/d", O_RDONLY | O_DIRECTORY | O_CLOEXEC)).get());
      cut += there.size() < count;
      for (auto& name : there) CHECK(readFile("/var/tmp/d/" + name) == content);
      CHECK_EQUAL(put(at, manifest), std::string());
      for (int i = 0; i < count; ++i) CHECK(readFile("/var/tmp/d/" + std::to_string(i)) == content);
    }
    CHECK(cut > 0);
  });
}

TEST("a job with a pipe, shared memory, a semaphore and a socket there goes on on another node") {
  needCell();
  Workplace at;
  const std::string program = R"(
import ctypes, mmap, os, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.sem_open.restype = ctypes.c_void_p
semaphore = ctypes.c_void_p(libc.sem_open(b'/of-the-job', os.O_CREAT, 0o600, 3))
libc.shm_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint]
memory = libc.shm_open(b'/memory-of-the-job', os.O_CREAT | os.O_RDWR, 0o600)
os.ftruncate(memory, 1 << 20)
shared = mmap.mmap(memory, 1 << 20)
os.close(memory)
shared[500000:500004] = b'kept'
os.mkdir('/var/tmp/job')
os.mkfifo('/var/tmp/job/pipe')
pipe = os.open('/var/tmp/job/pipe', os.O_RDWR)
os.write(pipe, b'tokens')
server = socket.socket(socket.AF_UNIX)
server.bind('/var/tmp/job/socket')
server.listen()
client = socket.socket(socket.AF_UNIX)
client.connect('/var/tmp/job/socket')
held = server.accept()[0]
open('/var/tmp/job/closed', 'w').write('between two programs')
print('ready', flush=True)
sys.stdin.readline()
client.send(b'hello')
late = socket.socket(socket.AF_UNIX)
late.connect('/var/tmp/job/socket')
for _ in range(3): assert libc.sem_trywait(semaphore) == 0
assert libc.sem_trywait(semaphore) == -1
assert libc.sem_post(semaphore) == 0
once_more = ctypes.c_void_p(libc.sem_open(b'/of-the-job', 0))
assert libc.sem_trywait(once_more) == 0 and libc.sem_trywait(semaphore) == -1
again = libc.shm_open(b'/memory-of-the-job', os.O_RDWR, 0)
os.pwrite(again, b'seen', 600000)
print(os.read(pipe, 100), held.recv(10), shared[500000:500004], shared[600000:600004], open('/var/tmp/job/closed').read(), os.listdir('/var/tmp'), 'end', flush=True)
)";
  inNode([&] {
    DumpRequest request;
    const int64_t began = wallMs();
    Job job = start({"python3", "-u", "-c", program}, Wanted::pipes, user);
    expect(job.out.get(), "ready");
    request = dumpRequest(at, job);
    request.facts.uid = request.facts.gid = user;
    request.began_ms = began;
    lendRealIds();
    auto result = dump(request, {});
    if (auto* failure = std::get_if<xos::checkpoint::Failure>(&result)) xos::test::fail(__FILE__, __LINE__, explain(*failure));
    CHECK(WIFSIGNALED(waitFor(job.pid)));
  });
  inNode([&] {
    lendRealIds();
    Job job = mustRestore(at);
    type(job.in.get(), "\n");
    const std::string all = expect(job.out.get(), " end\n");
    if (!has(all, "b'tokens' b'hello' b'kept' b'seen' between two programs ['job'] end\n")) xos::test::fail(__FILE__, __LINE__, all);
    CHECK_EQUAL(waitFor(job.pid), 0);
  });
}

TEST_MAIN
