// Dump and restore of a volume: what was there comes back as it was, and nothing else is taken for a dump.

#include <random>

#include "acl.h"
#include "dump_format.h"
#include "fixture.h"
#include "object_fate.h"
#include "volume_dump.h"
#include "volume_restore.h"

namespace {

std::string dump_of(Fixture& f, const std::string& volume = "v") {
  for (auto& v : f.engine->volumes()) {
    if (v.name != volume) continue;
    std::map<uint32_t, Usage> limits;
    f.store->read([&](const Txn& t) { limits = f.engine->usage(t, v.root); });
    VolumeDump dump(*f.store, v, {{0, "n1"}, {1, "n2"}}, limits);
    std::string all;
    for (std::string block = dump.next(); !block.empty(); block = dump.next()) all += block;
    return all;
  }
  return {};
}

int restore(Fixture& f, std::string_view bytes, VolumeRestore::Wanted wanted, VolumeRestore::Restored& done, size_t piece = 777) {
  VolumeRestore r(f.path);
  for (size_t at = 0; at < bytes.size(); at += piece) r.feed(bytes.substr(at, piece));
  r.finish();
  int status = 0;
  f.store->write([&](Txn& t) {
    f.effects = {};
    status = r.make(t, *f.engine, wanted, done, f.effects);
  });
  return status;
}

VolumeRestore::Wanted wanted(const std::string& volume = "again") {
  return {volume, [](const std::string& osd) { return osd == "n1" ? 0 : osd == "n2" ? 7 : -1; }};
}

/// All rows of all tables that a volume's files have.
std::map<std::string, std::string> rows(Fixture& f) {
  std::map<std::string, std::string> all;
  f.store->read([&](const Txn& t) {
    for (Table table : {table_inode, table_entry, table_xattr, table_orphan, table_deletion, table_volume, table_usage, table_policy, table_writing})
      t.scan(table, "", [&](std::string_view key, std::string_view value) { return all[std::to_string(table) + ":" + std::string(key)] = value, true; });
  });
  return all;
}

/// Directories, two names of one file, a link, attributes, a policy of its own, limits, and many names in one directory.
void fill(Fixture& f) {
  const uint64_t d = f.made(f.root, "d", S_IFDIR | 0755, user(alice));
  const uint64_t file = f.made(d, "file", S_IFREG | 0640, user(alice));
  f.write([&](Txn& t) { return f.engine->update_written(t, file, 12345, 99, 16384, true, f.a, f.effects); });
  f.write([&](Txn& t) { return f.engine->link(t, user(alice), file, f.root, "second name", f.a, f.b, f.effects); });
  CHECK_EQUAL(f.create(d, "l", user(0), S_IFLNK | 0777, "../nowhere"), 0);
  f.write([&](Txn& t) { return f.engine->setxattr(t, user(alice), file, "user.a", std::string(5000, 'x'), 0, f.effects); });
  f.write([&](Txn& t) { return f.engine->policy_set(t, d, VolumePolicy{8192, 2, "spread", true}, f.effects); });
  const uint64_t many = f.made(f.root, "many", S_IFDIR | 0755);
  for (int i = 0; i < 3000; ++i) f.made(many, "name of file number " + std::to_string(i) + std::string(100, '.'));
  std::vector<uint64_t> writing;
  f.write([&](Txn& t) { return f.engine->quota_set(t, f.root, usage_all, uint64_t{1} << 40, 5000, writing); });
  f.write([&](Txn& t) { return f.engine->quota_set(t, f.root, alice, uint64_t{1} << 30, std::nullopt, writing); });
}

uint64_t id_at(Fixture& f, std::initializer_list<std::string> path, uint64_t from) {
  for (auto& name : path) {
    CHECK_EQUAL(f.lookup(from, name), 0);
    from = f.a.id;
  }
  return from;
}

}  // namespace

