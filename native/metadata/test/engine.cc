#include "fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <random>
#include <thread>

TEST("names are made, found, listed in pages and removed") {
  Fixture f;
  for (int i = 0; i < 20; ++i) f.made(f.root, "f" + std::to_string(100 + i));
  CHECK_EQUAL(f.create(f.root, "f100"), EEXIST);
  CHECK_EQUAL(f.list(f.root).size(), 20u);
  CHECK_EQUAL(f.lookup(f.root, "f105"), 0);
  CHECK_EQUAL(f.unlink(f.root, "f105"), 0);
  CHECK_EQUAL(f.lookup(f.root, "f105"), ENOENT);
  CHECK_EQUAL(f.unlink(f.root, "f105"), ENOENT);
  CHECK_EQUAL(f.list(f.root).size(), 19u);
  CHECK_EQUAL(f.create(f.root, std::string(255, 'x')), 0);
  CHECK_EQUAL(f.create(f.root, std::string(256, 'x')), ENAMETOOLONG);
  CHECK_EQUAL(f.create(f.root, "a/b"), EINVAL);
  CHECK_EQUAL(f.create(f.root, ""), EINVAL);
  CHECK_EQUAL(f.create(f.root, ".."), EINVAL);
}

TEST("a listing continues behind its last name though that was removed") {
  Fixture f;
  for (char c = 'a'; c <= 'f'; ++c) f.made(f.root, std::string(1, c));
  bool end;
  std::vector<std::string> names;
  auto each = [&](std::string_view n, const Inode&) { names.emplace_back(n); return names.size() % 2 != 0; };
  f.read([&](const Txn& t) { return f.engine->readdir(t, user(0), f.root, "", each, end); });
  CHECK_EQUAL(f.unlink(f.root, "b"), 0);
  names = {"b"};
  f.read([&](const Txn& t) { return f.engine->readdir(t, user(0), f.root, "b", each, end); });
  CHECK_EQUAL(names[1], "c");
}

TEST("rename replaces what it may and refuses the rest") {
  Fixture f;
  uint64_t d = f.made(f.root, "d", S_IFDIR | 0755), e = f.made(d, "e", S_IFDIR | 0755), g = f.made(f.root, "g", S_IFDIR | 0755);
  uint64_t x = f.made(f.root, "x");
  f.made(f.root, "y");
  CHECK_EQUAL(f.rename(f.root, "x", f.root, "y"), 0);
  CHECK_EQUAL(f.id(f.root, "y"), x);
  CHECK_EQUAL(f.rename(f.root, "d", e, "z"), EINVAL);
  CHECK_EQUAL(f.rename(f.root, "d", d, "z"), EINVAL);
  CHECK_EQUAL(f.rename(f.root, "d", f.root, "y"), ENOTDIR);
  CHECK_EQUAL(f.rename(f.root, "y", f.root, "d"), EISDIR);
  CHECK_EQUAL(f.rename(f.root, "g", f.root, "d"), ENOTEMPTY);
  CHECK_EQUAL(f.rename(f.root, "y", f.root, "g", RENAME_NOREPLACE), EEXIST);
  CHECK_EQUAL(f.rename(f.root, "y", f.root, "none", RENAME_EXCHANGE), ENOENT);
  CHECK_EQUAL(f.rename(f.root, "y", d, "e", RENAME_EXCHANGE), 0);
  CHECK_EQUAL(f.id(f.root, "y"), e);
  CHECK_EQUAL(f.id(d, "e"), x);
  CHECK_EQUAL(f.lookup(e, ".."), 0);
  CHECK_EQUAL(f.a.id, f.root);
  f.read([&](const Txn& t) { return f.engine->getattr(t, d, f.a); });
  CHECK_EQUAL(f.a.r.nlink, 2u);
  CHECK_EQUAL(f.rename(d, "e", f.root, "w"), 0);
  CHECK_EQUAL(f.rename(f.root, "g", f.root, "d"), 0);
  CHECK_EQUAL(f.id(f.root, "d"), g);
  uint64_t other = 0;
  f.write([&](Txn& t) { return f.engine->volume_create(t, "other", 0, 0, 0777, {}, other, f.effects); });
  CHECK_EQUAL(f.rename(f.root, "w", other, "w"), EXDEV);
  CHECK_EQUAL(f.rename(root_id, "v", root_id, "u"), EPERM);
}

TEST("links are counted and the last one deletes, unless it is open") {
  Fixture f;
  uint64_t x = f.made(f.root, "x");
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->link(t, user(0), x, f.root, "y", f.a, f.b, f.effects); }), 0);
  CHECK_EQUAL(f.a.r.nlink, 2u);
  CHECK_EQUAL(f.unlink(f.root, "x"), 0);
  f.open.open.insert(x);
  CHECK_EQUAL(f.unlink(f.root, "y"), 0);
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->getattr(t, x, f.a); }), 0);
  CHECK_EQUAL(f.a.r.nlink, 0u);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->link(t, user(0), x, f.root, "z", f.a, f.b, f.effects); }), ENOENT);
  f.write([&](Txn& t) { return f.engine->release_orphan(t, x), 0; });
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->getattr(t, x, f.a); }), 0);
  f.open.open.clear();
  f.write([&](Txn& t) { return f.engine->release_orphan(t, x), 0; });
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->getattr(t, x, f.a); }), ESTALE);
}

