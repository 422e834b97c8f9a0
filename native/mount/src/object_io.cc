#include "object_io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "codec.h"
#include "object_protocol.h"
#include "stripe.h"

namespace xos::fs {

using metadata::Opened;

namespace {

constexpr int timeout_ms = 10000;

StripePolicy policy_of(const Opened& o) { return {o.stripe_bytes, o.width}; }

std::string proof(const Opened& o, size_t osd) {
  Writer w;
  w.text(o.body).raw({reinterpret_cast<const char*>(o.osds[osd].mac.data()), 32});
  return std::move(w.bytes());
}

Extent get_extent(Reader& r) {
  Extent e;
  e.stripe_end = r.get<uint64_t>();
  e.last_bytes = r.get<uint32_t>();
  e.mtime_ns = r.get<int64_t>();
  e.disk_bytes = r.get<uint64_t>();
  return e;
}

void add(ObjectIo::Summary& s, const StripePolicy& policy, const Extent& e) {
  s.size = std::max(s.size, file_size(policy, e.stripe_end, e.last_bytes));
  s.mtime_ns = std::max(s.mtime_ns, e.mtime_ns);
  s.disk_bytes += e.disk_bytes;
}

}  // namespace

void ObjectIo::set_servers(const std::vector<OsdAddress>& osds) {
  std::lock_guard lock(mutex_);
  for (auto& o : osds) {
    auto& c = clients_[o.name];
    if (c && c->host() == o.host && c->port() == o.port) continue;
    c = std::make_shared<RpcClient>(tls_, "OSD '" + o.name + "'", o.host, o.port);
  }
}

void ObjectIo::trim(size_t keep) {
  std::lock_guard lock(mutex_);
  for (auto& [name, c] : clients_) c->trim(keep);
}

std::shared_ptr<RpcClient> ObjectIo::client(const std::string& name) {
  std::lock_guard lock(mutex_);
  auto it = clients_.find(name);
  return it == clients_.end() ? nullptr : it->second;
}

int ObjectIo::call(const Opened& layout, size_t osd, uint16_t type, const std::string& arguments, const void* data, size_t bytes,
                   RpcClient::Answer& answer, bool repeatable) {
  if (osd >= layout.osds.size()) return EHOSTDOWN;
  auto c = client(layout.osds[osd].name);
  if (!c) return EHOSTDOWN;
  std::string head = proof(layout, osd);
  head += arguments;
  iovec pieces[2] = {{head.data(), head.size()}, {const_cast<void*>(data), bytes}};
  return c->call(type, {pieces, bytes ? 2u : 1u}, answer, timeout_ms, repeatable);
}

int ObjectIo::read(const Opened& layout, uint64_t offset, char* data, uint32_t bytes, uint32_t& held) {
  int status = 0;
  uint32_t done = 0;
  held = 0;
  for_each_stripe(policy_of(layout), offset, bytes, [&](const StripeRange& s) {
    if (s.osd >= layout.osds.size()) return status = EHOSTDOWN, false;
    auto c = client(layout.osds[s.osd].name);
    if (!c) return status = EHOSTDOWN, false;
    Writer w;
    w.raw(proof(layout, s.osd)).put(s.stripe).put(s.offset).put(s.bytes);
    iovec piece{w.bytes().data(), w.size()};
    size_t got = 0;
    status = c->call_into(object::read, {&piece, 1}, data + done, s.bytes, got, timeout_ms);
    if (status != 0) return false;
    if (got > 0) held = done + static_cast<uint32_t>(got);
    std::memset(data + done + got, 0, s.bytes - got);
    done += s.bytes;
    return true;
  });
  return status;
}

int ObjectIo::write(const Opened& layout, uint64_t offset, const char* data, uint32_t bytes, uint32_t& done, Summary& summary) {
  int status = 0;
  done = 0;
  for_each_stripe(policy_of(layout), offset, bytes, [&](const StripeRange& s) {
    Writer w;
    w.put(s.stripe).put(s.offset);
    RpcClient::Answer answer;
    status = call(layout, s.osd, object::write, w.bytes(), data + done, s.bytes, answer);
    if (status != 0) return false;
    done += s.bytes;
    Reader r(answer.begin(), answer.size());
    summary = {};
    add(summary, policy_of(layout), get_extent(r));
    return true;
  });
  summary.size = offset + done;
  return status;
}

int ObjectIo::append(const Opened& layout, const char* data, uint32_t bytes, uint64_t& offset, Summary& summary) {
  RpcClient::Answer answer;
  if (layout.width == 1) {
    // Not repeated after a broken connection: the OSD may have done it, and doing it twice would be worse than an error.
    if (int r = call(layout, 0, object::append, Writer().put(layout.stripe_bytes).bytes(), data, bytes, answer, false); r != 0) return r;
    Reader r(answer.begin(), answer.size());
    offset = r.get<uint64_t>();
    add(summary, policy_of(layout), get_extent(r));
    return 0;
  }
  Summary seen;
  if (int r = this->summary(layout, seen); r != 0) return r;
  if (int r = call(layout, 0, object::reserve, Writer().put(seen.size).put(bytes).bytes(), nullptr, 0, answer, false); r != 0) return r;
  offset = Reader(answer.begin(), answer.size()).get<uint64_t>();
  uint32_t done;
  return write(layout, offset, data, bytes, done, summary);
}

int ObjectIo::summary(const Opened& layout, Summary& summary) {
  summary = {};
  for (size_t i = 0; i < layout.osds.size(); ++i) {
    RpcClient::Answer answer;
    if (int r = call(layout, i, object::extent, {}, nullptr, 0, answer); r != 0) return r;
    Reader r(answer.begin(), answer.size());
    add(summary, policy_of(layout), get_extent(r));
  }
  return layout.osds.empty() && layout.width > 0 ? EHOSTDOWN : 0;
}

int ObjectIo::truncate(const Opened& layout, uint64_t size, Summary& summary) {
  summary = {};
  if (layout.osds.empty()) return EHOSTDOWN;
  for (size_t i = 0; i < layout.osds.size(); ++i) {
    RpcClient::Answer answer;
    Writer w;
    w.put(layout.stripe_bytes).put(layout.width).put<uint16_t>(static_cast<uint16_t>(i)).put(size);
    if (int r = call(layout, i, object::truncate, w.bytes(), nullptr, 0, answer); r != 0) return r;
    Reader r(answer.begin(), answer.size());
    add(summary, policy_of(layout), get_extent(r));
  }
  summary.size = size;
  return 0;
}

int ObjectIo::allocate(const Opened& layout, uint64_t offset, uint64_t bytes, Summary& summary) {
  int status = 0;
  for_each_stripe(policy_of(layout), offset, bytes, [&](const StripeRange& s) {
    RpcClient::Answer answer;
    status = call(layout, s.osd, object::allocate, Writer().put(s.stripe).put(s.offset).put(s.bytes).bytes(), nullptr, 0, answer);
    if (status != 0) return false;
    Reader r(answer.begin(), answer.size());
    summary = {};
    add(summary, policy_of(layout), get_extent(r));
    return true;
  });
  summary.size = offset + bytes;
  return status;
}

int ObjectIo::sync(const Opened& layout) {
  for (size_t i = 0; i < layout.osds.size(); ++i) {
    RpcClient::Answer answer;
    if (int r = call(layout, i, object::sync, {}, nullptr, 0, answer); r != 0) return r;
  }
  return 0;
}

}  // namespace xos::fs
