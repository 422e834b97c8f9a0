#include "object_store.h"

#include "test.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>
#include <vector>

using namespace xos::fs;

namespace {

struct Directory {
  Directory() { CHECK(mkdtemp(path) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path); }
  char path[32] = "/tmp/xos-object-XXXXXX";
};

constexpr uint32_t stripe = 4096;

std::string read_file(ObjectStore& s, uint64_t file, uint64_t size) {
  std::string all(size, '\0');
  for (uint64_t at = 0; at < size; at += stripe) {
    int64_t n = s.read(file, at / stripe, 0, all.data() + at, static_cast<uint32_t>(std::min<uint64_t>(stripe, size - at)));
    CHECK(n >= 0);
  }
  return all;
}

}  // namespace

TEST("what was written is read, also by the next process") {
  Directory d;
  Extent e;
  {
    ObjectStore s(d.path);
    CHECK_EQUAL(s.write(5, 0, 10, "hello", 5, e), 0);
    CHECK_EQUAL(e.stripe_end, 1u);
    CHECK_EQUAL(e.last_bytes, 15u);
    CHECK_EQUAL(s.write(5, 3, 0, "far", 3, e), 0);
    CHECK_EQUAL(e.stripe_end, 4u);
    CHECK_EQUAL(e.last_bytes, 3u);
  }
  ObjectStore s(d.path);
  CHECK_EQUAL(s.extent(5, e), 0);
  CHECK_EQUAL(e.stripe_end, 4u);
  CHECK_EQUAL(e.last_bytes, 3u);
  CHECK_EQUAL(s.space().objects, 2u);
  char buffer[20];
  CHECK_EQUAL(s.read(5, 0, 10, buffer, 20), 5);
  CHECK_EQUAL(std::string(buffer, 5), "hello");
  CHECK_EQUAL(s.read(5, 1, 0, buffer, 20), 0);
  CHECK_EQUAL(s.read(6, 0, 0, buffer, 20), 0);
  CHECK_EQUAL(s.extent(6, e), 0);
  CHECK_EQUAL(e.stripe_end, 0u);
}

TEST("random writes, cuts and extensions agree with a plain string") {
  Directory d;
  ObjectStore s(d.path, 4);
  std::mt19937 random(7);
  std::string model;
  for (int i = 0; i < 2000; ++i) {
    Extent e;
    if (random() % 10 == 0) {
      uint64_t size = random() % (stripe * 12);
      CHECK_EQUAL(s.truncate(9, stripe, 1, 0, size, e), 0);
      model.resize(size);
    } else if (random() % 10 == 0) {
      std::string piece(random() % 9000 + 1, static_cast<char>('a' + random() % 26));
      uint64_t at = 0;
      CHECK_EQUAL(s.append(9, stripe, piece.data(), static_cast<uint32_t>(piece.size()), at, e), 0);
      CHECK_EQUAL(at, model.size());
      model += piece;
    } else {
      uint32_t number = random() % 12, offset = random() % stripe, bytes = random() % (stripe - offset) + 1;
      std::string piece(bytes, static_cast<char>('A' + random() % 26));
      CHECK_EQUAL(s.write(9, number, offset, piece.data(), bytes, e), 0);
      uint64_t at = uint64_t{number} * stripe + offset;
      if (model.size() < at + bytes) model.resize(at + bytes);
      model.replace(at, bytes, piece);
    }
    CHECK_EQUAL(e.stripe_end == 0 ? 0 : (e.stripe_end - 1) * stripe + e.last_bytes, model.size());
    if (i % 50 == 0) CHECK(read_file(s, 9, model.size()) == model);
    // Others push the file out of the table of open ones now and then.
    if (i % 7 == 0) CHECK_EQUAL(s.write(100 + random() % 20, 0, 0, "x", 1, e), 0);
  }
  CHECK(read_file(s, 9, model.size()) == model);
}

TEST("a truncated stripe set keeps only its own stripes") {
  Directory d;
  ObjectStore s(d.path);
  Extent e;
  for (uint64_t number : {1, 3, 5}) CHECK_EQUAL(s.write(2, number, 0, "data", 4, e), 0);
  CHECK_EQUAL(s.truncate(2, stripe, 2, 1, 3 * stripe + 2, e), 0);  // stripe 3 is the last one, and ours
  CHECK_EQUAL(e.stripe_end, 4u);
  CHECK_EQUAL(e.last_bytes, 2u);
  CHECK_EQUAL(s.truncate(2, stripe, 2, 1, 3 * stripe, e), 0);  // stripe 2 is the last one, and another OSD's
  CHECK_EQUAL(e.stripe_end, 2u);
  CHECK_EQUAL(s.truncate(2, stripe, 2, 1, 0, e), 0);
  CHECK_EQUAL(e.stripe_end, 0u);
  CHECK_EQUAL(s.space().objects, 0u);
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
        CHECK_EQUAL(s.append(3, stripe, line.data(), 100, at, e), 0);
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
  for (uint64_t number = 0; number < 40; ++number) CHECK_EQUAL(s.write(77, number, 0, "x", 1, e), 0);
  CHECK_EQUAL(s.sync(77), 0);
  CHECK_EQUAL(s.remove(77), 0);
  CHECK_EQUAL(s.remove(77), 0);
  CHECK_EQUAL(s.space().objects, 0u);
  size_t files = 0;
  for (auto& f : std::filesystem::recursive_directory_iterator(std::string(d.path) + "/objects")) files += f.is_regular_file();
  CHECK_EQUAL(files, 0u);
  CHECK_EQUAL(s.write(77, 0, 0, "new", 3, e), 0);
  CHECK_EQUAL(e.last_bytes, 3u);
}

TEST("a file that is used again shows nothing of the one before, also after a restart") {
  Directory d;
  Extent e;
  char buffer[100];
  {
    ObjectStore s(d.path);
    CHECK_EQUAL(s.write(1, 0, 0, "secret of another user", 22, e), 0);
    CHECK_EQUAL(s.remove(1), 0);
    CHECK_EQUAL(s.write(2, 0, 10, "x", 1, e), 0);
    CHECK_EQUAL(s.read(2, 0, 0, buffer, 100), 11);
    CHECK_EQUAL(std::string(buffer, 11), std::string(10, '\0') + "x");
    CHECK_EQUAL(s.remove(2), 0);
  }
  ObjectStore s(d.path);
  CHECK_EQUAL(s.space().objects, 0u);
  CHECK_EQUAL(s.read(2, 0, 0, buffer, 100), 0);
  CHECK_EQUAL(s.write(3, 0, 0, "y", 1, e), 0);
  CHECK_EQUAL(s.write(4, 0, 0, "z", 1, e), 0);
  CHECK_EQUAL(s.read(3, 0, 0, buffer, 100), 1);
  CHECK_EQUAL(s.space().objects, 2u);
  CHECK_EQUAL(s.remove(3), 0);
  CHECK_EQUAL(s.read(4, 0, 0, buffer, 100), 1);
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

TEST_MAIN
