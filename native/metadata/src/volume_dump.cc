#include "volume_dump.h"

#include <sys/stat.h>

#include "dump_format.h"

namespace xos::fs::metadata {

namespace {

/// A block is begun anew behind this: small enough for one line of a control socket, also in base64.
constexpr size_t block_bytes_wanted = 128u << 10;

}  // namespace

VolumeDump::VolumeDump(Store& store, const Volume& volume, std::map<uint16_t, std::string> osds, std::map<uint32_t, Usage> limits)
    : txn_(store.snapshot()), volume_(volume), osds_(std::move(osds)), limits_(std::move(limits)) {}

std::string VolumeDump::finish(std::string_view payload) {
  std::string block = dump::block(blocks_++, payload);
  crc_ = xos::crc32c(crc_, block.data(), block.size());
  return block;
}

void VolumeDump::put_inode(const Inode& i) {
  std::string_view row;
  txn_->get(table_inode, key_of(i.id), row);
  records_.put<uint8_t>(dump::inode).put(i.id).put(static_cast<uint32_t>(row.size())).raw(row);
  ++inodes_;
  const std::string prefix = key_of(i.id);
  txn_->scan(table_xattr, prefix, [&](std::string_view key, std::string_view value) {
    if (!key.starts_with(prefix)) return false;
    records_.put<uint8_t>(dump::xattr).put(i.id).text(key.substr(prefix.size())).put(static_cast<uint32_t>(value.size())).raw(value);
    return true;
  });
  if ((i.r.flags & inode_has_policy) && txn_->get(table_policy, prefix, row))
    records_.put<uint8_t>(dump::policy).put(i.id).put(static_cast<uint32_t>(row.size())).raw(row);
  if (S_ISDIR(i.r.mode)) directories_.push_back(i.id);
}

void VolumeDump::put_name(std::string_view key, std::string_view value) {
  Reader r(value);
  const uint64_t id = r.get<uint64_t>();
  const uint32_t type = r.get<uint32_t>();
  auto inode = load_inode(*txn_, id);
  if (!inode) return;  // xtfsutil check tells of it
  records_.put<uint8_t>(dump::name).put(id_of(key)).text(key.substr(8)).put(id).put(type);
  ++names_;
  if (S_ISDIR(inode->r.mode) || inode->r.nlink == 1 || linked_.insert(id).second) put_inode(*inode);
}

std::string VolumeDump::next() {
  if (ended_) return {};
  if (!begun_) {
    begun_ = true;
    std::string_view policy;
    txn_->get(table_volume, volume_.name, policy);
    Writer w;
    w.put<uint8_t>(dump::header).put(dump::version).put(volume_.root).put(static_cast<uint64_t>(now_ns() / 1000000)).text(volume_.name).text(policy);
    w.put(static_cast<uint16_t>(osds_.size()));
    for (auto& [number, name] : osds_) w.put(number).text(name);
    auto root = load_inode(*txn_, volume_.root);
    if (!root) throw StoreError(MDB_CORRUPTED, "volume '" + volume_.name + "' has no root");
    records_.put<uint8_t>(dump::records);
    for (auto& [who, u] : limits_)
      if (u.bytes_max != 0 || u.files_max != 0) records_.put<uint8_t>(dump::limit).put(who).put(u.bytes_max).put(u.files_max);
    put_inode(*root);
    return finish(w.bytes());
  }
  if (records_.size() == 0) records_.put<uint8_t>(dump::records);
  while (!directories_.empty() && records_.size() < block_bytes_wanted) {
    const std::string prefix = key_of(directories_.front());
    std::string from = prefix + last_;
    if (!last_.empty()) from.push_back('\0');  // the smallest name behind `last_`
    bool more = false;
    txn_->scan(table_entry, from, [&](std::string_view key, std::string_view value) {
      if (!key.starts_with(prefix)) return false;
      put_name(key, value);
      last_ = key.substr(prefix.size());
      return !(more = records_.size() >= block_bytes_wanted);
    });
    if (more) break;
    directories_.pop_front();
    last_.clear();
  }
  if (records_.size() > 1) {
    std::string block = finish(records_.bytes());
    records_.clear();
    return block;
  }
  ended_ = true;
  return dump::block(blocks_, Writer().put<uint8_t>(dump::end).put(inodes_).put(names_).put(crc_).bytes());
}

}  // namespace xos::fs::metadata
