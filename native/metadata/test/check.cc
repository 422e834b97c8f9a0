#include "check.h"

#include <cerrno>

#include "fixture.h"

namespace {

struct Rig : Fixture {
  uint64_t d = 0, x = 0, sub = 0;
  Rig() {
    d = made(root, "d", S_IFDIR | 0755);
    x = made(d, "x", S_IFREG | 0644, user(0));
    sub = made(d, "sub", S_IFDIR | 0755);
    made(sub, "y", S_IFREG | 0644, user(0));
    CHECK_EQUAL(write([&](Txn& t) { return engine->link(t, user(0), x, root, "x2", a, b, effects); }), 0);
    write([&](Txn& t) { return engine->setxattr(t, user(0), x, "user.a", "1", 0, effects); });
    std::vector<uint64_t> writing;
    CHECK_EQUAL(write([&](Txn& t) { return engine->quota_set(t, root, usage_all, 1 << 30, std::nullopt, writing); }), 0);
  }
  CheckReport looked() {
    CheckReport r;
    store->read([&](const Txn& t) { r = check(t); });
    return r;
  }
  CheckReport mended() {
    CheckReport r;
    store->write([&](Txn& t) { r = repair(t, [&] { return engine->new_id(t); }); });
    return r;
  }
  void damage(const std::function<void(Txn&)>& how) { store->write(how); }
  void change(uint64_t id, const std::function<void(Inode&)>& how) {
    damage([&](Txn& t) {
      auto i = load_inode(t, id);
      how(*i);
      save_inode(t, *i);
    });
  }
};

}  // namespace

TEST("a database that was only used has nothing wrong") {
  Rig f;
  CheckReport r = f.looked();
  CHECK_EQUAL(r.problems(), 0u);
  CHECK_EQUAL(r.entries, 6u);
  CHECK_EQUAL(f.unlink(f.d, "x"), 0);
  CHECK_EQUAL(f.rename(f.d, "sub", f.root, "moved"), 0);
  CHECK_EQUAL(f.looked().problems(), 0u);
}

TEST("names that lead nowhere, wrong links, parents, rows and counts are found and mended") {
  Rig f;
  f.damage([&](Txn& t) {
    save_entry(t, f.d, "ghost", {999999, S_IFREG});
    t.put(table_xattr, xattr_key(888888, "user.b"), "2");
    t.put(table_policy, key_of(777777), "p");
  });
  f.change(f.x, [](Inode& i) { i.r.nlink = 7; });
  f.change(f.d, [](Inode& i) { i.r.nlink = 1; });
  f.change(f.sub, [&](Inode& i) { i.r.parent = f.root; });
  f.change(f.x, [](Inode& i) { i.r.size = 12345; });  // not charged
  CheckReport r = f.looked();
  CHECK_EQUAL(r.dangling, 1u);
  CHECK_EQUAL(r.links, 2u);
  CHECK_EQUAL(r.parents, 1u);
  CHECK_EQUAL(r.attributes, 2u);
  CHECK_EQUAL(r.usage, 2u);
  CHECK_EQUAL(r.lost, 0u);
  CHECK_EQUAL(f.mended().problems(), r.problems());
  CHECK_EQUAL(f.looked().problems(), 0u);
  CHECK_EQUAL(f.lookup(f.d, "ghost"), ENOENT);
  CHECK_EQUAL(f.lookup(f.d, "x"), 0);
  CHECK_EQUAL(f.a.r.nlink, 2u);
}

TEST("what has lost its name is found again in lost+found, with all that is below it") {
  Rig f;
  f.damage([&](Txn& t) {
    t.erase(table_entry, entry_key(f.d, "sub"));
    t.erase(table_entry, entry_key(f.d, "x"));
    t.erase(table_entry, entry_key(f.root, "x2"));
  });
  CHECK_EQUAL(f.looked().lost, 2u);
  f.mended();
  CHECK_EQUAL(f.looked().problems(), 0u);
  uint64_t found = f.id(f.root, "lost+found");
  CHECK_EQUAL(f.lookup(found, "#" + std::to_string(f.x)), 0);
  CHECK_EQUAL(f.a.r.nlink, 1u);
  CHECK_EQUAL(f.lookup(f.id(found, "#" + std::to_string(f.sub)), "y"), 0);
  CHECK_EQUAL(f.lookup(found, "x", user(alice)), EACCES);
}

TEST("a file that is open without a name is not lost") {
  Rig f;
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->create(t, user(0), f.root, "", {S_IFREG | 0600, 0, {}, true, true}, Fixture::place, f.a, f.b, f.effects); }), 0);
  f.open.open.insert(f.a.id);
  CHECK_EQUAL(f.looked().problems(), 0u);
}

TEST_MAIN
