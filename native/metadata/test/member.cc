// What a member of a group promises and takes: by its own word only, whoever asks.
#include "member.h"

#include <thread>

#include "codec.h"
#include "fixture.h"
#include "mirror_session.h"

namespace {

constexpr size_t map_bytes = size_t{64} << 20;

struct Base {
  char path[40] = "/tmp/xos-member-XXXXXX";
  std::unique_ptr<Store> store;
  std::unique_ptr<Member> member;

  explicit Base(bool seed = false) {
    CHECK(mkdtemp(path) != nullptr);
    store = std::make_unique<Store>(path, map_bytes);
    Member(*store, "n1").set_members(peers(), seed);
    restart();
  }
  ~Base() {
    member.reset();
    store.reset();
    std::filesystem::remove_all(path);
  }
  void restart(const std::string& boot = xos::boot_id()) {
    member.reset();
    store.reset();
    store = std::make_unique<Store>(path, map_bytes, boot);
    member = std::make_unique<Member>(*store, "n1");
  }
  static std::vector<Peer> peers() { return {{"n1", "127.0.0.1", 1}, {"n2", "127.0.0.1", 2}, {"n3", "127.0.0.1", 3}}; }

  MemberState append(uint64_t term, const std::string& from, Position before, const std::vector<std::pair<Position, std::string>>& all, uint64_t whole_at = 0) {
    Writer w;
    w.put(term);
    put(w, before);
    w.put(whole_at);
    for (auto& [at, record] : all) {
      put(w, at);
      w.put(static_cast<uint32_t>(record.size())).raw(record);
    }
    return member->handle(group_append, from, w.bytes());
  }
  MemberState copy(uint64_t term, uint64_t id, uint32_t number, bool last, Position at, const std::string& rows) {
    Writer w;
    w.put(term).put(id).put(number).put(static_cast<uint8_t>(last));
    put(w, at);
    w.raw(rows);
    return member->handle(group_copy, "n2", w.bytes());
  }
  std::string row(const std::string& key) const {
    std::string found = "none";
    store->read([&](const Txn& t) {
      std::string_view v;
      if (t.get(table_meta, key, v)) found = v;
    });
    return found;
  }
};

std::string puts(const std::string& key, const std::string& value) {
  std::string record;
  records::add_put(record, table_meta, key, value);
  return record;
}

bool is(GroupStatus status, const MemberState& s) { return s.status == status; }

TEST("a term is promised to one candidate, for ever, and an older one to nobody") {
  Base b(true);
  CHECK(is(GroupStatus::ok, b.member->promise(5, "n2")));
  CHECK(is(GroupStatus::ok, b.member->promise(5, "n2")));  // asked again
  CHECK(is(GroupStatus::older, b.member->promise(5, "n3")));
  CHECK(is(GroupStatus::older, b.member->promise(4, "n3")));
  b.restart();
  CHECK_EQUAL(b.member->state().term, 5u);
  CHECK(is(GroupStatus::older, b.member->promise(5, "n3")));
  CHECK(is(GroupStatus::older, b.append(4, "n3", {0, 1}, {})));
  CHECK(is(GroupStatus::older, b.append(5, "n3", {0, 1}, {})));
  CHECK(is(GroupStatus::ok, b.append(5, "n2", {0, 1}, {})));
  CHECK(is(GroupStatus::ok, b.append(6, "n3", {0, 1}, {})));  // elected while this one was away
  CHECK(is(GroupStatus::older, b.append(5, "n2", {0, 1}, {})));
}

TEST("a term that is promised to nobody yet is taken by the first who asks") {
  Base b(true);
  CHECK(is(GroupStatus::ok, b.member->promise(7, "")));
  CHECK(is(GroupStatus::older, b.append(6, "n2", {0, 1}, {})));
  CHECK(is(GroupStatus::ok, b.member->promise(7, "n3")));
  CHECK(is(GroupStatus::older, b.member->promise(7, "n2")));
}

TEST("who hears the one that leads promises nothing to others, and who has not heard it for long does") {
  Base b(true);
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {0, 1}, {})));
  MemberState answer;
  std::atomic<bool> answered{false};
  std::thread asking([&] {
    answer = b.member->promise(2, "n3");
    answered = true;
  });
  while (!answered && is(GroupStatus::ok, b.append(1, "n2", {0, 1}, {}))) usleep(50000);
  asking.join();
  CHECK(is(GroupStatus::led, answer));
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {0, 1}, {})));
  const int64_t until = boottime_ms() + promise_ms;
  CHECK(is(GroupStatus::ok, b.member->promise(2, "n3")));
  CHECK(boottime_ms() + 5 >= until);
  CHECK(is(GroupStatus::older, b.append(1, "n2", {0, 1}, {})));
}

TEST("who leads by its own word ends when it promises another term, and not before its time is over") {
  Base b(true);
  uint64_t replaced = 0;
  struct Ended {};
  b.member->replaced = [&](uint64_t term) {
    replaced = term;
    throw Ended{};
  };
  CHECK(!b.member->begin_to_lead(3));
  CHECK(is(GroupStatus::ok, b.member->promise(3, "n1")));
  CHECK(b.member->begin_to_lead(3));
  CHECK(!b.member->begin_to_lead(3));
  b.member->heard_of(3);
  CHECK_EQUAL(replaced, 0u);
  bool ended = false;
  try {
    b.append(4, "n2", {0, 1}, {});
  } catch (const Ended&) {
    ended = true;
  }
  CHECK(ended);
  CHECK_EQUAL(replaced, 4u);
}