TEST("removed files queue their objects for deletion, once they may have some") {
  Fixture f;
  uint64_t empty = f.made(f.root, "empty"), full = f.made(f.root, "full");
  f.write([&](Txn& t) { return f.engine->end_writing(t, empty), f.engine->end_writing(t, full), 0; });
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->update_written(t, full, 10, 5, 512, true, f.a, f.effects); }), 0);
  CHECK_EQUAL(f.unlink(f.root, "empty"), 0);
  CHECK_EQUAL(f.unlink(f.root, "full"), 0);
  std::string_view v;
  f.read([&](const Txn& t) {
    CHECK(!t.get(table_deletion, key_of(empty), v));
    CHECK(t.get(table_deletion, key_of(full), v));
    return 0;
  });
}

TEST("permissions: owner, group, others, and groups are asked for only when they decide") {
  Inode i;
  i.r.uid = alice;
  i.r.gid = team;
  i.r.mode = S_IFREG | 0640;
  CHECK_EQUAL(check_access(i, user(alice), 6), 0);
  CHECK_EQUAL(check_access(i, user(bob), 4), EACCES);
  CHECK_EQUAL(check_access(i, user(bob, {team}), 4), 0);
  CHECK_EQUAL(check_access(i, user(bob, {}, false), 4), need_groups);
  CHECK_EQUAL(check_access(i, user(bob, {}, false), 2), EACCES);
  CHECK_EQUAL(check_access(i, user(0), 6), 0);
  i.r.mode = S_IFREG | 0604;  // the group is shut out although others may read
  CHECK_EQUAL(check_access(i, user(bob, {team}), 4), EACCES);
  CHECK_EQUAL(check_access(i, user(bob), 4), 0);
  i.r.mode = S_IFREG | 0044;
  CHECK_EQUAL(check_access(i, user(alice, {team}), 4), EACCES);
}

TEST("directories give their group away when they are setgid and protect files when they are sticky") {
  Fixture f;
  uint64_t d = f.made(f.root, "d", S_IFDIR | 03777);
  f.write([&](Txn& t) {
    SetAttr s;
    s.mask = set_gid | set_mode;
    s.gid = team;
    s.mode = 03777;
    return f.engine->setattr(t, user(0), d, s, f.a, f.effects);
  });
  f.made(d, "x", S_IFREG | 0644, user(alice));
  CHECK_EQUAL(f.a.r.gid, team);
  f.made(d, "sub", S_IFDIR | 0755, user(alice));
  CHECK(f.a.r.mode & S_ISGID);
  CHECK_EQUAL(f.unlink(d, "x", user(bob)), EPERM);
  CHECK_EQUAL(f.rename(d, "x", d, "y", 0, user(bob)), EPERM);
  CHECK_EQUAL(f.rename(d, "x", d, "y", 0, user(alice)), 0);
  uint64_t p = f.made(f.root, "private", S_IFDIR | 0700, user(alice));
  CHECK_EQUAL(f.create(p, "x", user(bob)), EACCES);
  CHECK_EQUAL(f.lookup(p, "x", user(bob)), EACCES);
  CHECK_EQUAL(f.create(p, "x", user(alice)), 0);
  CHECK_EQUAL(f.create(f.root, "dev", user(alice), S_IFCHR | 0600), EPERM);
}

TEST("attributes: who may change what") {
  Fixture f;
  uint64_t x = f.made(f.root, "x", S_IFREG | 0644, user(alice));
  auto set = [&](const Caller& c, SetAttr s) { return f.write([&](Txn& t) { return f.engine->setattr(t, c, x, s, f.a, f.effects); }); };
  SetAttr mode;
  mode.mask = set_mode;
  mode.mode = 04755;
  CHECK_EQUAL(set(user(bob), mode), EPERM);
  CHECK_EQUAL(set(user(alice), mode), 0);
  SetAttr owner;
  owner.mask = set_uid;
  owner.uid = bob;
  CHECK_EQUAL(set(user(alice), owner), EPERM);
  SetAttr group;
  group.mask = set_gid;
  group.gid = team;
  CHECK_EQUAL(set(user(alice), group), EPERM);
  CHECK_EQUAL(set(user(alice, {}, false), group), need_groups);
  CHECK_EQUAL(set(user(alice, {team}), group), 0);
  CHECK(!(f.a.r.mode & S_ISUID));
  SetAttr times;
  times.mask = set_mtime;
  times.mtime_ns = 7;
  CHECK_EQUAL(set(user(bob), times), EPERM);
  times.mask = set_mtime | set_mtime_now;
  CHECK_EQUAL(set(user(bob), times), EACCES);
  times.mask = set_mtime;
  CHECK_EQUAL(set(user(alice), times), 0);
  CHECK_EQUAL(f.a.r.mtime_ns, 7);
}

