// Requests about the contents of files: who has them open, with which right, and how large they are.
#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "borrowing.h"
#include "capability.h"
#include "mirrors.h"
#include "service.h"
#include "snapshotter.h"

namespace xos::fs::metadata {

namespace {

uint8_t rights_of(uint32_t open_flags) {
  int mode = static_cast<int>(open_flags & O_ACCMODE);
  if (mode == O_RDONLY && !(open_flags & O_TRUNC)) return right_read;
  // A writer reads, too: the kernel fetches the rest of a page that is written in part.
  return right_read | right_write | right_truncate;
}

}  // namespace

/// A new file, open: with a name, or without one (tmpfile).
int Service::create(uint16_t type, Context& c) {
  Reader peek = *c.in;
  peek.get<uint64_t>();
  if (type == metadata::create) peek.text();
  peek.get<uint32_t>();
  uint32_t flags = peek.get<uint32_t>();
  uint64_t made_id = 0;
  // Between this and the right that is given no snapshot is made.
  const auto pass = snapshotter_->gate().enter();
  if (!pass) return ask_again;
  int readers = (flags & O_ACCMODE) == O_RDONLY, writers = !readers;
  int status = mutate(c, [&](Txn& txn, Effects& effects) {
    uint64_t directory = c.in->get<uint64_t>();
    auto name = type == metadata::create ? c.in->text() : std::string_view();
    uint32_t mode = c.in->get<uint32_t>();
    Making making{S_IFREG | (mode & 07777), mode >> 16, {}, true, type == tmpfile, !(flags & O_EXCL)};
    c.in->get<uint32_t>();
    Inode made, parent;
    auto place = [&](const VolumePolicy& policy) { return osds_.place(policy, c.session->node); };
    int r = engine_.create(txn, c.head.caller, directory, name, making, place, made, parent, effects);
    if (r != 0) return r;
    if (made_id != 0) sessions_.close(c.session, made_id, readers, writers);  // of a first, aborted run
    made_id = made.id;
    if (int o = sessions_.open(c.session, made.id, readers, writers); o != 0) return o;
    put_attr(c, made, sessions_.grant(c.session, made.id, false));
    if (type == tmpfile) {
      sessions_.doom(made.id);  // goes at its last close, unless it has got a name by then
    } else {
      c.names_leased = sessions_.grant(c.session, parent.id, true);
      put_attr(c, parent, sessions_.grant(c.session, parent.id, false));
    }
    if (made.mirror.on()) mirrors_->made(made);
    put_opened(c, made, right_read | right_write | right_truncate, engine_.may_grow_to(txn, made));
    return 0;
  });
  if (status == 0 && made_id == 0) {  // answered from the slot: the file is open as it was promised then
    Reader r(std::string_view(c.out.bytes()).substr(4));
    sessions_.open(c.session, get_attr(r).id, readers, writers);
  }
  return status;
}

int Service::open(Context& c) {
  uint64_t id = c.in->get<uint64_t>();
  uint32_t flags = c.in->get<uint32_t>();
  c.in->finish();
  const bool write = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
  const bool truncate = flags & O_TRUNC;
  moves_.wait(id);
  if (write) sessions_.wait_settled();
  const bool wrote_before = write && sessions_.writes(c.session, id);
  bool leased = sessions_.grant(c.session, id, false);
  if (int r = sessions_.open(c.session, id, !write, write); r != 0) return r;
  int status = 0;
  uint64_t grow_to = 0;
  Inode found;
  std::optional<Inode> contents;
  WriteGate::Pass pass;  // until the right is made
  auto look = [&] {
    store_.read([&](const Txn& txn) {
      status = engine_.check_open(txn, c.head.caller, id, flags, found);
      if (status == 0) grow_to = engine_.may_grow_to(txn, found);
      if (status == 0 && (found.r.flags & inode_borrows)) contents = contents_of(txn, found);
    });
  };
  bool others_wrote = sessions_.writers(c.session, id) == writers_others;
  try {
    look();
    if (status == 0 && contents) moves_.wait(contents->id);
    bool kept = false;
    if (status == 0 && write) status = snapshotter_->enter(id, pass, kept);
    if (status == 0 && (kept || contents)) look();
    if (status == 0 && write && (!wrote_before || truncate || found.r.width == 0)) {
      Effects effects;
      const bool placed = found.r.width == 0;
      auto place = [&](const VolumePolicy& policy) { return osds_.place(policy, c.session->node); };
      store_.write([&](Txn& txn) {
        effects = {};
        // Cutting is the client's work when there may be data: it tells the OSDs and then sets the size.
        status = engine_.begin_writing(txn, id, false, place, found, effects);
      });
      if (status == 0) sessions_.invalidate(effects, c.session.get());
      if (status == 0 && placed && found.mirror.on()) mirrors_->made(found);
    }
    if (status == 0 && found.mirror.on()) status = mirrors_->ready(id, write);
    if (status == 0 && others_wrote && !write) leased = false;
  } catch (...) {
    sessions_.close(c.session, id, !write, write);
    throw;
  }
  if (status != 0) {
    sessions_.close(c.session, id, !write, write);
    return status;
  }
  sessions_.settle_writers(id, c.session.get());
  put_attr(c, found, leased);
  put_opened(c, found, rights_of(flags), grow_to, contents ? &*contents : nullptr);
  return 0;
}

int Service::close(Context& c) {
  // Sent again over a new session: what it tells of is not in what was brought back.
  if (c.in->get<uint64_t>() != c.session->generation) return 0;
  uint16_t n = c.in->get<uint16_t>();
  std::vector<uint64_t> settled, orphans;
  for (uint16_t i = 0; i < n; ++i) {
    uint64_t id = c.in->get<uint64_t>();
    uint16_t readers = c.in->get<uint16_t>(), writers = c.in->get<uint16_t>();
    auto closed = sessions_.close(c.session, id, readers, writers);
    if (closed.last_writer) settled.push_back(id);
    // Decided by memory and not by a look into the database: the transaction that unlinks it may be under way. The one below comes after it.
    if (closed.doomed) orphans.push_back(id);
  }
  c.in->finish();
  if (settled.empty() && orphans.empty()) return 0;
  store_.write([&](Txn& txn) {
    for (uint64_t id : settled)
      if (sessions_.writers(c.session, id) == writers_none) engine_.end_writing(txn, id);
    for (uint64_t id : orphans) engine_.release_orphan(txn, id);
  });
  for (uint64_t id : orphans) sessions_.bury(id);
  return 0;
}

int Service::renew(uint16_t type, Context& c) {
  uint64_t id = c.in->get<uint64_t>();
  uint32_t flags = type == capability ? c.in->get<uint32_t>() : static_cast<uint32_t>(O_WRONLY);
  c.in->finish();
  uint64_t grow_to = 0;
  Inode i;
  std::optional<Inode> contents;
  int status = 0;
  const bool write = type == prepare_truncate || (flags & O_ACCMODE) != O_RDONLY;
  // Who has the file open keeps the right that it had then, as a descriptor does.
  bool writes = sessions_.writes(c.session, id);
  moves_.wait(id);
  auto look = [&] {
    store_.read([&](const Txn& txn) {
      status = engine_.getattr(txn, id, i);
      if (status == 0) grow_to = engine_.may_grow_to(txn, i);
      if (status == 0 && !writes && write) status = check_access(i, c.head.caller, 2);
      if (status == 0 && (is_replicated(i) || is_frozen(i)) && write) status = EROFS;
      if (status == 0 && type == capability && !writes && !sessions_.is_open(id)) status = check_access(i, c.head.caller, 4);
      if (status == 0 && (i.r.flags & inode_borrows)) contents = contents_of(txn, i);
    });
  };
  look();
  if (status == 0 && contents) moves_.wait(contents->id);
  WriteGate::Pass pass;  // until the right is made
  bool kept = false;
  if (status == 0 && write) status = snapshotter_->enter(id, pass, kept);
  if (status == 0 && (kept || contents)) look();
  if (status == 0 && i.mirror.on()) status = mirrors_->ready(id, write);
  // A right of somebody who has not opened the file: a snapshot must know of it as of those who have.
  if (status == 0 && write && !writes)
    store_.write([&](Txn& txn) { txn.put(table_meta, late_key(id), Writer().put(now_ns() / 1000000 + late_ms).bytes()); });
  if (status != 0) return status;
  put_attr(c, i, false);
  put_opened(c, i, rights_of(flags), grow_to, contents ? &*contents : nullptr);
  return 0;
}

int Service::failed(Context& c) {
  const auto id = c.in->get<uint64_t>();
  const auto epoch = c.in->get<uint32_t>();
  c.in->finish();
  mirrors_->failed(id, epoch);
  return 0;
}

/// Room for a file that its writers want to grow. No sequence number: asked twice it grants the same.
int Service::reserve(Context& c) {
  uint64_t id = c.in->get<uint64_t>(), size = c.in->get<uint64_t>(), grow_to = 0;
  c.in->finish();
  if (!sessions_.writes(c.session, id)) return EBADF;
  sessions_.wait_settled();
  int status = 0;
  store_.write([&](Txn& txn) { status = engine_.grow(txn, id, size, grow_to); });
  if (status == 0) c.out.put(grow_to);
  return status;
}

int Service::flush(Context& c) {
  return mutate(c, [&](Txn& txn, Effects& effects) {
    uint64_t id = c.in->get<uint64_t>(), size = c.in->get<uint64_t>();
    int64_t mtime = c.in->get<int64_t>();
    uint64_t disk_bytes = c.in->get<uint64_t>();
    if (!sessions_.writes(c.session, id)) return EBADF;
    Inode i;
    // Only setattr makes a file shorter: this may have been measured before the last write of another node that has told us since.
    if (engine_.getattr(txn, id, i) == 0) size = std::max(size, i.r.size);
    int r = engine_.update_written(txn, id, size, mtime, disk_bytes, sessions_.writers(c.session, id) == writers_self, i, effects);
    if (r == 0) put_attr(c, i, sessions_.grant(c.session, id, false));
    return r;
  });
}

}  // namespace xos::fs::metadata
