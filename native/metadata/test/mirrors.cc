// Files with write replicas under every fault that there is, in one process: the code of the OSDs (Mirror, MirrorSession, ObjectStore) and of the MRC (OsdLeases,
// mirror_activate) with a network that delays, loses and cuts, clocks that run differently, and servers that die at any moment. Whatever happens, each block
// must look to all clients as if there was one of it: what they did is compared with that (Gibbons and Korach, Testing Shared Memories, 1997).
// XOS_ROUNDS: how many worlds, of XOS_FUZZ_SEED on.
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "codec.h"
#include "file_io.h"
#include "mirror.h"
#include "mirror_activation.h"
#include "object_file.h"
#include "object_protocol.h"
#include "osd_leases.h"
#include "test.h"

using namespace xos::fs;
using namespace xos::fs::metadata;

namespace {

constexpr int nodes = 4, copies = 3, blocks = 3;
constexpr int64_t lease_us = 60'000, margin_us = 20'000;
constexpr uint64_t file = 77;
constexpr int mrc = 100, client = 200;

int64_t now_us() { return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
void sleep_us(int64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

struct World;

struct Peers : MirrorPeers {
  World& w;
  int from;
  Peers(World& w, int from) : w(w), from(from) {}
  int ask(const std::vector<MirrorMember>& members, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<void()>& meanwhile) override;
};

/// One process of an OSD. The store is what its disk keeps.
struct Process {
  ObjectStore store;
  MirrorSession session;
  Peers peers;
  Mirror mirror;
  std::atomic<bool> dead{false};
  Process(World& w, int n, const std::string& directory, MirrorSession::Clock clock)
      : store(directory), session(std::move(clock), lease_us), peers(w, n), mirror(store, session, peers) {}
  int handle(const Capability& c, uint16_t type, uint16_t flags, std::string_view arguments, std::string& out);
};

struct Operation {
  int block;
  uint64_t value;
  bool write;
  int64_t begun, ended;
};

struct World : MirrorWorld {
  std::string directory;
  std::mutex random_mutex;
  std::mt19937_64 random;
  std::atomic<int> loss{0};  // of 1000 messages
  std::mutex net_mutex;
  std::set<std::pair<int, int>> cut;
  std::mutex process_mutex[nodes];
  std::shared_ptr<Process> process[nodes];
  double rate[nodes];
  int64_t offset[nodes];
  // the MRC: what its disk keeps, and what it knows
  std::mutex mrc_mutex, activate_mutex;
  uint32_t epoch = 1;
  std::vector<uint16_t> list, in_step;
  std::shared_ptr<OsdLeases> leases;
  struct Live {
    uint32_t epoch;
    std::vector<uint16_t> in_step;
    std::vector<uint64_t> sessions;
  };
  std::optional<Live> live;
  std::map<uint16_t, uint64_t> before;
  std::atomic<bool> over{false};
  std::mutex history_mutex;
  std::vector<Operation> history;
  std::atomic<int> activations{0}, kills{0};

  explicit World(uint64_t seed) : random(seed) {
    char path[] = "/tmp/xos-mirrors-XXXXXX";
    CHECK(mkdtemp(path) != nullptr);
    directory = path;
    for (int n = 0; n < nodes; ++n) {
      rate[n] = 0.92 + static_cast<double>(pick(160)) / 1000;
      offset[n] = static_cast<int64_t>(pick(1'000'000'000));
      start(n);
    }
    leases = std::make_shared<OsdLeases>(now_us() - 10 * lease_us, lease_us, margin_us);
    for (uint16_t n = 0; n < copies; ++n) in_step.push_back(n);
    list = in_step;
  }
  ~World() override { std::filesystem::remove_all(directory); }

  uint64_t pick(uint64_t n) {
    std::lock_guard lock(random_mutex);
    return random() % n;
  }
  void start(int n) {
    const double r = rate[n];
    const int64_t o = offset[n];
    auto fresh = std::make_shared<Process>(*this, n, directory + "/" + std::to_string(n), [r, o] { return static_cast<int64_t>(static_cast<double>(now_us()) * r) + o; });
    std::lock_guard lock(process_mutex[n]);
    process[n] = fresh;
  }
  void kill(int n) {
    std::shared_ptr<Process> old;
    {
      std::lock_guard lock(process_mutex[n]);
      old = std::move(process[n]);
      process[n] = nullptr;
    }
    if (!old) return;
    old->dead = true;
    ++kills;
    // What it was about to do is done or not before the next one looks at the disk.
    while (old.use_count() > 1) sleep_us(200);
  }
  bool passes(int from, int to) {
    if (pick(8) == 0) sleep_us(static_cast<int64_t>(pick(3000)));
    if (static_cast<int>(pick(1000)) < loss) return false;
    std::lock_guard lock(net_mutex);
    return !cut.contains({from, to}) && !cut.contains({to, from});
  }
  int send(int from, int to, const Capability& c, uint16_t type, uint16_t flags, std::string_view arguments, std::string& out) {
    if (!passes(from, to)) return sleep_us(3000), ETIMEDOUT;
    std::shared_ptr<Process> p;
    {
      std::lock_guard lock(process_mutex[to]);
      p = process[to];
    }
    if (!p) return EHOSTDOWN;
    const int r = p->handle(c, type, flags, arguments, out);
    if (p->dead || !passes(to, from)) return sleep_us(3000), ETIMEDOUT;
    return r;
  }

  // What the MRC asks.
  Capability own(uint32_t e) {
    Capability c;
    c.file = file;
    c.epoch = e;
    return c;
  }
  void ping(uint16_t n) {
    auto l = leases_now();
    for (int turn = 0; turn < 2; ++turn) {
      const auto ask = l->ask(n, now_us());
      std::string out;
      if (send(mrc, n, own(0), object::lease, 0, Writer().put(ask.session).put(ask.heard_ms).bytes(), out) != 0) return;
      Reader r(out);
      const auto session = r.get<uint64_t>();
      if (!l->answered(n, ask, session, r.get<int64_t>(), now_us())) return;
    }
  }
  std::shared_ptr<OsdLeases> leases_now() {
    std::lock_guard lock(mrc_mutex);
    return leases;
  }
  uint64_t session(uint16_t n) override {
    auto l = leases_now();
    if (uint64_t s = l->session(n, now_us(), lease_us / 2)) return s;
    ping(n);
    return l->session(n, now_us(), lease_us / 2);
  }
  int fence(uint16_t n, uint64_t, uint32_t e, Object& object) override {
    std::string out;
    const int r = send(mrc, n, own(e), object::fence, 0, {}, out);
    if (r == 0) object.bytes = Reader(out).get<uint64_t>();
    return r;
  }
  int digest(uint16_t n, uint64_t, uint32_t e, uint64_t first, uint32_t count, bool read, std::vector<uint64_t>& digests) override {
    std::string out;
    const int r = send(mrc, n, own(e), object::digest, 0, Writer().put(first).put(count).put<uint8_t>(read).bytes(), out);
    digests.resize(out.size() / 8);
    std::memcpy(digests.data(), out.data(), digests.size() * 8);
    return r;
  }
  int copy(uint16_t from, uint16_t to, uint64_t, uint32_t e, uint64_t at, uint32_t bytes) override {
    std::string data, out;
    if (int r = send(mrc, from, own(e), object::read, 0, Writer().put(at).put(bytes).bytes(), data); r != 0) return r;
    return send(mrc, to, own(e), object::write, 0, Writer().put(at).raw(data).bytes(), out);
  }
  int truncate(uint16_t n, uint64_t, uint32_t e, uint64_t bytes) override {
    std::string out;
    return send(mrc, n, own(e), object::truncate, 0, Writer().put(bytes).bytes(), out);
  }
  int sync(uint16_t, uint64_t, uint32_t) override { return 0; }
  void give_up(uint16_t n, uint64_t s) override {
    const int64_t until = leases_now()->give_up(n, s, now_us());
    while (now_us() < until) sleep_us(500);
  }
  void for_each(size_t count, const std::function<void(size_t)>& each) override {
    std::vector<std::thread> threads;
    for (size_t n = 0; n < count; ++n) threads.emplace_back([&, n] { each(n); });
    for (auto& t : threads) t.join();
  }

  /// A new epoch, as Mirrors makes one; `joining` shall be in step as well.
  bool activate(const std::vector<uint16_t>& joining) {
    std::lock_guard one(activate_mutex);
    MirrorPlan plan;
    {
      std::lock_guard lock(mrc_mutex);
      if (live && joining.empty()) return true;
      note_before();
      plan.epoch = ++epoch;
      plan.in_step = in_step;
      plan.sessions = before;
    }
    plan.file = file;
    plan.joining = joining;
    plan.majority = plan.needed = copies / 2 + 1;
    MirrorMembers members;
    auto l = leases_now();
    if (mirror_activate(*this, plan, members) != 0) return false;
    std::lock_guard lock(mrc_mutex);
    if (l != leases || epoch != plan.epoch) return false;  // the MRC died meanwhile
    in_step = members.in_step;
    live = Live{plan.epoch, members.in_step, members.sessions};
    before.clear();
    ++activations;
    return true;
  }
  void note_before() {
    if (!live) return;
    for (size_t n = 0; n < live->in_step.size(); ++n) before[live->in_step[n]] = live->sessions[n];
    live.reset();
  }
  void failed(uint32_t e) {
    std::lock_guard lock(mrc_mutex);
    if (live && live->epoch == e) note_before();
  }
  bool right(Capability& c) {
    std::lock_guard lock(mrc_mutex);
    if (!live) return false;
    c = own(live->epoch);
    c.session = live->sessions[0];
    for (size_t n = 1; n < live->in_step.size(); ++n) {
      Capability inner = own(live->epoch);
      inner.session = live->sessions[n];
      c.members.push_back({std::to_string(live->in_step[n]), "", static_cast<uint16_t>(live->in_step[n]), encode(inner), {}});
    }
    c.uid = live->in_step[0];
    return true;
  }
  void restart_mrc() {
    std::lock_guard lock(mrc_mutex);
    live.reset();
    before.clear();
    leases = std::make_shared<OsdLeases>(now_us(), lease_us, margin_us);
  }
  /// Brings in who is not in step, one of the nodes in the place of another.
  void care() {
    std::vector<uint16_t> joining;
    {
      std::lock_guard lock(mrc_mutex);
      if (in_step.size() >= copies) return;
      for (uint16_t n = 0; n < nodes; ++n)
        if (std::find(in_step.begin(), in_step.end(), n) == in_step.end() && in_step.size() + joining.size() < copies) joining.push_back(n);
    }
    if (!joining.empty() && pick(2)) std::swap(joining.front(), joining.back());
    activate(joining);
  }

  void run_client(int who) {
    Capability c;
    bool have = false;
    uint64_t next = static_cast<uint64_t>(who) << 32;
    while (!over) {
      Operation op{static_cast<int>(pick(blocks)), 0, pick(2) == 0, now_us(), 0};
      if (op.write) op.value = ++next;
      bool done = false;
      while (!done && !over) {
        if (!have && !(have = right(c))) {
          activate({});
          sleep_us(500);
          continue;
        }
        std::string out, data(4096, '\0');
        for (size_t at = 0; at < data.size(); at += 8) std::memcpy(data.data() + at, &op.value, 8);
        const uint64_t place = static_cast<uint64_t>(op.block) * 4096;
        const int r = op.write ? send(client + who, static_cast<int>(c.uid), c, object::write, 0, Writer().put(place).raw(data).bytes(), out)
                               : send(client + who, static_cast<int>(c.uid), c, object::read, 0, Writer().put(place).put<uint32_t>(4096).bytes(), out);
        if (r == 0) {
          done = true;
          if (!op.write && !out.empty()) {
            std::memcpy(&op.value, out.data(), 8);
            out.resize(4096, '\0');
            for (size_t at = 0; at < out.size(); at += 8) CHECK(std::memcmp(out.data() + at, &op.value, 8) == 0);  // not torn
          }
          continue;
        }
        // A client that is cut off goes on with an old right for a while, and so tries whether that is refused.
        if (r == ESTALE || pick(3) != 0) {
          failed(c.epoch);
          have = false;
        }
        // Perhaps it was done, or will be: what is tried again is another operation.
        if (op.write) break;
      }
      op.ended = done ? now_us() : std::numeric_limits<int64_t>::max();
      if (!done && !op.write) continue;
      std::lock_guard lock(history_mutex);
      history.push_back(op);
    }
  }

  void nemesis(int64_t until) {
    while (now_us() < until) {
      sleep_us(static_cast<int64_t>(5000 + pick(60'000)));
      const auto n = static_cast<int>(pick(nodes));
      switch (pick(8)) {
        case 0: case 1: {
          kill(n);
          sleep_us(static_cast<int64_t>(pick(80'000)));
          start(n);
          break;
        }
        case 2: {  // cut off from the MRC, and not from clients: who led does not know that another one does
          std::lock_guard lock(net_mutex);
          cut.insert({mrc, n});
          break;
        }
        case 3: {
          const auto other = static_cast<int>(pick(nodes));
          std::lock_guard lock(net_mutex);
          cut.insert({n, other});
          break;
        }
        case 4: {
          std::lock_guard lock(net_mutex);
          cut.insert({n, client + static_cast<int>(n) % 3});
          break;
        }
        case 5: restart_mrc(); break;
        case 6: loss = static_cast<int>(pick(60)); break;
        default: {
          std::lock_guard lock(net_mutex);
          cut.clear();
        }
      }
    }
    {
      std::lock_guard lock(net_mutex);
      cut.clear();
    }
    loss = 0;
  }

  /// Each value has one write; a block that is not written yet has 0, which was written before everything.
  void check() {
    for (int block = 0; block < blocks; ++block) {
      struct Zone {
        int64_t first_end = std::numeric_limits<int64_t>::max(), last_begin = std::numeric_limits<int64_t>::min();
        bool read = false, acknowledged = false;
        int64_t written = std::numeric_limits<int64_t>::max();
      };
      std::map<uint64_t, Zone> zones;
      zones[0].first_end = std::numeric_limits<int64_t>::min();
      zones[0].written = std::numeric_limits<int64_t>::min();
      zones[0].read = true;
      zones[0].last_begin = std::numeric_limits<int64_t>::min();
      for (auto& op : history) {
        if (op.block != block) continue;
        Zone& z = zones[op.value];
        z.first_end = std::min(z.first_end, op.ended);
        z.last_begin = std::max(z.last_begin, op.begun);
        if (op.write) z.written = op.begun;
        (op.write ? z.acknowledged : z.read) |= op.ended != std::numeric_limits<int64_t>::max();
      }
      std::vector<Zone> kept;
      for (auto& [value, z] : zones) {
        if (!z.read && !z.acknowledged) continue;
        CHECK(z.written != std::numeric_limits<int64_t>::max());  // nobody reads what was not written
        CHECK(z.written <= z.first_end);
        kept.push_back(z);
      }
      for (size_t a = 0; a < kept.size(); ++a)
        for (size_t b = 0; b < kept.size(); ++b) {
          const Zone &x = kept[a], &y = kept[b];
          if (a == b || x.first_end >= x.last_begin) continue;
          const bool forward = y.first_end < y.last_begin;
          // Two values that were both there from one moment to another, at the same time; or one that came and went within such a time of another.
          if (forward) CHECK(y.first_end >= x.last_begin || x.first_end >= y.last_begin);
          else CHECK(!(x.first_end < y.last_begin && y.first_end < x.last_begin));
        }
    }
  }
};

int Peers::ask(const std::vector<MirrorMember>& members, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<void()>& meanwhile) {
  std::vector<int> results(members.size());
  std::vector<std::thread> threads;
  for (size_t n = 0; n < members.size(); ++n)
    threads.emplace_back([&, n] {
      std::string out;
      results[n] = w.send(from, members[n].port, decode_capability(members[n].body), type, flags, arguments, out);
    });
  if (meanwhile) meanwhile();
  for (auto& t : threads) t.join();
  for (int r : results)
    if (r != 0) return r;
  return 0;
}

/// As ObjectService does it.
int Process::handle(const Capability& c, uint16_t type, uint16_t flags, std::string_view arguments, std::string& out) {
  if (dead) return EHOSTDOWN;
  Reader r(arguments);
  if (type == object::lease) {
    const auto asked = r.get<uint64_t>();
    const auto answer = session.lease(asked, r.get<int64_t>());
    out = Writer().put(answer.session).put(answer.now_ms).bytes();
    return 0;
  }
  if (type == object::fence) {
    ObjectStore::Fenced fenced;
    const int status = store.fence(c.file, c.epoch, realtime_now_ms() + 3'600'000, fenced);
    out = Writer().put(fenced.extent.bytes).bytes();
    return -status;
  }
  const auto admitted = store.admit(c.file, c.epoch);
  if (!admitted || !mirror.holds(c)) return ESTALE;
  Extent e;
  if (type == object::read) {
    const auto offset = r.get<uint64_t>();
    const auto bytes = r.get<uint32_t>();
    out.resize(bytes);
    const int64_t n = store.read(c.file, offset, out.data(), bytes);
    out.resize(n < 0 ? 0 : static_cast<size_t>(n));
    if (n < 0) return static_cast<int>(-n);
    return mirror.holds(c) ? 0 : ESTALE;
  }
  if (type == object::digest) {
    const auto first = r.get<uint64_t>();
    const auto count = r.get<uint32_t>();
    std::vector<uint64_t> digests;
    const int status = store.digest(c.file, first, count, r.get<uint8_t>() != 0, digests);
    out.assign(reinterpret_cast<const char*>(digests.data()), digests.size() * 8);
    return -status;
  }
  auto here = [&] {
    if (dead) return -EIO;  // between the others and itself
    Reader again(arguments);
    const auto at = again.get<uint64_t>();
    if (type == object::truncate) return store.truncate(c.file, at, e);
    const auto data = again.rest();
    return store.write(c.file, at, data.data(), static_cast<uint32_t>(data.size()), e);
  };
  return -(c.session != 0 && !c.members.empty() ? mirror.perform(c, type, flags, arguments, here) : here());
}

/// Ends the threads of a world, also of a test that failed in the middle.
struct End {
  World& w;
  std::vector<std::jthread> threads;
  ~End() { w.over = true; }
};

/// The MRC's messages that keep the sessions of all OSDs alive, until the world is over.
void keep_leases(World& w, std::vector<std::jthread>& threads) {
  for (uint16_t n = 0; n < nodes; ++n)
    threads.emplace_back([&w, n] {
      while (!w.over) {
        w.ping(n);
        sleep_us(lease_us / 5);
      }
    });
}

/// Who leads is cut off from everybody but a client that has a right for it, another one leads and takes a write: the first one answers that client no more.
void cut_off_leader(bool restarted) {
  World w(5);
  End end{w, {}};
  keep_leases(w, end.threads);
  const int64_t bound = now_us() + 60'000'000;
  const auto write = [&](const Capability& c, char value) {
    std::string out;
    return w.send(client, static_cast<int>(c.uid), c, object::write, 0, Writer().put<uint64_t>(0).raw(std::string(4096, value)).bytes(), out);
  };
  const auto read = [&](const Capability& c, std::string& out) { return w.send(client, static_cast<int>(c.uid), c, object::read, 0, Writer().put<uint64_t>(0).put<uint32_t>(4096).bytes(), out); };
  // A right by which this can be written; on a busy machine a lease may lapse before.
  const auto written = [&](char value) {
    for (;;) {
      CHECK(now_us() < bound);
      Capability c;
      if (w.right(c) && write(c, value) == 0) return c;
      w.failed(c.epoch);
      w.activate({});
    }
  };
  const Capability old = written('a');
  const int last = static_cast<int>(old.uid);
  {
    std::lock_guard lock(w.net_mutex);
    w.cut.insert({mrc, last});
    for (int n = 0; n < nodes; ++n)
      if (n != last) w.cut.insert({last, n});
  }
  if (restarted) w.restart_mrc();
  w.failed(old.epoch);
  CHECK(written('b').uid != old.uid);
  std::string data;
  CHECK_EQUAL(read(old, data), ESTALE);
}

void one_world(uint64_t seed) {
  World w(seed);
  End end{w, {}};
  auto& threads = end.threads;
  keep_leases(w, threads);
  threads.emplace_back([&] {
    while (!w.over) {
      sleep_us(10'000);
      w.care();
    }
  });
  for (int who = 1; who <= 3; ++who) threads.emplace_back([&, who] { w.run_client(who); });
  w.nemesis(now_us() + 1'500'000);
  // In peace everything works again, and all members are the same.
  size_t before;
  {
    std::lock_guard lock(w.history_mutex);
    before = w.history.size();
  }
  const int64_t bound = now_us() + 60'000'000;
  for (;;) {
    sleep_us(20'000);
    std::scoped_lock lock(w.history_mutex, w.mrc_mutex);
    if (w.in_step.size() == copies && w.live && w.history.size() > before + 20) break;
    CHECK(now_us() < bound);
  }
  w.over = true;
  for (auto& t : threads) t.join();
  w.over = false;
  {
    std::lock_guard lock(w.mrc_mutex);
    w.note_before();
  }
  const int64_t again = now_us() + 60'000'000;
  while (!w.activate({})) CHECK(now_us() < again);
  std::string first;
  for (uint16_t n : w.in_step) {
    std::string data(blocks * 4096, '\0');
    const int64_t bytes = w.process[n]->store.read(file, 0, data.data(), static_cast<uint32_t>(data.size()));
    CHECK(bytes >= 0);
    if (first.empty()) first = data;
    CHECK(data == first);
  }
  w.check();
  fprintf(stderr, "seed %lu: %zu operations, %d epochs, %d kills\n", seed, w.history.size(), w.activations.load(), w.kills.load());
}

}  // namespace

TEST("each block looks like one to everybody, whatever dies or is cut off") {
  const char *rounds = getenv("XOS_ROUNDS"), *seed = getenv("XOS_FUZZ_SEED");
  const uint64_t from = seed ? strtoull(seed, nullptr, 10) : 1, count = rounds && atoi(rounds) > 0 ? strtoull(rounds, nullptr, 10) : 1;
  for (uint64_t n = 0; n < count; ++n) one_world(from + n);
}

TEST("who led and is cut off answers no reader any more once another one leads") { cut_off_leader(false); }
TEST("the same when the MRC has forgotten to whom it gave a lease") { cut_off_leader(true); }

TEST_MAIN
