#include "object_io.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "capability.h"
#include "codec.h"
#include "data_sums.h"
#include "log.h"
#include "object_protocol.h"
#include "stripe.h"

namespace xos::fs {

using metadata::Opened;

struct ObjectIo::Request {
  size_t osd;
  std::string head;            // capability and arguments
  std::vector<iovec> data;     // of a write
  std::vector<uint32_t> sums;  // behind the data
  RpcClient::Transfer transfer;
};

namespace {

constexpr int osd_timeout_ms = 10000;
/// When there is another replica to be read.
constexpr int replica_timeout_ms = 1500;
constexpr int64_t avoid_ms = 30000;
/// Of files with write replicas, where the MRC is told when it takes longer. The OSD itself waits for others; disks that sync take their time.
constexpr int mirrored_timeout_ms = 2500, mirrored_sync_ms = 5000, mirrored_unreachable_ms = 300;

StripePolicy policy_of(const Opened& o) { return {o.stripe_bytes, o.width}; }

Extent get_extent(Reader& r) {
  Extent e;
  e.bytes = r.get<uint64_t>();
  e.mtime_ns = r.get<int64_t>();
  e.disk_bytes = r.get<uint64_t>();
  return e;
}

void add(ObjectIo::Summary& s, const StripePolicy& policy, size_t osd, const RpcClient::Answer& answer) {
  Reader r(answer.begin(), answer.size());
  Extent e = get_extent(r);
  s.size = std::max(s.size, file_size(policy, static_cast<uint16_t>(osd), e.bytes));
  s.mtime_ns = std::max(s.mtime_ns, e.mtime_ns);
  s.disk_bytes += e.disk_bytes;
}

/// What a range of a file is at each OSD: one range of the object, in pieces of the file.
struct Share {
  uint64_t offset = 0, bytes = 0;
  std::vector<StripePiece> pieces;
};

std::vector<Share> shares_of(const Opened& layout, uint64_t offset, uint64_t bytes) {
  std::vector<Share> shares(layout.width);
  for_each_piece(policy_of(layout), offset, bytes, [&](const StripePiece& p) {
    Share& s = shares[p.osd];
    if (s.pieces.empty()) s.offset = p.offset;
    s.bytes += p.bytes;
    s.pieces.push_back(p);
    return true;
  });
  return shares;
}

void sums_of_pieces(const std::vector<StripePiece>& pieces, const char* data, uint64_t bytes, std::vector<uint32_t>& sums) {
  std::vector<uint32_t> part;
  sums.clear();
  for (const auto& p : pieces) {
    uint64_t n = std::min(bytes, p.bytes);
    sums_of(p.offset, {data + p.at, n}, part);
    sums.insert(sums.end(), part.begin(), part.end());
    bytes -= n;
  }
}

}  // namespace

std::string ObjectIo::proof(const Opened& o, size_t osd) {
  Writer w;
  w.text(o.body).raw({reinterpret_cast<const char*>(o.osds[osd].mac.data()), 32});
  return std::move(w.bytes());
}

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

/// Does the requests, at all OSDs at the same time. 0, or the status of the first one that failed.
int ObjectIo::transfer(const Opened& layout, std::vector<Request>& requests, bool repeatable, const Attempt* attempt) {
  const int timeout_ms = attempt ? attempt->timeout_ms : osd_timeout_ms;
  std::vector<std::shared_ptr<RpcClient>> clients;
  for (Request& q : requests) {
    clients.push_back(q.osd < layout.osds.size() ? client(layout.osds[q.osd].name) : nullptr);
    if (!clients.back()) return EHOSTDOWN;
    auto& payload = q.transfer.payload;
    payload.push_back({q.head.data(), q.head.size()});
    payload.insert(payload.end(), q.data.begin(), q.data.end());
    if (!q.sums.empty()) payload.push_back({q.sums.data(), q.sums.size() * 4});
  }
  if (layout.mirrored) {
    // Never repeated by the same right: what is done late must not undo what came after it.
    RpcClient::Transfer& t = requests[0].transfer;
    return clients[0]->transfer(t, t.type == object::sync ? mirrored_sync_ms : mirrored_timeout_ms, false, mirrored_unreachable_ms);
  }
  if (requests.size() == 1) {
    const int status = clients[0]->transfer(requests[0].transfer, timeout_ms, repeatable);
    if (status != 0 && attempt) *attempt->failed = layout.osds[requests[0].osd].name;
    return status;
  }
  std::vector<std::unique_ptr<RpcClient::Started>> started;
  for (size_t i = 0; i < requests.size(); ++i) started.push_back(repeatable ? clients[i]->start(requests[i].transfer, timeout_ms) : nullptr);
  int first_error = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    int status = 0;
    if (!started[i] || !clients[i]->finish(std::move(started[i]), requests[i].transfer, timeout_ms, status))
      status = clients[i]->transfer(requests[i].transfer, timeout_ms, repeatable);
    if (first_error == 0 && status != 0 && attempt) *attempt->failed = layout.osds[requests[i].osd].name;
    if (first_error == 0) first_error = status;
  }
  return first_error;
}

