// Engine operations on quotas. A volume is accounted for while a limit is set on it: a row of table_usage for the volume, one for the default
// of its users, one for each user. A file is charged with the larger of its size and of what its writers may grow it to without asking.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine.h"

namespace xos::fs::metadata {

namespace {

constexpr uint64_t grant_step = 64u << 10, grant_max = 64u << 20;
constexpr uint64_t grant_part = 64;  // of the room that is left, how much a file may get ahead of what it needs

std::string row_key(uint64_t volume, uint32_t who) {
  std::string key = key_of(volume);
  for (int shift = 24; shift >= 0; shift -= 8) key.push_back(static_cast<char>(who >> shift));
  return key;
}

uint32_t who_of(std::string_view key) {
  uint32_t who = 0;
  for (char c : key.substr(8)) who = who << 8 | static_cast<unsigned char>(c);
  return who;
}

Usage decode(std::string_view v) {
  Reader r(v);
  Usage u;
  u.bytes = r.get<int64_t>();
  u.files = r.get<int64_t>();
  u.bytes_max = r.get<uint64_t>();
  u.files_max = r.get<uint64_t>();
  return u;
}

Usage load(const Txn& txn, uint64_t volume, uint32_t who) {
  std::string_view v;
  return txn.get(table_usage, row_key(volume, who), v) ? decode(v) : Usage{};
}

void save(Txn& txn, uint64_t volume, uint32_t who, const Usage& u) {
  txn.put(table_usage, row_key(volume, who), Writer().put(u.bytes).put(u.files).put(u.bytes_max).put(u.files_max).bytes());
}

/// What the file's writers may grow it to; 0 when nothing is reserved.
uint64_t reserved(const Txn& txn, uint64_t id) {
  std::string_view v;
  return txn.get(table_writing, key_of(id), v) && v.size() == 8 ? Reader(v).get<uint64_t>() : 0;
}

/// What a file counts for: every copy, also one that is being made.
uint64_t charged(const InodeRecord& r, size_t osds, uint64_t reserved) {
  return S_ISREG(r.mode) ? std::max(r.size, reserved) * copies_of(r, osds) : 0;
}

int64_t difference(uint64_t after, uint64_t before) { return static_cast<int64_t>(after - before); }

}  // namespace

bool Engine::accounted(uint64_t volume) const {
  if (accounted_volumes_.load(std::memory_order_relaxed) == 0) return false;
  std::shared_lock lock(volumes_mutex_);
  return accounted_.contains(volume);
}

/// Rows that limit a user, with the default's limits where there are none of his own.
static std::vector<std::pair<uint32_t, Usage>> rows_of(const Txn& txn, uint64_t volume, uint32_t uid) {
  std::vector<std::pair<uint32_t, Usage>> rows{{usage_all, load(txn, volume, usage_all)}, {uid, load(txn, volume, uid)}};
  if (uid == 0) {  // the super-user is held to the volume's limits only
    rows[1].second.bytes_max = rows[1].second.files_max = 0;
  } else if (rows[1].second.bytes_max == 0 || rows[1].second.files_max == 0) {
    Usage usual = load(txn, volume, usage_default);
    if (rows[1].second.bytes_max == 0) rows[1].second.bytes_max = usual.bytes_max;
    if (rows[1].second.files_max == 0) rows[1].second.files_max = usual.files_max;
  }
  return rows;
}

int Engine::charge(Txn& txn, uint64_t volume, uint32_t uid, int64_t bytes, int64_t files, bool forced) {
  if (!accounted(volume) || (bytes == 0 && files == 0)) return 0;
  if (!forced) {
    for (auto& [who, u] : rows_of(txn, volume, uid)) {
      if (bytes > 0 && u.bytes_max != 0 && u.bytes + bytes > static_cast<int64_t>(u.bytes_max)) return EDQUOT;
      if (files > 0 && u.files_max != 0 && u.files + files > static_cast<int64_t>(u.files_max)) return EDQUOT;
    }
  }
  for (uint32_t who : {usage_all, uid}) {
    Usage u = load(txn, volume, who);
    u.bytes += bytes;
    u.files += files;
    save(txn, volume, who, u);
  }
  return 0;
}

int Engine::charge_inode(Txn& txn, const Inode& i, uint32_t uid, int sign, bool forced) {
  if (!accounted(i.r.volume)) return 0;
  const uint64_t bytes = charged(i.r, i.osds.size(), reserved(txn, i.id));
  return charge(txn, i.r.volume, uid, sign * static_cast<int64_t>(bytes), sign, forced);
}

int Engine::set_copies(Txn& txn, Inode& i, std::vector<uint16_t> osds, uint16_t whole) {
  const auto before = static_cast<int64_t>(copies_of(i));
  Inode after = i;
  after.osds = std::move(osds);
  after.r.replicas = whole;
  const int64_t bytes = (static_cast<int64_t>(copies_of(after)) - before) * static_cast<int64_t>(i.r.size);
  if (int r = charge(txn, i.r.volume, i.r.uid, bytes, 0, bytes < 0); r != 0) return r;
  ++after.r.xloc_version;
  i = std::move(after);
  save_inode(txn, i);
  return 0;
}

void Engine::set_members(Txn& txn, Inode& i, std::vector<uint16_t> osds, uint16_t in_step) {
  const uint64_t row = reserved(txn, i.id);
  const int64_t before = static_cast<int64_t>(charged(i.r, i.osds.size(), row)), after = static_cast<int64_t>(charged(i.r, osds.size(), row));
  i.osds = std::move(osds);
  i.r.replicas = in_step;
  ++i.r.xloc_version;
  charge(txn, i.r.volume, i.r.uid, after - before, 0, true);
  save_inode(txn, i);
}

int Engine::resize(Txn& txn, Inode& i, uint64_t size, bool forced) {
  if (size != i.r.size && accounted(i.r.volume)) {
    const uint64_t row = reserved(txn, i.id);
    const auto copies = static_cast<int64_t>(copies_of(i));
    if (int r = charge(txn, i.r.volume, i.r.uid, difference(std::max(size, row), std::max(i.r.size, row)) * copies, 0, forced); r != 0) return r;
  }
  i.r.size = size;
  return 0;
}

uint64_t Engine::may_grow_to(const Txn& txn, const Inode& i) const {
  return accounted(i.r.volume) ? std::max(i.r.size, reserved(txn, i.id)) : unlimited;
}

void Engine::limit_space(const Txn& txn, uint64_t volume, uint32_t uid, uint64_t& total, uint64_t& free) const {
  if (!accounted(volume)) return;
  for (auto& [who, u] : rows_of(txn, volume, uid)) {
    if (u.bytes_max == 0) continue;
    const auto used = std::min(u.bytes_max, static_cast<uint64_t>(std::max<int64_t>(u.bytes, 0)));
    total = std::min(total, u.bytes_max);
    free = std::min(free, u.bytes_max - used);
  }
}

int Engine::grow(Txn& txn, uint64_t id, uint64_t size, uint64_t& grow_to) {
  Inode i;
  if (int r = getattr(txn, id, i); r != 0) return r;
  if (!S_ISREG(i.r.mode)) return EINVAL;
  grow_to = may_grow_to(txn, i);
  if (size <= grow_to) return 0;
  uint64_t room = unlimited;
  for (auto& [who, u] : rows_of(txn, i.r.volume, i.r.uid))
    if (u.bytes_max != 0) room = std::min(room, u.bytes_max - std::min(u.bytes_max, static_cast<uint64_t>(std::max<int64_t>(u.bytes, 0))));
  const uint64_t copies = copies_of(i);
  room /= copies;
  const uint64_t need = size - grow_to;
  if (need > room) return EDQUOT;
  const uint64_t ahead = std::min(grant_max, (room - need) / grant_part) / grant_step * grant_step;
  if (int r = charge(txn, i.r.volume, i.r.uid, static_cast<int64_t>((need + ahead) * copies), 0, false); r != 0) return r;
  grow_to = size + ahead;
  txn.put(table_writing, key_of(id), Writer().put(grow_to).bytes());
  return 0;
}

void Engine::end_writing(Txn& txn, uint64_t id) {
  if (accounted_volumes_ != 0) {
    auto i = load_inode(txn, id);
    const uint64_t row = reserved(txn, id);
    if (i && row > i->r.size) charge(txn, i->r.volume, i->r.uid, difference(i->r.size, row) * static_cast<int64_t>(copies_of(*i)), 0, true);
  }
  txn.erase(table_writing, key_of(id));
}

std::map<uint32_t, Usage> Engine::usage(const Txn& txn, uint64_t volume) const {
  std::map<uint32_t, Usage> rows;
  const std::string prefix = key_of(volume);
  txn.scan(table_usage, prefix, [&](std::string_view key, std::string_view v) {
    if (!key.starts_with(prefix)) return false;
    rows[who_of(key)] = decode(v);
    return true;
  });
  if (!rows.empty()) return rows;
  Usage& all = rows[usage_all];
  txn.scan(table_inode, "", [&](std::string_view key, std::string_view v) {
    InodeRecord r;
    if (v.size() < sizeof r) return true;
    std::memcpy(&r, v.data(), sizeof r);
    if (r.volume != volume || id_of(key) == volume) return true;
    Usage& user = rows[r.uid];
    for (Usage* u : {&all, &user}) {
      ++u->files;
      u->bytes += static_cast<int64_t>(charged(r, r.osd_count, 0));
    }
    return true;
  });
  return rows;
}

std::vector<UsageMend> usage_to_mend(const Txn& txn, uint64_t volume) {
  std::map<uint32_t, Usage> counted;
  txn.scan(table_inode, "", [&](std::string_view key, std::string_view v) {
    InodeRecord r;
    if (v.size() < sizeof r) return true;
    std::memcpy(&r, v.data(), sizeof r);
    const uint64_t id = id_of(key);
    if (r.volume != volume || id == volume) return true;
    for (uint32_t who : {usage_all, r.uid}) {
      ++counted[who].files;
      counted[who].bytes += static_cast<int64_t>(charged(r, r.osd_count, reserved(txn, id)));
    }
    return true;
  });
  const std::string prefix = key_of(volume);
  std::map<uint32_t, Usage> rows;
  txn.scan(table_usage, prefix, [&](std::string_view key, std::string_view v) {
    if (key.starts_with(prefix)) rows[who_of(key)] = decode(v);
    return key.starts_with(prefix);
  });
  for (auto& [who, u] : counted) rows.try_emplace(who);
  std::vector<UsageMend> wrong;
  for (auto& [who, u] : rows) {
    const Usage right = counted[who];
    if (u.bytes == right.bytes && u.files == right.files) continue;
    wrong.push_back({row_key(volume, who), who, Writer().put(right.bytes).put(right.files).put(u.bytes_max).put(u.files_max).bytes()});
  }
  return wrong;
}

int Engine::quota_set(Txn& txn, uint64_t volume, uint32_t who, std::optional<uint64_t> bytes_max, std::optional<uint64_t> files_max,
                      std::vector<uint64_t>& writing) {
  if (!load_inode(txn, volume)) return ENOENT;
  auto rows = usage(txn, volume);  // counted now when it was not accounted for before
  if (bytes_max) rows[who].bytes_max = *bytes_max;
  if (files_max) rows[who].files_max = *files_max;
  const bool limited = std::any_of(rows.begin(), rows.end(), [](auto& row) { return row.second.bytes_max != 0 || row.second.files_max != 0; });
  for (auto& [uid, u] : rows) {
    if (limited) save(txn, volume, uid, u);
    else txn.erase(table_usage, row_key(volume, uid));
  }
  txn.scan(table_writing, "", [&](std::string_view key, std::string_view) {
    auto i = load_inode(txn, id_of(key));
    if (i && i->r.volume == volume) writing.push_back(i->id);
    return true;
  });
  if (!limited)  // what was reserved is not charged any more
    for (uint64_t id : writing) txn.put(table_writing, key_of(id), "");
  note_accounted(volume, limited);
  return 0;
}

void Engine::drop_usage(Txn& txn, uint64_t volume) {
  if (!accounted(volume)) return;
  for (auto& [who, u] : usage(txn, volume)) txn.erase(table_usage, row_key(volume, who));
  note_accounted(volume, false);
}

void Engine::note_accounted(uint64_t volume, bool on) {
  std::unique_lock lock(volumes_mutex_);
  if (on) accounted_.insert(volume);
  else accounted_.erase(volume);
  accounted_volumes_ = accounted_.size();
}

}  // namespace xos::fs::metadata
