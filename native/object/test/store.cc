#include "object_store.h"

#include "test.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <unistd.h>
#include <filesystem>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "stripe.h"

using namespace xos::fs;

namespace {

struct Directory {
  Directory() { CHECK(mkdtemp(path) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path); }
  char path[32] = "/tmp/xos-object-XXXXXX";
};

std::string read_file(ObjectStore& s, uint64_t file, uint64_t size, uint32_t piece = 4096) {
  std::string all(size, '\0');
  for (uint64_t at = 0; at < size; at += piece) {
    int64_t n = s.read(file, at, all.data() + at, static_cast<uint32_t>(std::min<uint64_t>(piece, size - at)));
    CHECK(n >= 0);
  }
  return all;
}

size_t objects_on_disk(const std::string& directory) {
  size_t files = 0;
  for (auto& f : std::filesystem::recursive_directory_iterator(directory + "/objects")) files += f.is_regular_file() && f.path().filename() != "sums";
  return files;
}

}  // namespace

TEST("what was written is read, also by the next process") {
  Directory d;
  Extent e;
  {
    ObjectStore s(d.path);
    CHECK_EQUAL(s.write(5, 10, "hello", 5, e), 0);
    CHECK_EQUAL(e.bytes, 15u);
    CHECK_EQUAL(s.write(5, 50000, "far", 3, e), 0);
    CHECK_EQUAL(e.bytes, 50003u);
  }
  ObjectStore s(d.path);
  CHECK_EQUAL(s.extent(5, e), 0);
  CHECK_EQUAL(e.bytes, 50003u);
  CHECK_EQUAL(s.space().objects, 1u);
  char buffer[20];
  CHECK_EQUAL(s.read(5, 10, buffer, 5), 5);
  CHECK_EQUAL(std::string(buffer, 5), "hello");
  CHECK_EQUAL(s.read(5, 50000, buffer, 20), 3);
  CHECK_EQUAL(s.read(5, 60000, buffer, 20), 0);
  CHECK_EQUAL(s.read(6, 0, buffer, 20), 0);
  CHECK_EQUAL(s.extent(6, e), 0);
  CHECK_EQUAL(e.bytes, 0u);
}

TEST("random writes, cuts, holes and extensions agree with a plain string") {
  Directory d;
  ObjectStore s(d.path, 4);
  std::mt19937 random(7);
  std::string model;
  const uint64_t longest = 150000;  // with checksums beside the slot and behind it
  for (int i = 0; i < 3000; ++i) {
    Extent e;
    if (random() % 10 == 0) {
      uint64_t size = random() % longest;
      CHECK_EQUAL(s.truncate(9, size, e), 0);
      model.resize(size);
    } else if (random() % 10 == 0 && !model.empty()) {
      uint64_t at = random() % model.size(), bytes = random() % 30000 + 1;
      CHECK_EQUAL(s.allocate(9, random() % 2 ? Allocate::punch : Allocate::zero_keep_size, at, bytes, e), 0);
      model.replace(at, std::min<uint64_t>(bytes, model.size() - at), std::string(std::min<uint64_t>(bytes, model.size() - at), '\0'));
    } else if (random() % 10 == 0) {
      uint64_t at = random() % longest, bytes = random() % 9000 + 1;
      bool zero = random() % 2;
      CHECK_EQUAL(s.allocate(9, zero ? Allocate::zero : Allocate::extend, at, bytes, e), 0);
      if (model.size() < at + bytes) model.resize(at + bytes);
      if (zero) model.replace(at, bytes, std::string(bytes, '\0'));
    } else if (random() % 10 == 0 && model.size() < 2 * longest) {
      std::string piece(random() % 9000 + 1, static_cast<char>('a' + random() % 26));
      uint64_t at = 0;
      CHECK_EQUAL(s.append(9, piece.data(), static_cast<uint32_t>(piece.size()), at, e), 0);
      CHECK_EQUAL(at, model.size());
      model += piece;
    } else {
      uint64_t at = random() % longest;
      std::string piece(random() % 20000 + 1, static_cast<char>('A' + random() % 26));
      CHECK_EQUAL(s.write(9, at, piece.data(), static_cast<uint32_t>(piece.size()), e), 0);
      if (model.size() < at + piece.size()) model.resize(at + piece.size());
      model.replace(at, piece.size(), piece);
    }
    CHECK_EQUAL(e.bytes, model.size());
    if (i % 50 == 0) CHECK(read_file(s, 9, model.size(), random() % 9000 + 100) == model);
    // Others push the file out of the table of open ones now and then.
    if (i % 7 == 0)
      for (int k = 0; k < 6; ++k) CHECK_EQUAL(s.write(100 + random() % 20, 0, "x", 1, e), 0);
  }
  CHECK(read_file(s, 9, model.size()) == model);
  CHECK_EQUAL(s.scrub(9, [](uint32_t) { return true; }), 0);
}

