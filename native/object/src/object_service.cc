#include "object_service.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "data_sums.h"
#include "frame_server.h"
#include "log.h"
#include "object_metrics.h"
#include "object_protocol.h"

namespace xos::fs {

namespace {

uint64_t now_ms() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
}

uint8_t right_for(uint16_t type) {
  switch (type) {
    case object::read:
    case object::digest:
    case object::seek: return right_read;
    case object::write:
    case object::append:
    case object::append_once:
    case object::append_at:
    case object::reserve:
    case object::copy:
    case object::allocate: return right_write;
    case object::truncate: return right_truncate | right_write;
    case object::list:
    case object::damaged:
    case object::lease:
    case object::fence:
    case object::remove: return right_delete;
    case object::extent:
    case object::sync: return right_read | right_write | right_truncate;
    default: return 0;
  }
}

void put(Writer& w, const Extent& e) { w.put(e.bytes).put(e.mtime_ns).put(e.disk_bytes); }

/// The data of a write, and the checksums that came with them; false when those are others. Throws Malformed.
bool checked_data(uint64_t file, uint64_t offset, uint16_t flags, Reader& r, std::string_view& data, std::vector<uint32_t>& sums) {
  sums.clear();
  if (!(flags & object::flag_checked)) {
    data = r.rest();
    return true;
  }
  auto bytes = r.get<uint32_t>();
  data = r.raw(bytes);
  auto given = r.raw(sums_count(offset, bytes) * 4);
  r.finish();
  sums_of(offset, data, sums);
  if (std::memcmp(sums.data(), given.data(), given.size()) == 0) return true;
  log(Priority::error, "data for file %lx at %lu came with wrong checksums and were not written", file, offset);
  return false;
}

int copy(ObjectStore& store, Verified& verified, uint64_t file, Reader& r, Writer& out) {
  auto to = r.get<uint64_t>();
  int status = 0;
  const Capability* source = verified.check(r, status);
  if (!source) return status;
  if (!(source->rights & right_read)) return -EACCES;
  if (source->session != 0) return -EOPNOTSUPP;  // the client reads it from who leads
  const auto admitted = store.admit(source->file, source->epoch);
  if (!admitted) return -ESTALE;
  const uint64_t source_file = source->file;
  auto from = r.get<uint64_t>();
  auto bytes = r.get<uint32_t>();
  r.finish();
  if (bytes > object::io_bytes_max) throw Malformed("copy of " + std::to_string(bytes) + " bytes");
  auto buffer = BufferPool::instance().take(std::max<uint32_t>(bytes, 1));
  int64_t n = store.read(source_file, from, buffer.data, bytes);
  if (n < 0) return static_cast<int>(n);
  Extent e;
  status = n == 0 ? store.extent(file, e) : store.write(file, to, buffer.data, static_cast<uint32_t>(n), e);
  // Behind the source's end is a hole, so there is one here too.
  if (status == 0 && n < bytes && e.bytes > to + static_cast<uint64_t>(n))
    status = store.allocate(file, Allocate::punch, to + static_cast<uint64_t>(n), bytes - static_cast<uint64_t>(n), e);
  put(out, e);
  return status;
}

/// Not under an admission: it waits for all of those.
int fence(ObjectStore& store, const Capability& c, Reader& r, Writer& out) {
  auto until_ms = r.get<int64_t>();
  r.finish();
  ObjectStore::Fenced fenced;
  if (int status = store.fence(c.file, c.epoch, until_ms, fenced); status != 0) return status;
  out.put<uint8_t>(fenced.lent_to_write ? 2 : fenced.open_elsewhere).put(fenced.reserved_end);
  put(out, fenced.extent);
  return 0;
}

/// Only an MRC gives itself a right to no file in particular.
int list(ObjectStore& store, uint64_t file, Reader& r, Writer& out) {
  auto from = r.get<uint64_t>();
  auto n = r.get<uint32_t>();
  r.finish();
  if (file != 0) return -EACCES;
  if (n > object::list_max) throw Malformed("list of " + std::to_string(n) + " objects");
  bool end = false;
  auto listed = store.list(from, n, end);
  out.put<uint8_t>(end).put(static_cast<uint32_t>(listed.size()));
  for (auto& o : listed) out.put(o.file).put(o.disk_bytes).put(o.age_ms);
  return 0;
}

int damaged(ObjectStore& store, uint64_t file, Reader& r, Writer& out) {
  r.finish();
  if (file != 0) return -EACCES;
  auto blocks = store.corrupt();
  blocks.resize(std::min<size_t>(blocks.size(), object::list_max));
  out.put(static_cast<uint32_t>(blocks.size()));
  for (auto& b : blocks) out.put(b.file).put(b.block);
  return 0;
}

}  // namespace

