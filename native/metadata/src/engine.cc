#include "engine.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "acl.h"
#include "borrowing.h"

namespace xos::fs::metadata {

namespace {

constexpr uint64_t first_id = 1024;
constexpr uint64_t id_step = 4096;
constexpr uint64_t id_gap = 1ull << 32;

}  // namespace

int check_access(const Inode& i, const Caller& c, int mask) {
  if (c.uid == 0) return 0;
  int owner = (i.r.mode >> 6) & 7, group = (i.r.mode >> 3) & 7, other = i.r.mode & 7;
  if (c.uid == i.r.uid) return (owner & mask) == mask ? 0 : EACCES;
  // With an empty mask the kernel does not look at the list (fs/namei.c, acl_permission_check), and neither may we.
  if (!i.acl.empty() && group != 0)
    if (auto acl = parse_acl(i.acl)) return check_acl(*acl, i.r.gid, c, static_cast<unsigned>(mask));
  bool group_ok = (group & mask) == mask, other_ok = (other & mask) == mask;
  // Groups are costly for the client to find: they are asked for only when they decide.
  if (group_ok == other_ok) return group_ok ? 0 : EACCES;
  bool member;
  if (int r = check_group_member(c, i.r.gid, member); r != 0) return r;
  return (member ? group_ok : other_ok) ? 0 : EACCES;
}

int check_name(std::string_view name) {
  if (name.size() > name_bytes_max) return ENAMETOOLONG;
  if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos || name.find('\0') != name.npos) return EINVAL;
  return 0;
}

Engine::Engine(Store& store, OpenFiles& open_files) : store_(store), open_files_(open_files) {
  store_.write([&](Txn& txn) {
    std::string_view v;
    id_limit_ = txn.get(table_meta, "next_id", v) ? id_of(v) : first_id;
    // Numbers that were given out and forgotten may still name objects: none is given out again.
    if (store_.lost_changes()) {
      id_limit_ += id_gap;
      txn.put(table_meta, "next_id", key_of(id_limit_));
    }
    next_id_ = id_limit_;
    if (!load_inode(txn, root_id)) {
      Inode root;
      root.id = root_id;
      root.r.mode = S_IFDIR | 0755;
      root.r.nlink = 2;
      root.r.size = 4096;
      root.r.atime_ns = root.r.mtime_ns = root.r.ctime_ns = now_ns();
      root.r.parent = root_id;
      save_inode(txn, root);
    }
  });
  load_volumes();
}

uint64_t Engine::next_id(Txn& txn) {
  uint64_t id = next_id_.fetch_add(1);
  // An aborted transaction may have lost the reservation: compare with what the database says, not with memory alone.
  if (id >= id_limit_) {
    txn.put(table_meta, "next_id", key_of(id + id_step));
    id_limit_ = id + id_step;
  } else {
    std::string_view v;
    if (id % 64 == 0 && (!txn.get(table_meta, "next_id", v) || id_of(v) <= id)) txn.put(table_meta, "next_id", key_of(id + id_step));
  }
  return id;
}

void Engine::keep_above(Txn& txn, uint64_t id) {
  if (id < next_id_.load()) return;
  // Numbers in between are those of the database that was lost: what it had besides is not ours to remove (object_fate.h).
  txn.put(table_meta, "gap:" + key_of(next_id_.load()), key_of(id));
  id_limit_ = std::max(id_limit_, id + 1 + id_step);
  uint64_t next = next_id_.load();
  while (next <= id && !next_id_.compare_exchange_weak(next, id + 1)) continue;
  txn.put(table_meta, "next_id", key_of(id_limit_));
}

int Engine::getattr(const Txn& txn, uint64_t id, Inode& found) const {
  auto i = load_inode(txn, id);
  if (!i) return ESTALE;
  found = std::move(*i);
  return 0;
}

int Engine::lookup(const Txn& txn, const Caller& caller, uint64_t directory, std::string_view name, Inode& found, Inode& parent) const {
  if (int r = getattr(txn, directory, parent); r != 0) return r;
  if (!S_ISDIR(parent.r.mode)) return ENOTDIR;
  if (int r = check_access(parent, caller, 1); r != 0) return r;
  if (name == ".") {
    found = parent;
    return 0;
  }
  if (name == "..") return getattr(txn, parent.r.parent, found);
  if (name.size() > name_bytes_max) return ENAMETOOLONG;
  auto entry = load_entry(txn, directory, name);
  if (entry) return getattr(txn, entry->id, found);
  // Not an entry: a listing of the root does not show it, and who walks the tree does not walk through all snapshots.
  if (directory == parent.r.volume && name == snapshots_name && keeps_snapshots(directory)) return getattr(txn, snapshots_directory(txn, directory), found);
  return ENOENT;
}

