#include "lock_manager.h"

#include "test.h"

#include <cerrno>
#include <map>
#include <random>

using namespace xos::fs::metadata;

namespace {

Lock range(uint8_t type, uint64_t start, uint64_t end, uint64_t owner = 1, uint8_t kind = 0) {
  Lock l;
  l.kind = kind;
  l.type = type;
  l.start = start;
  l.end = end;
  l.owner = owner;
  return l;
}

constexpr uint8_t shared = 0, exclusive = 1, unlock = 2;
Lock blocker;

}  // namespace

TEST("exclusive locks shut others out, shared ones only writers") {
  LockManager m;
  CHECK_EQUAL(m.set(1, 10, range(exclusive, 0, 9), false, blocker), 0);
  CHECK_EQUAL(m.set(1, 11, range(shared, 9, 20), false, blocker), EAGAIN);
  CHECK_EQUAL(blocker.end, 9u);
  CHECK_EQUAL(m.set(1, 11, range(exclusive, 10, 20), false, blocker), 0);
  CHECK_EQUAL(m.set(2, 11, range(exclusive, 0, 20), false, blocker), 0);
  CHECK_EQUAL(m.set(1, 10, range(shared, 0, 9), false, blocker), 0);
  CHECK_EQUAL(m.set(1, 12, range(shared, 5, 6), false, blocker), 0);
  CHECK_EQUAL(m.set(1, 10, range(exclusive, 0, 5), false, blocker), EAGAIN);
  // The same owner number of another mount is somebody else.
  CHECK_EQUAL(m.get(1, 13, range(exclusive, 0, 0)).type, shared);
  CHECK_EQUAL(int(m.get(1, 10, range(exclusive, 0, 0)).type), int(unlock));
}

TEST("unlocking splits, touching ranges merge") {
  LockManager m;
  m.set(1, 1, range(exclusive, 0, 99), false, blocker);
  m.set(1, 1, range(unlock, 40, 59), false, blocker);
  CHECK_EQUAL(m.count(), 2u);
  CHECK_EQUAL(m.set(1, 2, range(exclusive, 40, 59), false, blocker), 0);
  CHECK_EQUAL(m.set(1, 2, range(exclusive, 39, 39), false, blocker), EAGAIN);
  CHECK_EQUAL(m.set(1, 2, range(unlock, 0, ~0ull), false, blocker), 0);
  m.set(1, 1, range(exclusive, 40, 59), false, blocker);
  CHECK_EQUAL(m.count(), 1u);
  m.set(1, 1, range(shared, 10, 19), false, blocker);
  CHECK_EQUAL(m.count(), 3u);
  m.set(1, 1, range(unlock, 0, ~0ull), false, blocker);
  CHECK_EQUAL(m.count(), 0u);
}

TEST("flock and fcntl do not see each other") {
  LockManager m;
  CHECK_EQUAL(m.set(1, 1, range(exclusive, 0, ~0ull, 1, 0), false, blocker), 0);
  CHECK_EQUAL(m.set(1, 2, range(exclusive, 0, ~0ull, 1, 1), false, blocker), 0);
  CHECK_EQUAL(m.set(1, 3, range(shared, 0, ~0ull, 1, 1), false, blocker), EAGAIN);
}

TEST("waiters are told once, and the death of a session frees its locks") {
  LockManager m;
  m.set(1, 1, range(exclusive, 0, 9), false, blocker);
  CHECK_EQUAL(m.set(1, 2, range(exclusive, 0, 9), true, blocker), EAGAIN);
  CHECK_EQUAL(m.set(1, 3, range(exclusive, 0, 9), false, blocker), EAGAIN);
  auto freed = m.drop(1);
  CHECK_EQUAL(freed.size(), 1u);
  auto waiting = m.take_waiters(1);
  CHECK_EQUAL(waiting.size(), 1u);
  CHECK_EQUAL(waiting[0], 2u);
  CHECK(m.take_waiters(1).empty());
  CHECK_EQUAL(m.set(1, 2, range(exclusive, 0, 9), true, blocker), 0);
}