TEST("a range of a striped file is one range at each OSD, and sizes come back") {
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    StripePolicy p{4096u << random() % 3, static_cast<uint16_t>(random() % 4 + 1)};
    uint64_t offset = random() % 200000, bytes = random() % 100000 + 1;
    std::vector<uint64_t> next(p.width, ~0ull), total(p.width);
    uint64_t at = 0;
    for_each_piece(p, offset, bytes, [&](const StripePiece& piece) {
      CHECK_EQUAL(piece.at, at);
      CHECK_EQUAL(file_offset(p, piece.osd, piece.offset), offset + at);
      if (next[piece.osd] == ~0ull) CHECK_EQUAL(piece.offset, object_bytes(p, piece.osd, offset));
      else CHECK_EQUAL(piece.offset, next[piece.osd]);
      next[piece.osd] = piece.offset + piece.bytes;
      total[piece.osd] += piece.bytes;
      at += piece.bytes;
      return true;
    });
    CHECK_EQUAL(at, bytes);
    uint64_t size = 0;
    for (uint16_t osd = 0; osd < p.width; ++osd) {
      CHECK_EQUAL(object_bytes(p, osd, offset + bytes) - object_bytes(p, osd, offset), total[osd]);
      size = std::max(size, file_size(p, osd, object_bytes(p, osd, offset + bytes)));
    }
    CHECK_EQUAL(size, offset + bytes);
  }
}

TEST("appends of many threads neither overlap nor leave holes") {
  Directory d;
  ObjectStore s(d.path);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&s, t] {
      std::string line(100, static_cast<char>('a' + t));
      for (int i = 0; i < 200; ++i) {
        uint64_t at;
        Extent e;
        CHECK_EQUAL(s.append(3, line.data(), 100, at, e), 0);
        CHECK_EQUAL(at % 100, 0u);
      }
    });
  for (auto& t : threads) t.join();
  std::string all = read_file(s, 3, 80000);
  for (size_t i = 0; i < all.size(); i += 100) CHECK(all.substr(i, 100) == std::string(100, all[i]));
  for (char c : {'a', 'b', 'c', 'd'}) CHECK_EQUAL(std::count(all.begin(), all.end(), c), 20000);
}

TEST("reservations of appends to striped files never overlap") {
  Directory d;
  ObjectStore s(d.path);
  uint64_t a, b, c;
  CHECK_EQUAL(s.reserve(1, 1000, 10, a), 0);
  CHECK_EQUAL(s.reserve(1, 1000, 10, b), 0);
  CHECK_EQUAL(s.reserve(1, 5000, 10, c), 0);
  CHECK_EQUAL(a, 1000u);
  CHECK_EQUAL(b, 1010u);
  CHECK_EQUAL(c, 5000u);
}

