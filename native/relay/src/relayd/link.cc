#include "link.h"

#include "log.h"

#include <algorithm>
#include <cstring>

namespace xos::relay {
namespace {
constexpr size_t congested_bytes = 1 << 20;
}

WireLink::WireLink(Loop& loop, End& end, wire::TlsContext& tls, const std::string& node, const std::string& address, uint16_t port)
    : loop_ref_(loop), end_(end), connection_(wire::AsyncConnection::connect(tls, address, port)), client_(true), heard_ms_(Loop::now_ms()), answered_ms_(Loop::boot_ms()) {
  node_ = node;
  if (connection_->fd() >= 0) loop.watch(*this, connection_->fd(), watched_ = connection_->events());
  loop.later([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) settle();
  });
}

WireLink::WireLink(Loop& loop, End& end, wire::TlsContext& tls, int fd)
    : loop_ref_(loop), end_(end), connection_(wire::AsyncConnection::accept(tls, fd)), client_(false), heard_ms_(Loop::now_ms()), answered_ms_(Loop::boot_ms()) {
  loop.watch(*this, connection_->fd(), watched_ = connection_->events());
}

void WireLink::send(uint16_t type, uint16_t flags, uint64_t id, std::initializer_list<Bytes> payload) {
  if (over_) return;
  iovec pieces[4];
  size_t count = 0;
  for (const Bytes& part : payload) pieces[count++] = {const_cast<uint8_t*>(part.data()), part.size()};
  connection_->queue({0, type, flags, id}, {pieces, count});
  if (flush_due_) return;
  flush_due_ = true;
  // One TLS record for all that a round of the loop has to say.
  loop_ref_.later([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    flush_due_ = false;
    connection_->flush();
    settle();
  });
}

bool WireLink::congested() const { return connection_->queued_bytes() > congested_bytes; }

void WireLink::ready(uint32_t) { drive(); }

void WireLink::drive() {
  const std::weak_ptr<bool> alive = alive_;
  const bool more = connection_->drive([this](const wire::FrameHeader& header, std::span<const std::byte> payload) {
    if (!up_) came_up();
    if (over_) return;
    heard_ms_ = Loop::now_ms();
    const Bytes bytes(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
    if (header.type == frame_ping) return send(frame_pong, 0, 0, {bytes.first(std::min<size_t>(bytes.size(), sizeof answered_ms_))});
    if (header.type == frame_pong) return answered(bytes);
    end_.take(*this, {header.length, header.type, header.flags, header.id}, {reinterpret_cast<const uint8_t*>(payload.data()), payload.size()});
  });
  if (alive.expired()) return;
  if (!up_ && connection_->state() == wire::AsyncConnection::State::open) came_up();
  settle();
  if (more && !over_)
    loop_ref_.later([this, alive] {
      if (!alive.expired() && !over_) drive();
    });
}

/// The clock comes back from the other end; what it cannot have been is not taken.
void WireLink::answered(Bytes clock) {
  int64_t sent_ms;
  if (clock.empty()) answered_ms_ = Loop::boot_ms();  // a relay of before 0030, which starts no job a second time
  if (clock.size() != sizeof sent_ms) return;
  memcpy(&sent_ms, clock.data(), sizeof sent_ms);
  if (sent_ms <= Loop::boot_ms()) answered_ms_ = std::max(answered_ms_, sent_ms);
}

void WireLink::came_up() {
  up_ = true;
  heard_ms_ = Loop::now_ms();
  if (client_) answered_ms_ = Loop::boot_ms();
  if (!client_) node_ = connection_->peer().node;
  else if (node_ != connection_->peer().node) return end_link("it is node '" + connection_->peer().node + "'");
  end_.link_up(*this);
}

void WireLink::settle() {
  if (over_) return;
  if (connection_->state() == wire::AsyncConnection::State::failed) return end_link(connection_->reason());
  const uint32_t wanted = connection_->events();
  if (wanted != watched_) loop_ref_.change(*this, connection_->fd(), watched_ = wanted);
  const bool now = congested();
  if (was_congested_ && !now) end_.link_drained(*this);
  was_congested_ = now;
}

void WireLink::beat(int64_t silence_ms, bool answered) {
  if (over_) return;
  const int64_t now = Loop::boot_ms();
  if ((answered ? now - answered_ms_ : Loop::now_ms() - heard_ms_) > silence_ms) return end_link("it has been silent for " + std::to_string(silence_ms / 1000) + " s");
  if (up_) send(frame_ping, 0, 0, {{reinterpret_cast<const uint8_t*>(&now), sizeof now}});
}

void WireLink::end_link(const std::string& reason) {
  if (over_) return;
  over_ = true;
  if (connection_->fd() >= 0) loop_ref_.unwatch(connection_->fd());
  end_.link_down(*this, reason, up_);
}

LocalLink::LocalLink(Loop& loop, End& home, End& far, const std::string& node) : to_far_(loop, far, node), to_home_(loop, home, node) {
  to_far_.back = &to_home_;
  to_home_.back = &to_far_;
}

void LocalLink::Direction::send(uint16_t type, uint16_t flags, uint64_t id, std::initializer_list<Bytes> payload) {
  Header header{0, type, flags, id};
  for (const Bytes& part : payload) header.length += static_cast<uint32_t>(part.size());
  const auto* head = reinterpret_cast<const uint8_t*>(&header);
  queue_.insert(queue_.end(), head, head + sizeof header);
  for (const Bytes& part : payload) queue_.insert(queue_.end(), part.begin(), part.end());
  if (due_) return;
  due_ = true;
  loop_.later([this] { deliver(); });
}

void LocalLink::Direction::deliver() {
  due_ = false;
  std::vector<uint8_t> now;
  now.swap(queue_);
  for (size_t at = 0; at + sizeof(Header) <= now.size();) {
    Header header;
    memcpy(&header, now.data() + at, sizeof header);
    at += sizeof header;
    end_.take(*back, header, {now.data() + at, header.length});  // answers go the other way
    at += header.length;
  }
}

}  // namespace xos::relay