int Engine::readlink(const Txn& txn, uint64_t id, std::string& target) const {
  Inode i;
  if (int r = getattr(txn, id, i); r != 0) return r;
  if (!S_ISLNK(i.r.mode)) return EINVAL;
  target = i.target;
  return 0;
}

int Engine::readdir(const Txn& txn, const Caller& caller, uint64_t directory, std::string_view last,
                    const std::function<bool(std::string_view, const Inode&)>& each, bool& end) const {
  Inode d;
  if (int r = getattr(txn, directory, d); r != 0) return r;
  if (!S_ISDIR(d.r.mode)) return ENOTDIR;
  if (int r = check_access(d, caller, 4); r != 0) return r;
  end = true;
  std::string prefix = key_of(directory);
  std::string from = entry_key(directory, last);
  if (!last.empty()) from.push_back('\0');  // the smallest name behind `last`
  txn.scan(table_entry, from, [&](std::string_view key, std::string_view value) {
    if (!key.starts_with(prefix)) return false;
    auto inode = load_inode(txn, Reader(value).get<uint64_t>());
    if (!inode) return true;
    if (each(key.substr(prefix.size()), *inode)) return true;
    end = false;
    return false;
  });
  return 0;
}

int Engine::check_open(const Txn& txn, const Caller& caller, uint64_t id, uint32_t flags, Inode& found) const {
  if (int r = getattr(txn, id, found); r != 0) return r;
  if (S_ISDIR(found.r.mode)) return EISDIR;
  if (!S_ISREG(found.r.mode)) return ENXIO;
  int accmode = static_cast<int>(flags & O_ACCMODE);
  int mask = accmode == O_RDONLY ? 4 : accmode == O_WRONLY ? 2 : 6;
  if (flags & O_TRUNC) mask |= 2;
  int r = check_access(found, caller, mask);
  if (r == 0 && (mask & 2) && (is_replicated(found) || is_frozen(found))) return EROFS;
  // The kernel opens a file for reading to execute it (mode 0111 programs), after having checked the x bit by itself.
  if (r == EACCES && mask == 4) r = check_access(found, caller, 1);
  return r;
}

bool Engine::is_empty(const Txn& txn, uint64_t directory) const {
  bool empty = true;
  std::string prefix = key_of(directory);
  txn.scan(table_entry, prefix, [&](std::string_view key, std::string_view) {
    empty = !key.starts_with(prefix);
    return false;
  });
  return empty;
}

bool Engine::is_below(const Txn& txn, uint64_t directory, uint64_t ancestor) const {
  for (int depth = 0; depth < 100000; ++depth) {
    if (directory == ancestor) return true;
    auto i = load_inode(txn, directory);
    if (!i || i->r.parent == directory || i->id == i->r.volume) return false;
    directory = i->r.parent;
  }
  return true;
}

int Engine::parent_for_change(const Txn& txn, const Caller& caller, uint64_t directory, Inode& parent) const {
  if (directory == root_id) return EPERM;  // volumes are made by the VO, not with mkdir
  if (int r = getattr(txn, directory, parent); r != 0) return r;
  if (!S_ISDIR(parent.r.mode)) return ENOTDIR;
  if (parent.r.nlink == 0) return ENOENT;
  if (is_frozen(parent)) return EROFS;
  return check_access(parent, caller, 3);
}

void Engine::touch_directory(Txn& txn, Inode& d, int links, Effects& effects) {
  d.r.mtime_ns = d.r.ctime_ns = now_ns();
  d.r.nlink = static_cast<uint32_t>(static_cast<int>(d.r.nlink) + links);
  ++d.r.change;
  save_inode(txn, d);
  effects.entries.push_back(d.id);
  effects.attributes.push_back(d.id);
}