TEST("a volume comes back in an empty database with everything, under another name") {
  Fixture f;
  fill(f);
  const std::string bytes = dump_of(f);
  const uint64_t file = id_at(f, {"d", "file"}, f.root);
  std::map<uint32_t, Usage> before;
  f.store->read([&](const Txn& t) { before = f.engine->usage(t, f.root); });

  Fixture g;
  VolumeRestore::Restored done;
  // The volume that every fixture has must not be in the way: the root of the other one has another number.
  g.write([&](Txn& t) { return g.engine->volume_remove(t, "v", true, g.effects); });
  g.write([&](Txn& t) {
    std::vector<std::string> gone;
    t.scan(table_deletion, "", [&](std::string_view k, std::string_view) { return gone.emplace_back(k), true; });
    for (auto& k : gone) t.erase(table_deletion, k);
    return 0;
  });
  CHECK_EQUAL(restore(g, bytes, wanted(), done), 0);
  CHECK_EQUAL(done.inodes, 3005u);
  CHECK_EQUAL(done.names, 3005u);
  CHECK_EQUAL(done.empty, 0u);
  CHECK_EQUAL(g.engine->volumes().size(), 1u);
  CHECK_EQUAL(g.engine->volumes()[0].name, std::string("again"));
  for (int round = 0; round < 2; ++round) {  // also after a restart
    CHECK_EQUAL(id_at(g, {"again", "d", "file"}, root_id), file);
    CHECK(g.a.r.size == 12345 && g.a.r.uid == alice && (g.a.r.mode & 07777) == 0640 && g.a.r.nlink == 2 && g.a.r.epoch >= 1000);
    CHECK_EQUAL(id_at(g, {"again", "second name"}, root_id), file);
    std::string value;
    CHECK_EQUAL(g.read([&](const Txn& t) { return g.engine->getxattr(t, user(alice), file, "user.a", value); }), 0);
    CHECK_EQUAL(value, std::string(5000, 'x'));
    CHECK_EQUAL(g.read([&](const Txn& t) { return g.engine->readlink(t, id_at(g, {"again", "d", "l"}, root_id), value); }), 0);
    CHECK_EQUAL(value, std::string("../nowhere"));
    Inode d;
    bool own = false;
    CHECK_EQUAL(g.read([&](const Txn& t) { return g.engine->getattr(t, id_at(g, {"again", "d"}, root_id), d); }), 0);
    g.store->read([&](const Txn& t) { CHECK(g.engine->policy_for(t, d, &own).placement == "spread" && own); });
    std::map<uint32_t, Usage> after;
    g.store->read([&](const Txn& t) { after = g.engine->usage(t, done.root); });
    CHECK(after[usage_all].bytes_max == before[usage_all].bytes_max && after[usage_all].files == before[usage_all].files && after[alice].bytes_max == before[alice].bytes_max);
    g.reopen();
  }
  // What is made from now on gets a number of its own.
  const uint64_t fresh = g.made(done.root, "new");
  CHECK(fresh > file);
  // Objects of other volumes that were lost are nobody's to remove; those of files that are made and removed here are.
  g.write([&](Txn& t) { return t.erase(table_inode, key_of(file)), t.erase(table_inode, key_of(fresh)), 0; });
  g.store->read([&](const Txn& t) {
    CHECK(object_fate(t, file, 0) == ObjectFate::unknown);
    CHECK(object_fate(t, fresh, 0) == ObjectFate::orphan);
  });
}

TEST("a dump is a picture of one moment") {
  Fixture f;
  fill(f);
  const Volume v = f.engine->volumes()[0];
  VolumeDump dump(*f.store, v, {{0, "n1"}}, {});
  std::string bytes = dump.next();
  for (int i = 0; i < 300; ++i) CHECK_EQUAL(f.unlink(id_at(f, {"many"}, f.root), "name of file number " + std::to_string(i) + std::string(100, '.')), 0);
  for (int i = 0; i < 100; ++i) f.made(f.root, "later" + std::to_string(i));
  for (std::string block = dump.next(); !block.empty(); block = dump.next()) bytes += block;
  VolumeRestore r(f.path);
  r.feed(bytes);
  r.finish();
  Fixture g;
  g.write([&](Txn& t) { return t.erase(table_inode, key_of(g.root)), 0; });
  VolumeRestore::Restored done;
  CHECK_EQUAL(restore(g, bytes, wanted(), done, 100000), 0);
  CHECK_EQUAL(done.inodes, 3005u);
}

