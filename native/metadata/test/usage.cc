#include <fcntl.h>

#include <cerrno>
#include <random>
#include <thread>

#include "fixture.h"

namespace {

constexpr uint64_t mib = 1 << 20;

struct Rig : Fixture {
  int quota(uint32_t who, std::optional<uint64_t> bytes, std::optional<uint64_t> files = std::nullopt) {
    std::vector<uint64_t> writing;
    return write([&](Txn& t) { return engine->quota_set(t, root, who, bytes, files, writing); });
  }
  Usage used(uint32_t who = usage_all) {
    Usage u;
    read([&](const Txn& t) {
      u = engine->usage(t, root)[who];
      return 0;
    });
    return u;
  }
  int grow(uint64_t id, uint64_t size) {
    return write([&](Txn& t) { return engine->grow(t, id, size, granted); });
  }
  int wrote(uint64_t id, uint64_t size) {
    return write([&](Txn& t) { return engine->update_written(t, id, size, now_ns(), size, true, a, effects); });
  }
  void close(uint64_t id) {
    write([&](Txn& t) {
      engine->end_writing(t, id);
      return 0;
    });
  }
  int truncate(uint64_t id, uint64_t size) {
    SetAttr s;
    s.mask = set_size;
    s.size = size;
    return write([&](Txn& t) { return engine->setattr(t, user(0), id, s, a, effects); });
  }
  uint64_t granted = 0;
};

}  // namespace

TEST("without limits nobody asks and nothing is kept") {
  Rig f;
  uint64_t x = f.made(f.root, "x", S_IFREG | 0644, user(alice));
  CHECK_EQUAL(f.grow(x, 1ull << 50), 0);
  CHECK_EQUAL(f.granted, unlimited);
  f.wrote(x, 1000);
  f.made(f.root, "d", S_IFDIR | 0755);
  CHECK_EQUAL(f.used().bytes, 1000);
  CHECK_EQUAL(f.used().files, 2);
  CHECK_EQUAL(f.used(alice).files, 1);
  f.read([&](const Txn& t) {
    CHECK_EQUAL(t.entries(table_usage), 0u);
    return 0;
  });
}

TEST("a volume's limit holds for what is reserved, and what is not used goes back") {
  Rig f;
  uint64_t x = f.made(f.root, "x", S_IFREG | 0644, user(alice));
  f.wrote(x, 3 * mib);
  f.close(x);
  CHECK_EQUAL(f.quota(usage_all, 10 * mib), 0);
  CHECK_EQUAL(f.used().bytes, static_cast<int64_t>(3 * mib));
  uint64_t y = f.made(f.root, "y", S_IFREG | 0644, user(bob));
  CHECK_EQUAL(f.grow(y, 4 * mib), 0);
  CHECK(f.granted >= 4 * mib && f.granted <= 7 * mib);
  CHECK_EQUAL(f.used().bytes, static_cast<int64_t>(3 * mib + f.granted));
  CHECK_EQUAL(f.grow(y, 7 * mib + 1), EDQUOT);
  CHECK_EQUAL(f.grow(y, 7 * mib), 0);
  CHECK_EQUAL(f.grow(x, 3 * mib + 1), EDQUOT);
  CHECK_EQUAL(f.truncate(x, 4 * mib), EDQUOT);
  CHECK_EQUAL(f.truncate(x, 1 * mib), 0);
  f.wrote(y, 5 * mib);
  f.close(y);
  CHECK_EQUAL(f.used().bytes, static_cast<int64_t>(6 * mib));
  CHECK_EQUAL(f.truncate(x, 5 * mib), 0);
  CHECK_EQUAL(f.unlink(f.root, "y"), 0);
  CHECK_EQUAL(f.used().bytes, static_cast<int64_t>(5 * mib));
  f.reopen();  // limits are found again
  x = f.id(f.root, "x");
  CHECK_EQUAL(f.truncate(x, 11 * mib), EDQUOT);
  CHECK_EQUAL(f.quota(usage_all, 0), 0);
  CHECK_EQUAL(f.truncate(x, 11 * mib), 0);
}