TEST("records are taken in their order only, once each") {
  Base b(true);
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {0, 1}, {{{1, 2}, puts("a", "1")}, {{1, 3}, puts("a", "2")}})));
  CHECK(b.row("a") == "2");
  CHECK(is(GroupStatus::behind, b.append(1, "n2", {0, 1}, {{{1, 2}, puts("a", "1")}})));   // sent again
  CHECK(is(GroupStatus::behind, b.append(1, "n2", {1, 4}, {{{1, 5}, puts("a", "5")}})));   // one is missing
  CHECK(is(GroupStatus::behind, b.append(2, "n3", {2, 3}, {{{2, 4}, puts("a", "4")}})));   // another history
  CHECK(b.row("a") == "2");
  CHECK(b.member->state().position == (Position{1, 3}));
  CHECK_THROWS(b.append(2, "n3", {1, 3}, {{{2, 4}, std::string("\x7f")}}));
  CHECK_THROWS(b.member->handle(group_append, "n2", "short"));
  CHECK(b.member->state().position == (Position{1, 3}));
}

TEST("a copy that is not complete is no database, and a complete one has nothing of before") {
  Base b(true);
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {0, 1}, {{{1, 2}, puts("old", "1")}})));
  CHECK(is(GroupStatus::ok, b.copy(1, 77, 0, false, {1, 9}, puts("a", "1"))));
  CHECK(b.member->state().standing == records::Standing::partial);
  b.restart();
  CHECK(b.member->state().standing == records::Standing::partial);
  CHECK(is(GroupStatus::behind, b.append(1, "n2", {}, {{{1, 1}, puts("b", "1")}})));
  CHECK(is(GroupStatus::behind, b.copy(1, 77, 1, true, {1, 9}, puts("b", "1"))));  // of before the restart
  CHECK(is(GroupStatus::ok, b.copy(1, 78, 0, false, {1, 9}, puts("a", "1"))));
  CHECK(is(GroupStatus::behind, b.copy(1, 79, 1, true, {1, 9}, puts("c", "1"))));  // of another one
  CHECK(is(GroupStatus::behind, b.copy(1, 78, 2, true, {1, 9}, puts("c", "1"))));  // one is missing
  CHECK(is(GroupStatus::ok, b.copy(1, 78, 1, true, {1, 9}, puts("b", "1"))));
  const MemberState s = b.member->state();
  CHECK(s.standing == records::Standing::whole && s.position == (Position{1, 9}));
  CHECK(b.row("a") == "1" && b.row("b") == "1" && b.row("c") == "none" && b.row("old") == "none");
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {1, 9}, {{{1, 10}, puts("a", "2")}})));
}

TEST("whose machine lost power is not sure of what it has until it has caught up") {
  Base b(true);
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {0, 1}, {{{1, 2}, puts("a", "1")}})));
  b.store->sync();
  // Ends like a machine: what the destructor writes out is taken back.
  const auto keep = [&](const char* from, const char* to) {
    std::filesystem::copy_file(std::string(b.path) + "/" + from, std::string(b.path) + "/" + to, std::filesystem::copy_options::overwrite_existing);
  };
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {1, 2}, {{{1, 3}, puts("a", "2")}})));
  keep("data.mdb", "data.then");
  keep("synced", "synced.then");
  b.member.reset();
  b.store.reset();
  keep("data.then", "data.mdb");
  keep("synced.then", "synced");
  b.restart("another boot");
  MemberState s = b.member->state();
  CHECK(s.standing == records::Standing::forgot && s.position == (Position{1, 2}));
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {1, 2}, {}, 3)));
  CHECK(b.member->state().standing == records::Standing::forgot);
  CHECK(is(GroupStatus::ok, b.append(1, "n2", {1, 2}, {{{1, 3}, puts("a", "2")}}, 3)));
  CHECK(b.member->state().standing == records::Standing::whole);
}

TEST("a group is made once, of different nodes, and takes no volumes away") {
  Base seed(true), other;
  CHECK(seed.member->state().standing == records::Standing::whole);
  CHECK(seed.member->state().position == (Position{0, 1}));
  CHECK(other.member->state().standing == records::Standing::partial);
  CHECK_THROWS(other.member->set_members({{"n1", "a", 1}, {"n2", "a", 2}}, false));
  other.member->set_members({{"n3", "a", 1}, {"n2", "b", 2}, {"n1", "c", 3}}, false);
  CHECK(other.member->members()[0].address == "a");
  Fixture f;
  Member with(*f.store, "n1");
  CHECK_THROWS(with.set_members({{"n1", "a", 1}, {"n1", "b", 2}}, true));
  CHECK_THROWS(with.set_members({{"n2", "a", 1}}, true));
  CHECK_THROWS(with.set_members(Base::peers(), false));
  CHECK(with.members().empty());
  with.set_members(Base::peers(), true);
  CHECK_EQUAL(with.members().size(), 3u);
}

}  // namespace

TEST_MAIN
