// A database in a directory of its own, for the tests of the engine.
#pragma once
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine.h"
#include "test.h"

using namespace xos::fs;
using namespace xos::fs::metadata;

struct Nobody : OpenFiles {
  std::set<uint64_t> open;
  bool try_kill(uint64_t id) override { return !open.contains(id); }
  bool is_open(uint64_t id) override { return open.contains(id); }
};

inline constexpr uint32_t alice = 1000, bob = 1001, team = 2000;

inline Caller user(uint32_t uid, std::vector<uint32_t> groups = {}, bool known = true) {
  Caller c;
  c.uid = c.gid = uid;
  c.groups = std::move(groups);
  c.groups_known = known;
  return c;
}

/// A database in a directory of its own, with volume "v" (everybody may write).
struct Fixture {
  char path[40] = "/tmp/xos-metadata-XXXXXX";
  std::unique_ptr<Store> store;
  Nobody open;
  std::unique_ptr<Engine> engine;
  uint64_t root = 0;
  Inode a, b;
  Effects effects;

  Fixture() {
    CHECK(mkdtemp(path) != nullptr);
    reopen();
    write([&](Txn& t) { return engine->volume_create(t, "v", 0, 0, 0777, {}, root, effects); });
  }
  ~Fixture() {
    engine.reset();
    store.reset();
    std::filesystem::remove_all(path);
  }
  void reopen() {
    engine.reset();
    store.reset();
    store = std::make_unique<Store>(path, size_t{256} << 20);
    engine = std::make_unique<Engine>(*store, open);
  }
  int write(const std::function<int(Txn&)>& f) {
    int r = 0;
    store->write([&](Txn& t) {
      effects = {};
      r = f(t);
    });
    return r;
  }
  int read(const std::function<int(const Txn&)>& f) {
    int r = 0;
    store->read([&](const Txn& t) { r = f(t); });
    return r;
  }
  static std::vector<uint16_t> place(const VolumePolicy& p) { return std::vector<uint16_t>(p.width, 0); }
  int create(uint64_t dir, const std::string& name, const Caller& c = user(0), uint32_t mode = S_IFREG | 0644, const std::string& target = "") {
    return write([&](Txn& t) { return engine->create(t, c, dir, name, {mode, 0, target, S_ISREG(mode)}, place, a, b, effects); });
  }
  uint64_t made(uint64_t dir, const std::string& name, uint32_t mode = S_IFREG | 0644, const Caller& c = user(0)) {
    CHECK_EQUAL(create(dir, name, c, mode), 0);
    return a.id;
  }
  int unlink(uint64_t dir, const std::string& name, const Caller& c = user(0)) {
    bool there;
    return write([&](Txn& t) { return engine->unlink(t, c, dir, name, a, there, b, effects); });
  }
  int rename(uint64_t from, const std::string& x, uint64_t to, const std::string& y, uint32_t flags = 0, const Caller& c = user(0)) {
    return write([&](Txn& t) { return engine->rename(t, c, from, x, to, y, flags, a, b, effects); });
  }
  int lookup(uint64_t dir, const std::string& name, const Caller& c = user(0)) {
    return read([&](const Txn& t) { return engine->lookup(t, c, dir, name, a, b); });
  }
  uint64_t id(uint64_t dir, const std::string& name) {
    CHECK_EQUAL(lookup(dir, name), 0);
    return a.id;
  }
  std::vector<std::string> list(uint64_t dir, size_t page = 3) {
    std::vector<std::string> names;
    for (bool end = false; !end;) {
      size_t n = 0;
      std::string last = names.empty() ? "" : names.back();
      CHECK_EQUAL(read([&](const Txn& t) {
        return engine->readdir(t, user(0), dir, last, [&](std::string_view name, const Inode&) {
          if (n++ == page) return false;
          names.emplace_back(name);
          return true;
        }, end);
      }), 0);
    }
    return names;
  }
};