void Engine::destroy(Txn& txn, const Inode& i) {
  std::string key = key_of(i.id);
  charge_inode(txn, i, i.r.uid, -1, true);
  txn.erase(table_inode, key);
  txn.erase(table_orphan, key);
  bool writing = txn.erase(table_writing, key);
  std::vector<std::string> attributes;
  txn.scan(table_xattr, key, [&](std::string_view k, std::string_view) {
    if (!k.starts_with(key)) return false;
    attributes.emplace_back(k);
    return true;
  });
  for (auto& k : attributes) txn.erase(table_xattr, k);
  if (i.r.flags & inode_has_policy) txn.erase(table_policy, key);
  if (S_ISREG(i.r.mode) && txn.entries(table_borrow) != 0) {
    if (is_lent(txn, i.id)) return become_ghost(txn, i);
    if (auto lender = give_back(txn, i)) destroy(txn, *lender);
  }
  // Objects go later, by the collector: it reads this table, also after a crash.
  if (i.r.width > 0 && (i.r.size > 0 || i.r.data_version > 0 || writing)) put_deletion(txn, i);
}

void Engine::drop_link(Txn& txn, Inode& i, bool& there, Effects& effects) {
  i.r.nlink = S_ISDIR(i.r.mode) ? 0 : i.r.nlink - 1;
  i.r.ctime_ns = now_ns();
  ++i.r.change;
  effects.attributes.push_back(i.id);
  there = i.r.nlink > 0;
  if (there) {
    save_inode(txn, i);
  } else if (S_ISREG(i.r.mode) && !open_files_.try_kill(i.id)) {
    save_inode(txn, i);
    txn.put(table_orphan, key_of(i.id), "");
    there = true;
  } else {
    destroy(txn, i);
  }
}

void Engine::release_orphan(Txn& txn, uint64_t id) {
  std::string_view v;
  if (!txn.get(table_orphan, key_of(id), v)) return;
  auto i = load_inode(txn, id);
  if (!i) {
    txn.erase(table_orphan, key_of(id));
  } else if (i->r.nlink > 0) {
    txn.erase(table_orphan, key_of(id));
  } else if (open_files_.try_kill(id)) {
    destroy(txn, *i);
  }
}

/// Access of a new inode: by the parent's default list, or by the umask where there is none.
void Engine::inherit(Txn& txn, const Inode& parent, uint32_t umask, Inode& made) {
  std::string_view v;
  const bool has_default = (parent.r.flags & inode_has_default_acl) && txn.get(table_xattr, xattr_key(parent.id, acl_default_name), v);
  auto acl = has_default ? parse_acl(v) : std::nullopt;
  if (!acl) {
    made.r.mode &= ~(umask & 0777);
    return;
  }
  const std::string inherited(v);
  inherit_acl(*acl, made.r.mode);
  if (!is_minimal(*acl)) save_acl(txn, made, false, encode_acl(*acl));
  if (S_ISDIR(made.r.mode)) save_acl(txn, made, true, inherited);
}

/// Where a file's first bytes go.
int Engine::place_contents(Txn& txn, const VolumePolicy& policy, const Place& place, Inode& i) {
  if (policy.copies > 1 && keeps_snapshots(i.r.volume)) return EOPNOTSUPP;
  i.osds = place(policy);
  if (i.osds.empty()) return EHOSTDOWN;
  i.r.stripe_bytes = policy.stripe_bytes;
  i.mirror = {};
  if (policy.copies == 1) {
    i.r.width = static_cast<uint16_t>(i.osds.size());
    return 0;
  }
  i.mirror = {policy.copies, policy.all};
  if (i.osds.size() < i.mirror.needed()) return EHOSTDOWN;
  i.r.width = 1;
  i.r.replicas = static_cast<uint16_t>(i.osds.size());
  ++i.r.epoch;
  std::string_view v;
  if (!txn.get(table_meta, mirrored_volume_key(i.r.volume), v)) txn.put(table_meta, mirrored_volume_key(i.r.volume), "");
  return 0;
}

