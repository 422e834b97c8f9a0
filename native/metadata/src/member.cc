#include "member.h"

#include <algorithm>
#include <chrono>

#include "control.h"
#include "frame_server.h"
#include "log.h"
#include "mirror_session.h"

namespace xos::fs::metadata {

namespace {

constexpr std::string_view members_key = "members", promise_key = "promise";

std::vector<Peer> stored_members(const Txn& txn) {
  std::vector<Peer> members;
  std::string_view value;
  if (!txn.get(table_local, members_key, value)) return members;
  Reader r(value);
  while (r.left() > 0) {
    Peer p;
    p.node = r.text();
    p.address = r.text();
    p.port = r.get<uint16_t>();
    members.push_back(std::move(p));
  }
  return members;
}

std::vector<std::string> nodes_of(const std::vector<Peer>& members) {
  std::vector<std::string> all;
  for (auto& m : members) all.push_back(m.node);
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

Member::Member(Store& store, std::string node) : store_(store), node_(std::move(node)) {
  bool grouped = false;
  store_.read([&](const Txn& txn) {
    grouped = !stored_members(txn).empty();
    std::string_view value;
    if (txn.get(table_local, promise_key, value)) {
      Reader r(value);
      term_ = r.get<uint64_t>();
      holder_ = r.text();
    }
  });
  if (!grouped) return;
  // What was promised before this start is not known any more.
  promised_until_ms_ = boottime_ms() + promise_ms;
  if (store_.lost_changes()) {
    store_.write_here([](Txn& txn) {
      if (records::standing(txn) == records::Standing::whole) records::set_standing(txn, records::Standing::forgot);
    });
  }
}

std::vector<Peer> Member::members() const {
  std::vector<Peer> members;
  store_.read([&](const Txn& txn) { members = stored_members(txn); });
  return members;
}

void Member::set_members(const std::vector<Peer>& members, bool seed) {
  const auto wanted = nodes_of(members);
  if (std::adjacent_find(wanted.begin(), wanted.end()) != wanted.end() || !std::binary_search(wanted.begin(), wanted.end(), node_))
    throw CodedError("XOS_BAD_REQUEST", "cannot make a group: its members must be different nodes, and '" + node_ + "' one of them");
  Writer w;
  for (auto& m : members) w.text(m.node).text(m.address).put(m.port);
  store_.write_here([&](Txn& txn) {
    const auto before = stored_members(txn);
    if (!before.empty() && nodes_of(before) != wanted)
      throw CodedError("XOS_EXISTS", "cannot change the members of a group: '" + node_ + "' is in one with others; only addresses change");
    if (before.empty()) {
      bool volumes = false;
      txn.scan(table_volume, "", [&](std::string_view, std::string_view) { return !(volumes = true); });
      if (volumes && !seed) throw CodedError("XOS_EXISTS", "cannot take the database of a group: '" + node_ + "' has volumes of its own; tell the one whose volumes are to stay that it is the seed");
      if (seed) records::start_after(txn, {0, 1});
      else records::set_standing(txn, records::Standing::partial);
    }
    txn.put(table_local, members_key, w.bytes());
  });
  store_.sync_here();
}

MemberState Member::state() const {
  MemberState s;
  {
    std::lock_guard lock(mutex_);
    s.term = term_;
  }
  store_.read([&](const Txn& txn) {
    s.position = records::newest(txn);
    s.standing = records::standing(txn);
  });
  return s;
}

std::string Member::promised_to() const {
  std::lock_guard lock(mutex_);
  return holder_;
}

/// Caller holds mutex_.
void Member::remember(uint64_t term, const std::string& holder) {
  store_.write_here([&](Txn& txn) { txn.put(table_local, promise_key, Writer().put(term).text(holder).bytes()); });
  store_.sync_here();
  const bool led = leading_ && (term != term_ || holder != holder_);
  term_ = term;
  holder_ = holder;
  changed_.notify_all();
  if (led) replaced(term);
}

MemberState Member::promise(uint64_t term, const std::string& candidate) {
  auto refused = [&](GroupStatus status) {
    MemberState s = state();
    s.status = status;
    return s;
  };
  std::unique_lock lock(mutex_);
  const int64_t until = promised_until_ms_;
  for (;;) {
    if (term < term_ || (term == term_ && !holder_.empty() && holder_ != candidate)) {
      lock.unlock();
      return refused(GroupStatus::older);
    }
    // Heard of since: whoever leads is alive.
    if (promised_until_ms_ > until) {
      lock.unlock();
      return refused(GroupStatus::led);
    }
    const int64_t left = until - boottime_ms();
    if (left <= 0) break;
    changed_.wait_for(lock, std::chrono::milliseconds(left));
  }
  if (term != term_ || holder_ != candidate) remember(term, candidate);
  lock.unlock();
  return state();
}

bool Member::begin_to_lead(uint64_t term) {
  std::lock_guard lock(mutex_);
  if (leading_ || term_ != term || holder_ != node_) return false;
  return leading_ = true;
}

void Member::resign(uint64_t term) {
  std::lock_guard lock(mutex_);
  if (term > term_) remember(term, "");
}

void Member::leads_until(int64_t until_ms) {
  std::lock_guard lock(mutex_);
  promised_until_ms_ = std::max(promised_until_ms_, until_ms);
}

void Member::heard_of(uint64_t term) {
  std::lock_guard lock(mutex_);
  if (leading_ && term > term_) replaced(term);
}

/// Whether who says that it leads this term may. Caller holds mutex_.
bool Member::hear(uint64_t term, const std::string& from) {
  if (term < term_ || (term == term_ && !holder_.empty() && holder_ != from)) return false;
  if (from == node_) throw Malformed("node '" + from + "' leads itself");
  if (term > term_ || holder_ != from) remember(term, from);
  promised_until_ms_ = boottime_ms() + promise_ms;
  return true;
}

GroupStatus Member::append(Reader& r) {
  const Position before = get_position(r);
  const uint64_t whole_at = r.get<uint64_t>();
  GroupStatus status = GroupStatus::ok;
  bool changes = r.left() > 0;
  if (!changes) {
    store_.read([&](const Txn& txn) {
      const records::Standing standing = records::standing(txn);
      changes = standing == records::Standing::forgot;
      if (records::newest(txn) != before || standing == records::Standing::partial) status = GroupStatus::behind;
    });
    if (!changes || status != GroupStatus::ok) return status;
  }
  store_.write_here([&](Txn& txn) {
    const records::Standing standing = records::standing(txn);
    if (standing == records::Standing::partial || records::newest(txn) != before) {
      status = GroupStatus::behind;
      return;
    }
    Position at = before;
    for (Reader all = r; all.left() > 0;) {
      at = get_position(all);
      records::apply(txn, at, all.raw(all.get<uint32_t>()));
    }
    // All that was acknowledged here and forgotten is there again.
    if (standing == records::Standing::forgot && at.sequence >= whole_at) records::set_standing(txn, records::Standing::whole);
  });
  return status;
}

GroupStatus Member::copy(Reader& r) {
  const uint64_t copy = r.get<uint64_t>();
  const uint32_t number = r.get<uint32_t>();
  const bool last = r.get<uint8_t>() != 0;
  const Position at = get_position(r);
  if (number == 0) {
    store_.write_here([&](Txn& txn) {
      records::set_standing(txn, records::Standing::partial);
      for (int table = 0; table <= table_log; ++table) txn.clear(static_cast<Table>(table));
    });
    copy_ = copy;
    copy_number_ = 0;
  }
  if (copy != copy_ || number != copy_number_) return GroupStatus::behind;
  ++copy_number_;
  store_.write_here([&](Txn& txn) {
    records::redo(txn, Reader(r).rest());
    if (!last) return;
    records::start_after(txn, at);
    records::set_standing(txn, records::Standing::whole);
  });
  if (last) {
    copy_ = 0;
    log(Priority::notice, "has a copy of the whole database now");
  }
  return GroupStatus::ok;
}

MemberState Member::handle(uint16_t type, const std::string& from, std::string_view payload) {
  Reader r(payload);
  const uint64_t term = r.get<uint64_t>();
  if (type == group_promise) {
    r.finish();
    return promise(term, from);
  }
  GroupStatus status;
  if (type == group_sync) {
    r.finish();
    {
      std::lock_guard lock(mutex_);
      status = hear(term, from) ? GroupStatus::ok : GroupStatus::older;
    }
    MemberState before = state();
    before.status = status;
    if (status == GroupStatus::ok) store_.sync_here();
    return before;
  }
  {
    // Portions of two connections of one leader must not mix.
    std::lock_guard lock(mutex_);
    if (!hear(term, from)) status = GroupStatus::older;
    else if (type == group_append) status = append(r);
    else if (type == group_copy) status = copy(r);
    else throw Malformed("unknown request " + std::to_string(type) + " of a member");
  }
  MemberState now = state();
  now.status = status;
  return now;
}

void Member::serve(wire::Connection& connection, wire::FrameHeader h, std::vector<std::byte> payload) {
  const std::string from = connection.peer().node;
  const auto all = members();
  if (from == node_ || std::none_of(all.begin(), all.end(), [&](auto& m) { return m.node == from; }))
    throw Malformed("node '" + from + "' is no other member of the group");
  std::string parts;
  for (;;) {
    parts.append(reinterpret_cast<const char*>(payload.data()), payload.size());
    if (h.type != group_part) {
      Writer w;
      put(w, handle(h.type, from, parts));
      iovec piece{w.bytes().data(), w.size()};
      connection.send({0, group_answer, 0, h.id}, {&piece, 1}, io_timeout_ms);
      parts.clear();
      if (parts.capacity() > 4 * portion_bytes) parts.shrink_to_fit();
    }
    h = connection.receive(payload, idle_timeout_ms);
  }
}

}  // namespace xos::fs::metadata