TEST("removed files leave nothing behind, removing twice is no error") {
  Directory d;
  ObjectStore s(d.path);
  Extent e;
  for (uint64_t number = 0; number < 40; ++number) CHECK_EQUAL(s.write(77, number * 10000, "x", 1, e), 0);
  CHECK_EQUAL(s.sync(77), 0);
  CHECK_EQUAL(s.remove(77), 0);
  CHECK_EQUAL(s.remove(77), 0);
  CHECK_EQUAL(s.space().objects, 0u);
  CHECK_EQUAL(objects_on_disk(d.path), 0u);
  CHECK_EQUAL(s.write(77, 0, "new", 3, e), 0);
  CHECK_EQUAL(e.bytes, 3u);
}

TEST("a file that is used again shows nothing of the one before, also after a restart") {
  Directory d;
  Extent e;
  char buffer[100];
  {
    ObjectStore s(d.path);
    CHECK_EQUAL(s.write(1, 0, "secret of another user", 22, e), 0);
    CHECK_EQUAL(s.remove(1), 0);
    CHECK_EQUAL(s.write(2, 10, "x", 1, e), 0);
    CHECK_EQUAL(s.read(2, 0, buffer, 100), 11);
    CHECK_EQUAL(std::string(buffer, 11), std::string(10, '\0') + "x");
    CHECK_EQUAL(s.remove(2), 0);
  }
  ObjectStore s(d.path);
  CHECK_EQUAL(s.space().objects, 0u);
  CHECK_EQUAL(s.read(2, 0, buffer, 100), 0);
  CHECK_EQUAL(s.write(3, 0, "y", 1, e), 0);
  CHECK_EQUAL(s.write(4, 0, "z", 1, e), 0);
  CHECK_EQUAL(s.read(3, 0, buffer, 100), 1);
  CHECK_EQUAL(s.space().objects, 2u);
  CHECK_EQUAL(s.remove(3), 0);
  CHECK_EQUAL(s.read(4, 0, buffer, 100), 1);
}

TEST("data and holes are found, and offsets beyond the limit refused") {
  Directory d;
  ObjectStore s(d.path);
  Extent e;
  uint64_t at = 0;
  CHECK_EQUAL(s.seek(8, 0, false, at), -ENXIO);
  CHECK_EQUAL(s.write(8, 1 << 20, "data", 4, e), 0);
  CHECK_EQUAL(s.seek(8, 0, false, at), 0);
  CHECK_EQUAL(at, 1u << 20);
  CHECK_EQUAL(s.seek(8, 0, true, at), 0);
  CHECK_EQUAL(at, 0u);
  CHECK_EQUAL(s.seek(8, 1 << 20, true, at), 0);
  CHECK_EQUAL(at, (1u << 20) + 4);
  CHECK_EQUAL(s.write(8, object_bytes_max, "x", 1, e), -EFBIG);
  CHECK_EQUAL(s.write(8, ~0ull, "x", 1, e), -EFBIG);
  CHECK_EQUAL(s.truncate(8, ~0ull, e), -EFBIG);
  CHECK_EQUAL(s.allocate(8, Allocate::punch, ~0ull - 5, 10, e), -EFBIG);
  CHECK_EQUAL(s.allocate(8, Allocate::extend, 0, 0, e), -EFBIG);
}

TEST("an older epoch is refused once a newer one was seen") {
  Directory d;
  ObjectStore s(d.path);
  CHECK(s.admit_epoch(4, 2));
  CHECK(s.admit_epoch(4, 2));
  CHECK(!s.admit_epoch(4, 1));
  CHECK(s.admit_epoch(4, 3));
  CHECK(!s.admit_epoch(4, 2));
}