const Capability* Verified::check(Reader& r, int& status) {
  auto body = r.text();
  auto mac = r.raw(32);
  if (generation_ != verifier_.generation() || known_.size() >= 256) {
    generation_ = verifier_.generation();
    known_.clear();
  }
  std::string key;
  key.reserve(body.size() + mac.size());
  key.append(body).append(mac);
  auto it = known_.find(key);
  if (it != known_.end()) {
    if (it->second.expires_ms > now_ms()) return &it->second;
    known_.erase(it);
  }
  Capability c;
  Refusal refusal = verifier_.verify(body, mac, node_, now_ms(), c);
  if (refusal != Refusal::none) {
    log(Priority::warning, "refused a capability of node '%s' for file %lx: %s", node_.c_str(), c.file, describe(refusal));
    // An issuer that we were not told of yet is no crime of the client: it tries again.
    status = refusal == Refusal::unknown_issuer ? -ENOKEY : -EACCES;
    return nullptr;
  }
  return &known_.emplace(std::move(key), std::move(c)).first->second;
}

/// A change of a file that this OSD leads.
int perform_mirrored(ObjectStore& store, Mirror& mirror, Verified& verified, uint16_t type, uint16_t flags, const Capability& c, Reader& r, Writer& out) {
  if (type == object::append_once) {
    const auto identity = r.get<uint64_t>();
    std::string_view data;
    std::vector<uint32_t> sums;
    if (!checked_data(c.file, 0, flags, r, data, sums)) return -EIO;
    uint64_t offset = 0;
    Extent e;
    const int status = mirror.append(c, identity, data, offset, e);
    if (status == 0) ObjectMetrics::instance().written_bytes.add(data.size());
    out.put(offset);
    put(out, e);
    return status;
  }
  const std::string_view arguments = r.rest();
  return mirror.perform(c, type, flags, arguments, [&] {
    Reader again(arguments);
    return perform(store, mirror, verified, type, flags, c, again, out);
  });
}

int perform(ObjectStore& store, Mirror& mirror, Verified& verified, uint16_t type, uint16_t flags, const Capability& c, Reader& r, Writer& out) {
  Extent e;
  int status;
  const uint64_t file = c.file;  // a copy's second capability may move the first one
  switch (type) {
    case object::append_at: {
      const auto identity = r.get<uint64_t>(), offset = r.get<uint64_t>();
      std::string_view data;
      std::vector<uint32_t> sums;
      if (!checked_data(file, offset, flags, r, data, sums)) return -EIO;
      status = mirror.append_at(c, identity, offset, data, sums.empty() ? nullptr : sums.data(), e);
      put(out, e);
      return status;
    }
    case object::lease: {
      const auto session = r.get<uint64_t>();
      const auto heard_ms = r.get<int64_t>();
      r.finish();
      if (file != 0) return -EACCES;
      const auto answer = mirror.session().lease(session, heard_ms);
      out.put(answer.session).put(answer.now_ms);
      return 0;
    }
    case object::digest: {
      const auto first = r.get<uint64_t>();
      const auto count = r.get<uint32_t>();
      const bool read = r.get<uint8_t>() != 0;
      r.finish();
      if (count > object::digests_max || first > object_bytes_max) throw Malformed("digests of " + std::to_string(count) + " blocks");
      std::vector<uint64_t> digests;
      status = store.digest(file, first, count, read, digests);
      out.raw({reinterpret_cast<const char*>(digests.data()), digests.size() * 8});
      return status;
    }
    case object::write: {
      auto offset = r.get<uint64_t>();
      std::string_view data;
      std::vector<uint32_t> sums;
      if (!checked_data(file, offset, flags, r, data, sums)) return -EIO;
      status = store.write(file, offset, data.data(), static_cast<uint32_t>(data.size()), e, sums.empty() ? nullptr : sums.data());
      if (status == 0) ObjectMetrics::instance().written_bytes.add(data.size());
      put(out, e);
      return status;
    }
    case object::append: {
      std::string_view data;
      std::vector<uint32_t> sums;
      if (!checked_data(file, 0, flags, r, data, sums)) return -EIO;
      uint64_t offset = 0;
      status = store.append(file, data.data(), static_cast<uint32_t>(data.size()), offset, e);
      if (status == 0) ObjectMetrics::instance().written_bytes.add(data.size());
      out.put(offset);
      put(out, e);
      return status;
    }
    case object::extent:
      r.finish();
      status = store.extent(file, e);
      put(out, e);
      return status;
    case object::truncate: {
      auto bytes = r.get<uint64_t>();
      r.finish();
      status = store.truncate(file, bytes, e);
      put(out, e);
      return status;
    }
    case object::allocate: {
      auto mode = r.get<uint8_t>();
      auto offset = r.get<uint64_t>();
      auto bytes = r.get<uint64_t>();
      r.finish();
      if (mode > static_cast<uint8_t>(Allocate::zero_keep_size)) return -EOPNOTSUPP;
      status = store.allocate(file, static_cast<Allocate>(mode), offset, bytes, e);
      put(out, e);
      return status;
    }
    case object::seek: {
      auto offset = r.get<uint64_t>();
      bool hole = r.get<uint8_t>() != 0;
      r.finish();
      uint64_t found = 0;
      if (offset > object_bytes_max) return -ENXIO;
      status = store.seek(file, offset, hole, found);
      out.put(found);
      return status;
    }
    case object::copy: return c.session != 0 ? -EOPNOTSUPP : copy(store, verified, file, r, out);
    case object::reserve: {
      auto seen = r.get<uint64_t>();
      auto bytes = r.get<uint32_t>();
      r.finish();
      if (seen > object_bytes_max) return -EFBIG;
      uint64_t offset = 0;
      status = store.reserve(file, seen, bytes, offset);
      out.put(offset);
      return status;
    }
    case object::list: return list(store, file, r, out);
    case object::damaged: return damaged(store, file, r, out);
    case object::remove: r.finish(); return store.remove(file);
    case object::sync: r.finish(); return store.sync(file);
    default: throw Malformed("unknown object request " + std::to_string(type));
  }
}