int Engine::create(Txn& txn, const Caller& caller, uint64_t directory, std::string_view name, const Making& making, const Place& place,
                   Inode& made, Inode& parent, Effects& effects) {
  const auto& [mode, umask, target, open, nameless, linkable] = making;
  const bool named = !nameless;
  if (int r = named ? check_name(name) : 0; r != 0) return r;
  if (int r = parent_for_change(txn, caller, directory, parent); r != 0) return r;
  if (named && (load_entry(txn, directory, name) || is_reserved(parent, name))) return EEXIST;
  if (S_ISLNK(mode) && (target.empty() || target.size() > 4095)) return target.empty() ? ENOENT : ENAMETOOLONG;
  if (S_ISCHR(mode) || S_ISBLK(mode)) return EPERM;  // every mount is nodev
  made = Inode{};
  made.r.mode = S_ISLNK(mode) ? S_IFLNK | 0777 : mode;
  made.r.uid = caller.uid;
  made.r.gid = parent.r.mode & S_ISGID ? parent.r.gid : caller.gid;
  if (S_ISDIR(mode) && (parent.r.mode & S_ISGID)) made.r.mode |= S_ISGID;
  made.r.nlink = S_ISDIR(mode) ? 2 : named ? 1 : 0;
  made.r.size = S_ISDIR(mode) ? 4096 : target.size();
  made.r.atime_ns = made.r.mtime_ns = made.r.ctime_ns = now_ns();
  made.r.volume = parent.r.volume;
  made.r.parent = S_ISDIR(mode) ? directory : 0;
  made.target = target;
  made.r.change = 1;
  if (open) {
    if (int r = place_contents(txn, policy_for(txn, parent), place, made); r != 0) return r;
  }
  if (int r = charge(txn, made.r.volume, made.r.uid, 0, 1, false); r != 0) return r;
  made.id = next_id(txn);
  if (made.mirror.on() && made.osds.size() < made.mirror.copies) txn.put(table_meta, mirror_key(made.id), std::string(1, '\0'));
  if (S_ISDIR(mode) && (parent.r.flags & inode_has_policy)) {
    std::string_view policy;
    if (txn.get(table_policy, key_of(parent.id), policy)) txn.put(table_policy, key_of(made.id), std::string(policy));
    made.r.flags |= inode_has_policy;
  }
  if (!S_ISLNK(mode)) inherit(txn, parent, umask, made);
  if (!named && linkable) made.r.flags |= inode_linkable;
  save_inode(txn, made);
  if (open) txn.put(table_writing, key_of(made.id), "");
  if (!named) {
    txn.put(table_orphan, key_of(made.id), "");
    return 0;
  }
  save_entry(txn, directory, name, {made.id, made.r.mode & S_IFMT});
  touch_directory(txn, parent, S_ISDIR(mode) ? 1 : 0, effects);
  return 0;
}

int Engine::link(Txn& txn, const Caller& caller, uint64_t id, uint64_t directory, std::string_view name, Inode& linked, Inode& parent,
                 Effects& effects) {
  if (int r = check_name(name); r != 0) return r;
  if (int r = getattr(txn, id, linked); r != 0) return r;
  if (S_ISDIR(linked.r.mode)) return EPERM;
  if (int r = parent_for_change(txn, caller, directory, parent); r != 0) return r;
  if (linked.r.volume != parent.r.volume || is_frozen(linked)) return EXDEV;
  if (linked.r.nlink == 0) {
    if (!(linked.r.flags & inode_linkable)) return ENOENT;
    txn.erase(table_orphan, key_of(id));
  }
  if (linked.r.nlink >= 65000) return EMLINK;
  if (load_entry(txn, directory, name) || is_reserved(parent, name)) return EEXIST;
  ++linked.r.nlink;
  ++linked.r.change;
  linked.r.ctime_ns = now_ns();
  save_inode(txn, linked);
  save_entry(txn, directory, name, {id, linked.r.mode & S_IFMT});
  effects.attributes.push_back(id);
  touch_directory(txn, parent, 0, effects);
  return 0;
}

static int check_sticky(const Inode& directory, const Inode& victim, const Caller& caller) {
  if (!(directory.r.mode & S_ISVTX) || caller.uid == 0 || caller.uid == directory.r.uid || caller.uid == victim.r.uid) return 0;
  return EPERM;
}

int Engine::unlink(Txn& txn, const Caller& caller, uint64_t directory, std::string_view name, Inode& gone, bool& there, Inode& parent,
                   Effects& effects) {
  if (int r = parent_for_change(txn, caller, directory, parent); r != 0) return r;
  if (name.size() > name_bytes_max) return ENAMETOOLONG;
  auto entry = load_entry(txn, directory, name);
  if (!entry) return ENOENT;
  if (int r = getattr(txn, entry->id, gone); r != 0) return r;
  if (S_ISDIR(gone.r.mode)) return EISDIR;
  if (int r = check_sticky(parent, gone, caller); r != 0) return r;
  txn.erase(table_entry, entry_key(directory, name));
  drop_link(txn, gone, there, effects);
  touch_directory(txn, parent, 0, effects);
  return 0;
}

