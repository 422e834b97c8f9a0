// Snapshots in the engine: what is copied, who lends contents to whom, and what goes when.
#include <fcntl.h>

#include <cerrno>

#include "borrowing.h"
#include "check.h"
#include "fixture.h"

namespace {

struct Rig : Fixture {
  uint64_t files = 0;
  int create_snapshot(const std::string& name, const std::map<uint64_t, Engine::Held>& held = {}) {
    if (int r = write([&](Txn& t) { return engine->snapshots_begin(t, root, effects); }); r != 0) return r;
    return write([&](Txn& t) { return engine->snapshot_create(t, root, name, held, files, effects); });
  }
  int remove_snapshot(const std::string& name) {
    return write([&](Txn& t) { return engine->snapshot_remove(t, root, name, effects); });
  }
  uint64_t top(const std::string& name) { return id(id(root, ".snapshot"), name); }
  /// A closed file with contents.
  uint64_t filled(uint64_t directory, const std::string& name, uint64_t size = 1000, const Caller& c = user(0)) {
    const uint64_t f = made(directory, name, S_IFREG | 0644, c);
    CHECK_EQUAL(write([&](Txn& t) { return engine->update_written(t, f, size, now_ns(), size, true, a, effects); }), 0);
    write([&](Txn& t) {
      engine->end_writing(t, f);
      return 0;
    });
    return f;
  }
  Inode inode(uint64_t id) {
    Inode i;
    CHECK_EQUAL(read([&](const Txn& t) { return engine->getattr(t, id, i); }), 0);
    return i;
  }
  bool exists(uint64_t id) {
    Inode i;
    return read([&](const Txn& t) { return engine->getattr(t, id, i); }) == 0;
  }
  bool lent(uint64_t id) {
    bool yes = false;
    store->read([&](const Txn& t) { yes = is_lent(t, id); });
    return yes;
  }
  /// The inode whose objects are a file's contents.
  uint64_t objects_of(uint64_t id) {
    uint64_t found = 0;
    store->read([&](const Txn& t) {
      auto i = contents_of(t, *load_inode(t, id));
      found = i ? i->id : 0;
    });
    return found;
  }
  bool keep(uint64_t lender) {
    bool kept = false;
    store->write([&](Txn& t) {
      auto ids = borrowers_of(t, lender);
      kept = !ids.empty() && engine->keep(t, lender, ids.back(), load_inode(t, lender)->osds);
    });
    return kept;
  }
  bool deleted(uint64_t id) {
    bool row = false;
    std::string_view v;
    store->read([&](const Txn& t) { row = t.get(table_deletion, key_of(id), v); });
    return row;
  }
  uint64_t rows(Table table) {
    uint64_t n = 0;
    store->read([&](const Txn& t) { n = t.entries(table); });
    return n;
  }
  void sound() {
    CheckReport r;
    store->read([&](const Txn& t) { r = check(t); });
    for (auto& line : r.found) printf("%s\n", line.c_str());
    CHECK_EQUAL(r.problems(), 0u);
  }
};

}  // namespace

TEST("a snapshot holds the tree of its moment, and shows it as .snapshot/NAME only") {
  Rig f;
  const uint64_t d = f.made(f.root, "d", S_IFDIR | 0750, user(alice));
  const uint64_t x = f.filled(d, "x", 10, user(alice));
  CHECK_EQUAL(f.create(d, "link", user(alice), S_IFLNK | 0777, "x"), 0);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->link(t, user(0), x, f.root, "x2", f.a, f.b, f.effects); }), 0);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->setxattr(t, user(0), x, "user.colour", "red", 0, f.effects); }), 0);
  CHECK_EQUAL(f.lookup(f.root, ".snapshot"), ENOENT);
  CHECK_EQUAL(f.create_snapshot("monday"), 0);
  CHECK_EQUAL(f.files, 4u);
  CHECK_EQUAL(f.list(f.root), (std::vector<std::string>{"d", "x2"}));
  CHECK_EQUAL(f.list(f.id(f.root, ".snapshot")), (std::vector<std::string>{"monday"}));
  // What happens then does not reach it.
  CHECK_EQUAL(f.unlink(f.root, "x2"), 0);
  CHECK_EQUAL(f.rename(d, "x", f.root, "y"), 0);
  f.filled(d, "new");
  const uint64_t top = f.top("monday"), then = f.id(top, "d");
  CHECK_EQUAL(f.list(top), (std::vector<std::string>{"d", "x2"}));
  CHECK_EQUAL(f.list(then), (std::vector<std::string>{"link", "x"}));
  CHECK_EQUAL(f.id(then, "x"), f.id(top, "x2"));
  const Inode i = f.inode(f.id(then, "x"));
  CHECK_EQUAL(i.r.nlink, 2u);
  CHECK_EQUAL(i.r.uid, alice);
  CHECK_EQUAL(i.r.size, 10u);
  std::string value;
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->getxattr(t, user(0), i.id, "user.colour", value); }), 0);
  CHECK_EQUAL(value, "red");
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->readlink(t, f.id(then, "link"), value); }), 0);
  CHECK_EQUAL(value, "x");
  CHECK_EQUAL(f.lookup(then, ".."), 0);
  CHECK_EQUAL(f.a.id, top);
  CHECK_EQUAL(f.lookup(f.id(f.root, ".snapshot"), ".."), 0);
  CHECK_EQUAL(f.a.id, f.root);
  f.sound();
}