TEST("users have limits of their own or the default's; the super-user has the volume's only") {
  Rig f;
  CHECK_EQUAL(f.quota(usage_default, 2 * mib, 3), 0);
  CHECK_EQUAL(f.quota(bob, 5 * mib), 0);
  uint64_t x = f.made(f.root, "x", S_IFREG | 0644, user(alice)), y = f.made(f.root, "y", S_IFREG | 0644, user(bob)), z = f.made(f.root, "z");
  CHECK_EQUAL(f.grow(x, 2 * mib + 1), EDQUOT);
  CHECK_EQUAL(f.grow(y, 5 * mib), 0);
  CHECK_EQUAL(f.grow(y, 5 * mib + 1), EDQUOT);
  CHECK_EQUAL(f.grow(z, 100 * mib), 0);
  f.made(f.root, "x2", S_IFREG | 0644, user(alice));
  f.made(f.root, "x3", S_IFDIR | 0755, user(alice));
  CHECK_EQUAL(f.create(f.root, "x4", user(alice)), EDQUOT);
  CHECK_EQUAL(f.create(f.root, "x4", user(0)), 0);
  // Giving a file away is counted where it goes.
  SetAttr s;
  s.mask = set_uid;
  s.uid = alice;
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->setattr(t, user(0), f.id(f.root, "x4"), s, f.a, f.effects); }), EDQUOT);
  CHECK_EQUAL(f.unlink(f.root, "x2"), 0);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->setattr(t, user(0), f.id(f.root, "x4"), s, f.a, f.effects); }), 0);
  CHECK_EQUAL(f.used(alice).files, 3);
}

TEST("parallel writers never get more than the limit together, and the count is right afterwards") {
  Rig f;
  CHECK_EQUAL(f.quota(usage_all, 50 * mib), 0);
  std::vector<uint64_t> files;
  for (int i = 0; i < 8; ++i) files.push_back(f.made(f.root, "f" + std::to_string(i), S_IFREG | 0644, user(alice)));
  std::vector<std::thread> threads;
  std::vector<uint64_t> sizes(8, 0);
  for (size_t i = 0; i < files.size(); ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(static_cast<unsigned>(i));
      for (int n = 0; n < 200; ++n) {
        const uint64_t next = sizes[i] + random() % (256 << 10);
        uint64_t granted = 0;
        int r = 0;
        f.store->write([&](Txn& t) { r = f.engine->grow(t, files[i], next, granted); });
        if (r == 0) sizes[i] = next;
      }
    });
  }
  for (auto& t : threads) t.join();
  uint64_t total = 0;
  for (uint64_t s : sizes) total += s;
  CHECK(total <= 50 * mib);
  CHECK(total > 45 * mib);
  CHECK(f.used().bytes <= static_cast<int64_t>(50 * mib));
  for (size_t i = 0; i < files.size(); ++i) {
    f.wrote(files[i], sizes[i]);
    f.close(files[i]);
  }
  CHECK_EQUAL(f.used().bytes, static_cast<int64_t>(total));
  const Usage kept = f.used(alice);
  CHECK_EQUAL(f.quota(usage_all, 0), 0);  // now counted from the inodes
  CHECK_EQUAL(f.used(alice).bytes, kept.bytes);
  CHECK_EQUAL(f.used(alice).files, kept.files);
}

TEST("a file that takes most of a volume can be given to another user, who must have room for it") {
  Rig f;
  uint64_t x = f.made(f.root, "x", S_IFREG | 0644, user(alice));
  f.wrote(x, 8 * mib);
  f.close(x);
  CHECK_EQUAL(f.quota(usage_all, 10 * mib), 0);
  auto give = [&](uint32_t to) {
    SetAttr s;
    s.mask = set_uid;
    s.uid = to;
    return f.write([&](Txn& t) { return f.engine->setattr(t, user(0), x, s, f.a, f.effects); });
  };
  CHECK_EQUAL(give(bob), 0);
  CHECK_EQUAL(f.used(bob).bytes, static_cast<int64_t>(8 * mib));
  CHECK_EQUAL(f.used(alice).bytes, 0);
  CHECK_EQUAL(f.quota(alice, 7 * mib), 0);
  CHECK_EQUAL(give(alice), EDQUOT);
  CHECK_EQUAL(f.used(bob).bytes, static_cast<int64_t>(8 * mib));
  CHECK_EQUAL(f.used().bytes, static_cast<int64_t>(8 * mib));
}