int ObjectIo::call(const Opened& layout, size_t osd, uint16_t type, const std::string& arguments, RpcClient::Answer& answer, bool repeatable, const Attempt* attempt) {
  if (osd >= layout.osds.size()) return EHOSTDOWN;
  std::vector<Request> one(1);
  one[0].osd = osd;
  one[0].head = proof(layout, osd) + arguments;
  one[0].transfer.type = type;
  int r = transfer(layout, one, repeatable, attempt);
  answer = std::move(one[0].transfer.answer);
  return r;
}

/// One request to each OSD, all at the same time; sums up their extents.
int ObjectIo::call_all(const Opened& layout, uint16_t type, const std::function<std::string(size_t)>& arguments, Summary* summary) {
  if (summary) *summary = {};
  if (layout.osds.empty()) return layout.width > 0 ? EHOSTDOWN : 0;
  std::vector<Request> requests(layout.osds.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].osd = i;
    requests[i].head = proof(layout, i) + arguments(i);
    requests[i].transfer.type = type;
  }
  if (int r = transfer(layout, requests); r != 0) return r;
  if (summary)
    for (auto& q : requests) add(*summary, policy_of(layout), q.osd, q.transfer.answer);
  return 0;
}

int64_t ObjectIo::avoided_until(const std::string& osd) {
  std::lock_guard lock(mutex_);
  auto it = avoided_.find(osd);
  return it == avoided_.end() ? 0 : it->second;
}

void ObjectIo::avoid(const std::string& osd) {
  std::lock_guard lock(mutex_);
  avoided_[osd] = monotonic_ms() + avoid_ms;
}

int ObjectIo::from_replicas(const Opened& layout, const std::function<int(const Opened&, const Attempt*)>& work) {
  if (layout.copies.empty()) return work(layout, nullptr);
  const int64_t deadline = monotonic_ms() + osd_timeout_ms;
  std::set<std::string> tried;
  for (;;) {
    Opened chosen = layout;
    chosen.copies.clear();
    bool left = true;
    for (size_t n = 0; n < layout.width; ++n) {
      const metadata::OsdReference* best = nullptr;
      int64_t best_until = 0;
      auto consider = [&](const metadata::OsdReference& osd) {
        if (tried.contains(osd.name)) return;
        const int64_t until = avoided_until(osd.name), counts = until > monotonic_ms() ? until : 0;
        if (!best || counts < best_until) best = &osd, best_until = counts;
      };
      consider(layout.osds[n]);
      for (size_t at = n; at < layout.copies.size(); at += layout.width) consider(layout.copies[at]);
      if (best) chosen.osds[n] = *best;
      left &= best != nullptr;
    }
    std::string failed;
    const Attempt attempt{left ? replica_timeout_ms : osd_timeout_ms, &failed};
    const int r = work(chosen, &attempt);
    if (r == 0) return 0;
    // Of a right that is too old every replica says the same.
    const bool other = r == EHOSTDOWN || r == ETIMEDOUT || r == EIO || r == ENOKEY || r == EPROTO;
    if (!other || failed.empty() || !left || monotonic_ms() > deadline) return r;
    tried.insert(failed);
    avoid(failed);
  }
}

