#include "replicator.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "capability.h"
#include "control.h"
#include "inode.h"
#include "log.h"
#include "object_copy.h"
#include "object_protocol.h"
#include "object_store.h"
#include "stripe.h"

namespace xos::fs::metadata {

namespace {

constexpr size_t copies_max = 16;

std::string named(uint64_t file) { return "file " + std::to_string(file); }

}  // namespace

Replicator::Work Replicator::decode(std::string_view row) {
  Work w;
  if (row.empty()) return w;
  Reader r(row);
  w.fenced = r.get<uint8_t>() != 0;
  w.dropping_since_ms = r.get<int64_t>();
  for (uint16_t n = r.get<uint16_t>(); n > 0; --n) w.dropping.push_back(r.get<uint16_t>());
  return w;
}

std::string Replicator::encode(const Work& work) {
  Writer w;
  w.put<uint8_t>(work.fenced).put(work.dropping_since_ms).put(static_cast<uint16_t>(work.dropping.size()));
  for (uint16_t osd : work.dropping) w.put(osd);
  return std::move(w.bytes());
}

bool Replicator::load(uint64_t file, Inode& i, Work& work) const {
  bool there = false;
  store_.read([&](const Txn& txn) {
    std::string_view row;
    work = txn.get(table_meta, replicate_key(file), row) ? decode(row) : Work{true, 0, {}};
    there = engine_.getattr(txn, file, i) == 0;
  });
  return there;
}

std::vector<Replicator::Copy> Replicator::copies(const Inode& i, const Work& work) const {
  std::vector<Copy> all;
  for (size_t copy = 0; i.r.width > 0 && copy < copies_of(i); ++copy) {
    Copy c;
    c.osds.assign(i.osds.begin() + static_cast<long>(copy * i.r.width), i.osds.begin() + static_cast<long>((copy + 1) * i.r.width));
    c.state = copy < i.r.replicas ? State::whole : i.mirror.on() ? State::behind : contains(work.dropping, c.osds[0]) ? State::dropping : State::making;
    all.push_back(std::move(c));
  }
  return all;
}

std::vector<Replicator::Copy> Replicator::copies(uint64_t file) const {
  Inode i;
  Work work;
  return load(file, i, work) ? copies(i, work) : std::vector<Copy>{};
}

Replicator::Progress Replicator::progress(uint64_t file) const {
  std::lock_guard lock(mutex_);
  auto it = progress_.find(file);
  return it == progress_.end() ? Progress{} : it->second;
}

uint64_t Replicator::repaired() const {
  std::lock_guard lock(mutex_);
  return repaired_;
}

void Replicator::wake() {
  std::lock_guard lock(mutex_);
  wake_ = true;
  wanted_.notify_one();
}

/// OSDs for one more copy: they have nothing of the file, and those with most room come first. Empty when there are not enough.
std::vector<uint16_t> Replicator::choose(const Inode& i, const std::string& first) const {
  std::vector<Osd> usable = osds_.list();
  const uint64_t need = i.r.size / i.r.width + room_bytes;
  std::erase_if(usable, [&](const Osd& o) { return !o.up || o.state != OsdState::used || o.free_bytes < need || contains(i.osds, o.number); });
  std::stable_sort(usable.begin(), usable.end(), [](auto& a, auto& b) { return a.free_bytes > b.free_bytes; });
  if (!first.empty()) {
    auto there = std::find_if(usable.begin(), usable.end(), [&](auto& o) { return o.name == first; });
    if (there == usable.end()) return {};
    std::rotate(usable.begin(), there, there + 1);
  }
  std::vector<uint16_t> chosen;
  for (size_t n = 0; n < usable.size() && n < i.r.width; ++n) chosen.push_back(usable[n].number);
  if (chosen.size() < i.r.width) chosen.clear();
  return chosen;
}

/// A program that opened it for writing at the same moment comes first: then there are no replicas. Whoever comes later sees that there are.
bool Replicator::undo_if_written(uint64_t file) {
  if (!sessions_.has_writers(file)) return false;
  store_.write([&](Txn& txn) {
    auto i = load_inode(txn, file);
    if (!i || i->r.replicas > 1) return;
    auto osds = i->osds;
    osds.resize(i->r.width);
    engine_.set_copies(txn, *i, osds, 1);
    txn.erase(table_meta, replicate_key(file));
  });
  return true;
}

void Replicator::add_copies(uint64_t file, std::vector<std::string> first, size_t more) {
  std::string code, why;
  first.resize(more);
  bool fresh = false;
  store_.write([&](Txn& txn) {
    code.clear();
    auto refuse = [&](const char* c, const std::string& text) { code = c, why = text; };
    auto found = load_inode(txn, file);
    std::string_view row;
    if (!found || !S_ISREG(found->r.mode)) return refuse("XOS_NO_FILE", "it is no file of a volume");
    if (found->mirror.on()) return refuse("XOS_BAD_ARGUMENT", "it has write replicas, of which the metadata server keeps as many as its policy says");
    if (found->r.width == 0) return refuse("XOS_BAD_ARGUMENT", "it has no contents yet; write it first");
    if (txn.get(table_writing, key_of(file), row) || sessions_.has_writers(file)) return refuse("XOS_BUSY", "a program has it open for writing; end that first");
    if (copies_of(*found) + more > copies_max) return refuse("XOS_BAD_ARGUMENT", "at most " + std::to_string(copies_max) + " copies are kept");
    Inode i = *found;
    for (size_t n = 0; n < more; ++n) {
      auto chosen = choose(i, first[n]);
      if (chosen.empty())
        return refuse("XOS_NO_SERVER", first[n].empty() ? "there are not enough object servers with room for one more copy; each takes one" : "object server '" + first[n] + "' has a copy already, is away, or has no room");
      i.osds.insert(i.osds.end(), chosen.begin(), chosen.end());
    }
    const auto osds = std::exchange(i, *found).osds;
    fresh = !is_replicated(i);
    Work work = txn.get(table_meta, replicate_key(file), row) ? decode(row) : Work{!fresh, 0, {}};
    if (fresh) ++i.r.epoch;
    if (engine_.set_copies(txn, i, osds, i.r.replicas) != 0) return refuse("XOS_QUOTA", "the limits of its volume or owner have no room for another copy");
    txn.put(table_meta, replicate_key(file), encode(work));
  });
  if (code.empty() && fresh && undo_if_written(file)) code = "XOS_BUSY", why = "a program has it open for writing; end that first";
  if (!code.empty()) throw CodedError(code, "cannot replicate " + named(file) + ": " + why);
  store_.sync();
  wake();
}

void Replicator::drop_copies(uint64_t file, const std::vector<size_t>& which) {
  std::string why;
  store_.write([&](Txn& txn) {
    why.clear();
    auto i = load_inode(txn, file);
    std::string_view row;
    if (!i) return;
    if (i->mirror.on()) {
      why = "it has write replicas, of which the metadata server keeps as many as its policy says";
      return;
    }
    Work work = txn.get(table_meta, replicate_key(file), row) ? decode(row) : Work{true, 0, {}};
    std::vector<uint16_t> stay, making, go;
    uint16_t whole = 0;
    auto all = copies(*i, work);
    for (size_t n = 0; n < all.size(); ++n) {
      const bool goes = all[n].state == State::dropping || std::find(which.begin(), which.end(), n) != which.end();
      auto& to = goes ? go : all[n].state == State::whole ? stay : making;
      to.insert(to.end(), all[n].osds.begin(), all[n].osds.end());
      whole += !goes && all[n].state == State::whole;
    }
    if (whole == 0) {
      why = "it is the only copy that is whole";
      return;
    }
    work.dropping = go;
    work.dropping_since_ms = now_ns() / 1000000;
    stay.insert(stay.end(), making.begin(), making.end());
    stay.insert(stay.end(), go.begin(), go.end());
    ++i->r.epoch;
    engine_.set_copies(txn, *i, stay, whole);
    txn.put(table_meta, replicate_key(file), encode(work));
  });
  if (!why.empty()) throw CodedError("XOS_BAD_ARGUMENT", "cannot drop a copy of " + named(file) + ": " + why);
  store_.sync();
  sessions_.renew_rights(file);
  wake();
}

void Replicator::set_count(uint64_t file, size_t wanted) {
  auto all = copies(file);
  std::vector<size_t> there;
  for (size_t n = 0; n < all.size(); ++n)
    if (all[n].state != State::dropping) there.push_back(n);
  if (all.empty() || wanted > there.size()) return add_copies(file, {}, wanted - std::max<size_t>(1, there.size()));
  if (wanted == there.size()) return;
  drop_copies(file, {there.begin() + static_cast<long>(wanted), there.end()});
}

void Replicator::add(uint64_t file, const std::string& osd) { add_copies(file, {osd}, 1); }

void Replicator::drop(uint64_t file, const std::string& osd) {
  auto all = copies(file);
  for (size_t n = 0; n < all.size(); ++n) {
    for (uint16_t number : all[n].osds) {
      Osd found;
      if (!osds_.find(number, found) || found.name != osd) continue;
      if (all.size() == 1) throw CodedError("XOS_BAD_ARGUMENT", "cannot drop a copy of " + named(file) + ": it has no replicas");
      return drop_copies(file, {n});
    }
  }
  throw CodedError("XOS_NO_SERVER", "cannot drop a copy of " + named(file) + ": it has none at object server '" + osd + "'");
}

}  // namespace xos::fs::metadata
