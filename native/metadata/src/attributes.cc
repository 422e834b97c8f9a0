// Engine operations on one inode: attributes, what writing leaves behind, extended attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>

#include "acl.h"
#include "engine.h"

namespace xos::fs::metadata {

namespace {

int check_mode_change(const Inode& i, const Caller& c, uint32_t& mode) {
  if (c.uid == 0) return 0;
  if (c.uid != i.r.uid) {
    // The kernel takes setuid and setgid away when somebody who is not the owner writes.
    bool only_clears = ((mode ^ i.r.mode) & 07777 & ~(S_ISUID | S_ISGID)) == 0 && (mode & ~i.r.mode & (S_ISUID | S_ISGID)) == 0;
    return only_clears ? check_access(i, c, 2) : EPERM;
  }
  if ((mode & S_ISGID) && c.gid != i.r.gid && std::find(c.groups.begin(), c.groups.end(), i.r.gid) == c.groups.end()) {
    if (!c.groups_known) return need_groups;
    mode &= ~static_cast<uint32_t>(S_ISGID);
  }
  return 0;
}

int check_owner_change(const Inode& i, const Caller& c, const SetAttr& s) {
  if (c.uid == 0) return 0;
  if ((s.mask & set_uid) && s.uid != i.r.uid) return EPERM;
  if ((s.mask & set_gid) && s.gid != i.r.gid) {
    if (c.uid != i.r.uid) return EPERM;
    if (c.gid != s.gid && std::find(c.groups.begin(), c.groups.end(), s.gid) == c.groups.end()) return c.groups_known ? EPERM : need_groups;
  } else if (c.uid != i.r.uid) {
    return EPERM;
  }
  return 0;
}

constexpr size_t xattrs_bytes_max = 64u << 10;  // names together, so that a list fits into one answer

bool is_acl(std::string_view name) { return name == acl_access_name || name == acl_default_name; }

int check_xattr_name(std::string_view name) {
  if (name.size() > name_bytes_max) return ERANGE;
  if (is_acl(name)) return 0;
  if (name == "user.") return EINVAL;  // as the kernel says it (fs/xattr.c, xattr_resolve_name)
  return name.starts_with("user.") ? 0 : EOPNOTSUPP;
}

}  // namespace

int Engine::setattr(Txn& txn, const Caller& c, uint64_t id, const SetAttr& s, Inode& i, Effects& effects) {
  if (id == root_id) return EPERM;
  if (int r = getattr(txn, id, i); r != 0) return r;
  if (is_frozen(i)) return EROFS;
  const int64_t now = now_ns();
  if (s.mask & set_mode) {
    uint32_t mode = s.mode;
    if (int r = check_mode_change(i, c, mode); r != 0) return r;
    i.r.mode = (i.r.mode & S_IFMT) | (mode & 07777);
  }
  if (s.mask & (set_uid | set_gid)) {
    if (int r = check_owner_change(i, c, s); r != 0) return r;
    if ((s.mask & set_uid) && s.uid != i.r.uid) {
      const uint32_t before = i.r.uid;
      // In this order: the volume has it already.
      charge_inode(txn, i, before, -1, true);
      if (int r = charge_inode(txn, i, s.uid, 1, false); r != 0) {
        charge_inode(txn, i, before, 1, true);
        return r;
      }
      i.r.uid = s.uid;
    }
    if (s.mask & set_gid) i.r.gid = s.gid;
    if (!S_ISDIR(i.r.mode) && !(s.mask & set_mode)) i.r.mode &= ~static_cast<uint32_t>(S_ISUID | (i.r.mode & S_IXGRP ? S_ISGID : 0));
  }
  if (s.mask & set_size) {
    if (S_ISDIR(i.r.mode)) return EISDIR;
    if (!S_ISREG(i.r.mode)) return EINVAL;
    if (is_replicated(i)) return EROFS;
    // Whoever has the file open for writing may cut it whatever the mode is now: the service has checked that, uid 0 or not.
    if (int r = resize(txn, i, s.size, false); r != 0) return r;
    i.r.mtime_ns = now;
    ++i.r.data_version;
  }
  if (s.mask & (set_atime | set_mtime)) {
    if (c.uid != 0 && c.uid != i.r.uid) {
      bool only_now = (!(s.mask & set_atime) || (s.mask & set_atime_now)) && (!(s.mask & set_mtime) || (s.mask & set_mtime_now));
      if (!only_now) return EPERM;
      if (int r = check_access(i, c, 2); r != 0) return r;
    }
    if (s.mask & set_atime) i.r.atime_ns = s.mask & set_atime_now ? now : s.atime_ns;
    if (s.mask & set_mtime) {
      i.r.mtime_ns = s.mask & set_mtime_now ? now : s.mtime_ns;
      i.r.flags |= inode_time_set;
    }
  }
  if (auto acl = i.acl.empty() || !(s.mask & set_mode) ? std::nullopt : parse_acl(i.acl)) {
    set_mode_of(*acl, i.r.mode);
    save_acl(txn, i, false, encode_acl(*acl));
  }
  i.r.ctime_ns = now;
  ++i.r.change;
  save_inode(txn, i);
  effects.attributes.push_back(id);
  return 0;
}

int Engine::update_written(Txn& txn, uint64_t id, uint64_t size, int64_t mtime, uint64_t disk_bytes, bool exact, Inode& i, Effects& effects) {
  if (int r = getattr(txn, id, i); r != 0) return r;
  if (!S_ISREG(i.r.mode)) return EINVAL;
  if (is_frozen(i)) return EROFS;
  resize(txn, i, exact ? size : std::max(i.r.size, size), true);
  i.r.disk_bytes = disk_bytes;
  i.r.mtime_ns = exact ? mtime : std::max(mtime, i.r.mtime_ns);
  i.r.flags &= static_cast<uint8_t>(~inode_time_set);
  // The client shows the same until it has told us: a change time that moves at close would look like another change.
  i.r.ctime_ns = std::max(i.r.ctime_ns, mtime);
  ++i.r.change;
  ++i.r.data_version;
  save_inode(txn, i);
  effects.attributes.push_back(id);
  return 0;
}

int Engine::begin_writing(Txn& txn, uint64_t id, bool truncate, const Place& place, Inode& i, Effects& effects) {
  if (int r = getattr(txn, id, i); r != 0) return r;
  if (is_replicated(i) || is_frozen(i)) return EROFS;
  bool changed = false;
  if (i.r.width == 0) {
    if (int r = place_contents(txn, policy_for(txn, i), place, i); r != 0) return r;
    if (i.mirror.on() && i.osds.size() < i.mirror.copies) txn.put(table_meta, mirror_key(id), std::string(1, '\0'));
    changed = true;
  }
  if (truncate && i.r.size > 0) {
    resize(txn, i, 0, true);
    i.r.mtime_ns = i.r.ctime_ns = now_ns();
    ++i.r.data_version;
    ++i.r.change;
    changed = true;
  }
  if (changed) save_inode(txn, i);
  std::string_view v;
  if (!txn.get(table_writing, key_of(id), v)) txn.put(table_writing, key_of(id), "");
  // Others must learn that the size is now what the OSDs say.
  effects.attributes.push_back(id);
  return 0;
}

void Engine::note_read(Txn& txn, uint64_t id, int64_t at, Effects& effects) {
  auto i = load_inode(txn, id);
  if (!i || id == root_id || is_frozen(*i) || (!S_ISREG(i->r.mode) && !S_ISDIR(i->r.mode)) || keeps_no_atime(i->r.volume)) return;
  at = std::min(at, now_ns());
  if (!relatime_due(i->r.atime_ns, i->r.mtime_ns, i->r.ctime_ns, at)) return;
  i->r.atime_ns = at;
  save_inode(txn, *i);
  effects.times.push_back(id);
}

int Engine::getxattr(const Txn& txn, const Caller& c, uint64_t id, std::string_view name, std::string& value) const {
  if (int r = check_xattr_name(name); r != 0) return r;
  Inode i;
  if (int r = getattr(txn, id, i); r != 0) return r;
  // A list of access control is as public as the mode.
  if (int r = is_acl(name) ? 0 : check_access(i, c, 4); r != 0) return r;
  std::string_view v;
  if (!txn.get(table_xattr, xattr_key(id, name), v)) return ENODATA;
  value = v;
  return 0;
}

/// Replaces a list of access control; an empty value takes it away. The caller saves the inode.
int Engine::set_acl(Txn& txn, const Caller& c, Inode& i, bool of_default, std::string_view value) {
  if (S_ISLNK(i.r.mode)) return EOPNOTSUPP;
  if (c.uid != 0 && c.uid != i.r.uid) return EPERM;
  if (of_default && !S_ISDIR(i.r.mode)) return value.empty() ? 0 : EACCES;
  if (value.size() <= 4) {  // the header alone is an empty list
    save_acl(txn, i, of_default, "");
    return 0;
  }
  auto acl = parse_acl(value);
  if (!acl) return EINVAL;
  if (of_default) {
    save_acl(txn, i, true, encode_acl(*acl));
    return 0;
  }
  bool member = true;
  if (c.uid != 0 && (i.r.mode & S_ISGID))
    if (int r = check_group_member(c, i.r.gid, member); r != 0) return r;
  i.r.mode = (i.r.mode & ~0777u & (member ? ~0u : ~static_cast<uint32_t>(S_ISGID))) | mode_of(*acl);
  save_acl(txn, i, false, is_minimal(*acl) ? "" : encode_acl(*acl));
  return 0;
}

int Engine::setxattr(Txn& txn, const Caller& c, uint64_t id, std::string_view name, std::string_view value, uint32_t flags, Effects& effects) {
  if (int r = check_xattr_name(name); r != 0) return r;
  if (value.size() > xattr_bytes_max) return E2BIG;
  Inode i;
  if (int r = getattr(txn, id, i); r != 0) return r;
  if (id == root_id) return EPERM;
  if (is_frozen(i)) return EROFS;
  if (!is_acl(name)) {
    if (!S_ISREG(i.r.mode) && !S_ISDIR(i.r.mode)) return EPERM;  // xattr(7): user attributes only on files and directories
    if (int r = check_access(i, c, 2); r != 0) return r;
  }
  std::string_view v;
  bool exists = txn.get(table_xattr, xattr_key(id, name), v);
  if ((flags & XATTR_CREATE) && exists) return EEXIST;
  if ((flags & XATTR_REPLACE) && !exists) return ENODATA;
  if (is_acl(name)) {
    if (int r = set_acl(txn, c, i, name == acl_default_name, value); r != 0) return r;
  } else if (!exists) {
    std::vector<std::string> names;
    listxattr(txn, id, names);
    size_t bytes = name.size() + 1;
    for (auto& n : names) bytes += n.size() + 1;
    if (bytes > xattrs_bytes_max) return ENOSPC;
  }
  if (!is_acl(name)) {
    txn.put(table_xattr, xattr_key(id, name), value);
    i.r.flags |= inode_has_xattrs;
  }
  i.r.ctime_ns = now_ns();
  ++i.r.change;
  save_inode(txn, i);
  effects.attributes.push_back(id);
  return 0;
}

int Engine::listxattr(const Txn& txn, uint64_t id, std::vector<std::string>& names) const {
  std::string prefix = key_of(id);
  names.clear();
  txn.scan(table_xattr, prefix, [&](std::string_view key, std::string_view) {
    if (!key.starts_with(prefix)) return false;
    names.emplace_back(key.substr(prefix.size()));
    return true;
  });
  return 0;
}

int Engine::removexattr(Txn& txn, const Caller& c, uint64_t id, std::string_view name, Effects& effects) {
  if (int r = check_xattr_name(name); r != 0) return r;
  Inode i;
  if (int r = getattr(txn, id, i); r != 0) return r;
  if (is_frozen(i)) return EROFS;
  if (is_acl(name)) {
    std::string_view v;
    if (!txn.get(table_xattr, xattr_key(id, name), v)) return ENODATA;
    if (int r = set_acl(txn, c, i, name == acl_default_name, ""); r != 0) return r;
  } else {
    if (int r = check_access(i, c, 2); r != 0) return r;
    if (!txn.erase(table_xattr, xattr_key(id, name))) return ENODATA;
  }
  std::vector<std::string> left;
  listxattr(txn, id, left);
  if (std::all_of(left.begin(), left.end(), is_acl)) i.r.flags &= static_cast<uint8_t>(~inode_has_xattrs);
  i.r.ctime_ns = now_ns();
  ++i.r.change;
  save_inode(txn, i);
  effects.attributes.push_back(id);
  return 0;
}

}  // namespace xos::fs::metadata
