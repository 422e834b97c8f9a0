#include "cache.h"

#include "rpc_client.h"

namespace xos::fs {

using metadata::Attr;

bool Cache::valid() const { return monotonic_ms() < valid_until_ms_.load(); }

Cache::Token Cache::token(uint64_t id) const {
  const Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  return {remote_changes_.load(), s.changes, own_changes_.load()};
}

void Cache::Shard::make_room() {
  // Everything at once: refilling is cheap, and the order of use would cost on every hit.
  if (attrs.size() > shard_max) attrs.clear();
  if (names > shard_max) {
    directories.clear();
    names = 0;
  }
}

std::optional<Attr> Cache::attr(uint64_t id) const {
  if (!valid()) return std::nullopt;
  const Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  auto it = s.attrs.find(id);
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
    if (it != s.attrs.end()) s.attrs.erase(it);
    return;
  }
  s.make_room();
  s.attrs[a.id] = a;
}

Cache::Found Cache::entry(uint64_t directory, const std::string& name, uint64_t& id) const {
  if (!valid()) return Found::no;
  const Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  auto d = s.directories.find(directory);
  if (d == s.directories.end()) return Found::no;
  auto it = d->second.names.find(name);
  if (it == d->second.names.end()) return d->second.complete ? Found::negative : Found::no;
  id = it->second;
  return id == 0 ? Found::negative : Found::yes;
}

void Cache::keep_entry(uint64_t directory, const std::string& name, uint64_t id, Token token) {
  Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  if (remote_changes_.load() != token.remote || s.changes != token.own) return;
  s.make_room();
  auto [it, made] = s.directories[directory].names.insert_or_assign(name, id);
  if (made) ++s.names;
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
    s.make_room();
    auto& names = s.directories[directory].names;
    for (auto& [name, id] : changes)
      if (names.insert_or_assign(name, id).second) ++s.names;
    return;
  }
  // Something else happened meanwhile, perhaps to these very names: ask next time.
  auto d = s.directories.find(directory);
  if (d == s.directories.end()) return;
  d->second.complete = false;
  for (auto& [name, id] : changes) s.names -= d->second.names.erase(name);
}

void Cache::forget_attr(uint64_t id) {
  Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  s.attrs.erase(id);
}

void Cache::forget_entries(uint64_t directory) {
  Shard& s = shard(directory);
  std::lock_guard lock(s.mutex);
  ++s.changes;
  ++own_changes_;
  auto d = s.directories.find(directory);
  if (d == s.directories.end()) return;
  s.names -= d->second.names.size();
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
    s.attrs.clear();
    s.directories.clear();
    s.names = 0;
  }
}

}  // namespace xos::fs
