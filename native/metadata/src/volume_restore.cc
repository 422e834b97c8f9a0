#include "volume_restore.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dump_format.h"
#include "file_io.h"

namespace xos::fs::metadata {

namespace {

constexpr uint64_t id_max = uint64_t{1} << 62;
/// Above whatever the lost database gave out after the dump: OSDs refuse rights of an older epoch than they have seen.
constexpr uint32_t epoch_step = 1000;
constexpr uint32_t xattr_name_max = 255;

[[noreturn]] void bad(const std::string& what) { throw BadDump("this is no whole dump of a volume: " + what); }

Inode decode_row(uint64_t id, std::string_view row) {
  Inode i;
  i.id = id;
  if (row.size() < sizeof i.r) bad("file " + std::to_string(id) + " is too short");
  std::memcpy(&i.r, row.data(), sizeof i.r);
  const size_t mirror_bytes = i.r.format == 2 ? 2 : 0;
  if (i.r.format < 1 || i.r.format > 2 || row.size() < sizeof i.r + 2u * i.r.osd_count + mirror_bytes) bad("file " + std::to_string(id) + " is of an unknown format");
  i.osds.resize(i.r.osd_count);
  if (i.r.osd_count > 0) std::memcpy(i.osds.data(), row.data() + sizeof i.r, 2u * i.r.osd_count);
  if (mirror_bytes > 0) {
    const std::string_view mirror = row.substr(sizeof i.r + 2u * i.r.osd_count);
    i.mirror = {static_cast<uint8_t>(mirror[0]), mirror[1] != 0};
    if (i.mirror.copies < 2 || i.mirror.copies > mirror_copies_max || i.r.width > 1) bad("file " + std::to_string(id) + " has no such replicas");
  }
  i.target = row.substr(sizeof i.r + 2u * i.r.osd_count + mirror_bytes);
  return i;
}

std::string_view sized(Reader& r) { return r.raw(r.get<uint32_t>()); }

}  // namespace

VolumeRestore::VolumeRestore(const std::string& directory) : fd_(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {
  if (!fd_) throw StoreError(errno, "cannot keep a dump in '" + directory + "'");
}

std::vector<std::string> VolumeRestore::osds() const {
  std::vector<std::string> names;
  for (auto& [number, name] : osds_) names.push_back(name);
  return names;
}

void VolumeRestore::feed(std::string_view bytes) {
  if (ended_ && !bytes.empty()) bad("there are bytes behind its end");
  rest_.append(bytes);
  while (rest_.size() >= dump::head_bytes) {
    Reader head(rest_);
    if (head.raw(dump::magic.size()) != dump::magic) bad(blocks_ == 0 ? "it begins otherwise" : "block " + std::to_string(blocks_) + " is damaged");
    const auto length = head.get<uint32_t>();
    const auto number = head.get<uint64_t>();
    const auto crc = head.get<uint32_t>();
    if (length == 0 || length > dump::payload_max || number != blocks_) bad("block " + std::to_string(blocks_) + " is damaged or missing");
    if (rest_.size() < dump::head_bytes + length) return;
    const std::string_view payload = std::string_view(rest_).substr(dump::head_bytes, length);
    if (xos::crc32c(xos::crc32c(0, &number, sizeof number), payload.data(), payload.size()) != crc) bad("block " + std::to_string(number) + " has a wrong checksum");
    try {
      take_block(number, payload);
    } catch (const Malformed& e) {
      bad("block " + std::to_string(number) + ": " + e.what());
    }
    if (int r = write_at(fd_.get(), rest_.data(), dump::head_bytes + length, stored_); r != 0) throw StoreError(-r, "cannot keep a dump");
    crc_ = xos::crc32c(crc_, rest_.data(), dump::head_bytes + length);
    stored_ += dump::head_bytes + length;
    ++blocks_;
    rest_.erase(0, dump::head_bytes + length);
    if (ended_ && !rest_.empty()) bad("there are bytes behind its end");
  }
}

void VolumeRestore::finish() {
  if (!ended_) bad("it ends early, after " + std::to_string(blocks_) + " blocks");
}

void VolumeRestore::take_block(uint64_t number, std::string_view payload) {
  Reader r(payload);
  const auto kind = r.get<uint8_t>();
  if ((number == 0) != (kind == dump::header)) bad("block " + std::to_string(number) + " is out of place");
  if (kind == dump::header) take_header(r);
  else if (kind == dump::records) look_at(r);
  else if (kind == dump::end) take_end(r);
  else bad("block " + std::to_string(number) + " is of an unknown kind");
}

void VolumeRestore::take_header(Reader r) {
  const auto version = r.get<uint32_t>();
  if (version != dump::version) throw BadDump("this dump has version " + std::to_string(version) + ", and only " + std::to_string(dump::version) + " is understood here");
  root_ = r.get<uint64_t>();
  r.get<uint64_t>();
  name_ = r.text();
  auto policy = policy_of_row(r.text());
  if (!policy) bad("its policy is none");
  policy_ = *policy;
  for (uint16_t n = r.get<uint16_t>(); n > 0; --n) {
    const auto number = r.get<uint16_t>();
    osds_[number] = r.text();
  }
  r.finish();
}

void VolumeRestore::take_end(Reader r) {
  const auto inodes = r.get<uint64_t>(), names = r.get<uint64_t>();
  const auto crc = r.get<uint32_t>();
  r.finish();
  if (inodes != inodes_ || names != names_ || crc != crc_ || awaited_ != 0) bad("its end tells of other contents");
  if (!seen_.contains(root_)) bad("it has no root");
  for (auto& [id, s] : seen_) {
    if (id != root_ && s.names == 0) bad("file " + std::to_string(id) + " has no name");
    if (S_ISDIR(s.mode) && s.names > 1) bad("directory " + std::to_string(id) + " has several names");
  }
  ended_ = true;
}

/// Everything that records lead to has to be there before them, so there are no circles and nothing hangs in the air.
void VolumeRestore::look_at(Reader r) {
  while (r.left() > 0) {
    const auto kind = r.get<uint8_t>();
    if (awaited_ != 0 && kind != dump::inode) bad("file " + std::to_string(awaited_) + " is missing");
    if (kind == dump::limit) {
      const auto who = r.get<uint32_t>();
      Usage u;
      u.bytes_max = r.get<uint64_t>();
      u.files_max = r.get<uint64_t>();
      limits_.emplace_back(who, u);
      continue;
    }
    if (kind == dump::name) {
      look_at_name(r);
      continue;
    }
    const auto id = r.get<uint64_t>();
    if (kind == dump::inode) {
      look_at_inode(id, sized(r));
    } else if (kind == dump::xattr) {
      const auto name = r.text();
      if (id != last_id_ || name.empty() || name.size() > xattr_name_max || sized(r).size() > xattr_bytes_max) bad("an attribute of file " + std::to_string(id) + " is out of place");
    } else if (kind == dump::policy) {
      if (id != last_id_ || !policy_of_row(sized(r))) bad("the policy of file " + std::to_string(id) + " is none");
    } else {
      bad("there is a record of an unknown kind");
    }
  }
}

void VolumeRestore::look_at_inode(uint64_t id, std::string_view row) {
  const Inode i = decode_row(id, row);
  const uint32_t type = i.r.mode & S_IFMT;
  const bool first = seen_.empty();
  if (first ? id != root_ || type != S_IFDIR : id != awaited_) bad("file " + std::to_string(id) + " is out of place");
  if (id <= root_id || id > id_max || i.r.volume != root_) bad("file " + std::to_string(id) + " is of another volume");
  if (type != S_IFDIR && type != S_IFREG && type != S_IFLNK && type != S_IFIFO && type != S_IFSOCK) bad("file " + std::to_string(id) + " is of no type");
  if ((i.r.width == 0 ? !i.osds.empty() : i.osds.empty() || i.osds.size() % i.r.width != 0 || i.r.replicas == 0 || i.r.replicas > copies_of(i)) || (i.r.width > 0 && (type != S_IFREG || i.r.stripe_bytes < 4096 || i.r.stripe_bytes > (4u << 20) || i.r.stripe_bytes % 4096 != 0)))
    bad("the stripes of file " + std::to_string(id) + " are none");
  for (uint16_t osd : i.osds)
    if (!osds_.contains(osd)) bad("file " + std::to_string(id) + " lies on a server without a name");
  Seen& s = seen_[id];
  if (!first && s.mode != type) bad("file " + std::to_string(id) + " is of another type than its name says");
  s.mode = type;
  ++inodes_;
  last_id_ = id;
  awaited_ = 0;
}

void VolumeRestore::look_at_name(Reader& r) {
  const auto directory = r.get<uint64_t>();
  const auto name = r.text();
  const auto id = r.get<uint64_t>();
  const auto type = r.get<uint32_t>();
  auto in = seen_.find(directory);
  if (in == seen_.end() || !S_ISDIR(in->second.mode) || check_name(name) != 0) bad("a name of directory " + std::to_string(directory) + " is out of place");
  auto known = seen_.find(id);
  const bool again = known != seen_.end();
  if (again && (S_ISDIR(known->second.mode) || known->second.mode != type)) bad("file " + std::to_string(id) + " has a name too many");
  if (S_ISDIR(type)) ++in->second.directories;
  if (!again) awaited_ = id;
  Seen& s = seen_[id];
  s.mode = type;
  ++s.names;
  ++names_;
}

void VolumeRestore::each_records(const std::function<void(Reader)>& take) const {
  std::string payload;
  for (uint64_t at = 0; at < stored_;) {
    char head[dump::head_bytes];
    if (read_at(fd_.get(), head, sizeof head, at) != sizeof head) throw StoreError(EIO, "cannot read the dump again");
    Reader r(head, sizeof head);
    r.raw(dump::magic.size());
    payload.resize(r.get<uint32_t>());
    if (read_at(fd_.get(), payload.data(), payload.size(), at + sizeof head) != static_cast<int64_t>(payload.size())) throw StoreError(EIO, "cannot read the dump again");
    at += sizeof head + payload.size();
    if (payload[0] == dump::records) take(Reader(std::string_view(payload).substr(1)));
  }
}

void VolumeRestore::make_inode(Txn& txn, uint64_t id, std::string_view row, const Wanted& wanted, Restored& done) {
  std::string_view there;
  const std::string key = key_of(id);
  if (txn.get(table_inode, key, there) || txn.get(table_deletion, key, there))
    throw BadDump("file " + std::to_string(id) + " of this dump is there, or was removed just now: a dump brings files back to a metadata server that has lost them, it makes no copies");
  Inode i = decode_row(id, row);
  const Seen& seen = seen_.at(id);
  for (uint16_t& osd : i.osds) osd = numbers_.at(osd);
  i.r.nlink = S_ISDIR(i.r.mode) ? 2 + seen.directories : seen.names;
  i.r.epoch += epoch_step;
  ++i.r.change;
  // The directory's own entry is known by the name that leads to it; the root is in the root of all volumes.
  if (id == root_) i.r.parent = root_id;
  if (i.r.width > 0 && i.r.size > 0 && i.r.disk_bytes > 0 && wanted.has_object && !wanted.has_object(id)) {
    ++done.empty;
    i.r.size = i.r.disk_bytes = 0;
    ++i.r.data_version;
  }
  save_inode(txn, i);
  if (i.mirror.on()) {
    txn.put(table_meta, mirror_key(id), std::string(1, '\1'));
    txn.put(table_meta, mirrored_volume_key(i.r.volume), "");
  } else if (i.r.replicas < copies_of(i)) {
    txn.put(table_meta, replicate_key(id), "");
  }
  if (i.r.width > 0) {
    txn.put(table_writing, key, "");
    done.written.push_back(id);
  }
  ++done.inodes;
  done.bytes += S_ISREG(i.r.mode) ? i.r.size : 0;
}

void VolumeRestore::make_record(Txn& txn, Reader& r, const Wanted& wanted, Restored& done) {
  const auto kind = r.get<uint8_t>();
  if (kind == dump::limit) {
    r.raw(4 + 8 + 8);
    return;
  }
  if (kind == dump::name) {
    const auto directory = r.get<uint64_t>();
    const auto name = r.text();
    const auto id = r.get<uint64_t>();
    const auto type = r.get<uint32_t>();
    save_entry(txn, directory, name, {id, type});
    ++done.names;
    return;
  }
  const auto id = r.get<uint64_t>();
  if (kind == dump::inode) {
    make_inode(txn, id, sized(r), wanted, done);
  } else if (kind == dump::xattr) {
    const auto name = r.text();
    txn.put(table_xattr, xattr_key(id, name), sized(r));
  } else {
    txn.put(table_policy, key_of(id), sized(r));
  }
}

int VolumeRestore::make(Txn& txn, Engine& engine, const Wanted& wanted, Restored& done, Effects& effects) {
  done = {};
  finish();
  numbers_.clear();
  for (auto& [number, name] : osds_) {
    const int here = wanted.number_of(name);
    if (here < 0) throw BadDump("the dump has files on OSD '" + name + "', which this metadata server does not know; let its node take part first");
    numbers_[number] = static_cast<uint16_t>(here);
  }
  uint64_t highest = 0;
  for (auto& [id, seen] : seen_) highest = std::max(highest, id);
  each_records([&](Reader r) {
    while (r.left() > 0) make_record(txn, r, wanted, done);
  });
  if (done.empty > 0 && !wanted.incomplete)
    throw BadDump(std::to_string(done.empty) + " files have no contents at the object servers any more; '--incomplete' restores those empty");
  if (int r = engine.adopt_volume(txn, wanted.volume, root_, policy_, effects); r != 0) return r;
  engine.keep_above(txn, highest);
  std::vector<uint64_t> writing;
  for (auto& [who, u] : limits_) engine.quota_set(txn, root_, who, u.bytes_max, u.files_max, writing);
  done.root = root_;
  return 0;
}

}  // namespace xos::fs::metadata
