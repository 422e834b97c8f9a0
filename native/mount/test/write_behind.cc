#include "write_behind.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "files.h"
#include "test.h"

using namespace xos::fs;

namespace {

constexpr uint32_t large = WriteBehind::worth_it_bytes;

/// A file in memory that notices two writes to one place at a time.
struct Disk {
  std::mutex mutex;
  std::string contents;
  std::vector<std::pair<uint64_t, uint64_t>> busy;
  bool collided = false;
  int error = 0;
  std::atomic<int> writes{0}, most{0};
  std::atomic<bool> held{false};

  int write(uint64_t offset, const char* data, uint32_t bytes) {
    {
      std::lock_guard lock(mutex);
      for (auto& [from, to] : busy) collided |= offset < to && from < offset + bytes;
      busy.emplace_back(offset, offset + bytes);
      most = std::max<int>(most, static_cast<int>(busy.size()));
    }
    while (held) std::this_thread::yield();
    std::lock_guard lock(mutex);
    std::erase(busy, std::pair<uint64_t, uint64_t>(offset, offset + bytes));
    ++writes;
    if (error) return error;
    contents.resize(std::max<size_t>(contents.size(), offset + bytes));
    contents.replace(offset, bytes, data, bytes);
    return 0;
  }
};

/// Its threads never end, so neither does it.
WriteBehind* keep(WriteBehind* behind) {
  static auto& all = *new std::vector<WriteBehind*>;
  all.push_back(behind);
  return behind;
}

struct Rig {
  Disk disk;
  WriteBehind* behind = keep(new WriteBehind([this](const OpenFilePtr&, uint64_t offset, const char* data, uint32_t bytes) { return disk.write(offset, data, bytes); }));
  OpenFilePtr file = std::make_shared<OpenFile>(7);
  void start(int threads) {
    for (int i = 0; i < threads; ++i) std::thread([b = behind] { b->run(); }).detach();
  }
  bool offer(uint64_t offset, const std::string& data) { return behind->offer(file, offset, data.data(), static_cast<uint32_t>(data.size()), [] {}); }
};

}  // namespace

TEST("a later write of the same place wins, whoever sends it") {
  Rig rig;
  rig.start(3);
  for (int round = 0; round < 200; ++round) CHECK(rig.offer(round % 3 * (large / 2), std::string(large, static_cast<char>('a' + round % 26))));
  rig.behind->drain(rig.file);
  std::lock_guard lock(rig.disk.mutex);
  CHECK(!rig.disk.collided);
  CHECK_EQUAL(rig.disk.writes.load(), 200);
  const char last = 'a' + 199 % 26, before = 'a' + 198 % 26, first = 'a' + 197 % 26;  // at 1, 0 and 2 halves
  CHECK_EQUAL(rig.disk.contents[0], before);
  CHECK_EQUAL(rig.disk.contents[large / 2], last);
  CHECK_EQUAL(rig.disk.contents[large * 3 / 2 - 1], last);
  CHECK_EQUAL(rig.disk.contents[large * 2 - 1], first);
}

TEST("a drain sends by itself when no thread does") {
  Rig rig;
  for (uint64_t i = 0; i < 5; ++i) CHECK(rig.offer(i * large, std::string(large, 'x')));
  CHECK_EQUAL(rig.disk.writes.load(), 0);
  rig.behind->drain(rig.file);
  CHECK_EQUAL(rig.disk.writes.load(), 5);
}

TEST("a full window makes the writer send, and stays bounded") {
  Rig rig;
  for (uint64_t i = 0; i < 40; ++i) {
    CHECK(rig.offer(i * large, std::string(large, 'x')));
    std::lock_guard lock(rig.file->pending.mutex);
    CHECK(rig.file->pending.queued.size() <= WriteBehind::file_writes_max);
  }
  CHECK_EQUAL(rig.disk.writes.load(), 40 - static_cast<int>(WriteBehind::file_writes_max));
  rig.behind->drain(rig.file);
}

TEST("too much over all files is written by the writer itself") {
  Rig rig;
  std::vector<OpenFilePtr> files;
  size_t taken = 0;
  for (uint64_t i = 0; i < WriteBehind::writes_max + 3; ++i) {
    files.push_back(std::make_shared<OpenFile>(i));
    taken += rig.behind->offer(files.back(), 0, std::string(large, 'x').data(), large, [] {});
  }
  CHECK_EQUAL(taken, WriteBehind::writes_max);
  for (auto& f : files) rig.behind->drain(f);
  CHECK(rig.offer(0, std::string(large, 'x')));
  rig.behind->drain(rig.file);
}

TEST("a small write goes alone unless it has to wait its turn") {
  Rig rig;
  CHECK(!rig.offer(0, "small"));
  CHECK(rig.offer(0, std::string(large, 'x')));
  CHECK(rig.offer(3, "small"));
  rig.behind->drain(rig.file);
  CHECK_EQUAL(rig.disk.contents.substr(0, 10), std::string("xxxsmallxx"));
}

TEST("nothing is pending and nothing is taken once the file is shared") {
  Rig rig;
  CHECK(rig.offer(0, std::string(large, 'x')));
  {
    std::lock_guard lock(rig.file->mutex);
    rig.file->shared = true;
  }
  CHECK(!rig.offer(large, std::string(large, 'y')));
  CHECK_EQUAL(rig.disk.writes.load(), 1);
}

TEST("an error is reported once to each descriptor that was open") {
  Rig rig;
  uint64_t one = 0, two = 0;
  rig.disk.error = ENOSPC;
  CHECK(rig.offer(0, std::string(large, 'x')));
  rig.behind->drain(rig.file);
  CHECK_EQUAL(WriteBehind::failed(*rig.file, one), ENOSPC);
  CHECK_EQUAL(WriteBehind::failed(*rig.file, one), 0);
  CHECK_EQUAL(WriteBehind::failed(*rig.file, two), ENOSPC);
  CHECK_EQUAL(WriteBehind::failed(*rig.file, two), 0);
}

TEST("writes of different places are sent side by side") {
  Rig rig;
  rig.disk.held = true;
  rig.start(3);
  for (uint64_t i = 0; i < 6; ++i) CHECK(rig.offer(i * large, std::string(large, 'x')));
  while (rig.disk.most < 3) std::this_thread::yield();
  rig.behind->wait(rig.file, 1);  // gives up: nobody gets on
  CHECK_EQUAL(rig.disk.writes.load(), 0);
  rig.disk.held = false;
  rig.behind->drain(rig.file);
  CHECK_EQUAL(rig.disk.writes.load(), 6);
  CHECK_EQUAL(rig.disk.most.load() <= 4, true);
}

TEST_MAIN
