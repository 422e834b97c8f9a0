#include "leader.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "control.h"
#include "log.h"
#include "mirror_session.h"

namespace xos::fs::metadata {

namespace {

constexpr int connect_ms = 1000;
constexpr int answer_ms = 10000;   // a disk that syncs may take its time
constexpr int promise_wait_ms = promise_ms + 3000;
constexpr auto between_tries = std::chrono::milliseconds(200);

MemberState exchange(wire::Connection& c, uint16_t type, std::string_view payload, int timeout_ms) {
  while (payload.size() > portion_bytes) {
    iovec piece{const_cast<char*>(payload.data()), portion_bytes};
    c.send({0, group_part, 0, 0}, {&piece, 1}, timeout_ms);
    payload.remove_prefix(portion_bytes);
  }
  iovec piece{const_cast<char*>(payload.data()), payload.size()};
  c.send({0, type, 0, 0}, {&piece, 1}, timeout_ms);
  std::vector<std::byte> answer;
  if (c.receive(answer, timeout_ms).type != group_answer) throw wire::Error(wire::ErrorCode::malformed, "a member gave no answer");
  try {
    Reader r(answer.data(), answer.size());
    return get_member_state(r);
  } catch (const Malformed& e) {
    throw wire::Error(wire::ErrorCode::malformed, e.what());
  }
}

}  // namespace

void elect(Member& member, wire::TlsContext& tls, uint64_t term) {
  const std::string cannot = "cannot lead term " + std::to_string(term) + ": ";
  const auto members = member.members();
  const size_t majority = members.size() / 2 + 1;
  if (const MemberState own = member.state(); term < own.term || (term == own.term && !member.promised_to().empty()))
    throw CodedError("XOS_OLD_TERM", cannot + "term " + std::to_string(own.term) + " was promised before; try one above it");
  struct Vote {
    std::string node;
    MemberState state;
    bool came = false;
  };
  std::vector<Vote> votes(members.size());
  std::vector<std::thread> asking;
  for (size_t i = 0; i < members.size(); ++i) {
    asking.emplace_back([&, i] {
      votes[i].node = members[i].node;
      if (members[i].node == member.node()) {
        votes[i].state = member.promise(term, member.node());
        votes[i].came = true;
        return;
      }
      try {
        auto c = wire::Connection::connect(tls, members[i].address, members[i].port, connect_ms);
        if (c->peer().node != members[i].node) throw wire::Error(wire::ErrorCode::not_admitted, "it is node '" + c->peer().node + "'");
        votes[i].state = exchange(*c, group_promise, Writer().put(term).bytes(), promise_wait_ms);
        votes[i].came = true;
      } catch (const wire::Error& e) {
        log(Priority::warning, "member '%s' promises nothing: %s", members[i].node.c_str(), e.what());
      }
    });
  }
  for (auto& t : asking) t.join();

  size_t promises = 0, sure = 0;
  const Vote* best = nullptr;
  const Vote* own = nullptr;
  for (auto& v : votes) {
    if (!v.came) continue;
    if (v.state.status == GroupStatus::led) throw CodedError("XOS_BUSY", cannot + "member '" + v.node + "' hears the one that leads; end that one first");
    if (v.state.status == GroupStatus::older) throw CodedError("XOS_OLD_TERM", cannot + "member '" + v.node + "' has promised term " + std::to_string(v.state.term) + "; try one above it");
    ++promises;
    if (v.node == member.node()) own = &v;
    if (v.state.standing == records::Standing::partial) continue;
    sure += v.state.standing == records::Standing::whole;
    if (!best || v.state.position > best->state.position) best = &v;
  }
  // Who forgot something may have been one of the majority that acknowledged it: then all must be there.
  if (promises < majority || (sure < majority && promises < members.size()) || !best)
    throw CodedError("XOS_NO_MAJORITY", cannot + std::to_string(promises) + " of " + std::to_string(members.size()) + " members promised it, and " + std::to_string(sure) +
                                            " of them have all that they acknowledged; start the others");
  if (own->state.standing == records::Standing::partial || best->state.position > own->state.position)
    throw CodedError("XOS_BEHIND", cannot + "member '" + best->node + "' has more records; tell that one, with a later term");
}

Leader::Leader(Store& store, Member& member, wire::TlsContext& tls, uint64_t term) : store_(store), member_(member), tls_(tls), term_(term) {
  const auto members = member.members();
  majority_ = members.size() / 2 + 1;
  for (auto& m : members) {
    if (m.node == member.node()) continue;
    auto link = std::make_unique<Link>();
    link->node = m.node;
    link->peer = m;
    links_.push_back(std::move(link));
  }
  store_.read([&](const Txn& txn) { committed_ = records::newest(txn).sequence; });
}

void Leader::start() {
  for (auto& link : links_) {
    std::thread([this, l = link.get()] { send_records(*l); }).detach();
    std::thread([this, l = link.get()] { send_syncs(*l); }).detach();
  }
}

void Leader::committed(uint64_t sequence) {
  std::lock_guard lock(mutex_);
  committed_ = sequence;
  work_.notify_all();
}

/// Caller holds mutex_.
bool Leader::has_majority(uint64_t sequence, uint64_t Follower::*what) const {
  const auto n = std::count_if(links_.begin(), links_.end(), [&](auto& l) { return l.get()->*what >= sequence; });
  return static_cast<size_t>(n) + 1 >= majority_;
}

/// Caller holds mutex_.
int64_t Leader::leads_until() const {
  if (majority_ == 1) return std::numeric_limits<int64_t>::max();
  std::vector<int64_t> heard;
  for (auto& l : links_) heard.push_back(l->heard_ms);
  std::sort(heard.rbegin(), heard.rend());
  return heard[majority_ - 2] + lead_ms;
}

void Leader::wait_kept(uint64_t sequence) {
  std::unique_lock lock(mutex_);
  answered_.wait(lock, [&] { return has_majority(sequence, &Follower::kept) && boottime_ms() < leads_until(); });
}

void Leader::want_synced(uint64_t sequence) {
  std::lock_guard lock(mutex_);
  if (sync_wanted_ >= sequence) return;
  sync_wanted_ = sequence;
  work_.notify_all();
}

void Leader::wait_synced(uint64_t sequence) {
  std::unique_lock lock(mutex_);
  answered_.wait(lock, [&] { return has_majority(sequence, &Follower::synced); });
}

std::vector<Leader::Follower> Leader::followers() const {
  std::lock_guard lock(mutex_);
  std::vector<Follower> all;
  for (auto& l : links_) all.push_back(*l);
  return all;
}

/// One request and its answer: whoever answers has heard us.
MemberState Leader::ask(Link& link, wire::Connection& c, uint16_t type, const Writer& payload) {
  const int64_t sent_ms = boottime_ms();
  const MemberState answer = exchange(c, type, payload.bytes(), answer_ms);
  if (answer.status == GroupStatus::older) {
    member_.heard_of(answer.term);
    throw wire::Error(wire::ErrorCode::closed, "it has promised term " + std::to_string(answer.term));
  }
  int64_t until;
  {
    std::lock_guard lock(mutex_);
    link.heard_ms = std::max(link.heard_ms, sent_ms);
    until = leads_until();
    answered_.notify_all();
  }
  member_.leads_until(until);
  return answer;
}

void Leader::send_records(Link& link) {
  bool complained = false;
  for (;;) {
    try {
      auto c = wire::Connection::connect(tls_, link.peer.address, link.peer.port, connect_ms);
      if (c->peer().node != link.node) throw wire::Error(wire::ErrorCode::not_admitted, "it is node '" + c->peer().node + "'");
      complained = false;
      follow(link, *c);
    } catch (const wire::Error& e) {
      if (!complained) log(Priority::warning, "member '%s' does not take records: %s", link.node.c_str(), e.what());
      complained = true;
    } catch (const StoreError& e) {
      log(Priority::error, "cannot read the records for member '%s': %s", link.node.c_str(), e.what());
    }
    {
      std::lock_guard lock(mutex_);
      link.connected = false;
    }
    std::this_thread::sleep_for(between_tries);
  }
}

void Leader::follow(Link& link, wire::Connection& c) {
  // At least until there it had acknowledged before.
  uint64_t whole_at;
  {
    std::lock_guard lock(mutex_);
    whole_at = committed_;
  }
  Position at;
  store_.read([&](const Txn& txn) { at = records::newest(txn); });
  for (bool sure = false;;) {
    Writer w;
    Position last = at;
    w.put(term_);
    put(w, at);
    w.put(whole_at);
    bool gap = false;
    if (sure) {
      store_.read([&](const Txn& txn) {
        records::scan_after(txn, at.sequence, [&](Position p, std::string_view record) {
          gap = p.sequence != last.sequence + 1;
          if (gap) return false;
          put(w, p);
          w.put(static_cast<uint32_t>(record.size())).raw(record);
          last = p;
          return w.size() < portion_bytes;
        });
      });
    }
    MemberState answer;
    if (!gap) answer = ask(link, c, group_append, w);
    if (gap || answer.status != GroupStatus::ok) {
      // What it has must be a part of our history, and the log must know how that went on.
      bool known = false;
      store_.read([&](const Txn& txn) { known = !gap && answer.standing != records::Standing::partial && records::has(txn, answer.position); });
      at = known ? answer.position : send_copy(link, c);
      sure = false;  // its own word says where it is
      continue;
    }
    at = last;
    sure = true;
    std::unique_lock lock(mutex_);
    link.connected = true;
    link.kept = at.sequence;
    answered_.notify_all();
    work_.notify_all();
    work_.wait_for(lock, std::chrono::milliseconds(beat_ms), [&] { return committed_ > at.sequence; });
  }
}

/// Position of what it has then.
Position Leader::send_copy(Link& link, wire::Connection& c) {
  log(Priority::notice, "member '%s' gets a copy of the whole database", link.node.c_str());
  const auto snapshot = store_.snapshot();
  const Position at = records::newest(*snapshot);
  uint64_t copy;
  {
    std::lock_guard lock(mutex_);
    copy = ++copies_;
  }
  uint32_t number = 0;
  uint64_t bytes = 0;
  std::string rows;
  auto send = [&](bool last) {
    Writer w;
    w.put(term_).put(copy).put(number++).put(static_cast<uint8_t>(last));
    put(w, at);
    w.raw(rows);
    if (ask(link, c, group_copy, w).status != GroupStatus::ok) throw wire::Error(wire::ErrorCode::closed, "another copy was begun");
    bytes += rows.size();
    rows.clear();
    std::lock_guard lock(mutex_);
    link.copied_bytes = bytes;
  };
  for (int table = 0; table < shared_tables; ++table) {
    snapshot->scan(static_cast<Table>(table), "", [&](std::string_view key, std::string_view value) {
      records::add_put(rows, static_cast<Table>(table), key, value);
      if (rows.size() >= portion_bytes) send(false);
      return true;
    });
  }
  send(true);
  log(Priority::notice, "member '%s' has a copy of the whole database: %lu bytes", link.node.c_str(), bytes);
  return at;
}

void Leader::send_syncs(Link& link) {
  std::unique_ptr<wire::Connection> c;
  for (;;) {
    uint64_t kept;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] { return sync_wanted_ > link.synced && link.connected && link.kept >= sync_wanted_; });
      kept = link.kept;
    }
    try {
      if (!c) c = wire::Connection::connect(tls_, link.peer.address, link.peer.port, connect_ms);
      const MemberState answer = ask(link, *c, group_sync, Writer().put(term_));
      std::lock_guard lock(mutex_);
      // It may have been started again since, and be behind.
      if (answer.standing == records::Standing::whole && answer.position.sequence >= kept) link.synced = std::max(link.synced, kept);
      answered_.notify_all();
    } catch (const wire::Error&) {
      c.reset();
      std::this_thread::sleep_for(between_tries);
    }
  }
}

}  // namespace xos::fs::metadata