TEST("random locks of three owners agree with a byte map") {
  LockManager m;
  std::mt19937 random(3);
  std::map<std::pair<int, int>, uint8_t> held;  // (owner, byte) → type
  for (int i = 0; i < 20000; ++i) {
    int owner = static_cast<int>(random() % 3);
    uint64_t start = random() % 32, end = start + random() % (32 - start);
    uint8_t type = static_cast<uint8_t>(random() % 3);
    bool free = true;
    for (uint64_t b = start; b <= end && type != unlock; ++b)
      for (int o = 0; o < 3; ++o) {
        auto it = held.find({o, static_cast<int>(b)});
        if (o != owner && it != held.end() && (it->second == exclusive || type == exclusive)) free = false;
      }
    int r = m.set(5, static_cast<uint64_t>(owner), range(type, start, end), false, blocker);
    CHECK_EQUAL(r, free ? 0 : EAGAIN);
    if (!free) continue;
    for (uint64_t b = start; b <= end; ++b) {
      if (type == unlock) held.erase({owner, static_cast<int>(b)});
      else held[{owner, static_cast<int>(b)}] = type;
    }
  }
}

TEST("who would wait for itself is told so, over any number of files and nodes") {
  LockManager m;
  const Lock whole = range(exclusive, 0, ~0ull);
  Lock second = range(exclusive, 0, ~0ull, 2), third = range(exclusive, 0, ~0ull, 3);
  CHECK_EQUAL(m.set(1, 10, whole, true, blocker), 0);
  CHECK_EQUAL(m.set(2, 11, second, true, blocker), 0);
  CHECK_EQUAL(m.set(3, 11, third, true, blocker), 0);
  CHECK_EQUAL(m.set(2, 10, whole, true, blocker), EAGAIN);
  CHECK_EQUAL(m.set(3, 11, second, true, blocker), EAGAIN);
  // 3 waits for 1, who waits for 2, who waits for 3.
  CHECK_EQUAL(m.set(1, 11, third, false, blocker), EAGAIN);  // not waiting is no deadlock
  CHECK_EQUAL(m.set(1, 11, third, true, blocker), EDEADLK);
  // Who has given up waiting closes no circle.
  m.cancel(3, 11, second);
  CHECK_EQUAL(m.set(1, 11, third, true, blocker), EAGAIN);
  CHECK_EQUAL(m.set(3, 11, second, true, blocker), EDEADLK);
  // The death of a node opens it.
  m.drop(10);
  CHECK_EQUAL(m.set(3, 11, second, true, blocker), EAGAIN);
}

TEST("two readers who both want to write are a deadlock, waiting for a range that is free of others is none") {
  LockManager m;
  CHECK_EQUAL(m.set(1, 10, range(shared, 0, 9), true, blocker), 0);
  CHECK_EQUAL(m.set(1, 11, range(shared, 0, 9), true, blocker), 0);
  CHECK_EQUAL(m.set(1, 10, range(exclusive, 0, 9), true, blocker), EAGAIN);
  CHECK_EQUAL(m.set(1, 11, range(exclusive, 0, 9), true, blocker), EDEADLK);
  CHECK_EQUAL(m.set(1, 11, range(exclusive, 20, 29), true, blocker), 0);
  CHECK_EQUAL(m.set(1, 11, range(unlock, 0, 9), false, blocker), 0);
  CHECK_EQUAL(m.set(1, 10, range(exclusive, 0, 9), true, blocker), 0);
}

TEST("flock waits without a search for deadlocks, as in Linux") {
  LockManager m;
  CHECK_EQUAL(m.set(1, 10, range(exclusive, 0, ~0ull, 1, 1), true, blocker), 0);
  CHECK_EQUAL(m.set(2, 11, range(exclusive, 0, ~0ull, 2, 1), true, blocker), 0);
  CHECK_EQUAL(m.set(2, 10, range(exclusive, 0, ~0ull, 1, 1), true, blocker), EAGAIN);
  CHECK_EQUAL(m.set(1, 11, range(exclusive, 0, ~0ull, 2, 1), true, blocker), EAGAIN);
}

TEST_MAIN
