#include "cache.h"

#include <algorithm>

#include "rpc_client.h"

namespace xos::fs {

using metadata::Attr;

bool Cache::valid() const { return monotonic_ms() < valid_until_ms_.load(); }

double Cache::seconds_left() const {
  int64_t left = valid_until_ms_.load() - monotonic_ms();
  return left <= 0 ? 0 : std::min<double>(1.0, static_cast<double>(left) / 1000);
}

Cache::Token Cache::token(uint64_t id) const {
  const Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  return {remote_changes_.load(), s.changes, own_changes_.load()};
}

/// Caller holds the shard's mutex.
void Cache::make_room(Shard& s) {
  // Everything of a shard at once: refilling is cheap, and the order of use would cost on every hit.
  if (attrs_ > entries_max) {
    attrs_ -= s.attrs.size();
    s.attrs.clear();
  }
  if (names_ > entries_max) {
    names_ -= s.names;
    s.directories.clear();
    s.names = 0;
    ++s.changes;  // whoever is reading a listing in must not believe that it is all here
  }
}

Cache::Counts Cache::counts() const {
  Counts all;
  for (const Shard& s : shards_) {
    std::lock_guard lock(s.mutex);
    all.attr_hits += s.counts.attr_hits;
    all.attr_misses += s.counts.attr_misses;
    all.name_hits += s.counts.name_hits;
    all.name_misses += s.counts.name_misses;
  }
  return all;
}

std::optional<Attr> Cache::attr(uint64_t id) const {
  if (!valid()) return std::nullopt;
  const Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  auto it = s.attrs.find(id);
  ++(it == s.attrs.end() ? s.counts.attr_misses : s.counts.attr_hits);
  if (it == s.attrs.end()) return std::nullopt;
  return it->second;
}

void Cache::keep_attr(const Attr& a, Token token) {
  Shard& s = shard(a.id);
  std::lock_guard lock(s.mutex);
  auto it = s.attrs.find(a.id);
  if (it != s.attrs.end() && it->second.change > a.change) return;
  if (!a.leased || remote_changes_.load() != token.remote) {
    // Newer than what is kept, but nobody would tell us when it ends.
    if (it != s.attrs.end()) s.attrs.erase(it), --attrs_;
    return;
  }
  make_room(s);
  if (s.attrs.insert_or_assign(a.id, a).second) ++attrs_;
}

void Cache::set_atime(uint64_t id, int64_t atime_ns) {
  Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  if (auto it = s.attrs.find(id); it != s.attrs.end()) it->second.atime_ns = atime_ns;
}

Cache::Found Cache::entry(uint64_t directory, const std::string& name, uint64_t& id) const {
  if (!valid()) return Found::no;
  const Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  auto d = s.directories.find(directory);
  ++s.counts.name_misses;
  if (d == s.directories.end()) return Found::no;
  auto it = d->second.names.find(name);
  if (it == d->second.names.end() && !d->second.complete) return Found::no;
  --s.counts.name_misses;
  ++s.counts.name_hits;
  if (it == d->second.names.end()) return Found::negative;
  id = it->second;
  return id == 0 ? Found::negative : Found::yes;
}

void Cache::keep_entry(uint64_t directory, const std::string& name, uint64_t id, Token token) {
  Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  if (remote_changes_.load() != token.remote || s.changes != token.own) return;
  make_room(s);
  auto [it, made] = s.directories[directory].names.insert_or_assign(name, id);
  if (made) ++s.names, ++names_;
}

void Cache::complete(uint64_t directory, Token token) {
  Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  if (remote_changes_.load() == token.remote && s.changes == token.own) s.directories[directory].complete = true;
}

void Cache::complete_new(uint64_t directory, Token token) {
  Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  // One change of ours is the mkdir itself.
  if (remote_changes_.load() == token.remote && own_changes_.load() <= token.own_anywhere + 1) s.directories[directory].complete = true;
}

void Cache::entries_changed(uint64_t directory, const std::vector<Change>& changes, Token token) {
  Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  bool alone = s.changes == token.own && remote_changes_.load() == token.remote;
  ++s.changes;
  ++own_changes_;
  if (alone) {
    make_room(s);
    auto& names = s.directories[directory].names;
    for (auto& [name, id] : changes)
      if (names.insert_or_assign(name, id).second) ++s.names, ++names_;
    return;
  }
  // Something else happened meanwhile, perhaps to these very names: ask next time.
  auto d = s.directories.find(directory);
  if (d == s.directories.end()) return;
  d->second.complete = false;
  for (auto& [name, id] : changes) {
    size_t n = d->second.names.erase(name);
    s.names -= n;
    names_ -= n;
  }
}

void Cache::forget_attr(uint64_t id) {
  Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  attrs_ -= s.attrs.erase(id);
}

void Cache::forget_entries(uint64_t directory) {
  Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  ++s.changes;
  ++own_changes_;
  auto d = s.directories.find(directory);
  if (d == s.directories.end()) return;
  s.names -= d->second.names.size();
  names_ -= d->second.names.size();
  s.directories.erase(d);
}

void Cache::invalidate_attr(uint64_t id) {
  ++remote_changes_;
  forget_attr(id);
}

void Cache::invalidate_entries(uint64_t directory) {
  ++remote_changes_;
  forget_entries(directory);
}

void Cache::clear() {
  ++remote_changes_;
  for (Shard& s : shards_) {
    std::lock_guard lock(s.mutex);
    attrs_ -= s.attrs.size();
    names_ -= s.names;
    s.attrs.clear();
    s.directories.clear();
    s.names = 0;
    ++s.changes;
  }
}

}  // namespace xos::fs