void ObjectService::serve(wire::Connection& connection) {
  Verified verified(verifier_, connection.peer().node);
  Writer out;
  std::vector<uint32_t> sums;
  ObjectMetrics& counted = ObjectMetrics::instance();
  for (;;) {
    wire::FrameHeader h = connection.receive_header(idle_timeout_ms);
    // Small requests live on the stack; only data needs one of the shared large buffers.
    char small[8192];
    BufferPool::Buffer large;
    char* data = small;
    if (h.length > sizeof small) {
      large = BufferPool::instance().take(h.length);
      data = large.data;
    }
    connection.read_exact(data, h.length, io_timeout_ms);
    metrics::Timed timed(counted.of(h.type));
    Reader r(data, h.length);
    out.clear();
    out.put<int32_t>(0);
    iovec pieces[3];
    size_t count = 1;
    int status = 0;
    uint16_t flags = 0;
    ObjectStore::Admission admitted;  // given back before the answer is sent: that may take long
    if (h.type == object::space) {
      r.finish();
      Space s = store_.space();
      out.put(s.total_bytes).put(s.free_bytes).put(s.objects);
    } else if (const Capability* c = verified.check(r, status); c) {
      if (!(c->rights & right_for(h.type))) status = -EACCES;
      else if (h.type == object::fence) status = fence(store_, *c, r, out);
      else if (!(admitted = store_.admit(c->file, c->epoch)) || !mirror_.holds(*c)) status = -ESTALE;
      else if (h.type == object::read) {
        auto offset = r.get<uint64_t>();
        auto bytes = r.get<uint32_t>();
        r.finish();
        if (bytes > object::io_bytes_max) throw Malformed("read of " + std::to_string(bytes) + " bytes");
        if (!large.data || large.bytes < bytes) {
          if (bytes <= sizeof small) data = small;
          else {
            large = BufferPool::instance().take(bytes);
            data = large.data;
          }
        }
        const bool checked = h.flags & object::flag_checked;
        int64_t n = store_.read(c->file, offset, data, bytes, checked ? &sums : nullptr);
        if (n < 0) status = static_cast<int>(n);
        else if (n > 0) {
          counted.read_bytes.add(static_cast<uint64_t>(n));
          pieces[count++] = {data, static_cast<size_t>(n)};
          if (checked) {
            flags = object::flag_checked;
            out.put<uint32_t>(static_cast<uint32_t>(n));
            pieces[count++] = {sums.data(), sums.size() * 4};
          }
        }
      } else {
        // A new epoch does not wait for a disk: what is synced stays so.
        if (h.type == object::sync && c->session != 0) admitted = {};
        const bool leads = c->session != 0 && Mirror::changes(h.type) && (!c->members.empty() || h.type == object::append_once);
        status = leads ? perform_mirrored(store_, mirror_, verified, h.type, h.flags, *c, r, out) : perform(store_, mirror_, verified, h.type, h.flags, *c, r, out);
      }
      // Another one may lead since this one began to look.
      if (status == 0 && (h.type == object::read || h.type == object::seek || h.type == object::extent) && !mirror_.holds(*c)) status = -ESTALE;
    }
    admitted = {};
    if (status == -EACCES || status == -ESTALE) counted.refused.add();
    out.patch<int32_t>(0, -status);
    if (status != 0) {
      out.bytes().resize(4);
      count = 1;
    }
    pieces[0] = {out.bytes().data(), out.size()};
    connection.send({0, object::answer, flags, h.id}, std::span(pieces, count), io_timeout_ms);
  }
}

}  // namespace xos::fs
