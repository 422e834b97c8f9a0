// Engine operations on volumes: entries of the root inode, with a policy for the files below.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "engine.h"

namespace xos::fs::metadata {

namespace {

/// Format 1 had no access times: relatime. Format 3 is of who has write replicas.
std::string encode_volume(const Volume& v) {
  Writer w;
  const bool mirrored = v.policy.copies > 1;
  w.put<uint8_t>(mirrored ? 3 : 2).put(v.root).put(v.policy.stripe_bytes).put(v.policy.width).text(v.policy.placement).put<uint8_t>(v.policy.atime);
  if (mirrored) w.put(v.policy.copies).put<uint8_t>(v.policy.all);
  return std::move(w.bytes());
}

bool is_valid(const VolumePolicy& p) {
  return p.stripe_bytes >= 4096 && p.stripe_bytes <= (4u << 20) && p.stripe_bytes % 4096 == 0 && p.width >= 1 && p.width <= 256 &&
         p.copies >= 1 && p.copies <= mirror_copies_max && (p.copies == 1 || p.width == 1) &&
         (p.placement == "with-mrc" || p.placement == "spread" || p.placement == "local");
}

Volume decode_volume(std::string_view name, std::string_view bytes) {
  Reader r(bytes);
  Volume v;
  v.name = name;
  const uint8_t format = r.get<uint8_t>();
  if (format < 1 || format > 3) throw StoreError(MDB_CORRUPTED, "volume record of an unknown format");
  v.root = r.get<uint64_t>();
  v.policy.stripe_bytes = r.get<uint32_t>();
  v.policy.width = r.get<uint16_t>();
  v.policy.placement = r.text();
  if (format >= 2) v.policy.atime = r.get<uint8_t>() != 0;
  if (format == 3) {
    v.policy.copies = r.get<uint8_t>();
    v.policy.all = r.get<uint8_t>() != 0;
  }
  return v;
}

}  // namespace

std::optional<VolumePolicy> policy_of_row(std::string_view row) {
  try {
    VolumePolicy p = decode_volume("", row).policy;
    return is_valid(p) ? std::optional(p) : std::nullopt;
  } catch (const std::exception&) {  // StoreError, Malformed
    return std::nullopt;
  }
}

void Engine::load_volumes() {
  std::map<uint64_t, Volume> loaded;
  std::set<uint64_t> accounted, kept;
  store_.read([&](const Txn& txn) {
    txn.scan(table_volume, "", [&](std::string_view name, std::string_view bytes) {
      Volume v = decode_volume(name, bytes);
      loaded[v.root] = v;
      return true;
    });
    txn.scan(table_usage, "", [&](std::string_view key, std::string_view) {
      accounted.insert(id_of(key));
      return true;
    });
    txn.scan(table_snapshot, "", [&](std::string_view key, std::string_view) {
      kept.insert(id_of(key));
      return true;
    });
  });
  std::unique_lock lock(volumes_mutex_);
  volumes_ = std::move(loaded);
  accounted_ = std::move(accounted);
  accounted_volumes_ = accounted_.size();
  snapshot_volumes_ = std::move(kept);
  snapshot_volumes_count_ = snapshot_volumes_.size();
  count_no_atime();
}

int Engine::volume_create(Txn& txn, std::string_view name, uint32_t uid, uint32_t gid, uint32_t mode, const VolumePolicy& policy, uint64_t& root,
                          Effects& effects) {
  if (int r = check_name(name); r != 0) return r;
  if (!is_valid(policy)) return EINVAL;
  if (load_entry(txn, root_id, name)) return EEXIST;
  Inode parent;
  if (int r = getattr(txn, root_id, parent); r != 0) return r;
  Inode i;
  i.id = root = next_id(txn);
  i.r.mode = S_IFDIR | (mode & 07777);
  i.r.nlink = 2;
  i.r.uid = uid;
  i.r.gid = gid;
  i.r.size = 4096;
  i.r.atime_ns = i.r.mtime_ns = i.r.ctime_ns = now_ns();
  i.r.volume = i.id;
  i.r.parent = root_id;
  save_inode(txn, i);
  save_entry(txn, root_id, name, {i.id, S_IFDIR});
  Volume v{std::string(name), i.id, policy};
  txn.put(table_volume, name, encode_volume(v));
  touch_directory(txn, parent, 1, effects);
  std::unique_lock lock(volumes_mutex_);
  volumes_[i.id] = v;
  count_no_atime();
  return 0;
}

int Engine::adopt_volume(Txn& txn, std::string_view name, uint64_t id, const VolumePolicy& policy, Effects& effects) {
  if (int r = check_name(name); r != 0) return r;
  if (!is_valid(policy)) return EINVAL;
  if (load_entry(txn, root_id, name)) return EEXIST;
  Inode parent;
  if (int r = getattr(txn, root_id, parent); r != 0) return r;
  save_entry(txn, root_id, name, {id, S_IFDIR});
  Volume v{std::string(name), id, policy};
  txn.put(table_volume, name, encode_volume(v));
  touch_directory(txn, parent, 1, effects);
  std::unique_lock lock(volumes_mutex_);
  volumes_[id] = v;
  count_no_atime();
  return 0;
}

void Engine::remove_tree(Txn& txn, uint64_t top, Effects& effects) {
  // Depth first, without recursion: a tree may be deeper than a stack.
  std::vector<uint64_t> directories{top};
  for (size_t at = 0; at < directories.size(); ++at) {
    std::string prefix = key_of(directories[at]);
    std::vector<std::pair<std::string, uint64_t>> found;
    txn.scan(table_entry, prefix, [&](std::string_view key, std::string_view value) {
      if (!key.starts_with(prefix)) return false;
      found.emplace_back(key, Reader(value).get<uint64_t>());
      return true;
    });
    for (auto& [key, id] : found) {
      txn.erase(table_entry, key);
      auto i = load_inode(txn, id);
      if (!i) continue;
      bool there;
      if (S_ISDIR(i->r.mode)) directories.push_back(id);
      else drop_link(txn, *i, there, effects);
    }
  }
  for (uint64_t id : directories) {
    if (auto i = load_inode(txn, id)) destroy(txn, *i);
    effects.entries.push_back(id);
    effects.attributes.push_back(id);
  }
}

int Engine::volume_remove(Txn& txn, std::string_view name, bool force, Effects& effects) {
  auto entry = load_entry(txn, root_id, name);
  if (!entry) return ENOENT;
  if ((!is_empty(txn, entry->id) || !snapshots(txn, entry->id).empty()) && !force) return ENOTEMPTY;
  for (auto& snapshot : snapshots(txn, entry->id)) snapshot_remove(txn, entry->id, snapshot.name, effects);
  snapshots_end(txn, entry->id, effects);
  remove_tree(txn, entry->id, effects);
  txn.erase(table_entry, entry_key(root_id, name));
  txn.erase(table_volume, name);
  Inode parent;
  if (int r = getattr(txn, root_id, parent); r != 0) return r;
  touch_directory(txn, parent, -1, effects);
  drop_usage(txn, entry->id);
  txn.erase(table_meta, mirrored_volume_key(entry->id));
  std::unique_lock lock(volumes_mutex_);
  volumes_.erase(entry->id);
  count_no_atime();
  return 0;
}

std::vector<Volume> Engine::volumes() const {
  std::shared_lock lock(volumes_mutex_);
  std::vector<Volume> list;
  for (auto& [id, v] : volumes_) list.push_back(v);
  return list;
}

VolumePolicy Engine::policy_of(uint64_t volume) const {
  std::shared_lock lock(volumes_mutex_);
  auto it = volumes_.find(volume);
  return it == volumes_.end() ? VolumePolicy{} : it->second.policy;
}

bool Engine::keeps_no_atime(uint64_t volume) const { return no_atime_volumes_.load(std::memory_order_relaxed) != 0 && !policy_of(volume).atime; }

/// Caller holds volumes_mutex_.
void Engine::count_no_atime() {
  no_atime_volumes_ = static_cast<size_t>(std::count_if(volumes_.begin(), volumes_.end(), [](auto& v) { return !v.second.policy.atime; }));
}

VolumePolicy Engine::policy_for(const Txn& txn, const Inode& i, bool* own) const {
  std::string_view v;
  const bool has = (i.r.flags & inode_has_policy) && txn.get(table_policy, key_of(i.id), v);
  if (own) *own = has;
  return has ? decode_volume("", v).policy : policy_of(i.r.volume);
}

int Engine::policy_set(Txn& txn, uint64_t id, const std::optional<VolumePolicy>& policy, Effects& effects) {
  if (policy && !is_valid(*policy)) return EINVAL;
  Inode i;
  if (int r = getattr(txn, id, i); r != 0) return r;
  if (is_frozen(i)) return EROFS;
  if (policy && policy->copies > 1 && keeps_snapshots(i.r.volume)) return EOPNOTSUPP;
  if (id == i.r.volume) {
    std::unique_lock lock(volumes_mutex_);
    auto it = volumes_.find(id);
    if (it == volumes_.end()) return ENOENT;
    it->second.policy = policy.value_or(VolumePolicy{});
    count_no_atime();
    txn.put(table_volume, it->second.name, encode_volume(it->second));
    return 0;
  }
  if (S_ISREG(i.r.mode)) {
    // Where the bytes are is fixed with the first one.
    if (i.r.size != 0 || i.r.data_version != 0 || open_files_.is_open(id)) return EBUSY;
    i.osds.clear();
    i.r.width = 0;
    i.r.replicas = 1;
    i.mirror = {};
    ++i.r.epoch;
  } else if (!S_ISDIR(i.r.mode)) {
    return EINVAL;
  }
  if (policy) {
    txn.put(table_policy, key_of(id), encode_volume({"", id, *policy}));
    i.r.flags |= inode_has_policy;
  } else {
    txn.erase(table_policy, key_of(id));
    i.r.flags &= static_cast<uint8_t>(~inode_has_policy);
  }
  i.r.ctime_ns = now_ns();
  ++i.r.change;
  save_inode(txn, i);
  effects.attributes.push_back(id);
  return 0;
}

}  // namespace xos::fs::metadata
