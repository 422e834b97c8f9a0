// Records of a store that leads, applied by one that follows: both hold the same afterwards, whenever the follower dies.
#include "records.h"

#include <sys/wait.h>

#include <fstream>
#include <random>

#include "codec.h"
#include "fixture.h"

namespace {

constexpr size_t map_bytes = size_t{256} << 20;

struct Directory {
  char path[40] = "/tmp/xos-records-XXXXXX";
  Directory() { CHECK(mkdtemp(path) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path); }
};

/// Alone in its group.
struct Alone : Majority {
  uint64_t last = 0, waited = 0, wanted = 0, synced = 0;
  void committed(uint64_t sequence) override { last = sequence; }
  void wait_kept(uint64_t sequence) override { waited = sequence; }
  void want_synced(uint64_t sequence) override { wanted = sequence; }
  void wait_synced(uint64_t sequence) override { synced = sequence; }
};

std::string digest(const Store& store) {
  std::string d;
  store.read([&](const Txn& t) { d = records::digest(t); });
  return d;
}

Position newest(const Store& store) {
  Position p;
  store.read([&](const Txn& t) { p = records::newest(t); });
  return p;
}

/// Brings `to` up to `from`, `at_once` records in a transaction; how many there were.
size_t follow(const Store& from, Store& to, size_t at_once) {
  size_t done = 0;
  for (;;) {
    std::vector<std::pair<Position, std::string>> some;
    from.read([&](const Txn& t) {
      records::scan_after(t, newest(to).sequence, [&](Position at, std::string_view record) {
        some.emplace_back(at, record);
        return some.size() < at_once;
      });
    });
    if (some.empty()) return done;
    to.write([&](Txn& t) {
      for (auto& [at, record] : some) records::apply(t, at, record);
    });
    done += some.size();
  }
}

/// What clients do, at random: each table that they reach is changed.
void work(Fixture& f, std::mt19937& random, int times) {
  const auto name = [&] { return "n" + std::to_string(random() % 60); };
  std::vector<uint64_t> directories{f.root};
  for (int i = 0; i < times; ++i) {
    const uint64_t d = directories[random() % directories.size()];
    Effects e;
    uint64_t id;
    bool there;
    switch (random() % 9) {
      case 0: case 1: f.create(d, name()); break;
      case 2:
        if (f.create(d, name(), user(0), S_IFDIR | 0755) == 0) directories.push_back(f.a.id);
        break;
      case 3: f.write([&](Txn& t) { return f.engine->unlink(t, user(0), d, name(), f.a, there, f.b, e); }); break;
      case 4: f.write([&](Txn& t) { return f.engine->rename(t, user(0), d, name(), directories[random() % directories.size()], name(), 0, f.a, f.b, e); }); break;
      case 5: f.write([&](Txn& t) { return f.engine->setxattr(t, user(0), d, "user." + name(), std::string(random() % 3000, 'x'), 0, e); }); break;
      case 6: f.create(d, name(), user(0), S_IFLNK | 0777, "target"); break;
      case 7: f.write([&](Txn& t) { return f.engine->rmdir(t, user(0), d, name(), id, f.b, e); }); break;
      default:
        try {
          f.store->write([&](Txn& t) {
            t.put(table_meta, "gone", "1");
            throw std::runtime_error("the change fails");
          });
        } catch (const std::runtime_error&) {
          // Nothing of it may be in a record.
        }
    }
  }
}

/// A follower that is as its leader was when it began to lead.
void copy_database(const Store& from, Store& to) {
  from.read([&](const Txn& source) {
    to.write([&](Txn& t) {
      for (int table = 0; table < shared_tables; ++table) {
        source.scan(static_cast<Table>(table), "", [&](std::string_view key, std::string_view value) {
          t.put(static_cast<Table>(table), key, value);
          return true;
        });
      }
      records::start_after(t, records::newest(source));
    });
  });
}

TEST("a follower is equal byte for byte") {
  std::mt19937 random(11);
  Fixture leader;
  Alone alone;
  leader.store->lead(3, alone);
  Directory d;
  Store follower(d.path, map_bytes);
  copy_database(*leader.store, follower);
  CHECK(digest(follower) == digest(*leader.store));
  for (int round = 0; round < 30; ++round) {
    work(leader, random, 100);
    CHECK(digest(follower) != digest(*leader.store));
    CHECK(follow(*leader.store, follower, 1 + random() % 40) > 0);
    CHECK(digest(follower) == digest(*leader.store));
    CHECK(newest(follower) == newest(*leader.store));
  }
  CHECK_EQUAL(alone.last, newest(*leader.store).sequence);
  CHECK_EQUAL(newest(*leader.store).term, 3u);
  // Who writes waits for what was committed last, and a sync for the disks of others.
  CHECK_EQUAL(alone.waited, alone.last);
  leader.store->sync();
  CHECK_EQUAL(alone.synced, alone.last);
  CHECK_EQUAL(alone.wanted, alone.last);
}

TEST("a store alone keeps no records") {
  Fixture f;
  std::mt19937 random(1);
  work(f, random, 50);
  CHECK(newest(*f.store) == Position{});
}

TEST("a follower that is killed while it applies goes on where it was") {
  std::mt19937 random(23);
  Fixture leader;
  Alone alone;
  leader.store->lead(1, alone);
  Directory d;
  {
    Store follower(d.path, map_bytes);
    copy_database(*leader.store, follower);
  }
  work(leader, random, 1500);
  int killed = 0;
  for (int round = 0; round < 12; ++round) {
    // The child takes nothing of an open environment along: LMDB forbids to use one across a fork.
    const std::string source = std::string(d.path) + "/log";
    {
      std::ofstream out(source, std::ios::trunc | std::ios::binary);
      leader.store->read([&](const Txn& t) {
        records::scan_after(t, 0, [&](Position at, std::string_view record) {
          Writer w;
          w.put(at.term).put(at.sequence).put(static_cast<uint32_t>(record.size())).raw(record);
          out.write(w.bytes().data(), static_cast<std::streamsize>(w.size()));
          return true;
        });
      });
    }
    const pid_t child = fork();
    if (child == 0) {
      Store follower(d.path, map_bytes);
      std::ifstream in(source, std::ios::binary);
      const std::string all{std::istreambuf_iterator<char>(in), {}};
      Reader r(all);
      while (r.left() > 0) {
        Position at;
        at.term = r.get<uint64_t>();
        at.sequence = r.get<uint64_t>();
        const std::string_view record = r.raw(r.get<uint32_t>());
        if (at.sequence > newest(follower).sequence) follower.write([&](Txn& t) { records::apply(t, at, record); });
      }
      _exit(0);
    }
    usleep(1000 * (random() % 40));
    kill(child, SIGKILL);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    killed += WIFSIGNALED(status);
    Store follower(d.path, map_bytes);
    const Position at = newest(follower);
    leader.store->read([&](const Txn& t) { CHECK(records::has(t, at)); });
  }
  CHECK(killed > 0);
  Store follower(d.path, map_bytes);
  follow(*leader.store, follower, 7);
  CHECK(digest(follower) == digest(*leader.store));
}

TEST("a follower that loses power is at an earlier record and catches up") {
  std::mt19937 random(5);
  Fixture leader;
  Alone alone;
  leader.store->lead(1, alone);
  Directory d;
  Position synced, last;
  {
    Store follower(d.path, map_bytes, "boot 1");
    copy_database(*leader.store, follower);
    work(leader, random, 200);
    follow(*leader.store, follower, 5);
    follower.sync();
    synced = newest(follower);
    work(leader, random, 200);
    follow(*leader.store, follower, 5);
    last = newest(follower);
    // As it is on the disk now, with the kept page of the sync; the destructor would write everything out.
    std::filesystem::copy_file(std::string(d.path) + "/data.mdb", std::string(d.path) + "/data.then");
    std::filesystem::copy_file(std::string(d.path) + "/synced", std::string(d.path) + "/synced.then");
  }
  for (const char* name : {"data", "synced"}) {
    const std::string to = std::string(d.path) + "/" + name + (name[0] == 'd' ? ".mdb" : "");
    std::filesystem::remove(to);
    std::filesystem::rename(std::string(d.path) + "/" + name + ".then", to);
  }
  Store follower(d.path, map_bytes, "boot 2");
  CHECK(follower.lost_changes());
  CHECK(newest(follower) == synced);
  CHECK(synced < last);
  follow(*leader.store, follower, 5);
  CHECK(newest(follower) == newest(*leader.store));
  CHECK(digest(follower) == digest(*leader.store));
}

TEST("the log is bounded and knows its history") {
  Directory d;
  Store store(d.path, map_bytes);
  for (uint64_t i = 1; i <= 100; ++i) store.write([&](Txn& t) { records::append(t, {2, i}, std::string(100, 'r'), 30, 2000); });
  uint64_t kept = 0, first = 0;
  store.read([&](const Txn& t) {
    records::scan_after(t, 0, [&](Position at, std::string_view) {
      if (kept++ == 0) first = at.sequence;
      return true;
    });
    CHECK(records::has(t, {2, 100}));
    CHECK(!records::has(t, {1, 100}));
    CHECK(!records::has(t, {2, 50}));
    CHECK(!records::has(t, {}));
  });
  CHECK_EQUAL(kept, 21u);  // 20 of them are the 2,000 bytes behind the oldest one
  CHECK_EQUAL(first, 80u);
  // The newest one stays, however large.
  store.write([&](Txn& t) { records::append(t, {3, 101}, std::string(50000, 'r'), 30, 2000); });
  CHECK(newest(store) == (Position{3, 101}));
}

TEST("what is no record changes nothing") {
  Directory d;
  Store store(d.path, map_bytes);
  std::string good;
  records::add_put(good, table_meta, "key", "value");
  records::add_erase(good, table_meta, "other");
  std::string local;
  records::add_put(local, table_local, "standing", "x");
  const std::string before = digest(store);
  for (size_t cut = 1; cut < good.size(); ++cut) {
    if (cut == 1 + 2 + 3 + 4 + 5) continue;  // the first of its two changes, which is a record
    CHECK_THROWS(store.write([&](Txn& t) { records::apply(t, {1, 1}, std::string_view(good).substr(0, cut)); }));
  }
  CHECK_THROWS(store.write([&](Txn& t) { records::apply(t, {1, 1}, local); }));
  CHECK(digest(store) == before);
  store.write([&](Txn& t) { records::apply(t, {1, 1}, good); });
  CHECK(digest(store) != before);
}

}  // namespace

TEST_MAIN