int ObjectIo::read(const Opened& layout, uint64_t offset, char* data, uint32_t bytes, uint32_t& held) {
  return from_replicas(layout, [&](const Opened& chosen, const Attempt* attempt) { return read_once(chosen, offset, data, bytes, held, attempt); });
}

int ObjectIo::read_once(const Opened& layout, uint64_t offset, char* data, uint32_t bytes, uint32_t& held, const Attempt* attempt) {
  held = 0;
  auto shares = shares_of(layout, offset, bytes);
  std::vector<Request> requests;
  for (size_t osd = 0; osd < shares.size(); ++osd) {
    if (shares[osd].bytes == 0) continue;
    if (osd >= layout.osds.size()) return EHOSTDOWN;
    Request& q = requests.emplace_back();
    q.osd = osd;
    q.head = proof(layout, osd) + Writer().put(shares[osd].offset).put<uint32_t>(static_cast<uint32_t>(shares[osd].bytes)).bytes();
    q.transfer.type = object::read;
    q.transfer.flags = object::flag_checked;
    for (const auto& p : shares[osd].pieces) q.transfer.into.push_back({data + p.at, p.bytes});
  }
  if (int r = transfer(layout, requests, true, attempt); r != 0) return r;
  std::vector<uint32_t> sums;
  for (Request& q : requests) {
    uint64_t got = q.transfer.data_bytes;
    const auto& pieces = shares[q.osd].pieces;
    if (attempt) {
      // A replica has all that the size means for it; one that has not is no replica any more.
      const Share& share = shares[q.osd];
      const uint64_t end = object_bytes(policy_of(layout), static_cast<uint16_t>(q.osd), layout.size);
      if (got < std::min(share.bytes, end - std::min(end, share.offset))) {
        *attempt->failed = layout.osds[q.osd].name;
        return EIO;
      }
    }
    if (q.transfer.answer_flags & object::flag_checked) {
      sums_of_pieces(pieces, data, got, sums);
      if (sums != q.transfer.sums) {
        log(Priority::error, "what OSD '%s' sent of a file's %lu bytes at %lu of its object does not have the checksums that came with it",
            layout.osds[q.osd].name.c_str(), got, shares[q.osd].offset);
        if (attempt) *attempt->failed = layout.osds[q.osd].name;
        return EIO;
      }
    }
    for (const auto& p : pieces) {
      uint64_t n = std::min(got, p.bytes);
      got -= n;
      if (n > 0) held = std::max(held, static_cast<uint32_t>(p.at + n));
      std::memset(data + p.at + n, 0, p.bytes - n);
    }
  }
  return 0;
}

int ObjectIo::write(const Opened& layout, uint64_t offset, const char* data, uint32_t bytes, uint32_t& done, Summary& summary) {
  done = 0;
  summary = {};
  auto shares = shares_of(layout, offset, bytes);
  std::vector<Request> requests;
  for (size_t osd = 0; osd < shares.size(); ++osd) {
    const Share& s = shares[osd];
    if (s.bytes == 0) continue;
    if (osd >= layout.osds.size()) return EHOSTDOWN;
    Request& q = requests.emplace_back();
    q.osd = osd;
    q.head = proof(layout, osd) + Writer().put(s.offset).put<uint32_t>(static_cast<uint32_t>(s.bytes)).bytes();
    q.transfer.type = object::write;
    q.transfer.flags = object::flag_checked;
    for (const auto& p : s.pieces) q.data.push_back({const_cast<char*>(data) + p.at, p.bytes});
    sums_of_pieces(s.pieces, data, s.bytes, q.sums);
  }
  // Of several OSDs that were written to at the same time nobody can say how far it came without a gap: then nothing counts.
  if (int r = transfer(layout, requests); r != 0) return r;
  done = bytes;
  for (Request& q : requests) add(summary, policy_of(layout), q.osd, q.transfer.answer);
  summary.size = offset + done;
  return 0;
}

