// Engine operations on snapshots: a second tree of inodes that are not changed any more, below the directory `.snapshot` of the volume.
// Rows of table_snapshot: volume -> that directory; volume, name -> root, time of its making.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "borrowing.h"
#include "engine.h"

namespace xos::fs::metadata {

namespace {

std::string row_key(uint64_t volume, std::string_view name) { return key_of(volume).append(name); }

/// What is below a directory, in breadth; a file with several names once.
struct Tree {
  std::vector<Inode> inodes;
  struct Name {
    std::string name;
    uint64_t directory, id;
    uint32_t type;
  };
  std::vector<Name> names;
};

Tree look_at(const Txn& txn, const Inode& root) {
  Tree tree;
  std::unordered_map<uint64_t, bool> linked;
  std::vector<uint64_t> directories{root.id};
  tree.inodes.push_back(root);
  for (size_t at = 0; at < directories.size(); ++at) {
    const uint64_t directory = directories[at];
    const std::string prefix = key_of(directory);
    txn.scan(table_entry, prefix, [&](std::string_view key, std::string_view value) {
      if (!key.starts_with(prefix)) return false;
      Reader r(value);
      const auto id = r.get<uint64_t>();
      auto i = load_inode(txn, id);
      if (!i) return true;  // xtfsutil check tells of it
      tree.names.push_back({std::string(key.substr(8)), directory, id, i->r.mode & S_IFMT});
      if (S_ISDIR(i->r.mode)) directories.push_back(id);
      else if (i->r.nlink > 1 && !linked.emplace(id, true).second) return true;
      tree.inodes.push_back(std::move(*i));
      return true;
    });
  }
  return tree;
}

void copy_attributes(Txn& txn, uint64_t from, uint64_t to) {
  std::vector<std::pair<std::string, std::string>> rows;
  const std::string prefix = key_of(from);
  txn.scan(table_xattr, prefix, [&](std::string_view key, std::string_view value) {
    if (!key.starts_with(prefix)) return false;
    rows.emplace_back(key.substr(8), value);
    return true;
  });
  for (auto& [name, value] : rows) txn.put(table_xattr, xattr_key(to, name), value);
}

/// The picture of a file or directory, without its place.
Inode frozen(const Inode& i, uint64_t id, const std::map<uint64_t, Engine::Held>& held) {
  Inode made = i;
  made.id = id;
  made.osds.clear();
  made.r.width = 0;
  made.r.replicas = 1;
  made.mirror = {};
  made.r.epoch = 0;
  made.r.flags = static_cast<uint8_t>((i.r.flags & (inode_has_xattrs | inode_has_acl | inode_has_default_acl | inode_time_set)) | inode_frozen);
  if (auto it = held.find(i.id); it != held.end()) {
    const Engine::Held& now = it->second;
    made.r.size = now.size;
    made.r.disk_bytes = now.disk_bytes;
    // As when a writer has died (janitor.cc): a time that was set after the last write stays.
    if (now.mtime_ns > ((i.r.flags & inode_time_set) ? i.r.ctime_ns : i.r.mtime_ns)) {
      made.r.mtime_ns = now.mtime_ns;
      made.r.ctime_ns = std::max(made.r.ctime_ns, now.mtime_ns);
    }
  }
  return made;
}

}  // namespace

bool Engine::keeps_snapshots(uint64_t volume) const {
  if (snapshot_volumes_count_.load(std::memory_order_relaxed) == 0) return false;
  std::shared_lock lock(volumes_mutex_);
  return snapshot_volumes_.contains(volume);
}

void Engine::note_snapshots(uint64_t volume, bool on) {
  std::unique_lock lock(volumes_mutex_);
  if (on) snapshot_volumes_.insert(volume);
  else snapshot_volumes_.erase(volume);
  snapshot_volumes_count_ = snapshot_volumes_.size();
}

uint64_t Engine::snapshots_directory(const Txn& txn, uint64_t volume) const {
  std::string_view v;
  return txn.get(table_snapshot, key_of(volume), v) ? Reader(v).get<uint64_t>() : 0;
}

std::vector<Engine::Snapshot> Engine::snapshots(const Txn& txn, uint64_t volume) const {
  std::vector<Snapshot> found;
  const std::string prefix = key_of(volume);
  txn.scan(table_snapshot, prefix, [&](std::string_view key, std::string_view value) {
    if (!key.starts_with(prefix)) return false;
    if (key.size() == prefix.size()) return true;
    Reader r(value);
    Snapshot s;
    s.name = key.substr(prefix.size());
    s.root = r.get<uint64_t>();
    s.created_ns = r.get<int64_t>();
    found.push_back(std::move(s));
    return true;
  });
  std::stable_sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.created_ns < b.created_ns; });
  return found;
}

