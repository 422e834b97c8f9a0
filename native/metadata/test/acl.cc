#include "acl.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <cerrno>

#include "fixture.h"

namespace {

constexpr uint32_t carol = 1002, guests = 2001;

std::string list(std::initializer_list<AclEntry> entries) { return encode_acl(Acl(entries)); }

Caller member(uint32_t uid, std::vector<uint32_t> groups = {}) { return user(uid, std::move(groups)); }

struct Rig : Fixture {
  uint64_t file = 0;
  explicit Rig(uint32_t mode = 0640) {
    file = made(root, "f", S_IFREG | mode, user(alice));
    chgrp(file, team);
  }
  void chgrp(uint64_t id, uint32_t gid) {
    SetAttr s;
    s.mask = set_gid;
    s.gid = gid;
    CHECK_EQUAL(write([&](Txn& t) { return engine->setattr(t, user(0), id, s, a, effects); }), 0);
  }
  int chmod(uint64_t id, uint32_t mode, const Caller& c) {
    SetAttr s;
    s.mask = set_mode;
    s.mode = mode;
    return write([&](Txn& t) { return engine->setattr(t, c, id, s, a, effects); });
  }
  int set(uint64_t id, const std::string& value, const Caller& c = user(alice), std::string_view name = acl_access_name) {
    return write([&](Txn& t) { return engine->setxattr(t, c, id, name, value, 0, effects); });
  }
  int get(uint64_t id, std::string& value, std::string_view name = acl_access_name) {
    return read([&](const Txn& t) { return engine->getxattr(t, user(bob), id, name, value); });
  }
  int access(uint64_t id, const Caller& c, int mask) {
    return read([&](const Txn& t) {
      Inode i;
      engine->getattr(t, id, i);
      return check_access(i, c, mask);
    });
  }
  uint32_t mode(uint64_t id) {
    Inode i;
    CHECK_EQUAL(read([&](const Txn& t) { return engine->getattr(t, id, i); }), 0);
    return i.r.mode & 07777;
  }
};

/// u::rw-, u:bob:rw-, g::r--, g:guests:rwx, m::MASK, o::---
std::string usual(uint16_t mask) {
  return list({{acl_user_obj, 6}, {acl_user, 6, bob}, {acl_group_obj, 4}, {acl_group, 7, guests}, {acl_mask, mask}, {acl_other, 0}});
}

}  // namespace

TEST("a list decides for named users and groups, within its mask") {
  Rig f;
  CHECK_EQUAL(f.set(f.file, usual(7)), 0);
  CHECK_EQUAL(f.mode(f.file), 0670u);
  CHECK_EQUAL(f.access(f.file, member(bob), 6), 0);
  CHECK_EQUAL(f.access(f.file, member(bob), 1), EACCES);
  CHECK_EQUAL(f.access(f.file, member(carol, {team}), 4), 0);
  CHECK_EQUAL(f.access(f.file, member(carol, {team}), 2), EACCES);
  CHECK_EQUAL(f.access(f.file, member(carol, {team, guests}), 2), 0);
  // No single group gives all that was asked for: the sum of groups does not count (guests has rwx, so narrow it).
  CHECK_EQUAL(f.set(f.file, list({{acl_user_obj, 6}, {acl_group_obj, 4}, {acl_group, 2, guests}, {acl_mask, 7}, {acl_other, 7}})), 0);
  CHECK_EQUAL(f.access(f.file, member(carol, {team, guests}), 6), EACCES);
  CHECK_EQUAL(f.access(f.file, member(carol), 7), 0);  // in none of them: others
  CHECK_EQUAL(f.set(f.file, usual(4)), 0);
  CHECK_EQUAL(f.access(f.file, member(bob), 4), 0);
  CHECK_EQUAL(f.access(f.file, member(bob), 2), EACCES);
  CHECK_EQUAL(f.access(f.file, user(alice), 6), 0);  // the owner is outside the mask
  CHECK_EQUAL(f.access(f.file, user(0), 6), 0);
}

TEST("groups are asked for only when they decide") {
  Rig f;
  CHECK_EQUAL(f.set(f.file, usual(7)), 0);
  CHECK_EQUAL(f.access(f.file, user(bob, {}, false), 4), 0);
  CHECK_EQUAL(f.access(f.file, user(carol, {}, false), 4), need_groups);
  CHECK_EQUAL(f.set(f.file, list({{acl_user_obj, 6}, {acl_user, 4, bob}, {acl_group_obj, 0}, {acl_mask, 4}, {acl_other, 0}})), 0);
  CHECK_EQUAL(f.access(f.file, user(carol, {}, false), 4), EACCES);
}