TEST("copies of a file count each, and files with copies are not written") {
  Rig f;
  uint64_t x = f.made(f.root, "x", S_IFREG | 0644, user(alice));
  f.wrote(x, 2 * mib);
  f.close(x);
  CHECK_EQUAL(f.quota(usage_all, 5 * mib), 0);
  auto copies = [&](std::vector<uint16_t> osds, uint16_t whole) {
    return f.write([&](Txn& t) {
      auto i = load_inode(t, x);
      return f.engine->set_copies(t, *i, osds, whole);
    });
  };
  const std::vector<uint16_t> one = f.a.osds;
  std::vector<uint16_t> two = one, three = one;
  two.push_back(7);
  three.insert(three.end(), {7, 8});
  CHECK_EQUAL(copies(three, 1), EDQUOT);
  CHECK_EQUAL(copies(two, 1), 0);
  CHECK_EQUAL(f.used(alice).bytes, static_cast<int64_t>(4 * mib));
  CHECK_EQUAL(f.truncate(x, 5), EROFS);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->begin_writing(t, x, false, Fixture::place, f.a, f.effects); }), EROFS);
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->check_open(t, user(alice), x, O_RDWR, f.a); }), EROFS);
  CHECK_EQUAL(f.read([&](const Txn& t) { return f.engine->check_open(t, user(alice), x, O_RDONLY, f.a); }), 0);
  f.read([&](const Txn& t) {
    CHECK_EQUAL(usage_to_mend(t, f.root).size(), 0u);
    return 0;
  });
  CHECK_EQUAL(copies(one, 1), 0);
  CHECK_EQUAL(f.used().bytes, static_cast<int64_t>(2 * mib));
  CHECK_EQUAL(f.truncate(x, 5), 0);
}

TEST("a directory's policy counts for what is made below it, a file's until it has contents") {
  Rig f;
  uint64_t d = f.made(f.root, "d", S_IFDIR | 0755);
  VolumePolicy p;
  p.stripe_bytes = 65536;
  p.width = 3;
  auto set = [&](uint64_t id, std::optional<VolumePolicy> policy) { return f.write([&](Txn& t) { return f.engine->policy_set(t, id, policy, f.effects); }); };
  CHECK_EQUAL(set(d, p), 0);
  uint64_t sub = f.made(d, "sub", S_IFDIR | 0755);
  f.made(sub, "x");
  CHECK_EQUAL(f.a.r.stripe_bytes, 65536u);
  CHECK_EQUAL(f.a.osds.size(), 3u);
  f.made(f.root, "y");
  const uint64_t y = f.a.id;
  CHECK_EQUAL(f.a.osds.size(), 1u);
  CHECK_EQUAL(set(y, p), 0);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->begin_writing(t, y, false, Fixture::place, f.a, f.effects); }), 0);
  CHECK_EQUAL(f.a.osds.size(), 3u);
  f.wrote(y, 100);
  CHECK_EQUAL(set(y, p), EBUSY);
  p.stripe_bytes = 5000;
  CHECK_EQUAL(set(d, p), EINVAL);
  CHECK_EQUAL(set(d, std::nullopt), 0);
  f.made(d, "z");
  CHECK_EQUAL(f.a.osds.size(), 1u);
  CHECK_EQUAL(f.unlink(sub, "x"), 0);
  CHECK_EQUAL(f.write([&](Txn& t) { uint64_t gone; return f.engine->rmdir(t, user(0), d, "sub", gone, f.a, f.effects); }), 0);
  f.read([&](const Txn& t) {
    CHECK_EQUAL(t.entries(table_policy), 1u);  // of y
    return 0;
  });
}

TEST_MAIN