int Engine::snapshots_begin(Txn& txn, uint64_t volume, Effects& effects) {
  if (snapshots_directory(txn, volume) != 0) return 0;
  std::string_view mirrored;
  if (txn.get(table_meta, mirrored_volume_key(volume), mirrored)) return EOPNOTSUPP;
  Inode root;
  if (int r = getattr(txn, volume, root); r != 0) return r;
  if (load_entry(txn, volume, snapshots_name)) return EEXIST;
  Inode d;
  d.id = next_id(txn);
  d.r.mode = S_IFDIR | 0555;
  d.r.flags = inode_frozen;
  d.r.nlink = 2;
  d.r.uid = root.r.uid;
  d.r.gid = root.r.gid;
  d.r.size = 4096;
  d.r.atime_ns = d.r.mtime_ns = d.r.ctime_ns = now_ns();
  d.r.change = 1;
  d.r.volume = d.r.parent = volume;
  charge_inode(txn, d, d.r.uid, 1, true);
  save_inode(txn, d);
  txn.put(table_snapshot, key_of(volume), Writer().put(d.id).bytes());
  effects.entries.push_back(volume);  // who looked for it in vain
  note_snapshots(volume, true);
  return 0;
}

void Engine::snapshots_end(Txn& txn, uint64_t volume, Effects& effects) {
  const uint64_t id = snapshots_directory(txn, volume);
  if (id == 0) return;
  txn.erase(table_snapshot, key_of(volume));
  if (auto d = load_inode(txn, id)) destroy(txn, *d);
  effects.entries.push_back(volume);
  effects.entries.push_back(id);
  effects.attributes.push_back(id);
  note_snapshots(volume, false);
}

void Engine::snapshots_cancel(Txn& txn, uint64_t volume, Effects& effects) {
  if (snapshots(txn, volume).empty()) snapshots_end(txn, volume, effects);
}

int Engine::snapshot_create(Txn& txn, uint64_t volume, std::string_view name, const std::map<uint64_t, Held>& held, uint64_t& files, Effects& effects) {
  if (int r = check_name(name); r != 0) return r;
  Inode root, d;
  if (int r = getattr(txn, volume, root); r != 0) return r;
  if (int r = getattr(txn, snapshots_directory(txn, volume), d); r != 0) return r;
  if (load_entry(txn, d.id, name)) return EEXIST;
  const Tree tree = look_at(txn, root);
  std::map<uint32_t, std::pair<int64_t, int64_t>> by_user;
  for (auto& i : tree.inodes) {
    auto& [bytes, count] = by_user[i.r.uid];
    if (auto it = held.find(i.id); S_ISREG(i.r.mode)) bytes += static_cast<int64_t>(it == held.end() ? i.r.size : it->second.size);
    ++count;
  }
  // Nothing may have been changed when this fails: the transaction has other people's changes as well.
  for (auto at = by_user.begin(); at != by_user.end(); ++at)
    if (int r = charge(txn, volume, at->first, at->second.first, at->second.second, false); r != 0) {
      for (auto undo = by_user.begin(); undo != at; ++undo) charge(txn, volume, undo->first, -undo->second.first, -undo->second.second, true);
      return r;
    }
  std::unordered_map<uint64_t, uint64_t> number;
  for (auto& i : tree.inodes) number[i.id] = next_id(txn);
  for (auto& i : tree.inodes) {
    Inode made = frozen(i, number[i.id], held);
    if (S_ISDIR(i.r.mode)) made.r.parent = i.id == volume ? d.id : number[i.r.parent];
    else if (S_ISREG(i.r.mode) && i.r.width > 0 && made.r.size > 0) borrow(txn, made, i.id);
    if (i.r.flags & (inode_has_xattrs | inode_has_acl | inode_has_default_acl)) copy_attributes(txn, i.id, made.id);
    save_inode(txn, made);
  }
  for (auto& n : tree.names) save_entry(txn, number[n.directory], n.name, {number[n.id], n.type});
  save_entry(txn, d.id, name, {number[volume], S_IFDIR});
  txn.put(table_snapshot, row_key(volume, name), Writer().put(number[volume]).put(now_ns()).bytes());
  touch_directory(txn, d, 1, effects);
  files = tree.inodes.size();
  return 0;
}

bool Engine::keep(Txn& txn, uint64_t lender, uint64_t keeper, const std::vector<uint16_t>& osds) {
  std::optional<Inode> unneeded;
  const bool kept = hand_over(txn, lender, keeper, osds, unneeded);
  if (unneeded) destroy(txn, *unneeded);
  return kept;
}

int Engine::snapshot_remove(Txn& txn, uint64_t volume, std::string_view name, Effects& effects) {
  std::string_view v;
  Inode d;
  const uint64_t directory = snapshots_directory(txn, volume);
  if (directory == 0 || name.empty() || !txn.get(table_snapshot, row_key(volume, name), v)) return ENOENT;
  const auto root = Reader(v).get<uint64_t>();
  if (int r = getattr(txn, directory, d); r != 0) return r;
  txn.erase(table_snapshot, row_key(volume, name));
  txn.erase(table_entry, entry_key(directory, name));
  remove_tree(txn, root, effects);
  touch_directory(txn, d, -1, effects);
  snapshots_cancel(txn, volume, effects);
  return 0;
}

}  // namespace xos::fs::metadata
