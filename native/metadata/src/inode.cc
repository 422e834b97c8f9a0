#include "inode.h"

#include <time.h>

#include <cstring>

namespace xos::fs::metadata {

std::optional<Inode> load_inode(const Txn& txn, uint64_t id) {
  std::string_view v;
  if (!txn.get(table_inode, key_of(id), v)) return std::nullopt;
  Inode i;
  i.id = id;
  if (v.size() < sizeof i.r) throw StoreError(MDB_CORRUPTED, "inode record is too short");
  std::memcpy(&i.r, v.data(), sizeof i.r);
  // Format 2 has two bytes more behind the list of OSDs: MirrorPolicy.
  const size_t mirror_bytes = i.r.format == 2 ? 2 : 0;
  if (i.r.format < 1 || i.r.format > 2 || v.size() < sizeof i.r + 2u * i.r.osd_count + mirror_bytes) throw StoreError(MDB_CORRUPTED, "inode record is of an unknown format");
  i.osds.resize(i.r.osd_count);
  if (i.r.osd_count > 0) std::memcpy(i.osds.data(), v.data() + sizeof i.r, 2u * i.r.osd_count);
  if (mirror_bytes > 0) {
    const std::string_view mirror = v.substr(sizeof i.r + 2u * i.r.osd_count);
    i.mirror = {static_cast<uint8_t>(mirror[0]), mirror[1] != 0};
  }
  i.target = v.substr(sizeof i.r + 2u * i.r.osd_count + mirror_bytes);
  if ((i.r.flags & inode_has_acl) && txn.get(table_xattr, xattr_key(id, acl_access_name), v)) i.acl = v;
  return i;
}

void save_inode(Txn& txn, const Inode& i) {
  std::string v;
  InodeRecord r = i.r;
  r.osd_count = static_cast<uint16_t>(i.osds.size());
  r.format = i.mirror.on() ? 2 : 1;
  v.append(reinterpret_cast<const char*>(&r), sizeof r);
  if (!i.osds.empty()) v.append(reinterpret_cast<const char*>(i.osds.data()), 2 * i.osds.size());
  if (i.mirror.on()) v.append({static_cast<char>(i.mirror.copies), static_cast<char>(i.mirror.all)});
  v.append(i.target);
  txn.put(table_inode, key_of(i.id), v);
}

std::string xattr_key(uint64_t id, std::string_view name) { return key_of(id).append(name); }

void save_acl(Txn& txn, Inode& i, bool of_default, const std::string& bytes) {
  const uint8_t flag = of_default ? inode_has_default_acl : inode_has_acl;
  const std::string key = xattr_key(i.id, of_default ? acl_default_name : acl_access_name);
  if (!bytes.empty()) {
    txn.put(table_xattr, key, bytes);
    i.r.flags |= flag;
  } else if (i.r.flags & flag) {
    txn.erase(table_xattr, key);
    i.r.flags &= static_cast<uint8_t>(~flag);
  }
  if (!of_default) i.acl = bytes;
}

std::string replicate_key(uint64_t id) { return "replicate:" + key_of(id); }

std::string mirror_key(uint64_t id) { return "mirror:" + key_of(id); }

std::vector<uint64_t> files_with_row(const Store& store, std::string (*key_of_row)(uint64_t id), uint64_t& next) {
  constexpr size_t at_once = 1024;
  const std::string from = key_of_row(next), prefix = from.substr(0, from.find(':') + 1);
  std::vector<uint64_t> files;
  store.read([&](const Txn& txn) {
    txn.scan(table_meta, from, [&](std::string_view key, std::string_view) {
      if (!key.starts_with(prefix) || files.size() == at_once) return false;
      files.push_back(id_of(key.substr(prefix.size())));
      return true;
    });
  });
  next = files.size() == at_once ? files.back() + 1 : 0;
  return files;
}

std::string mirrored_volume_key(uint64_t volume) { return "mirrored:" + key_of(volume); }

std::string entry_key(uint64_t directory, std::string_view name) { return key_of(directory).append(name); }

std::optional<Entry> load_entry(const Txn& txn, uint64_t directory, std::string_view name) {
  std::string_view v;
  if (!txn.get(table_entry, entry_key(directory, name), v)) return std::nullopt;
  Reader r(v);
  Entry e;
  e.id = r.get<uint64_t>();
  e.type = r.get<uint32_t>();
  return e;
}

void save_entry(Txn& txn, uint64_t directory, std::string_view name, const Entry& e) {
  Writer w;
  w.put(e.id).put(e.type);
  txn.put(table_entry, entry_key(directory, name), w.bytes());
}

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

Attr attr_of(const Inode& i) {
  Attr a;
  a.id = i.id;
  a.mode = i.r.mode;
  a.nlink = i.r.nlink;
  a.uid = i.r.uid;
  a.gid = i.r.gid;
  a.rdev = i.r.rdev;
  a.size = i.r.size;
  a.disk_bytes = i.r.disk_bytes;
  a.atime_ns = i.r.atime_ns;
  a.mtime_ns = i.r.mtime_ns;
  a.ctime_ns = i.r.ctime_ns;
  a.change = i.r.change;
  a.data_version = i.r.data_version;
  a.flags = i.r.flags & (inode_has_xattrs | inode_has_acl | inode_has_default_acl | inode_time_set);
  return a;
}

}  // namespace xos::fs::metadata
