// The death of a machine: of what was written since the last sync any part may have reached the disk, page by page.
#include "power_loss.h"

#include <sys/wait.h>

#include <fstream>
#include <map>
#include <random>
#include <thread>

#include "fixture.h"

namespace {

constexpr size_t page_bytes = 4096, map_bytes = size_t{256} << 20;

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void spill(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes; }

/// What the disk may hold: each page of `now` or of `then`; pages that are new may be missing.
std::string mixture(const std::string& then, const std::string& now, std::mt19937& random) {
  std::string disk = now;
  const unsigned kept = random() % 101;
  for (size_t at = 0; at < now.size(); at += page_bytes) {
    if (random() % 100 < kept) continue;
    if (at < then.size()) disk.replace(at, page_bytes, then, at, page_bytes);
    else disk.replace(at, page_bytes, page_bytes, '\0');
  }
  return disk;
}

using Contents = std::map<std::string, std::string>;

Contents contents(const Store& store) {
  Contents all;
  store.read([&](const Txn& t) {
    t.scan(table_entry, "", [&](std::string_view k, std::string_view v) {
      all[std::string(k)] = v;
      return true;
    });
  });
  return all;
}

void change(Store& store, std::mt19937& random, int times) {
  for (int i = 0; i < times; ++i) {
    store.write([&](Txn& t) {
      for (int n = 0; n < 20; ++n) {
        const std::string key = std::to_string(random() % 3000);
        if (random() % 4 == 0) t.erase(table_entry, key);
        else t.put(table_entry, key, std::string(random() % 300, static_cast<char>('a' + random() % 26)));
      }
    });
  }
}

struct Machine {
  char path[40] = "/tmp/xos-power-XXXXXX";
  Machine() { CHECK(mkdtemp(path) != nullptr); }
  ~Machine() { std::filesystem::remove_all(path); }
  std::string file(const char* name) const { return std::string(path) + "/" + name; }
  void write(const std::string& data, const std::string& synced) {
    spill(file("data.mdb"), data);
    spill(file("synced"), synced);
    std::filesystem::remove(file("lock.mdb"));
  }
};

struct Crash {
  std::string then, now, synced;
  Contents expected;
};

/// A database that was synced and changed afterwards, some rounds long.
Crash crash(unsigned seed) {
  Machine m;
  Store store(m.path, map_bytes, "before");
  std::mt19937 random(seed);
  Crash c;
  for (unsigned round = 0; round <= seed % 4; ++round) {
    change(store, random, 60);
    store.sync();
  }
  c.expected = contents(store);
  c.then = slurp(m.file("data.mdb"));
  c.synced = slurp(m.file("synced"));
  change(store, random, 150);
  c.now = slurp(m.file("data.mdb"));
  return c;
}

}  // namespace

TEST("after the machine's death the database is what it was when it was synced, whatever else reached the disk") {
  for (unsigned seed = 0; seed < 24; ++seed) {
    Crash c = crash(seed);
    std::mt19937 random(seed + 1000);
    for (int mix = 0; mix < 4; ++mix) {
      Machine m;
      m.write(mixture(c.then, c.now, random), c.synced);
      Store store(m.path, map_bytes, "after");
      CHECK(contents(store) == c.expected);
      change(store, random, 30);
      Contents later = contents(store);
      store.sync();
      CHECK(contents(store) == later);
    }
  }
}

TEST("without the kept meta page such a disk is a broken database: the test above can fail") {
  int broken = 0;
  for (unsigned seed = 0; seed < 12; ++seed) {
    Crash c = crash(seed);
    std::mt19937 random(seed + 1000);
    pid_t child = fork();
    if (child == 0) {
      try {
        Machine m;
        m.write(mixture(c.then, c.now, random), "");
        Store store(m.path, map_bytes, "after");
        _exit(contents(store) == c.expected ? 0 : 1);
      } catch (...) {
        _exit(1);
      }
    }
    int status = 0;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    if (status != 0) ++broken;
  }
  CHECK(broken > 6);
}