int Engine::rmdir(Txn& txn, const Caller& caller, uint64_t directory, std::string_view name, uint64_t& gone, Inode& parent, Effects& effects) {
  if (name == ".") return EINVAL;
  if (name == "..") return ENOTEMPTY;
  if (int r = parent_for_change(txn, caller, directory, parent); r != 0) return r;
  if (name.size() > name_bytes_max) return ENAMETOOLONG;
  auto entry = load_entry(txn, directory, name);
  if (!entry) return ENOENT;
  Inode victim;
  if (int r = getattr(txn, entry->id, victim); r != 0) return r;
  if (!S_ISDIR(victim.r.mode)) return ENOTDIR;
  if (int r = check_sticky(parent, victim, caller); r != 0) return r;
  if (!is_empty(txn, victim.id)) return ENOTEMPTY;
  txn.erase(table_entry, entry_key(directory, name));
  bool there;
  drop_link(txn, victim, there, effects);
  effects.entries.push_back(victim.id);
  gone = victim.id;
  touch_directory(txn, parent, -1, effects);
  return 0;
}

int Engine::rename(Txn& txn, const Caller& caller, uint64_t from, std::string_view from_name, uint64_t to, std::string_view to_name,
                   uint32_t flags, Inode& from_directory, Inode& to_directory, Effects& effects) {
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE)) return EINVAL;
  if (int r = check_name(from_name); r != 0) return r == EINVAL ? EBUSY : r;
  if (int r = check_name(to_name); r != 0) return r == EINVAL ? EBUSY : r;
  if (int r = parent_for_change(txn, caller, from, from_directory); r != 0) return r;
  if (int r = parent_for_change(txn, caller, to, to_directory); r != 0) return r;
  if (from_directory.r.volume != to_directory.r.volume) return EXDEV;
  auto source_entry = load_entry(txn, from, from_name);
  if (!source_entry) return ENOENT;
  auto target_entry = load_entry(txn, to, to_name);
  const bool exchange = flags & RENAME_EXCHANGE;
  if (exchange && !target_entry) return ENOENT;
  if (((flags & RENAME_NOREPLACE) && target_entry) || is_reserved(to_directory, to_name)) return EEXIST;
  Inode source, target;
  if (int r = getattr(txn, source_entry->id, source); r != 0) return r;
  if (int r = check_sticky(from_directory, source, caller); r != 0) return r;
  const bool source_dir = S_ISDIR(source.r.mode);
  if (source_dir && is_below(txn, to, source.id)) return EINVAL;
  // Moving a directory rewrites its "..": that takes write permission on itself.
  if (source_dir && from != to)
    if (int r = check_access(source, caller, 2); r != 0) return r;
  bool target_dir = false;
  if (target_entry) {
    if (target_entry->id == source.id) return 0;  // two links to one file: nothing happens (rename(2))
    if (int r = getattr(txn, target_entry->id, target); r != 0) return r;
    if (int r = check_sticky(to_directory, target, caller); r != 0) return r;
    target_dir = S_ISDIR(target.r.mode);
    if (exchange) {
      if (target_dir && is_below(txn, from, target.id)) return EINVAL;
    } else {
      if (source_dir && !target_dir) return ENOTDIR;
      if (!source_dir && target_dir) return EISDIR;
      if (target_dir && !is_empty(txn, target.id)) return ENOTEMPTY;
    }
  }
  int from_links = 0, to_links = 0;
  if (source_dir) --from_links, ++to_links;
  if (target_entry && target_dir) {
    --to_links;
    if (exchange) ++from_links;
  }
  save_entry(txn, to, to_name, {source.id, source.r.mode & S_IFMT});
  if (exchange) {
    save_entry(txn, from, from_name, {target.id, target.r.mode & S_IFMT});
    if (target_dir) target.r.parent = from;
    target.r.ctime_ns = now_ns();
    ++target.r.change;
    save_inode(txn, target);
    effects.attributes.push_back(target.id);
  } else {
    txn.erase(table_entry, entry_key(from, from_name));
    if (target_entry) {
      bool there;
      drop_link(txn, target, there, effects);
      if (target_dir) effects.entries.push_back(target.id);
    }
  }
  if (source_dir) source.r.parent = to;
  source.r.ctime_ns = now_ns();
  ++source.r.change;
  save_inode(txn, source);
  effects.attributes.push_back(source.id);
  if (from == to) {
    touch_directory(txn, from_directory, from_links + to_links, effects);
    to_directory = from_directory;
  } else {
    touch_directory(txn, from_directory, from_links, effects);
    touch_directory(txn, to_directory, to_links, effects);
  }
  return 0;
}

}  // namespace xos::fs::metadata