TEST("a stream that was cut, changed or lengthened anywhere is refused, and leaves nothing") {
  Fixture f;
  fill(f);
  const std::string good = dump_of(f);
  Fixture g;
  const auto before = rows(g);
  const char* given = getenv("XOS_FUZZ_SEED");
  const auto seed = given ? strtoull(given, nullptr, 0) : 20u;
  std::mt19937_64 random(seed);
  auto refused = [&](const std::string& bytes) {
    VolumeRestore::Restored done;
    try {
      restore(g, bytes, wanted(), done, 1 + random() % 50000);
    } catch (const BadDump&) {
      return rows(g) == before;
    }
    return false;
  };
  for (int i = 0; i < 300; ++i) {
    std::string bytes = good;
    switch (random() % 4) {
      case 0: bytes.resize(random() % bytes.size()); break;
      case 1: bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8); break;
      case 2: bytes += std::string(1 + random() % 100, static_cast<char>(random())); break;
      default: bytes.erase(random() % bytes.size(), 1 + random() % 5000);
    }
    const bool good_end = refused(bytes);
    if (!good_end) fprintf(stderr, "seed %lu, round %d\n", static_cast<unsigned long>(seed), i);
    CHECK(good_end);
  }
  CHECK(refused(""));
  CHECK(refused(good + good));
  CHECK(refused(std::string("PK\3\4") + std::string(5000, 'x')));
}

TEST("blocks with right checksums and wrong contents are refused as well") {
  Fixture f;
  const uint64_t d = f.made(f.root, "d", S_IFDIR | 0755);
  f.made(d, "file");
  const std::string good = dump_of(f);
  Fixture g;
  const auto before = rows(g);
  std::mt19937_64 random(4);
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    // Every block again with a byte changed, and sums to match.
    std::string bytes;
    uint32_t crc = 0;
    uint64_t number = 0;
    for (size_t at = 0; at < good.size(); ++number) {
      uint32_t length;
      memcpy(&length, good.data() + at + 4, 4);
      std::string payload = good.substr(at + dump::head_bytes, length);
      if (payload[0] == dump::end) memcpy(payload.data() + 17, &crc, 4);
      else if (number == 1) payload[random() % payload.size()] = static_cast<char>(random());
      std::string block = dump::block(number, payload);
      crc = xos::crc32c(crc, block.data(), block.size());
      bytes += block;
      at += dump::head_bytes + length;
    }
    VolumeRestore::Restored done;
    try {
      VolumeRestore r(g.path);
      r.feed(bytes);
      r.finish();
      g.store->write([&](Txn& t) {
        Effects effects;
        r.make(t, *g.engine, wanted(), done, effects);
        throw BadDump("taken back");  // some changes are no mistake: another mode, another time
      });
    } catch (const BadDump& e) {
      refused += std::string_view(e.what()) != "taken back";
    }
    CHECK(rows(g) == before);
  }
  CHECK(refused > 500);
}

TEST("files that are there, unknown servers and a taken name are in the way") {
  Fixture f;
  fill(f);
  const std::string bytes = dump_of(f);
  VolumeRestore::Restored done;
  auto said = [&](Fixture& g, VolumeRestore::Wanted w) -> std::string {
    try {
      return restore(g, bytes, w, done) == EEXIST ? "exists" : "";
    } catch (const BadDump& e) {
      return e.what();
    }
  };
  const auto before = rows(f);
  CHECK(said(f, wanted()).find("it makes no copies") != std::string::npos);
  CHECK(rows(f) == before);
  Fixture g;
  g.write([&](Txn& t) { return t.erase(table_inode, key_of(g.root)), 0; });
  VolumeRestore::Wanted w = wanted();
  w.number_of = [](const std::string& osd) { return osd == "n1" ? 0 : -1; };
  CHECK(said(g, w).find("OSD 'n2'") != std::string::npos);
  CHECK(said(g, wanted("v")) == "exists");
}

TEST("files whose contents are gone refuse the dump, or come back empty when that is meant") {
  Fixture f;
  fill(f);
  const std::string bytes = dump_of(f);
  const uint64_t file = id_at(f, {"d", "file"}, f.root);
  Fixture g;
  g.write([&](Txn& t) { return t.erase(table_inode, key_of(g.root)), 0; });
  VolumeRestore::Wanted w = wanted();
  w.has_object = [&](uint64_t id) { return id != file; };
  VolumeRestore::Restored done;
  try {
    restore(g, bytes, w, done);
    CHECK(false);
  } catch (const BadDump& e) {
    CHECK(std::string(e.what()).find("1 files have no contents") != std::string::npos);
  }
  w.incomplete = true;
  CHECK_EQUAL(restore(g, bytes, w, done), 0);
  CHECK_EQUAL(done.empty, 1u);
  CHECK_EQUAL(id_at(g, {"again", "d", "file"}, root_id), file);
  CHECK_EQUAL(g.a.r.size, 0u);
}

TEST_MAIN