TEST("extended attributes go with their file") {
  Fixture f;
  uint64_t x = f.made(f.root, "x");
  auto set = [&](const std::string& n, const std::string& v, uint32_t flags = 0) {
    return f.write([&](Txn& t) { return f.engine->setxattr(t, user(0), x, n, v, flags, f.effects); });
  };
  CHECK_EQUAL(set("user.a", std::string(65536, 'z')), 0);
  CHECK_EQUAL(set("user.a", std::string(65537, 'z')), E2BIG);
  CHECK_EQUAL(set("user.a", "1", XATTR_CREATE), EEXIST);
  CHECK_EQUAL(set("user.b", "1", XATTR_REPLACE), ENODATA);
  CHECK_EQUAL(set("security.x", "1"), EOPNOTSUPP);
  CHECK_EQUAL(set("user.b", ""), 0);
  std::string v;
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->getxattr(t, user(0), x, "user.b", v); }), 0);
  CHECK_EQUAL(v, "");
  CHECK_EQUAL(f.unlink(f.root, "x"), 0);
  f.read([&](const Txn& t) {
    CHECK_EQUAL(t.entries(table_xattr), 0u);
    return 0;
  });
}

TEST("a volume with files is removed only by force, and then with everything") {
  Fixture f;
  uint64_t d = f.made(f.root, "d", S_IFDIR | 0755);
  for (int i = 0; i < 5; ++i) d = f.made(d, "deeper", S_IFDIR | 0755), f.made(d, "file");
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->volume_remove(t, "v", false, f.effects); }), ENOTEMPTY);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->volume_remove(t, "v", true, f.effects); }), 0);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->volume_remove(t, "v", true, f.effects); }), ENOENT);
  f.read([&](const Txn& t) {
    CHECK_EQUAL(t.entries(table_inode), 1u);
    CHECK_EQUAL(t.entries(table_entry), 0u);
    return 0;
  });
  VolumePolicy bad;
  bad.stripe_bytes = 1000;
  uint64_t id;
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->volume_create(t, "w", 0, 0, 0755, bad, id, f.effects); }), EINVAL);
}

TEST("many threads share few transactions, and a failing one harms nobody") {
  Fixture f;
  auto before = f.store->counters();
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        try {
          Inode a, b;
          Effects e;
          f.store->write([&](Txn& txn) {
            f.engine->create(txn, user(0), f.root, std::to_string(t) + "-" + std::to_string(i), {S_IFREG | 0644, 0, {}, true}, Fixture::place, a, b, e);
            if (t == 0 && i % 10 == 0) throw StoreError(EIO, "on purpose");
          });
        } catch (const StoreError&) {
          ++failed;
        }
      }
    });
  for (auto& t : threads) t.join();
  CHECK_EQUAL(failed.load(), 10);
  CHECK_EQUAL(f.list(f.root, 1000).size(), 790u);
  auto after = f.store->counters();
  CHECK_EQUAL(after.second - before.second, 800u);
}

TEST("file ids are never used twice, also after a restart") {
  Fixture f;
  std::set<uint64_t> ids;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 100; ++i) {
      CHECK(ids.insert(f.made(f.root, "x")).second);
      f.unlink(f.root, "x");
    }
    f.reopen();
  }
}

TEST("what was acknowledged survives kill -9 at any moment") {
  for (int round = 0; round < 5; ++round) {
    Fixture f;
    f.engine.reset();
    f.store.reset();
    int pipes[2];
    CHECK_EQUAL(pipe2(pipes, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
      f.reopen();
      for (uint32_t i = 0;; ++i) {
        if (f.create(f.root, "f" + std::to_string(i)) != 0) _exit(1);
        if (::write(pipes[1], &i, sizeof i) != sizeof i) _exit(1);
      }
    }
    ::close(pipes[1]);
    uint32_t last = 0, i;
    for (int n = 0; n < 50 + 37 * round && ::read(pipes[0], &i, sizeof i) == sizeof i; ++n) last = i;
    kill(child, SIGKILL);
    while (::read(pipes[0], &i, sizeof i) == sizeof i) last = i;
    ::close(pipes[0]);
    waitpid(child, nullptr, 0);
    f.reopen();
    for (uint32_t n = 0; n <= last; ++n) CHECK_EQUAL(f.lookup(f.root, "f" + std::to_string(n)), 0);
    CHECK_EQUAL(f.create(f.root, "after"), 0);
  }
}

TEST_MAIN
