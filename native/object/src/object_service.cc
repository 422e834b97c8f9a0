#include "object_service.h"

#include <time.h>

#include <cerrno>
#include <unordered_map>

#include "frame_server.h"
#include "log.h"
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
    case object::read: return right_read;
    case object::write:
    case object::append:
    case object::reserve:
    case object::allocate: return right_write;
    case object::truncate: return right_truncate | right_write;
    case object::remove: return right_delete;
    case object::extent:
    case object::sync: return right_read | right_write | right_truncate;
    default: return 0;
  }
}

void put(Writer& w, const Extent& e) { w.put(e.stripe_end).put(e.last_bytes).put(e.mtime_ns).put(e.disk_bytes); }

/// What one connection has verified already: the same capability comes with every request to a file.
class Verified {
 public:
  Verified(CapabilityVerifier& verifier, std::string node) : verifier_(verifier), node_(std::move(node)) {}
  /// Null when refused (logged with the reason); `status` says how to answer.
  const Capability* check(std::string_view body, std::string_view mac, int& status) {
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

 private:
  CapabilityVerifier& verifier_;
  std::string node_;
  std::unordered_map<std::string, Capability> known_;
  uint64_t generation_ = 0;
};

}  // namespace

/// Does one request that is not a read; returns 0 or -errno and puts the result behind the status.
static int perform(ObjectStore& store, uint16_t type, uint64_t file, Reader& r, Writer& out) {
  Extent e;
  int status;
  switch (type) {
    case object::write: {
      auto stripe = r.get<uint64_t>();
      auto offset = r.get<uint32_t>();
      auto data = r.rest();
      if (offset + uint64_t{data.size()} > (64u << 20)) return -EFBIG;
      status = store.write(file, stripe, offset, data.data(), static_cast<uint32_t>(data.size()), e);
      put(out, e);
      return status;
    }
    case object::append: {
      auto stripe_bytes = r.get<uint32_t>();
      auto data = r.rest();
      if (stripe_bytes < 4096) return -EINVAL;
      uint64_t offset = 0;
      status = store.append(file, stripe_bytes, data.data(), static_cast<uint32_t>(data.size()), offset, e);
      out.put(offset);
      put(out, e);
      return status;
    }
    case object::extent:
      status = store.extent(file, e);
      put(out, e);
      return status;
    case object::truncate: {
      auto stripe_bytes = r.get<uint32_t>();
      auto width = r.get<uint16_t>();
      auto index = r.get<uint16_t>();
      auto size = r.get<uint64_t>();
      if (stripe_bytes < 4096 || width == 0 || index >= width) return -EINVAL;
      status = store.truncate(file, stripe_bytes, width, index, size, e);
      put(out, e);
      return status;
    }
    case object::allocate: {
      auto stripe = r.get<uint64_t>();
      auto offset = r.get<uint32_t>();
      auto bytes = r.get<uint32_t>();
      if (offset + uint64_t{bytes} > (64u << 20)) return -EFBIG;
      status = store.allocate(file, stripe, offset, bytes, e);
      put(out, e);
      return status;
    }
    case object::reserve: {
      auto seen = r.get<uint64_t>();
      auto bytes = r.get<uint32_t>();
      uint64_t offset = 0;
      status = store.reserve(file, seen, bytes, offset);
      out.put(offset);
      return status;
    }
    case object::remove: return store.remove(file);
    case object::sync: return store.sync(file);
    default: throw Malformed("unknown object request " + std::to_string(type));
  }
}

void ObjectService::serve(wire::Connection& connection) {
  Verified verified(verifier_, connection.peer().node);
  Writer out;
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
    Reader r(data, h.length);
    out.clear();
    out.put<int32_t>(0);
    iovec pieces[2];
    size_t count = 1;
    int status = 0;
    if (h.type == object::space) {
      r.finish();
      Space s = store_.space();
      out.put(s.total_bytes).put(s.free_bytes).put(s.objects);
    } else {
      auto body = r.text();
      auto mac = r.raw(32);
      const Capability* c = verified.check(body, mac, status);
      if (!c) {
        // refused
      } else if (!(c->rights & right_for(h.type))) status = -EACCES;
      else if (!store_.admit_epoch(c->file, c->epoch)) status = -ESTALE;
      else if (h.type == object::read) {
        auto stripe = r.get<uint64_t>();
        auto offset = r.get<uint32_t>();
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
        int64_t n = store_.read(c->file, stripe, offset, data, bytes);
        if (n < 0) status = static_cast<int>(n);
        else if (n > 0) {
          pieces[1] = {data, static_cast<size_t>(n)};
          count = 2;
        }
      } else {
        status = perform(store_, h.type, c->file, r, out);
      }
    }
    out.patch<int32_t>(0, -status);
    if (status != 0) out.bytes().resize(4);
    pieces[0] = {out.bytes().data(), out.size()};
    connection.send({0, object::answer, 0, h.id}, std::span(pieces, count), io_timeout_ms);
  }
}

}  // namespace xos::fs
