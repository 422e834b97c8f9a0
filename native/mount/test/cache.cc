#include "cache.h"

#include "files.h"
#include "rpc_client.h"
#include "test.h"

using namespace xos::fs;
using metadata::Attr;

namespace {

Attr attr(uint64_t id, uint64_t change = 1, bool leased = true) {
  Attr a;
  a.id = id;
  a.change = change;
  a.leased = leased;
  return a;
}

struct Valid : Cache {
  Valid() { set_valid_until(monotonic_ms() + 3600000); }
  Found find(uint64_t d, const char* name) const {
    uint64_t id;
    return entry(d, name, id);
  }
};

}  // namespace

TEST("nothing is served when the lease is over") {
  Valid c;
  c.keep_attr(attr(5), c.token(5));
  c.keep_entry(1, "x", 5, c.token(1));
  CHECK(c.attr(5).has_value());
  c.set_valid_until(monotonic_ms() - 1);
  CHECK(!c.attr(5).has_value());
  CHECK(c.find(1, "x") == Cache::Found::no);
}

TEST("an answer that an invalidation overtook is not kept") {
  Valid c;
  auto token = c.token(5);
  c.invalidate_attr(5);
  c.keep_attr(attr(5), token);
  CHECK(!c.attr(5).has_value());
  token = c.token(1);
  c.invalidate_entries(1);
  c.keep_entry(1, "x", 5, token);
  c.complete(1, token);
  CHECK(c.find(1, "x") == Cache::Found::no);
  CHECK(c.find(1, "y") == Cache::Found::no);
}

TEST("newer attributes win, unleased ones are not kept") {
  Valid c;
  c.keep_attr(attr(5, 3), c.token(5));
  c.keep_attr(attr(5, 2), c.token(5));
  CHECK_EQUAL(c.attr(5)->change, 3u);
  c.keep_attr(attr(5, 4, false), c.token(5));
  CHECK(!c.attr(5).has_value());
}

TEST("our own changes are known at once and doubt what was asked before") {
  Valid c;
  auto early = c.token(1), now = c.token(1);
  c.entries_changed(1, {{"x", 7}}, now);
  uint64_t id = 0;
  CHECK(c.entry(1, "x", id) == Cache::Found::yes);
  CHECK_EQUAL(id, 7u);
  c.keep_entry(1, "x", 0, early);
  CHECK(c.find(1, "x") == Cache::Found::yes);
  // Two at once: neither knows which came last.
  auto first = c.token(1), second = c.token(1);
  c.entries_changed(1, {{"x", 0}}, first);
  c.entries_changed(1, {{"x", 9}}, second);
  CHECK(c.find(1, "x") == Cache::Found::no);
}

TEST("a complete directory answers for names that it does not have") {
  Valid c;
  auto before = c.token(1);
  c.entries_changed(1, {{"d", 9}}, before);
  c.complete_new(9, before);
  CHECK(c.find(9, "nothing") == Cache::Found::negative);
  c.entries_changed(9, {{"made", 10}}, c.token(9));
  CHECK(c.find(9, "made") == Cache::Found::yes);
  CHECK(c.find(9, "other") == Cache::Found::negative);
  c.entries_changed(9, {{"made", 0}, {"renamed", 10}}, c.token(9));
  CHECK(c.find(9, "made") == Cache::Found::negative);
  CHECK(c.find(9, "renamed") == Cache::Found::yes);
  c.invalidate_entries(9);
  CHECK(c.find(9, "other") == Cache::Found::no);
}

TEST("a directory whose names were pushed out is not complete any more") {
  Valid c;
  auto before = c.token(1);
  c.complete_new(33, before);
  for (uint64_t i = 0; i < 210000; ++i) c.keep_entry(1000 + i % 64, "n" + std::to_string(i), i + 1, c.token(1000 + i % 64));
  auto listing = c.token(1);
  c.keep_entry(1, "a", 2, listing);
  CHECK(c.find(33, "x") != Cache::Found::yes);
  c.clear();
  CHECK(c.find(33, "x") == Cache::Found::no);
}

TEST("open files are counted, closes are batched, locks come back in a reclaim") {
  OpenFiles f;
  auto a = f.get_or_make(5);
  a->readers = 2;
  f.release(a, false);
  CHECK(f.find(5) == a);
  f.mark_shared(5);
  CHECK(a->shared);
  metadata::Lock l{0, 1, 3, 9, 42, 1};
  f.note_lock(5, l);
  CHECK(f.holds_locks(5, 42, 0));
  CHECK(!f.holds_locks(5, 42, 1));
  Writer w;
  f.put_reclaim(w);
  Reader r(w.bytes());
  CHECK_EQUAL(r.get<uint64_t>(), 1u);
  CHECK_EQUAL(r.get<uint32_t>(), 1u);
  CHECK_EQUAL(r.get<uint64_t>(), 5u);
  CHECK_EQUAL(int(r.get<uint16_t>()), 1);
  CHECK_EQUAL(int(r.get<uint16_t>()), 0);
  CHECK_EQUAL(r.get<uint32_t>(), 1u);
  CHECK_EQUAL(r.get<uint64_t>(), 5u);
  CHECK_EQUAL(metadata::get_lock(r).end, 9u);
  f.release(a, false);
  CHECK(f.find(5) == nullptr);
  f.queue_close(5, false);
  f.queue_close(5, false);
  f.queue_close(5, true);
  uint64_t generation = 0;
  auto closes = f.take_closes(generation);
  CHECK_EQUAL(generation, 1u);
  CHECK_EQUAL(int(closes[5].readers), 2);
  CHECK_EQUAL(int(closes[5].writers), 1);
  CHECK(f.take_closes(generation).empty());
  // What is taken before a reclaim is told apart from what comes after it.
  f.queue_close(5, true);
  w.clear();
  f.put_reclaim(w);
  CHECK(f.take_closes(generation).empty());
  CHECK_EQUAL(generation, 2u);
}

TEST_MAIN
