// Which objects belong to a file: a mistake here loses data.
#include "object_fate.h"

#include "fixture.h"

namespace {

ObjectFate fate(Fixture& f, uint64_t file, uint16_t osd = 0) {
  ObjectFate found{};
  f.store->read([&](const Txn& t) { found = object_fate(t, file, osd); });
  return found;
}

}  // namespace

TEST("an object belongs to its file as long as anybody can get at that, and at the OSDs of its stripes only") {
  Fixture f;
  const uint64_t id = f.made(f.root, "file");
  CHECK(fate(f, id) == ObjectFate::kept);
  CHECK(fate(f, id, 1) == ObjectFate::orphan);
  f.open.open.insert(id);
  CHECK_EQUAL(f.unlink(f.root, "file"), 0);
  CHECK(fate(f, id) == ObjectFate::kept);  // open, without a name
  f.open.open.clear();
  f.write([&](Txn& t) { return f.engine->release_orphan(t, id), 0; });
  CHECK(fate(f, id) == ObjectFate::kept);  // its removal is under way
  f.write([&](Txn& t) { return t.erase(table_deletion, key_of(id)), 0; });
  CHECK(fate(f, id) == ObjectFate::orphan);
}

TEST("a file without a name and one that has not been written to keep what they get") {
  Fixture f;
  Making making{S_IFREG | 0600, 0, {}, true, true, true};
  CHECK_EQUAL(f.write([&](Txn& t) { return f.engine->create(t, user(0), f.root, "", making, f.place, f.a, f.b, f.effects); }), 0);
  CHECK(fate(f, f.a.id) == ObjectFate::kept);
  const uint64_t empty = f.made(f.root, "empty", S_IFREG | 0644);
  CHECK(fate(f, empty) == ObjectFate::kept);
}

TEST("numbers that were never given out are another database's, also after a restart") {
  Fixture f;
  const uint64_t id = f.made(f.root, "file");
  CHECK(fate(f, id + 100000) == ObjectFate::unknown);
  CHECK(fate(f, ~uint64_t{0}) == ObjectFate::unknown);
  f.reopen();
  CHECK(fate(f, id) == ObjectFate::kept);
  CHECK(fate(f, id + 100000) == ObjectFate::unknown);
  Fixture empty;  // a database that was lost knows nothing of the objects of before
  CHECK(fate(empty, id + 100000) == ObjectFate::unknown);
}

TEST_MAIN