TEST("nothing in a snapshot can be changed, and its name is taken") {
  Rig f;
  const uint64_t x = f.filled(f.root, "x");
  CHECK_EQUAL(f.create_snapshot("s"), 0);
  CHECK_EQUAL(f.create_snapshot("s"), EEXIST);
  CHECK_EQUAL(f.create_snapshot("a/b"), EINVAL);
  CHECK_EQUAL(f.create_snapshot(".."), EINVAL);
  CHECK_EQUAL(f.create_snapshot(std::string(256, 'n')), ENAMETOOLONG);
  CHECK_EQUAL(f.create_snapshot(std::string(255, 'n')), 0);
  const uint64_t d = f.id(f.root, ".snapshot"), top = f.top("s"), y = f.id(top, "x");
  for (uint64_t directory : {d, top}) {
    CHECK_EQUAL(f.create(directory, "new"), EROFS);
    CHECK_EQUAL(f.create(directory, "new", user(0), S_IFDIR | 0755), EROFS);
    CHECK_EQUAL(f.rename(f.root, "x", directory, "z"), EROFS);
  }
  CHECK_EQUAL(f.unlink(top, "x"), EROFS);
  CHECK_EQUAL(f.rename(top, "x", f.root, "z"), EROFS);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->rmdir(t, user(0), d, "s", f.files, f.a, f.effects); }), EROFS);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->link(t, user(0), y, f.root, "z", f.a, f.b, f.effects); }), EXDEV);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->link(t, user(0), x, top, "z", f.a, f.b, f.effects); }), EROFS);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->begin_writing(t, y, false, Fixture::place, f.a, f.effects); }), EROFS);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->update_written(t, y, 1, 1, 1, true, f.a, f.effects); }), EROFS);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->setxattr(t, user(0), y, "user.a", "1", 0, f.effects); }), EROFS);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->removexattr(t, user(0), y, "user.a", f.effects); }), EROFS);
  for (uint64_t id : {d, top, y}) CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->policy_set(t, id, VolumePolicy{}, f.effects); }), EROFS);
  SetAttr s;
  for (uint32_t mask : {set_mode, set_uid, set_size, set_mtime}) {
    s.mask = mask;
    CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->setattr(t, user(0), y, s, f.a, f.effects); }), EROFS);
  }
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->check_open(t, user(0), y, O_RDWR, f.a); }), EROFS);
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->check_open(t, user(0), y, O_RDONLY | O_TRUNC, f.a); }), EROFS);
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->check_open(t, user(0), y, O_RDONLY, f.a); }), 0);
  // A file of that name would hide it.
  CHECK_EQUAL(f.create(f.root, ".snapshot"), EEXIST);
  CHECK_EQUAL(f.rename(f.root, "x", f.root, ".snapshot"), EEXIST);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->link(t, user(0), x, f.root, ".snapshot", f.a, f.b, f.effects); }), EEXIST);
  CHECK_EQUAL(f.create(f.made(f.root, "sub", S_IFDIR | 0755), ".snapshot"), 0);
  Rig taken;
  taken.made(taken.root, ".snapshot");
  CHECK_EQUAL(taken.create_snapshot("s"), EEXIST);
}

