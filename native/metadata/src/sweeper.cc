#include "sweeper.h"

#include <cerrno>
#include <chrono>
#include <thread>

#include "capability.h"
#include "inode.h"
#include "log.h"
#include "object_fate.h"
#include "object_protocol.h"
#include "osd_calls.h"

namespace xos::fs::metadata {

namespace {

constexpr uint32_t portion_max = 2048;
constexpr int sweep_call_ms = 5000;
constexpr int64_t interval_ms = 24LL * 3600 * 1000, first_ms = 10LL * 60 * 1000;
/// An object that is nobody's is removed whatever capability was seen for it: its number is never given out again.
constexpr uint32_t last_epoch = ~0u;

int64_t realtime_ms() { return now_ns() / 1000000; }

}  // namespace

bool Sweeper::start(const Options& options) {
  std::lock_guard lock(mutex_);
  if (progress_.running || start_) return false;
  options_ = options;
  start_ = true;
  stop_ = false;
  wanted_.notify_one();
  return true;
}

Sweeper::Progress Sweeper::progress() const {
  std::lock_guard lock(mutex_);
  Progress p = progress_;
  p.running |= start_;
  return p;
}

/// False when it is to end.
bool Sweeper::pause(int64_t ms) {
  for (const int64_t until = monotonic_ms() + ms; !stop_ && monotonic_ms() < until;) std::this_thread::sleep_for(std::chrono::milliseconds(std::min<int64_t>(ms, 20)));
  return !stop_;
}

bool Sweeper::list(uint16_t osd, uint64_t from, std::vector<Listed>& portion, bool& end) {
  RpcClient::Answer answer;
  if (call_osd(osds_, service_, osd, object::list, 0, right_delete, 0, Writer().put(from).put(portion_max), answer, sweep_call_ms) != 0) return false;
  Reader r(answer.begin(), answer.size());
  end = r.get<uint8_t>() != 0;
  portion.resize(std::min(r.get<uint32_t>(), portion_max));
  for (auto& o : portion) {
    o.file = r.get<uint64_t>();
    o.disk_bytes = r.get<uint64_t>();
    o.age_ms = r.get<int64_t>();
  }
  r.finish();
  return true;
}

void Sweeper::look_at(uint16_t osd, const std::vector<Listed>& portion, const Options& options, std::vector<uint64_t>& orphans) {
  std::vector<ObjectFate> now, synced;
  store_.read([&](const Txn& txn) {
    for (auto& o : portion) now.push_back(object_fate(txn, o.file, osd));
  });
  store_.read_synced([&](const Txn& txn) {
    for (auto& o : portion) synced.push_back(object_fate(txn, o.file, osd));
  });
  std::lock_guard lock(mutex_);
  progress_.objects += portion.size();
  for (size_t i = 0; i < portion.size(); ++i) {
    if (now[i] == ObjectFate::kept || synced[i] == ObjectFate::kept || moves_.marked(portion[i].file)) continue;
    if (now[i] == ObjectFate::unknown) {
      ++progress_.unknown;
    } else if (portion[i].age_ms < options.grace_ms) {
      ++progress_.young;
    } else {
      ++progress_.orphans;
      progress_.orphan_bytes += portion[i].disk_bytes;
      orphans.push_back(portion[i].file);
    }
  }
}

/// False when it is to end.
bool Sweeper::remove(uint16_t osd, uint64_t file, const Options& options) {
  moves_.unless_marked(file, [&] {
    // It may have come to belong to its file since it was listed: a move has ended.
    ObjectFate fate{};
    uint32_t epoch = last_epoch;
    store_.read([&](const Txn& txn) {
      fate = object_fate(txn, file, osd);
      if (auto inode = load_inode(txn, file)) epoch = inode->r.epoch;
    });
    if (fate != ObjectFate::orphan) return;
    RpcClient::Answer answer;
    const int r = call_osd(osds_, service_, osd, object::remove, file, right_delete, epoch, {}, answer, sweep_call_ms);
    if (r != 0) log(Priority::warning, "cannot remove object %lx, which belongs to no file: error %d", file, r);
    std::lock_guard lock(mutex_);
    ++(r == 0 ? progress_.removed : progress_.failed);
  });
  return pause(1000 / std::max(1u, options.removals_per_second));
}

/// False when the OSD did not answer.
bool Sweeper::sweep_osd(uint16_t osd, const Options& options) {
  bool end = false;
  for (uint64_t from = 0; !end && !stop_;) {
    std::vector<Listed> portion;
    std::vector<uint64_t> orphans;
    if (!list(osd, from, portion, end)) return false;
    look_at(osd, portion, options, orphans);
    for (uint64_t file : orphans)
      if (options.remove && !remove(osd, file, options)) break;
    if (portion.empty() || portion.back().file == ~0ull) break;
    from = portion.back().file + 1;
    pause(10);
  }
  return true;
}

void Sweeper::pass(const Options& options) {
  const auto osds = osds_.list();
  {
    std::lock_guard lock(mutex_);
    progress_ = {};
    progress_.osds = osds.size();
    progress_.running = true;
    progress_.removing = options.remove;
    progress_.started_ms = realtime_ms();
    start_ = false;
  }
  for (auto& osd : osds) {
    if (stop_) break;
    const bool answered = sweep_osd(osd.number, options);
    std::lock_guard lock(mutex_);
    ++(answered ? progress_.osds_done : progress_.osds_away);
  }
  std::lock_guard lock(mutex_);
  progress_.running = false;
  progress_.whole = !stop_ && progress_.osds_away == 0;
  progress_.finished_ms = realtime_ms();
}

/// Counts first: a database that knows little of what is there is more likely the wrong one than the objects are.
void Sweeper::by_itself() {
  pass({});
  Progress p = progress();
  const bool doubtful = p.orphans > 1000 && p.orphans > p.objects / 2;
  if (doubtful)
    log(Priority::error, "%lu of %lu objects belong to no file: left alone, since that may be a wrong database; 'xtfsutil orphans --remove' removes them", p.orphans, p.objects);
  if (p.orphans == 0 || doubtful || stop_) return;
  Options options;
  options.remove = true;
  pass(options);
  p = progress();
  log(Priority::notice, "removed %lu objects that belonged to no file (%lu could not be removed)", p.removed, p.failed);
}

bool Sweeper::is_due() {
  bool known = false;
  uint64_t last = 0;
  store_.read([&](const Txn& txn) {
    std::string_view v;
    known = txn.get(table_meta, "swept", v);
    if (known) last = id_of(v);
  });
  const auto now = static_cast<uint64_t>(realtime_ms());
  if (known && now - last < static_cast<uint64_t>(interval_ms)) return false;
  // Noted before: one that fails is tried again tomorrow, not at once.
  store_.write([&](Txn& txn) { txn.put(table_meta, "swept", key_of(now)); });
  return known;
}

void Sweeper::run() {
  int64_t looked = monotonic_ms() - interval_ms + first_ms;
  for (;;) {
    Options asked;
    bool wanted;
    {
      std::unique_lock lock(mutex_);
      wanted_.wait_for(lock, std::chrono::seconds(60), [&] { return start_; });
      wanted = start_;
      asked = options_;
    }
    try {
      if (wanted) {
        pass(asked);
      } else if (monotonic_ms() - looked > interval_ms) {
        looked = monotonic_ms() - interval_ms + first_ms;
        stop_ = false;
        if (is_due()) by_itself();
      }
    } catch (const std::exception& e) {
      log(Priority::error, "looking for objects without a file failed: %s", e.what());
      std::lock_guard lock(mutex_);
      progress_.running = start_ = false;
    }
  }
}

}  // namespace xos::fs::metadata
