// Checksums of objects: what is corrupt is found and never given, and what a killed process or a lost machine left is no corruption.
#include "object_store.h"

#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <vector>

#include "data_sums.h"

using namespace xos::fs;

namespace {

struct Directory {
  Directory() { CHECK(mkdtemp(path) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string object(uint64_t file) const {
    char name[64];
    snprintf(name, sizeof name, "/objects/%02lx/%04lx/%016lx", file >> 24, (file >> 8) & 0xffff, file);
    return path + std::string(name);
  }
  char path[32] = "/tmp/xos-object-XXXXXX";
};

void flip(const std::string& path, off_t at) {
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  char c;
  CHECK_EQUAL(pread(fd, &c, 1, at), 1);
  c ^= 4;
  CHECK_EQUAL(pwrite(fd, &c, 1, at), 1);
  close(fd);
}

const auto go_on = [](uint32_t) { return true; };

std::string pattern(size_t bytes, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string s(bytes, '\0');
  for (char& c : s) c = static_cast<char>(random());
  return s;
}

}  // namespace

TEST("sums of a range are those of its parts as blocks cut it") {
  std::string data = pattern(20000);
  for (uint64_t offset : {0ull, 1ull, 4095ull, 4096ull, 9000ull})
    for (size_t bytes : {1u, 4095u, 4096u, 4097u, 12288u, 20000u}) {
      std::vector<uint32_t> sums;
      sums_of(offset, {data.data(), bytes}, sums);
      CHECK_EQUAL(sums.size(), sums_count(offset, bytes));
      CHECK(sums_match(offset, {data.data(), bytes}, reinterpret_cast<char*>(sums.data())));
      sums.back() ^= 1;
      CHECK(!sums_match(offset, {data.data(), bytes}, reinterpret_cast<char*>(sums.data())));
    }
}

TEST("a corrupt block is EIO wherever it lies, its neighbours are read, a new one heals it") {
  for (uint64_t block : {0ull, 3ull, 19ull, 20ull, 70ull}) {
    Directory d;
    Extent e;
    std::string data = pattern(80 * block_bytes + 100), got(data.size(), '\0');
    ObjectStore s(d.path);
    CHECK_EQUAL(s.write(7, 0, data.data(), static_cast<uint32_t>(data.size()), e), 0);
    flip(d.object(7), static_cast<off_t>(block * block_bytes + 17));
    CHECK_EQUAL(s.read(7, 0, got.data(), static_cast<uint32_t>(got.size())), -EIO);
    CHECK_EQUAL(s.read(7, block * block_bytes + 4000, got.data(), 10), -EIO);  // not the byte that is wrong, but its block
    CHECK_EQUAL(s.read(7, (block + 1) * block_bytes, got.data(), 5000), 5000);
    CHECK(got.substr(0, 5000) == data.substr((block + 1) * block_bytes, 5000));
    CHECK_EQUAL(s.corrupt().size(), 1u);
    CHECK_EQUAL(s.corrupt()[0].block, block);
    int fd;
    CHECK_EQUAL(s.lend(7, false, fd), -EIO);
    // What keeps a part of a corrupt block would make it look right.
    CHECK_EQUAL(s.write(7, block * block_bytes + 5, "x", 1, e), -EIO);
    CHECK_EQUAL(s.truncate(7, block * block_bytes + 5, e), -EIO);
    CHECK_EQUAL(s.allocate(7, Allocate::punch, block * block_bytes + 5, 10, e), -EIO);
    CHECK_EQUAL(s.write(7, block * block_bytes, data.data(), block_bytes, e), 0);
    CHECK_EQUAL(s.read(7, block * block_bytes, got.data(), block_bytes), static_cast<int64_t>(block_bytes));
    CHECK_EQUAL(s.corrupt().size(), 0u);
  }
}

TEST("a short last block and a hole are verified too") {
  Directory d;
  Extent e;
  ObjectStore s(d.path);
  CHECK_EQUAL(s.write(7, 10 * block_bytes, "tail", 4, e), 0);
  char buffer[100];
  CHECK_EQUAL(s.read(7, 0, buffer, 100), 100);
  flip(d.object(7), 10 * block_bytes + 1);
  CHECK_EQUAL(s.read(7, 10 * block_bytes, buffer, 100), -EIO);
  flip(d.object(7), 10 * block_bytes + 1);
  CHECK_EQUAL(s.read(7, 10 * block_bytes, buffer, 100), 4);
  flip(d.object(7), 2 * block_bytes);
  CHECK_EQUAL(s.read(7, 2 * block_bytes, buffer, 100), -EIO);
}

TEST("a short last block that is corrupt is healed by writing all that there is of it, also when it grows by that") {
  for (uint64_t block : {0ull, 3ull, 40ull})
    for (uint64_t more : {0ull, 50ull, 7ull + block_bytes}) {
      Directory d;
      Extent e;
      ObjectStore s(d.path);
      const std::string data = pattern(block * block_bytes + 100), anew = pattern(100 + more);
      std::string got(data.size() + size_t{2} * block_bytes, '\0');
      CHECK_EQUAL(s.write(7, 0, data.data(), static_cast<uint32_t>(data.size()), e), 0);
      flip(d.object(7), static_cast<off_t>(block * block_bytes + 99));
      CHECK_EQUAL(s.read(7, 0, got.data(), static_cast<uint32_t>(data.size())), -EIO);
      CHECK_EQUAL(s.write(7, block * block_bytes, "x", 1, e), -EIO);
      CHECK_EQUAL(s.write(7, block * block_bytes, anew.data(), 99, e), -EIO);
      CHECK_EQUAL(s.write(7, block * block_bytes, anew.data(), static_cast<uint32_t>(anew.size()), e), 0);
      CHECK_EQUAL(s.corrupt().size(), 0u);
      CHECK_EQUAL(s.read(7, block * block_bytes, got.data(), static_cast<uint32_t>(got.size())), static_cast<int64_t>(anew.size()));
      CHECK(got.substr(0, anew.size()) == anew);
      CHECK_EQUAL(s.scrub(7, [](uint32_t) { return true; }), 0);
    }
}

TEST("scrub finds what nobody reads, and all of it") {
  Directory d;
  Extent e;
  ObjectStore s(d.path);
  std::string data = pattern(3 << 20);
  CHECK_EQUAL(s.write(1, 0, data.data(), static_cast<uint32_t>(data.size()), e), 0);
  CHECK_EQUAL(s.write(2, 0, data.data(), 1000, e), 0);
  CHECK_EQUAL(s.scrub(1, go_on), 0);
  flip(d.object(1), 5);
  flip(d.object(1), 2 << 20);
  flip(d.object(2), 999);
  CHECK_EQUAL(s.scrub(1, go_on), -EIO);
  CHECK_EQUAL(s.scrub(2, go_on), -EIO);
  CHECK_EQUAL(s.scrub(3, go_on), -ENOENT);
  CHECK_EQUAL(s.corrupt().size(), 3u);
  CHECK_EQUAL(s.scrub(1, [](uint32_t) { return false; }), -ECANCELED);
  std::vector<uint64_t> files;
  s.for_each_file([&](uint64_t f) { return files.push_back(f), true; });
  CHECK_EQUAL(files.size(), 2u);
  CHECK_EQUAL(s.remove(1), 0);
  CHECK_EQUAL(s.corrupt().size(), 1u);
}

TEST("a process killed in the middle of writing leaves no corruption") {
  Directory d;
  for (int round = 0; round < 25; ++round) {
    pid_t child = fork();
    if (child == 0) {
      ObjectStore s(d.path);
      std::mt19937 random(static_cast<unsigned>(round));
      std::string data = pattern(200000, static_cast<unsigned>(round));
      for (;;) {
        Extent e;
        uint32_t bytes = random() % 150000 + 1;
        if (random() % 20 == 0) s.truncate(5, random() % 400000, e);
        else if (random() % 20 == 0) s.allocate(5, Allocate::punch, random() % 400000, bytes, e);
        else s.write(5, random() % 400000, data.data() + random() % 40000, bytes, e);
      }
    }
    usleep(3000 + static_cast<unsigned>(round) * 700);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ObjectStore s(d.path);
    Extent e;
    CHECK_EQUAL(s.extent(5, e), 0);
    std::string got(e.bytes, '\0');
    CHECK_EQUAL(s.read(5, 0, got.data(), static_cast<uint32_t>(e.bytes)), static_cast<int64_t>(e.bytes));
    CHECK(s.corrupt().empty());
  }
}

TEST("corruption is found by the next process, and after a seal also in another boot's files") {
  Directory d;
  Extent e;
  std::string data = pattern(100000);
  {
    ObjectStore s(d.path);
    CHECK_EQUAL(s.write(1, 0, data.data(), 100000, e), 0);
    CHECK_EQUAL(s.write(2, 0, data.data(), 100000, e), 0);
    CHECK_EQUAL(s.unsealed(0).size(), 2u);
    s.rest({1}, go_on);
    CHECK_EQUAL(s.unsealed(0).size(), 1u);
  }
  // Both slots as another boot of the machine would have left them.
  std::string sums = d.object(1).substr(0, d.object(1).rfind('/')) + "/sums";
  int fd = open(sums.c_str(), O_RDWR | O_CLOEXEC);
  for (off_t file : {1, 2}) {
    SumSlot slot;
    CHECK_EQUAL(pread(fd, &slot, sizeof slot, file * 128), 128);
    slot.era ^= 2;
    slot.check = 0;
    slot.check = xos::crc32c(0, &slot, sizeof slot);
    CHECK_EQUAL(pwrite(fd, &slot, sizeof slot, file * 128), 128);
  }
  close(fd);
  struct stat before;
  CHECK_EQUAL(stat(d.object(1).c_str(), &before), 0);
  flip(d.object(1), 50);
  flip(d.object(2), 50);
  timespec times[2] = {before.st_atim, before.st_mtim};  // a disk that rots does not touch the time
  CHECK_EQUAL(utimensat(AT_FDCWD, d.object(1).c_str(), times, 0), 0);
  ObjectStore s(d.path);
  char buffer[100];
  CHECK_EQUAL(s.read(1, 0, buffer, 100), -EIO);
  // Never sealed: the disk may hold any mixture of what was written last, so it is summed as it is.
  CHECK_EQUAL(s.read(2, 0, buffer, 100), 100);
  s.rest({2}, go_on);
  flip(d.object(2), 60);
  CHECK_EQUAL(s.read(2, 0, buffer, 100), -EIO);
}

TEST("many files are sealed at once, and what is written meanwhile is not") {
  Directory d;
  Extent e;
  ObjectStore s(d.path);
  std::vector<uint64_t> files;
  for (uint64_t file = 1; file <= 300; ++file) {
    CHECK_EQUAL(s.write(file, 0, "data", 4, e), 0);
    files.push_back(file);
  }
  CHECK_EQUAL(s.remove(300), 0);
  s.rest(files, go_on);
  CHECK_EQUAL(s.unsealed(0).size(), 0u);
  CHECK_EQUAL(s.write(5, 0, "more", 4, e), 0);
  CHECK_EQUAL(s.unsealed(0).size(), 1u);
}

TEST("what was found corrupt is not lent by the next process either") {
  Directory d;
  Extent e;
  int fd = -1;
  {
    ObjectStore s(d.path);
    CHECK_EQUAL(s.write(1, 0, "data", 4, e), 0);
    flip(d.object(1), 2);
    char buffer[4];
    CHECK_EQUAL(s.read(1, 0, buffer, 4), -EIO);
  }
  ObjectStore s(d.path);
  CHECK_EQUAL(s.lend(1, false, fd), -EAGAIN);
  flip(d.object(1), 2);
  CHECK_EQUAL(s.scrub(1, go_on), 0);
  CHECK_EQUAL(s.lend(1, false, fd), 0);
  close(fd);
}

TEST("a damaged slot is no reason to refuse data, and is made anew") {
  Directory d;
  Extent e;
  { ObjectStore s(d.path); CHECK_EQUAL(s.write(1, 0, "data", 4, e), 0); }
  flip(d.object(1).substr(0, d.object(1).rfind('/')) + "/sums", 128 + 60);
  ObjectStore s(d.path);
  char buffer[10];
  CHECK_EQUAL(s.read(1, 0, buffer, 10), 4);
  s.rest({1}, go_on);
  flip(d.object(1), 0);
  CHECK_EQUAL(s.read(1, 0, buffer, 10), -EIO);
}

TEST("a lent object is summed when nobody has it open any more, and its inode is not used again while one has") {
  Directory d;
  Extent e;
  signal(SIGIO, SIG_IGN);
  ObjectStore s(d.path);
  std::string data = pattern(300000);
  CHECK_EQUAL(s.write(1, 0, data.data(), 300000, e), 0);
  int fd = -1;
  CHECK_EQUAL(s.lend(9, true, fd), -ENOENT);
  CHECK_EQUAL(s.lend(1, true, fd), 0);
  CHECK_EQUAL(pwrite(fd, "written past the store", 22, 299990), 22);
  CHECK_EQUAL(s.extent(1, e), 0);
  CHECK_EQUAL(e.bytes, 300012u);
  char buffer[30];
  CHECK_EQUAL(s.read(1, 299990, buffer, 30), 22);
  CHECK_EQUAL(s.write(1, 10, "and by it", 9, e), 0);
  CHECK_EQUAL(s.scrub(1, go_on), -EAGAIN);
  CHECK_EQUAL(s.remove(1), 0);
  CHECK_EQUAL(s.write(2, 0, "another file", 12, e), 0);
  CHECK_EQUAL(pread(fd, buffer, 22, 299990), 22);
  CHECK_EQUAL(std::string(buffer, 22), "written past the store");
  close(fd);
  CHECK_EQUAL(s.lend(2, true, fd), 0);
  CHECK_EQUAL(pwrite(fd, "ANOTHER", 7, 0), 7);
  close(fd);
  s.rest({2}, go_on);
  CHECK_EQUAL(s.read(2, 0, buffer, 30), 12);
  CHECK_EQUAL(std::string(buffer, 12), "ANOTHER file");
  flip(d.object(2), 3);
  CHECK_EQUAL(s.read(2, 0, buffer, 30), -EIO);
}

TEST("a full disk is ENOSPC and leaves what was there right") {
  Directory d;
  if (mount("tmpfs", d.path, "tmpfs", 0, "size=2m") != 0) SKIP("no right to mount a tmpfs");
  struct Unmount {
    const char* path;
    ~Unmount() { umount2(path, MNT_DETACH); }
  } unmount{d.path};
  ObjectStore s(d.path);
  Extent e;
  std::string data = pattern(64 << 10);
  CHECK_EQUAL(s.write(1, 0, data.data(), 50000, e), 0);
  int r = 0;
  uint64_t at = 0;
  while ((r = s.write(2, at, data.data(), 64 << 10, e)) == 0) at += 64 << 10;
  CHECK_EQUAL(r, -ENOSPC);
  CHECK(at > 1 << 20);
  // One after the other into what is left: slots and sums must not get out of step with data.
  std::mt19937 random(5);
  for (int i = 0; i < 400; ++i) {
    uint64_t file = random() % 300 + 3;
    r = random() % 3 ? s.write(file, random() % 300000, data.data(), random() % 60000 + 1, e) : s.append(file, data.data(), random() % 9000 + 1, at, e);
    CHECK(r == 0 || r == -ENOSPC);
    if (random() % 20 == 0) CHECK_EQUAL(s.remove(random() % 300 + 3), 0);
  }
  std::string got(50000, '\0');
  CHECK_EQUAL(s.read(1, 0, got.data(), 50000), 50000);
  CHECK(got == data.substr(0, 50000));
  s.for_each_file([&](uint64_t file) {
    CHECK_EQUAL(s.extent(file, e), 0);
    std::string all(e.bytes, '\0');
    CHECK_EQUAL(s.read(file, 0, all.data(), static_cast<uint32_t>(e.bytes)), static_cast<int64_t>(e.bytes));
    return true;
  });
  CHECK(s.corrupt().empty());
  CHECK_EQUAL(s.remove(2), 0);
  CHECK_EQUAL(s.write(4, 0, data.data(), 64 << 10, e), 0);
}

TEST_MAIN