TEST("the death of the process alone loses nothing") {
  Machine m;
  std::mt19937 random(7);
  Contents expected;
  {
    Store store(m.path, map_bytes, "same");
    change(store, random, 50);
    store.sync();
    change(store, random, 50);
    expected = contents(store);
    const std::string data = slurp(m.file("data.mdb")), synced = slurp(m.file("synced"));
    Machine killed;
    killed.write(data, synced);
    Store again(killed.path, map_bytes, "same");
    CHECK(!again.lost_changes());
    CHECK(contents(again) == expected);
  }
  Store clean(m.path, map_bytes, "later");  // the first one ended in order
  CHECK(!clean.lost_changes());
  CHECK(contents(clean) == expected);
}

TEST("a kept state that was written in part is not believed") {
  Crash c = crash(3);
  std::mt19937 random(1);
  constexpr size_t slot_bytes = 128 << 10;
  std::string one = c.synced;
  one.resize(2 * slot_bytes, '\0');
  std::string other = one;
  one.replace(30, 200, 200, '\xff');
  other.replace(slot_bytes + 30, 200, 200, '\xff');
  int recovered = 0;
  for (const std::string& s : {one, other}) {
    Machine d;
    d.write(mixture(c.then, c.now, random), s);
    pid_t child = fork();  // with the latest state damaged the one before it counts, whose pages may be gone: LMDB may crash on them
    if (child == 0) {
      try {
        Store store(d.path, map_bytes, "after");
        _exit(contents(store) == c.expected ? 0 : 1);
      } catch (...) {
        _exit(1);
      }
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) ++recovered;
  }
  CHECK_EQUAL(recovered, 1);
}

TEST("numbers that were given out before the machine's death are not given out again") {
  Machine m;
  Nobody open;
  uint64_t root = 0, last = 0;
  std::string synced;
  {
    Store store(m.path, map_bytes, "before");
    Engine engine(store, open);
    Effects e;
    store.write([&](Txn& t) { engine.volume_create(t, "v", 0, 0, 0777, {}, root, e); });
    store.sync();
    synced = slurp(m.file("synced"));
    Inode a, b;
    for (int i = 0; i < 5000; ++i)
      store.write([&](Txn& t) { engine.create(t, user(0), root, std::to_string(i), {S_IFREG | 0644, 0, {}, true}, Fixture::place, a, b, e); });
    last = a.id;
    const std::string data = slurp(m.file("data.mdb"));
    Machine later;
    later.write(data, synced);
    Store again(later.path, map_bytes, "after");
    CHECK(again.lost_changes());
    Engine engine2(again, open);
    again.write([&](Txn& t) { CHECK_EQUAL(engine2.create(t, user(0), root, "x", {S_IFREG | 0644, 0, {}, true}, Fixture::place, a, b, e), 0); });
    CHECK(a.id > last);
  }
}

TEST("syncs at the same time share the work, and each covers what was committed before it") {
  Machine m;
  {
    Store store(m.path, map_bytes, "before");
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          const std::string key = std::to_string(t) + "-" + std::to_string(i);
          store.write([&](Txn& txn) { txn.put(table_entry, key, "x"); });
          store.sync();
          std::string_view v;
          store.read_synced([&](const Txn& txn) { CHECK(txn.get(table_entry, key, v)); });
        }
      });
    for (auto& t : threads) t.join();
  }
}

TEST("a sync without a change before it writes nothing, and one with a change does") {
  Machine m;
  Store store(m.path, map_bytes, "before");
  store.write([](Txn& txn) { txn.put(table_entry, "a", "x"); });
  store.sync();
  const std::string synced = slurp(m.file("synced"));
  store.sync();
  CHECK(slurp(m.file("synced")) == synced);
  store.write([](Txn& txn) { txn.put(table_entry, "b", "x"); });
  store.sync();
  CHECK(slurp(m.file("synced")) != synced);
}

TEST_MAIN
