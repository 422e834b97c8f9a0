#include "home.h"

#include "log.h"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>

namespace xos::relay {

namespace {
constexpr size_t receive_bytes = 128 << 10;
}

bool Proxy::receive() {
  for (int round = 0; round < 4; round++) {
    uint8_t* space = in_.reserve(receive_bytes);
    const ssize_t got = recv(fd_.get(), space, receive_bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) return false;
    in_.grow(got);
    if (got < static_cast<ssize_t>(receive_bytes)) return true;
  }
  return true;
}

void Proxy::ready(uint32_t events) {
  if (events & EPOLLOUT) flush();
  if (gone_ || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  const bool there = receive();
  size_t at = 0;
  while (!gone_ && !finishing_ && in_.size() - at >= sizeof(Header)) {
    Header header;
    memcpy(&header, in_.data() + at, sizeof header);
    if (header.length > frame_bytes_max) {
      log(Priority::warning, "proxy %d of uid %u sent a frame over the limit; it is dropped", pid_, uid_);
      return home_.proxy_gone(*this);
    }
    if (in_.size() - at - sizeof header < header.length) break;
    const uint8_t* payload = in_.data() + at + sizeof header;
    at += sizeof header + header.length;
    home_.take_proxy(*this, header, {payload, header.length});
  }
  if (gone_) return;
  if (finishing_) in_.clear();
  else in_.consume(at);
  if (!there) home_.proxy_gone(*this);
}

void Proxy::send(uint16_t type, uint16_t flags, Bytes payload) {
  const Header header{static_cast<uint32_t>(payload.size()), type, flags, 0};
  send_raw({reinterpret_cast<const uint8_t*>(&header), sizeof header});
  send_raw(payload);
}

void Proxy::send_raw(Bytes frames) {
  if (gone_ || frames.empty()) return;
  out_.insert(out_.end(), frames.begin(), frames.end());
  if (flush_due_) return;
  flush_due_ = true;
  // One write for all that a round of the loop has for this proxy: output and exit status travel together.
  home_.loop_.later([home = &home_, self = this] {
    const auto found = home->proxies_.find(self);
    if (found == home->proxies_.end()) return;
    self->flush_due_ = false;
    self->flush();
  });
}

void Proxy::flush() {
  while (out_done_ < out_.size()) {
    const ssize_t sent = ::send(fd_.get(), out_.data() + out_done_, out_.size() - out_done_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) return home_.proxy_gone(*this);
    out_done_ += sent;
  }
  if (out_done_ == out_.size()) {
    out_.clear();
    out_done_ = 0;
    if (finishing_) return home_.proxy_gone(*this);
  }
  const bool wait = !out_.empty();
  if (wait != watched_out_) {
    watched_out_ = wait;
    home_.loop_.change(*this, fd_.get(), EPOLLIN | (wait ? static_cast<uint32_t>(EPOLLOUT) : 0u));
  }
}

void Proxy::finish() {
  finishing_ = true;
  if (out_.empty()) home_.proxy_gone(*this);
}

}  // namespace xos::relay