/// Of a file with write replicas: may be tried again. EREMOTEIO when nobody can say any more whether an earlier try was done.
int ObjectIo::append_once(const Opened& layout, const char* data, uint32_t bytes, Place& place, Summary& summary) {
  if (layout.osds.empty()) return EHOSTDOWN;
  const Capability now = decode_capability(layout.body);
  if (now.session == session_none) return ESTALE;
  if (place.identity == 0) {
    while (place.identity == 0)
      if (getrandom(&place.identity, sizeof place.identity, 0) != sizeof place.identity) place.identity = 0;
    place.first_body = layout.body;
  } else if (place.first_body != layout.body) {
    // Who leads now must have been a member all the time since: then it knows what was done.
    const Capability first = decode_capability(place.first_body);
    bool stayed = first.session == now.session;
    for (const auto& m : first.members) stayed |= decode_capability(m.body).session == now.session;
    if (!stayed || now.xloc_version > first.xloc_version + 1) return EREMOTEIO;
  }
  return append_at_first(layout, object::append_once, Writer().put(place.identity).put(bytes).bytes(), data, bytes, place.offset, summary);
}

/// An append whose place the file's first OSD chooses; `head`: of the request, behind the proof.
int ObjectIo::append_at_first(const Opened& layout, uint16_t type, const std::string& head, const char* data, uint32_t bytes, uint64_t& offset, Summary& summary) {
  std::vector<Request> one(1);
  one[0].osd = 0;
  one[0].head = proof(layout, 0) + head;
  one[0].data.push_back({const_cast<char*>(data), bytes});
  sums_of(0, {data, bytes}, one[0].sums);
  one[0].transfer.type = type;
  one[0].transfer.flags = object::flag_checked;
  if (int r = transfer(layout, one, false); r != 0) return r;
  Reader r(one[0].transfer.answer.begin(), one[0].transfer.answer.size());
  offset = r.get<uint64_t>();
  const Extent e = get_extent(r);
  summary = {e.bytes, e.mtime_ns, e.disk_bytes};
  return 0;
}

int ObjectIo::append(const Opened& layout, const char* data, uint32_t bytes, Place& place, Summary& summary) {
  summary = {};
  if (layout.mirrored) return append_once(layout, data, bytes, place, summary);
  uint64_t& offset = place.offset;
  RpcClient::Answer answer;
  if (layout.width == 1) {
    // Not repeated after a broken connection: the OSD may have done it, and doing it twice would be worse than an error.
    return layout.osds.empty() ? EHOSTDOWN : append_at_first(layout, object::append, Writer().put(bytes).bytes(), data, bytes, offset, summary);
  }
  if (offset == no_place) {
    Summary seen;
    if (int r = this->summary(layout, seen); r != 0) return r;
    if (int r = call(layout, 0, object::reserve, Writer().put(seen.size).put(bytes).bytes(), answer, false); r != 0) return r;
    offset = Reader(answer.begin(), answer.size()).get<uint64_t>();
  }
  uint32_t done;
  return write(layout, offset, data, bytes, done, summary);
}

int ObjectIo::summary(const Opened& layout, Summary& summary) {
  if (!layout.copies.empty()) {  // it stays as it is
    summary = {layout.size, 0, layout.size};
    return 0;
  }
  return call_all(layout, object::extent, [](size_t) { return std::string(); }, &summary);
}

int ObjectIo::truncate(const Opened& layout, uint64_t size, Summary& summary) {
  if (layout.osds.empty()) return EHOSTDOWN;
  StripePolicy policy = policy_of(layout);
  int r = call_all(layout, object::truncate,
                   [&](size_t osd) { return Writer().put(object_bytes(policy, static_cast<uint16_t>(osd), size)).bytes(); }, &summary);
  summary.size = size;
  return r;
}