TEST("chmod moves the mask, and a list of three entries is only a mode") {
  Rig f;
  CHECK_EQUAL(f.set(f.file, usual(7)), 0);
  CHECK_EQUAL(f.chmod(f.file, 0604, user(alice)), 0);
  std::string value;
  CHECK_EQUAL(f.get(f.file, value), 0);
  auto acl = parse_acl(value);
  CHECK(acl.has_value());
  CHECK_EQUAL((*acl)[4].permissions, 0);  // the mask
  CHECK_EQUAL((*acl)[2].permissions, 4);  // the group's entry stays
  CHECK_EQUAL((*acl)[5].permissions, 4);
  CHECK_EQUAL(f.set(f.file, list({{acl_user_obj, 7}, {acl_group_obj, 5}, {acl_other, 1}})), 0);
  CHECK_EQUAL(f.mode(f.file), 0751u);
  CHECK_EQUAL(f.get(f.file, value), ENODATA);
}

TEST("only the owner sets a list; bad ones are refused") {
  Rig f;
  CHECK_EQUAL(f.set(f.file, usual(7), user(bob)), EPERM);
  CHECK_EQUAL(f.set(f.root, usual(7), user(alice)), EPERM);
  CHECK_EQUAL(f.set(f.file, usual(7), user(alice), acl_default_name), EACCES);
  const std::string good = usual(7);
  CHECK_EQUAL(f.set(f.file, good.substr(0, good.size() - 1)), EINVAL);
  CHECK_EQUAL(f.set(f.file, good.substr(0, good.size() - 8)), EINVAL);  // without others
  CHECK_EQUAL(f.set(f.file, std::string(1, 3) + good.substr(1)), EINVAL);
  CHECK_EQUAL(f.set(f.file, list({{acl_user_obj, 6}, {acl_user, 6, bob}, {acl_group_obj, 4}, {acl_other, 0}})), EINVAL);  // no mask
  CHECK_EQUAL(f.set(f.file, list({{acl_user_obj, 6}, {acl_user, 6, bob}, {acl_user, 4, bob}, {acl_group_obj, 4}, {acl_mask, 7}, {acl_other, 0}})), EINVAL);
  CHECK_EQUAL(f.set(f.file, list({{acl_group_obj, 4}, {acl_user_obj, 6}, {acl_other, 0}})), EINVAL);
  CHECK_EQUAL(f.set(f.file, list({{acl_user_obj, 8}, {acl_group_obj, 4}, {acl_other, 0}})), EINVAL);
  std::string value;
  CHECK_EQUAL(f.get(f.file, value), ENODATA);
}

TEST("a default list is inherited, and the umask counts only where there is none") {
  Rig f;
  uint64_t d = f.made(f.root, "d", S_IFDIR | 0755, user(alice));
  const std::string inherited = list({{acl_user_obj, 7}, {acl_user, 7, bob}, {acl_group_obj, 5}, {acl_mask, 7}, {acl_other, 0}});
  auto make = [&](uint64_t dir, const char* name, uint32_t mode) {
    CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->create(t, user(alice), dir, name, {mode, 027, {}, S_ISREG(mode)}, Fixture::place, f.a, f.b, f.effects); }), 0);
    return f.a.id;
  };
  CHECK_EQUAL(f.mode(make(d, "before", S_IFREG | 0666)), 0640u);
  CHECK_EQUAL(f.set(d, inherited, user(alice), acl_default_name), 0);
  CHECK_EQUAL(f.mode(d), 0755u);
  uint64_t x = make(d, "x", S_IFREG | 0666);
  CHECK_EQUAL(f.mode(x), 0660u);
  CHECK_EQUAL(f.access(x, member(bob), 6), 0);
  CHECK_EQUAL(f.access(x, member(bob), 1), EACCES);  // the mask is rw-
  CHECK_EQUAL(f.access(x, member(carol), 4), EACCES);
  uint64_t sub = make(d, "sub", S_IFDIR | 0777);
  std::string value;
  CHECK_EQUAL(f.get(sub, value, acl_default_name), 0);
  CHECK_EQUAL(value, inherited);
  CHECK_EQUAL(f.mode(make(sub, "y", S_IFREG | 0600)), 0600u);
  CHECK_EQUAL(f.get(f.a.id, value, acl_default_name), ENODATA);
  // The group class is closed by the mask, so nobody named gets in.
  CHECK_EQUAL(f.access(f.a.id, member(bob), 4), EACCES);
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->removexattr(t, user(alice), d, acl_default_name, f.effects); }), 0);
  CHECK_EQUAL(f.mode(make(d, "after", S_IFREG | 0666)), 0640u);
}

