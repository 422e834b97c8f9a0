#include "service.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "capability.h"
#include "frame_server.h"
#include "log.h"
#include "metadata_metrics.h"
#include "mirrors.h"

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
    case setattr: case create: case tmpfile: case flush: case mkdir: case mknod: case symlink: case link: case unlink: case rmdir: case rename:
    case setxattr: case removexattr: return true;
    default: return false;
  }
}

}  // namespace

Service::Service(Store& store, Engine& engine, Sessions& sessions, OsdTable& osds, Moves& moves, std::string node)
    : store_(store), engine_(engine), sessions_(sessions), osds_(osds), moves_(moves), node_(std::move(node)), instance_(random_id()) {}

bool Service::hello(wire::Connection& connection, const wire::FrameHeader& h, const std::vector<std::byte>& payload, Sessions::Ptr& session) {
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
  store_.wait_current();
  Writer w;
  w.put<int32_t>(0).put(instance_).put<uint32_t>(lease_ms).put<uint8_t>(known);
  iovec piece{w.bytes().data(), w.size()};
  connection.send({0, answer, 0, h.id}, {&piece, 1}, io_timeout_ms);
  return callbacks;
}

void Service::serve(wire::Connection& connection, const wire::FrameHeader& first, const std::vector<std::byte>& greeting) {
  Context c;
  struct Detach {
    Sessions& sessions;
    Sessions::Ptr& session;
    ~Detach() {
      if (session) sessions.detach(session);
    }
  } detach{sessions_, c.session};
  if (hello(connection, first, greeting, c.session)) {
    sessions_.serve_callbacks(c.session, connection, [&] { store_.wait_current(); });
    return;
  }
  std::vector<std::byte> payload;
  for (;;) {
    wire::FrameHeader h = connection.receive(payload, idle_timeout_ms);
    metrics::Timed timed(MetadataMetrics::instance().of(h.type));
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
    store_.wait_current();
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
  if (engine_.keeps_no_atime(inode.r.volume) || is_frozen(inode)) a.flags |= attr_no_atime;
  put(c.out, a);
}

void Service::put_opened(Context& c, const Inode& opened, uint8_t rights, uint64_t grow_to, const Inode* contents) {
  const Inode& inode = contents ? *contents : opened;
  // A picture would change under a reader who has the object itself, and a write past the OSD cannot be held up while one is made.
  if (is_frozen(opened) || ((rights & right_write) && engine_.keeps_snapshots(opened.r.volume))) rights |= right_served;
  Opened o;
  o.grow_to = grow_to;
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
  if (inode.mirror.on()) {
    cap.rights |= right_served;
    o.mirrored = 1;
    OsdReference leader;
    if (!mirrors_->grant(inode.id, cap, o.body, leader)) {
      // Whoever leads at this moment refuses it, and the client asks again.
      cap.session = session_none;
      o.body = encode(cap);
      Osd osd;
      if (osds_.find(inode.osds.front(), osd)) leader = {osd.name, sign(o.body, osd.key, osd.node)};
    }
    o.osds.push_back(std::move(leader));
    o.size = inode.r.size;
    put(c.out, o);
    return;
  }
  o.body = encode(cap);
  for (size_t copy : copies_for(inode, c.session->node)) {
    std::vector<OsdReference> references;
    for (size_t i = copy * inode.r.width; i < (copy + 1) * inode.r.width; ++i) {
      Osd osd;
      if (!osds_.find(inode.osds[i], osd)) break;
      references.push_back({osd.name, sign(o.body, osd.key, osd.node)});
    }
    if (references.size() != inode.r.width) continue;
    auto& to = o.osds.empty() ? o.osds : o.copies;
    to.insert(to.end(), references.begin(), references.end());
  }
  o.size = inode.r.size;
  put(c.out, o);
}

/// The whole copies of the contents, best first for a client on `node`: what is there, what is near, as they come.
std::vector<size_t> Service::copies_for(const Inode& inode, const std::string& node) const {
  std::vector<size_t> copies;
  if (inode.r.width == 0) return copies;
  for (size_t copy = 0; copy < std::min<size_t>(inode.r.replicas, copies_of(inode)); ++copy) copies.push_back(copy);
  if (copies.size() < 2) return copies;
  std::vector<int> rank;
  for (size_t copy : copies) {
    bool up = true, near = true;
    for (size_t i = copy * inode.r.width; i < (copy + 1) * inode.r.width; ++i) {
      Osd osd;
      const bool known = osds_.find(inode.osds[i], osd);
      up &= known && osd.up;
      near &= known && osd.node == node;
    }
    rank.push_back((up ? 0 : 2) + (near ? 0 : 1));
  }
  std::stable_sort(copies.begin(), copies.end(), [&](size_t a, size_t b) { return rank[a] < rank[b]; });
  return copies;
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

int Service::lock(uint16_t type, Context& c) {
  uint64_t id = c.in->get<uint64_t>();
  Lock l = get_lock(*c.in);
  if (type == lock_get) {
    c.in->finish();
    put(c.out, sessions_.get_lock(c.session, id, l));
    return 0;
  }
  const uint8_t wait = c.in->get<uint8_t>();
  c.in->finish();
  if (wait == 2) {
    sessions_.cancel_lock(c.session, id, l);
    return 0;
  }
  // After a restart the holders of before come first.
  if (l.type != 2) sessions_.wait_settled();
  Lock blocker;
  return sessions_.set_lock(c.session, id, l, wait == 1, blocker);
}

int Service::reclaim(Context& c) {
  c.session->generation = c.in->get<uint64_t>();
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
  uint64_t id = c.in->get<uint64_t>();
  c.in->finish();
  store_.read([&](const Txn& txn) {
    files = txn.entries(table_inode);
    Inode i;
    if (engine_.getattr(txn, id, i) == 0) engine_.limit_space(txn, i.r.volume, c.head.caller.uid, total, free);
  });
  c.out.put(total).put(free).put(files);
  return 0;
}

int Service::list_osds(Context& c) {
  auto all = osds_.list();
  c.out.put<uint16_t>(static_cast<uint16_t>(all.size()));
  for (auto& o : all) c.out.text(o.name).text(o.address).put(o.port).put(o.total_bytes).put(o.free_bytes);
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
    case metadata::create: case tmpfile: return create(type, c);
    case metadata::accessed: return accessed(c);
    case metadata::reserve: return reserve(c);
    case metadata::open: return open(c);
    case metadata::close: return close(c);
    case metadata::flush: return flush(c);
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
    case right_failed: return failed(c);
    default: throw Malformed("unknown metadata request " + std::to_string(type));
  }
}

}  // namespace xos::fs::metadata