int ObjectIo::allocate(const Opened& layout, Allocate mode, uint64_t offset, uint64_t bytes, Summary& summary) {
  summary = {};
  StripePolicy policy = policy_of(layout);
  std::vector<Request> requests;
  for (uint16_t osd = 0; osd < layout.width; ++osd) {
    if (osd >= layout.osds.size()) return EHOSTDOWN;
    uint64_t from = object_bytes(policy, osd, offset), to = object_bytes(policy, osd, offset + bytes);
    if (from == to) continue;
    Request& q = requests.emplace_back();
    q.osd = osd;
    q.head = proof(layout, osd) + Writer().put(static_cast<uint8_t>(mode)).put(from).put(to - from).bytes();
    q.transfer.type = object::allocate;
  }
  if (int r = transfer(layout, requests); r != 0) return r;
  for (Request& q : requests) add(summary, policy, q.osd, q.transfer.answer);
  return 0;
}

int ObjectIo::seek(const Opened& layout, uint64_t offset, bool hole, uint64_t size, uint64_t& found) {
  return from_replicas(layout, [&](const Opened& chosen, const Attempt* attempt) { return seek_once(chosen, offset, hole, size, found, attempt); });
}

int ObjectIo::seek_once(const Opened& layout, uint64_t offset, bool hole, uint64_t size, uint64_t& found, const Attempt* attempt) {
  StripePolicy policy = policy_of(layout);
  found = size;
  for (uint16_t osd = 0; osd < layout.width; ++osd) {
    // The first byte at or behind `offset` that this OSD has to hold.
    uint64_t from = object_bytes(policy, osd, offset);
    if (file_offset(policy, osd, from) >= size) continue;
    RpcClient::Answer answer;
    int r = call(layout, osd, object::seek, Writer().put(from).put<uint8_t>(hole).bytes(), answer, true, attempt);
    if (r != 0 && r != ENXIO) return r;
    // Behind the end of an object there is nothing but a hole.
    if (r == ENXIO && !hole) continue;
    uint64_t at = r == ENXIO ? from : Reader(answer.begin(), answer.size()).get<uint64_t>();
    found = std::min(found, std::max(offset, file_offset(policy, osd, at)));
  }
  return !hole && found >= size ? ENXIO : 0;
}

bool ObjectIo::can_copy(const Opened& from, uint64_t from_offset, const Opened& to, uint64_t to_offset) {
  if (from.mirrored || to.mirrored || from.width == 0 || from.width != to.width || from.osds.size() != to.osds.size()) return false;
  for (size_t i = 0; i < from.osds.size(); ++i)
    if (from.osds[i].name != to.osds[i].name) return false;
  const uint64_t turn = uint64_t{from.stripe_bytes} * from.width;
  return from.width == 1 || (from.stripe_bytes == to.stripe_bytes && from_offset % turn == to_offset % turn);
}

int ObjectIo::copy(const Opened& from, uint64_t from_offset, const Opened& to, uint64_t to_offset, uint64_t bytes, Summary& summary) {
  summary = {};
  StripePolicy policy = policy_of(from);
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t n = std::min<uint64_t>(bytes - done, object::io_bytes_max);
    std::vector<Request> requests;
    for (uint16_t osd = 0; osd < from.width; ++osd) {
      uint64_t source = object_bytes(policy, osd, from_offset + done), end = object_bytes(policy, osd, from_offset + done + n);
      if (source == end) continue;
      Request& q = requests.emplace_back();
      q.osd = osd;
      q.head = proof(to, osd) + Writer().put(object_bytes(policy, osd, to_offset + done)).bytes() + proof(from, osd) +
               Writer().put(source).put<uint32_t>(static_cast<uint32_t>(end - source)).bytes();
      q.transfer.type = object::copy;
    }
    if (int r = transfer(to, requests); r != 0) return r;
    summary = {};
    for (Request& q : requests) add(summary, policy, q.osd, q.transfer.answer);
    done += n;
  }
  return 0;
}

int ObjectIo::sync(const Opened& layout) {
  if (!layout.copies.empty()) return 0;  // it was, before it had replicas
  return call_all(layout, object::sync, [](size_t) { return std::string(); }, nullptr);
}

}  // namespace xos::fs