TEST("setgid goes when somebody outside the group sets a list") {
  Rig f;
  CHECK_EQUAL(f.chmod(f.file, 02750, user(0)), 0);
  CHECK_EQUAL(f.set(f.file, usual(7), user(alice, {}, false)), need_groups);
  CHECK_EQUAL(f.set(f.file, usual(7), user(alice, {team})), 0);
  CHECK_EQUAL(f.mode(f.file), 02670u);
  CHECK_EQUAL(f.set(f.file, usual(7), user(alice)), 0);
  CHECK_EQUAL(f.mode(f.file), 0670u);
}

TEST("removing a file removes its list") {
  Rig f;
  CHECK_EQUAL(f.set(f.file, usual(7)), 0);
  CHECK_EQUAL(f.unlink(f.root, "f"), 0);
  f.read([&](const Txn& t) {
    CHECK_EQUAL(t.entries(table_xattr), 0u);
    return 0;
  });
}

TEST("a file without a name gets one, unless it was made with O_EXCL, and goes with its last close") {
  Fixture f;
  auto nameless = [&](bool linkable) {
    CHECK_EQUAL(f.write([&](Txn& t) {
      return f.engine->create(t, user(alice), f.root, "", {S_IFREG | 0600, 0, {}, true, true, linkable}, Fixture::place, f.a, f.b, f.effects);
    }), 0);
    CHECK_EQUAL(f.a.r.nlink, 0u);
    f.open.open.insert(f.a.id);
    return f.a.id;
  };
  auto link = [&](uint64_t id, const char* name) {
    return f.write([&](Txn& t) { return f.engine->link(t, user(alice), id, f.root, name, f.a, f.b, f.effects); });
  };
  uint64_t x = nameless(true), y = nameless(false), z = nameless(true);
  CHECK_EQUAL(link(x, "x"), 0);
  CHECK_EQUAL(f.a.r.nlink, 1u);
  CHECK_EQUAL(link(y, "y"), ENOENT);
  f.open.open.clear();
  for (uint64_t id : {x, y, z}) {
    f.write([&](Txn& t) {
      f.engine->release_orphan(t, id);
      return 0;
    });
  }
  CHECK_EQUAL(f.list(f.root).size(), 1u);
  CHECK_EQUAL(f.id(f.root, "x"), x);
  f.read([&](const Txn& t) {
    CHECK(!load_inode(t, y) && !load_inode(t, z));
    CHECK_EQUAL(t.entries(table_orphan), 0u);
    return 0;
  });
  CHECK_EQUAL(f.unlink(f.root, "x"), 0);
}

TEST("reading moves the access time as relatime says, and not at all in a volume without") {
  Fixture f;
  uint64_t x = f.made(f.root, "x");
  auto read = [&](int64_t at) {
    f.write([&](Txn& t) {
      f.engine->note_read(t, x, at, f.effects);
      return 0;
    });
    Inode i;
    f.read([&](const Txn& t) { return f.engine->getattr(t, x, i); });
    return i.r.atime_ns;
  };
  const int64_t made = f.a.r.mtime_ns, first = now_ns();
  CHECK_EQUAL(f.a.r.atime_ns, made);
  CHECK_EQUAL(read(first), first);
  CHECK_EQUAL(read(now_ns()), first);  // nothing was written since
  CHECK(relatime_due(first, made, made, first + 86401ll * 1000000000));
  VolumePolicy p;
  p.atime = false;
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->policy_set(t, f.root, p, f.effects); }), 0);
  x = f.made(f.root, "y");
  const int64_t before = f.a.r.atime_ns;
  CHECK_EQUAL(read(now_ns()), before);
  f.reopen();
  CHECK(f.engine->keeps_no_atime(f.root));
}

TEST_MAIN