TEST("contents are lent until they are copied, to the newest, and the older ones borrow from that") {
  Rig f;
  const uint64_t x = f.filled(f.root, "x");
  CHECK(!f.lent(x));
  CHECK_EQUAL(f.create_snapshot("1"), 0);
  CHECK_EQUAL(f.create_snapshot("2"), 0);
  const uint64_t x1 = f.id(f.top("1"), "x"), x2 = f.id(f.top("2"), "x");
  CHECK(f.lent(x));
  CHECK_EQUAL(f.objects_of(x1), x);
  CHECK_EQUAL(f.objects_of(x2), x);
  const uint32_t epoch = f.inode(x).r.epoch;
  CHECK(f.keep(x));
  CHECK(!f.lent(x));
  CHECK_EQUAL(f.objects_of(x2), x2);
  CHECK_EQUAL(f.objects_of(x1), x2);
  CHECK_EQUAL(f.inode(x2).osds, f.inode(x).osds);
  CHECK_EQUAL(f.inode(x).r.epoch, epoch + 1);
  std::string_view row;
  f.store->read([&](const Txn& t) { CHECK(t.get(table_meta, fence_key(x), row)); });
  CHECK(!f.keep(x));
  f.sound();
  // After it was written to it is lent anew, and a file that is not there at a snapshot is not in it.
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->update_written(t, x, 5000, now_ns(), 1, true, f.a, f.effects); }), 0);
  CHECK_EQUAL(f.create_snapshot("3"), 0);
  CHECK_EQUAL(f.inode(f.id(f.top("3"), "x")).r.size, 5000u);
  CHECK_EQUAL(f.inode(x1).r.size, 1000u);
  CHECK_EQUAL(f.objects_of(f.id(f.top("3"), "x")), x);
  // The newest of the first two goes: what it has stays, for the other one.
  CHECK_EQUAL(f.remove_snapshot("2"), 0);
  CHECK(!f.deleted(x2));
  CHECK_EQUAL(f.objects_of(x1), x2);
  f.sound();
  CHECK_EQUAL(f.remove_snapshot("1"), 0);
  CHECK(f.deleted(x2));
  CHECK(!f.exists(x2));
  CHECK(!f.deleted(x));
  f.sound();
}

TEST("a removed file stays for its snapshots, without a name, and goes with the last one") {
  Rig f;
  const uint64_t x = f.filled(f.root, "x");
  CHECK_EQUAL(f.create_snapshot("1"), 0);
  CHECK_EQUAL(f.create_snapshot("2"), 0);
  const uint64_t x1 = f.id(f.top("1"), "x");
  CHECK_EQUAL(f.unlink(f.root, "x"), 0);
  CHECK(!f.deleted(x));
  CHECK_EQUAL(f.objects_of(x1), x);
  f.sound();
  f.reopen();
  CHECK_EQUAL(f.remove_snapshot("2"), 0);
  CHECK(!f.deleted(x));
  CHECK_EQUAL(f.remove_snapshot("1"), 0);
  CHECK(f.deleted(x));
  CHECK(!f.exists(x));
  CHECK_EQUAL(f.rows(table_borrow), 0u);
  CHECK_EQUAL(f.rows(table_snapshot), 0u);
  CHECK_EQUAL(f.lookup(f.root, ".snapshot"), ENOENT);
  CHECK_EQUAL(f.create(f.root, ".snapshot"), 0);
  f.sound();
}

TEST("a file of a removed snapshot that is still read goes at its last close") {
  Rig f;
  const uint64_t x = f.filled(f.root, "x");
  CHECK_EQUAL(f.create_snapshot("s"), 0);
  const uint64_t y = f.id(f.top("s"), "x");
  f.open.open.insert(y);
  CHECK_EQUAL(f.remove_snapshot("s"), 0);
  CHECK(f.lent(x));  // so what is read does not change
  CHECK_EQUAL(f.unlink(f.root, "x"), 0);
  CHECK(!f.deleted(x));
  f.open.open.clear();
  f.write([&](Txn& t) {
    f.engine->release_orphan(t, y);
    return 0;
  });
  CHECK(f.deleted(x));
  CHECK_EQUAL(f.rows(table_borrow), 0u);
  f.sound();
}

TEST("a file that is open for writing has the size that its OSDs said, and one that is open without a name is not in it") {
  Rig f;
  const uint64_t x = f.made(f.root, "x"), gone = f.filled(f.root, "gone");
  f.open.open.insert(gone);
  CHECK_EQUAL(f.unlink(f.root, "gone"), 0);
  const int64_t at = now_ns() + 1'000'000;
  CHECK_EQUAL(f.create_snapshot("s", {{x, {777, 4096, at}}}), 0);
  CHECK_EQUAL(f.list(f.top("s")), (std::vector<std::string>{"x"}));
  const Inode i = f.inode(f.id(f.top("s"), "x"));
  CHECK_EQUAL(i.r.size, 777u);
  CHECK_EQUAL(i.r.mtime_ns, at);
  CHECK_EQUAL(f.inode(x).r.size, 0u);
  CHECK(f.lent(x));
  f.sound();
}

