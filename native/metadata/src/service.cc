#include "service.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "capability.h"
#include "frame_server.h"
#include "log.h"

namespace xos::fs::metadata {

namespace {

constexpr uint64_t capability_ms = 3600 * 1000;

uint64_t random_id() {
  uint64_t id = 0;
  while (id == 0) {
    if (getrandom(&id, sizeof id, 0) != sizeof id) continue;
  }
  return id;
}

bool changes(uint16_t type) {
  switch (type) {
    case setattr: case create: case flush: case mkdir: case mknod: case symlink: case link: case unlink: case rmdir: case rename:
    case setxattr: case removexattr: return true;
    default: return false;
  }
}

uint8_t rights_of(uint32_t open_flags) {
  int mode = static_cast<int>(open_flags & O_ACCMODE);
  if (mode == O_RDONLY && !(open_flags & O_TRUNC)) return right_read;
  // A writer reads, too: the kernel fetches the rest of a page that is written in part.
  return right_read | right_write | right_truncate;
}

}  // namespace

Service::Service(Store& store, Engine& engine, Sessions& sessions, OsdTable& osds, std::string node)
    : store_(store), engine_(engine), sessions_(sessions), osds_(osds), node_(std::move(node)), instance_(random_id()) {}

bool Service::hello(wire::Connection& connection, Sessions::Ptr& session) {
  std::vector<std::byte> payload;
  wire::FrameHeader h = connection.receive(payload, 10000);
  if (h.type != metadata::hello) throw Malformed("request " + std::to_string(h.type) + " before hello");
  Reader r(payload.data(), payload.size());
  uint64_t mount = r.get<uint64_t>();
  bool callbacks = r.get<uint8_t>() == 1;
  r.finish();
  bool known;
  std::vector<uint64_t> replaced;
  session = sessions_.attach(mount, connection.peer().node, known, replaced);
  if (!known) {
    store_.write([&](Txn& txn) { txn.put(table_meta, "session:" + key_of(mount), session->node); });
  }
  Writer w;
  w.put<int32_t>(0).put(instance_).put<uint32_t>(lease_ms).put<uint8_t>(known);
  iovec piece{w.bytes().data(), w.size()};
  connection.send({0, answer, 0, h.id}, {&piece, 1}, io_timeout_ms);
  return callbacks;
}

void Service::serve(wire::Connection& connection) {
  Context c;
  struct Detach {
    Sessions& sessions;
    Sessions::Ptr& session;
    ~Detach() {
      if (session) sessions.detach(session);
    }
  } detach{sessions_, c.session};
  if (hello(connection, c.session)) {
    sessions_.serve_callbacks(c.session, connection);
    return;
  }
  std::vector<std::byte> payload;
  for (;;) {
    wire::FrameHeader h = connection.receive(payload, idle_timeout_ms);
    Reader r(payload.data(), payload.size());
    c.head = get_head(r);
    c.in = &r;
    c.out.clear();
    c.out.put<int32_t>(0);
    c.names_leased = false;
    int status;
    try {
      status = c.session->gone ? session_gone : dispatch(h.type, c);
    } catch (const StoreError& e) {
      log(Priority::error, "request %x of node '%s' failed: %s", h.type, c.session->node.c_str(), e.what());
      status = e.as_errno();
    }
    c.out.patch<int32_t>(0, status);
    if (status != 0) c.out.bytes().resize(4);
    iovec piece{c.out.bytes().data(), c.out.size()};
    connection.send({0, answer, c.names_leased ? flag_names_leased : uint16_t{0}, h.id}, {&piece, 1}, io_timeout_ms);
    if (payload.capacity() > (256u << 10)) std::vector<std::byte>().swap(payload);
  }
}

int Service::mutate(Context& c, const std::function<int(Txn&, Effects&)>& change) {
  sessions_.wait_settled();
  int status = 0;
  bool replayed = false;
  Effects effects;
  std::string slot = key_of(c.session->instance) + std::string(reinterpret_cast<const char*>(&c.head.slot), 2);
  store_.write([&](Txn& txn) {
    effects = {};
    replayed = false;
    c.out.bytes().resize(4);
    std::string_view last;
    if (c.head.sequence != 0 && txn.get(table_reply, slot, last)) {
      Reader r(last);
      if (r.get<uint64_t>() == c.head.sequence) {
        c.out.raw(r.rest());
        replayed = true;
        status = 0;
        return;
      }
    }
    Reader args = *c.in;  // a repeated transaction decodes again
    Reader* saved = c.in;
    c.in = &args;
    status = change(txn, effects);
    c.in = saved;
    if (status == 0 && c.head.sequence != 0) {
      Writer w;
      w.put(c.head.sequence).raw(std::string_view(c.out.bytes()).substr(4));
      txn.put(table_reply, slot, w.bytes());
    }
  });
  if (status == 0 && !replayed) sessions_.invalidate(effects, c.session.get());
  return status;
}

void Service::put_attr(Context& c, const Inode& inode, bool leased) {
  Attr a = attr_of(inode);
  if (S_ISREG(a.mode)) a.writers = sessions_.writers(c.session, a.id);
  a.leased = leased && a.writers != writers_others;
  put(c.out, a);
}

void Service::put_opened(Context& c, const Inode& inode, uint8_t rights) {
  Opened o;
  o.stripe_bytes = inode.r.stripe_bytes;
  o.width = inode.r.width;
  Capability cap;
  cap.rights = rights;
  cap.uid = c.head.caller.uid;
  cap.file = inode.id;
  cap.epoch = inode.r.epoch;
  cap.xloc_version = inode.r.xloc_version;
  cap.expires_ms = static_cast<uint64_t>(now_ns() / 1000000) + capability_ms;
  cap.node = c.session->node;
  cap.issuer = node_;
  o.body = encode(cap);
  for (uint16_t number : inode.osds) {
    Osd osd;
    if (!osds_.find(number, osd)) continue;
    o.osds.push_back({osd.name, sign(o.body, osd.key, osd.node)});
  }
  if (o.osds.size() != inode.osds.size()) o.osds.clear();
  put(c.out, o);
}

std::string Service::own_capability(uint64_t file, uint8_t rights, uint32_t epoch, uint16_t number, Mac& mac) const {
  Capability cap;
  cap.rights = rights;
  cap.file = file;
  cap.epoch = epoch;
  cap.expires_ms = static_cast<uint64_t>(now_ns() / 1000000) + 60000;
  cap.node = cap.issuer = node_;
  std::string body = encode(cap);
  Osd osd;
  if (osds_.find(number, osd)) mac = sign(body, osd.key, osd.node);
  return body;
}

/// Reads an inode with a lease on its attributes. The lease is noted before the transaction begins: whatever commits later sees it.
int Service::read_attr(Context& c, uint64_t id, const std::function<int(const Txn&, Inode&)>& find) {
  bool leased = sessions_.grant(c.session, id, false);
  Inode found;
  int status = 0;
  store_.read([&](const Txn& txn) { status = find(txn, found); });
  if (status != 0) return status;
  sessions_.settle_writers(found.id, c.session.get());
  put_attr(c, found, leased);
  return 0;
}

int Service::lookup(Context& c) {
  uint64_t directory = c.in->get<uint64_t>();
  auto name = c.in->text();
  c.in->finish();
  c.names_leased = sessions_.grant(c.session, directory, true);
  bool parent_leased = sessions_.grant(c.session, directory, false);
  Inode found, parent;
  int status = 0;
  store_.read([&](const Txn& txn) { status = engine_.lookup(txn, c.head.caller, directory, name, found, parent); });
  if (status != 0) return status;
  // The child is known only now: lease first, then read it again.
  bool leased = sessions_.grant(c.session, found.id, false);
  uint64_t id = found.id;
  store_.read([&](const Txn& txn) { status = engine_.getattr(txn, id, found); });
  if (status != 0) return status == ESTALE ? ENOENT : status;
  sessions_.settle_writers(found.id, c.session.get());
  put_attr(c, found, leased);
  put_attr(c, parent, parent_leased);
  return 0;
}

int Service::readdir(Context& c) {
  uint64_t directory = c.in->get<uint64_t>();
  std::string last(c.in->text());
  uint32_t bytes = std::min<uint32_t>(c.in->get<uint32_t>(), 1u << 20);
  c.in->finish();
  c.names_leased = sessions_.grant(c.session, directory, true);
  std::vector<std::pair<std::string, uint64_t>> names;
  size_t used = 0;
  bool end = true;
  int status = 0;
  std::vector<Inode> inodes;
  auto collect = [&](std::string_view name, const Inode& inode) {
    if (used + name.size() + 120 > bytes && !names.empty()) return false;
    used += name.size() + 120;
    names.emplace_back(name, inode.id);
    return true;
  };
  store_.read([&](const Txn& txn) { status = engine_.readdir(txn, c.head.caller, directory, last, collect, end); });
  if (status != 0) return status;
  std::vector<bool> leased;
  for (auto& [name, id] : names) leased.push_back(sessions_.grant(c.session, id, false));
  c.out.put<uint8_t>(end);
  size_t count_at = c.out.size();
  uint16_t count = 0;
  c.out.put(count);
  store_.read([&](const Txn& txn) {
    for (size_t i = 0; i < names.size(); ++i) {
      Inode inode;
      if (engine_.getattr(txn, names[i].second, inode) != 0) continue;
      c.out.text(names[i].first);
      put_attr(c, inode, leased[i]);
      ++count;
    }
  });
  c.out.patch(count_at, count);
  return 0;
}

int Service::create(Context& c) {
  Reader peek = *c.in;
  peek.get<uint64_t>();
  peek.text();
  peek.get<uint32_t>();
  uint32_t flags = peek.get<uint32_t>();
  uint64_t made_id = 0;
  int readers = (flags & O_ACCMODE) == O_RDONLY, writers = !readers;
  int status = mutate(c, [&](Txn& txn, Effects& effects) {
    uint64_t directory = c.in->get<uint64_t>();
    auto name = c.in->text();
    uint32_t mode = S_IFREG | (c.in->get<uint32_t>() & 07777);
    c.in->get<uint32_t>();
    Inode made, parent;
    auto place = [&](const VolumePolicy& policy) { return osds_.place(policy, c.session->node); };
    int r = engine_.create(txn, c.head.caller, directory, name, mode, 0, "", true, place, made, parent, effects);
    if (r != 0) return r;
    if (made_id != 0) sessions_.close(c.session, made_id, readers, writers);  // of a first, aborted run
    made_id = made.id;
    if (int o = sessions_.open(c.session, made.id, readers, writers); o != 0) return o;
    c.names_leased = sessions_.grant(c.session, parent.id, true);
    put_attr(c, made, sessions_.grant(c.session, made.id, false));
    put_attr(c, parent, sessions_.grant(c.session, parent.id, false));
    put_opened(c, made, right_read | right_write | right_truncate);
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
  if (write) sessions_.wait_settled();
  const bool wrote_before = write && sessions_.writes(c.session, id);
  bool leased = sessions_.grant(c.session, id, false);
  if (int r = sessions_.open(c.session, id, !write, write); r != 0) return r;
  int status = 0;
  Inode found;
  bool others_wrote = sessions_.writers(c.session, id) == writers_others;
  try {
    store_.read([&](const Txn& txn) { status = engine_.check_open(txn, c.head.caller, id, flags, found); });
    if (status == 0 && write && (!wrote_before || truncate || found.r.width == 0)) {
      Effects effects;
      auto place = [&](const VolumePolicy& policy) { return osds_.place(policy, c.session->node); };
      store_.write([&](Txn& txn) {
        effects = {};
        // Cutting is the client's work when there may be data: it tells the OSDs and then sets the size.
        status = engine_.begin_writing(txn, id, false, place, found, effects);
      });
      if (status == 0) sessions_.invalidate(effects, c.session.get());
    }
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
  put_opened(c, found, rights_of(flags));
  return 0;
}

int Service::close(Context& c) {
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

int Service::set_attributes(Context& c) {
  return mutate(c, [&](Txn& txn, Effects& effects) {
    uint64_t id = c.in->get<uint64_t>();
    SetAttr s = get_set_attr(*c.in);
    Inode i;
    if ((s.mask & set_size) && !sessions_.writes(c.session, id)) {
      if (int r = engine_.getattr(txn, id, i); r != 0) return r;
      if (int r = check_access(i, c.head.caller, 2); r != 0) return r;
    }
    int r = engine_.setattr(txn, c.head.caller, id, s, i, effects);
    if (r == 0) put_attr(c, i, sessions_.grant(c.session, id, false));
    return r;
  });
}

int Service::mutate_entry(uint16_t type, Context& c) {
  struct Bury {  // also when the transaction fails: a file must not stay unopenable
    Sessions& sessions;
    uint64_t id = 0;
    ~Bury() {
      if (id != 0) sessions.bury(id);
    }
  } bury{sessions_};
  uint64_t& killed = bury.id;
  return mutate(c, [&](Txn& txn, Effects& effects) {
    uint64_t first = c.in->get<uint64_t>();
    Inode child, parent, other;
    int r = 0;
    switch (type) {
      case mkdir: case mknod: case symlink: {
        auto name = c.in->text();
        uint32_t mode = type == symlink ? S_IFLNK | 0777 : c.in->get<uint32_t>();
        if (type == mkdir) mode = S_IFDIR | (mode & 07777);
        uint32_t rdev = type == mknod ? c.in->get<uint32_t>() : 0;
        std::string_view target = type == symlink ? c.in->text() : std::string_view();
        r = engine_.create(txn, c.head.caller, first, name, mode, rdev, target, false, {}, child, parent, effects);
        break;
      }
      case link: {
        uint64_t directory = c.in->get<uint64_t>();
        r = engine_.link(txn, c.head.caller, first, directory, c.in->text(), child, parent, effects);
        break;
      }
      case unlink: {
        bool there = false;
        r = engine_.unlink(txn, c.head.caller, first, c.in->text(), child, there, parent, effects);
        if (r != 0) return r;
        c.names_leased = sessions_.grant(c.session, parent.id, true);
        c.out.put(child.id).put<uint8_t>(there);
        if (there) put_attr(c, child, sessions_.grant(c.session, child.id, false));
        else killed = child.id;
        put_attr(c, parent, sessions_.grant(c.session, parent.id, false));
        return 0;
      }
      case rmdir: {
        uint64_t gone = 0;
        r = engine_.rmdir(txn, c.head.caller, first, c.in->text(), gone, parent, effects);
        if (r != 0) return r;
        c.names_leased = sessions_.grant(c.session, parent.id, true);
        c.out.put(gone);
        put_attr(c, parent, sessions_.grant(c.session, parent.id, false));
        return 0;
      }
      default: {
        auto name = c.in->text();
        uint64_t to = c.in->get<uint64_t>();
        auto to_name = c.in->text();
        uint32_t flags = c.in->get<uint32_t>();
        // A target that is overwritten may die with this: remember it to bury it.
        if (auto target = load_entry(txn, to, to_name)) killed = target->id;
        r = engine_.rename(txn, c.head.caller, first, name, to, to_name, flags, parent, other, effects);
        if (r != 0) return r;
        if (parent.id != 0) c.names_leased = sessions_.grant(c.session, parent.id, true) && sessions_.grant(c.session, other.id, true);
        put_attr(c, parent, parent.id != 0 && sessions_.grant(c.session, parent.id, false));
        put_attr(c, other, other.id != 0 && sessions_.grant(c.session, other.id, false));
        return 0;
      }
    }
    if (r != 0) return r;
    c.names_leased = sessions_.grant(c.session, parent.id, true);
    if (type == mkdir) c.names_leased = sessions_.grant(c.session, child.id, true) && c.names_leased;
    put_attr(c, child, sessions_.grant(c.session, child.id, false));
    put_attr(c, parent, sessions_.grant(c.session, parent.id, false));
    return 0;
  });
}

int Service::xattr(uint16_t type, Context& c) {
  if (type == setxattr || type == removexattr) {
    return mutate(c, [&](Txn& txn, Effects& effects) {
      uint64_t id = c.in->get<uint64_t>();
      auto name = c.in->text();
      if (type == removexattr) return engine_.removexattr(txn, c.head.caller, id, name, effects);
      uint32_t flags = c.in->get<uint32_t>();
      uint32_t bytes = c.in->get<uint32_t>();
      return engine_.setxattr(txn, c.head.caller, id, name, c.in->raw(bytes), flags, effects);
    });
  }
  uint64_t id = c.in->get<uint64_t>();
  int status = 0;
  if (type == getxattr) {
    auto name = c.in->text();
    std::string value;
    store_.read([&](const Txn& txn) { status = engine_.getxattr(txn, c.head.caller, id, name, value); });
    if (status == 0) c.out.put<uint32_t>(static_cast<uint32_t>(value.size())).raw(value);
  } else {
    std::vector<std::string> names;
    store_.read([&](const Txn& txn) { status = engine_.listxattr(txn, id, names); });
    c.out.put<uint16_t>(static_cast<uint16_t>(names.size()));
    for (auto& n : names) c.out.text(n);
  }
  return status;
}

int Service::lock(uint16_t type, Context& c) {
  uint64_t id = c.in->get<uint64_t>();
  Lock l = get_lock(*c.in);
  if (type == lock_get) {
    c.in->finish();
    put(c.out, sessions_.get_lock(c.session, id, l));
    return 0;
  }
  bool wait = c.in->get<uint8_t>() != 0;
  c.in->finish();
  // After a restart the holders of before come first.
  if (l.type != 2) sessions_.wait_settled();
  Lock blocker;
  return sessions_.set_lock(c.session, id, l, wait, blocker);
}

int Service::reclaim(Context& c) {
  uint32_t n = c.in->get<uint32_t>();
  for (uint32_t i = 0; i < n; ++i) {
    uint64_t id = c.in->get<uint64_t>();
    uint16_t readers = c.in->get<uint16_t>(), writers = c.in->get<uint16_t>();
    sessions_.open(c.session, id, readers, writers);
  }
  uint32_t m = c.in->get<uint32_t>();
  uint32_t lost = 0;
  for (uint32_t i = 0; i < m; ++i) {
    uint64_t id = c.in->get<uint64_t>();
    Lock l = get_lock(*c.in), blocker;
    if (sessions_.set_lock(c.session, id, l, false, blocker) != 0) ++lost;
  }
  c.in->finish();
  sessions_.reclaimed(c.session);
  if (lost) log(Priority::warning, "node '%s' could not get %u of its locks back: others hold them now", c.session->node.c_str(), lost);
  return 0;
}

int Service::statfs(Context& c) {
  uint64_t total = 0, free = 0, files = 0;
  for (auto& o : osds_.list()) {
    if (!o.up) continue;
    total += o.total_bytes;
    free += o.free_bytes;
  }
  store_.read([&](const Txn& txn) { files = txn.entries(table_inode); });
  c.out.put(total).put(free).put(files);
  return 0;
}

int Service::list_osds(Context& c) {
  auto all = osds_.list();
  c.out.put<uint16_t>(static_cast<uint16_t>(all.size()));
  for (auto& o : all) c.out.text(o.name).text(o.address).put(o.port).put(o.total_bytes).put(o.free_bytes);
  return 0;
}

int Service::renew(uint16_t type, Context& c) {
  uint64_t id = c.in->get<uint64_t>();
  uint32_t flags = type == capability ? c.in->get<uint32_t>() : static_cast<uint32_t>(O_WRONLY);
  c.in->finish();
  Inode i;
  int status = 0;
  // Who has the file open keeps the right that it had then, as a descriptor does.
  bool writes = sessions_.writes(c.session, id);
  store_.read([&](const Txn& txn) {
    status = engine_.getattr(txn, id, i);
    if (status == 0 && !writes && (type == prepare_truncate || (flags & O_ACCMODE) != O_RDONLY)) status = check_access(i, c.head.caller, 2);
    if (status == 0 && type == capability && !writes && !sessions_.is_open(id)) status = check_access(i, c.head.caller, 4);
  });
  if (status != 0) return status;
  put_attr(c, i, false);
  put_opened(c, i, rights_of(flags));
  return 0;
}

int Service::dispatch(uint16_t type, Context& c) {
  if (changes(type) && c.head.sequence == 0) throw Malformed("change without a sequence number");
  switch (type) {
    case metadata::lookup: return lookup(c);
    case getattr: {
      uint64_t id = c.in->get<uint64_t>();
      c.in->finish();
      return read_attr(c, id, [&](const Txn& txn, Inode& i) { return engine_.getattr(txn, id, i); });
    }
    case setattr: return set_attributes(c);
    case metadata::create: return create(c);
    case metadata::open: return open(c);
    case metadata::close: return close(c);
    case flush:
      return mutate(c, [&](Txn& txn, Effects& effects) {
        uint64_t id = c.in->get<uint64_t>(), size = c.in->get<uint64_t>();
        int64_t mtime = c.in->get<int64_t>();
        uint64_t disk_bytes = c.in->get<uint64_t>();
        if (!sessions_.writes(c.session, id)) return EBADF;
        Inode i;
        int r = engine_.update_written(txn, id, size, mtime, disk_bytes, sessions_.writers(c.session, id) == writers_self, i, effects);
        if (r == 0) put_attr(c, i, sessions_.grant(c.session, id, false));
        return r;
      });
    case mkdir: case mknod: case symlink: case link: case unlink: case rmdir: case rename: return mutate_entry(type, c);
    case metadata::readlink: {
      uint64_t id = c.in->get<uint64_t>();
      std::string target;
      int status = 0;
      store_.read([&](const Txn& txn) { status = engine_.readlink(txn, id, target); });
      if (status == 0) c.out.text(target);
      return status;
    }
    case metadata::readdir: return readdir(c);
    case metadata::statfs: return statfs(c);
    case getxattr: case setxattr: case listxattr: case removexattr: return xattr(type, c);
    case lock_get: case lock_set: return lock(type, c);
    case metadata::sync: store_.sync(); return 0;
    case metadata::reclaim: return reclaim(c);
    case osd_list: return list_osds(c);
    case capability: case prepare_truncate: return renew(type, c);
    default: throw Malformed("unknown metadata request " + std::to_string(type));
  }
}

}  // namespace xos::fs::metadata