TEST("objects are listed in the order of their numbers, in portions, with gaps and all") {
  Directory d;
  ObjectStore s(d.path);
  Extent e;
  std::set<uint64_t> made;
  std::mt19937_64 random(7);
  for (int i = 0; i < 60; ++i) made.insert(random() >> (random() % 50));
  made.insert({1, 255, 256, 0xffff, 0x10000, 0xffffff, 0x1000000, ~uint64_t{0}});
  for (uint64_t file : made) CHECK_EQUAL(s.write(file, 0, "abc", 3, e), 0);
  CHECK_EQUAL(s.write(4711, 0, std::string(200 * 4096, 'x').data(), 200 * 4096, e), 0);  // has a file of sums beside it
  made.insert(4711);
  for (size_t portion : {size_t{1}, size_t{7}, size_t{8192}}) {
    std::vector<uint64_t> found;
    bool end = false;
    for (uint64_t from = 0; !end;) {
      auto listed = s.list(from, portion, end);
      CHECK(listed.size() <= portion && (end || !listed.empty()));
      for (auto& o : listed) {
        found.push_back(o.file);
        CHECK(o.age_ms > -1000 && o.age_ms < 600000 && o.disk_bytes > 0);
      }
      if (!listed.empty() && listed.back().file == ~uint64_t{0}) break;
      if (!listed.empty()) from = listed.back().file + 1;
    }
    CHECK(found == std::vector<uint64_t>(made.begin(), made.end()));
  }
  CHECK_EQUAL(s.remove(4711), 0);
  bool end = false;
  for (auto& o : s.list(4711, 1, end)) CHECK(o.file != 4711);
}

TEST("behind a fence rights of before are refused, also after a restart, and nothing of them is under way") {
  Directory d;
  const int64_t soon = 3600 * 1000 + static_cast<int64_t>(time(nullptr)) * 1000;
  Extent e;
  {
    ObjectStore s(d.path, 2);
    CHECK_EQUAL(s.write(7, 0, "abc", 3, e), 0);
    auto inside = s.admit(7, 4);
    CHECK(static_cast<bool>(inside));
    std::atomic<bool> down{false};
    ObjectStore::Fenced fenced;
    std::thread fence([&] {
      CHECK_EQUAL(s.fence(7, 5, soon, fenced), 0);
      down = true;
    });
    while (s.admit_epoch(7, 4)) std::this_thread::yield();  // nobody new by the old right
    CHECK(!down);
    CHECK_EQUAL(s.write(7, 3, "def", 3, e), 0);  // by who is inside still
    inside = {};
    fence.join();
    CHECK(fenced.extent.bytes == 6 && !fenced.open_elsewhere);
    CHECK(s.admit_epoch(7, 5));
    CHECK_EQUAL(s.fence(7, 4, soon, fenced), -ESTALE);
    // Forgotten by memory, since others are in use.
    for (uint64_t other = 100; other < 120; ++other) CHECK_EQUAL(s.write(other, 0, "x", 1, e), 0);
    CHECK(!s.admit_epoch(7, 4));
    int fd = -1;
    CHECK_EQUAL(s.lend(7, false, fd), 0);
    CHECK_EQUAL(s.fence(7, 6, soon, fenced), 0);
    CHECK(fenced.open_elsewhere);
    close(fd);
    CHECK_EQUAL(s.fence(8, 3, soon - 2 * 3600 * 1000, fenced), 0);  // is over already
  }
  {
    ObjectStore s(d.path);
    CHECK(!s.admit_epoch(7, 5));
    CHECK(s.admit_epoch(7, 6));
    CHECK(s.admit_epoch(8, 1));
  }
  // A record that was cut, and one that is damaged.
  const std::string path = std::string(d.path) + "/fences";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) + 5);
  {
    ObjectStore s(d.path);
    ObjectStore::Fenced fenced;
    CHECK(!s.admit_epoch(7, 5));
    CHECK_EQUAL(s.fence(9, 2, soon, fenced), 0);
    CHECK(fenced.extent.bytes == 0);
  }
  ObjectStore s(d.path);
  CHECK(!s.admit_epoch(9, 1));
}

TEST_MAIN