TEST("in a volume with limits a snapshot counts as a copy, and is refused whole when there is no room") {
  Rig f;
  const uint64_t d = f.made(f.root, "d", S_IFDIR | 0777);
  f.filled(d, "a", 600, user(alice));
  f.filled(d, "b", 100, user(bob));
  std::vector<uint64_t> writing;
  auto limit = [&](uint32_t who, uint64_t bytes) {
    CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->quota_set(t, f.root, who, bytes, std::nullopt, writing); }), 0);
  };
  auto used = [&](uint32_t who) {
    int64_t bytes = 0;
    f.store->read([&](const Txn& t) { bytes = f.engine->usage(t, f.root)[who].bytes; });
    return bytes;
  };
  limit(usage_all, 2000);
  limit(alice, 1000);
  const uint64_t inodes = f.rows(table_inode);
  CHECK_EQUAL(f.create_snapshot("s"), EDQUOT);
  CHECK_EQUAL(used(usage_all), 700);
  CHECK_EQUAL(used(bob), 100);
  CHECK_EQUAL(f.rows(table_inode), inodes + 1);  // the empty .snapshot
  f.sound();
  limit(alice, 1200);
  CHECK_EQUAL(f.create_snapshot("s"), 0);
  CHECK_EQUAL(used(usage_all), 1400);
  CHECK_EQUAL(used(alice), 1200);
  f.sound();
  CHECK_EQUAL(f.unlink(d, "a"), 0);
  CHECK_EQUAL(used(alice), 600);
  f.sound();
  CHECK_EQUAL(f.remove_snapshot("s"), 0);
  CHECK_EQUAL(used(alice), 0);
  CHECK_EQUAL(used(usage_all), 100);
  f.sound();
}

TEST("a volume with snapshots is removed only by force, and everything goes") {
  Rig f;
  const uint64_t x = f.filled(f.root, "x"), y = f.filled(f.root, "y");
  CHECK_EQUAL(f.create_snapshot("1"), 0);
  CHECK(f.keep(x));
  const uint64_t x1 = f.id(f.top("1"), "x");
  CHECK_EQUAL(f.create_snapshot("2"), 0);
  CHECK_EQUAL(f.unlink(f.root, "x"), 0);
  CHECK_EQUAL(f.unlink(f.root, "y"), 0);
  auto remove = [&](bool force) { return f.write([&](Txn& t) { return f.engine->volume_remove(t, "v", force, f.effects); }); };
  CHECK_EQUAL(remove(false), ENOTEMPTY);
  CHECK_EQUAL(remove(true), 0);
  CHECK_EQUAL(f.rows(table_inode), 1u);
  CHECK_EQUAL(f.rows(table_borrow), 0u);
  CHECK_EQUAL(f.rows(table_snapshot), 0u);
  for (uint64_t id : {x, y, x1}) CHECK(f.deleted(id));
  f.sound();
}

TEST("a snapshot that is removed while a file is copied for it leaves nothing behind") {
  Rig f;
  const uint64_t x = f.filled(f.root, "x");
  CHECK_EQUAL(f.create_snapshot("s"), 0);
  const uint64_t y = f.id(f.top("s"), "x");
  const auto osds = f.inode(x).osds;
  CHECK_EQUAL(f.remove_snapshot("s"), 0);
  bool kept = true;
  f.store->write([&](Txn& t) { kept = f.engine->keep(t, x, y, osds); });
  CHECK(!kept);
  CHECK(f.deleted(y));
  CHECK(!f.lent(x));
}

TEST("what lends to nobody, and a borrower without a lender, are found") {
  Rig f;
  const uint64_t x = f.filled(f.root, "x");
  CHECK_EQUAL(f.create_snapshot("s"), 0);
  const uint64_t y = f.id(f.top("s"), "x");
  f.sound();
  f.store->write([&](Txn& t) { t.erase(table_borrow, key_of(x) + key_of(y)); });
  CheckReport r;
  f.store->read([&](const Txn& t) { r = check(t); });
  CHECK_EQUAL(r.borrowed, 1u);
  f.store->write([&](Txn& t) { r = repair(t, [&] { return f.engine->new_id(t); }); });
  CHECK(f.lent(x));
  f.sound();
}

TEST_MAIN
