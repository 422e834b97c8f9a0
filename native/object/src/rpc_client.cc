#include "rpc_client.h"

#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "log.h"
#include "object_protocol.h"

namespace xos::fs {

namespace {

constexpr int one_of_several_ms = 1000;

}  // namespace

int64_t monotonic_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

RpcClient::RpcClient(wire::TlsContext& tls, std::string what, std::string host, uint16_t port, Greeting greet)
    : RpcClient(tls, std::move(what), {{std::move(host), port}}, std::move(greet)) {}

RpcClient::RpcClient(wire::TlsContext& tls, std::string what, std::vector<Endpoint> endpoints, Greeting greet)
    : tls_(tls), what_(std::move(what)), endpoints_(std::move(endpoints)), greet_(std::move(greet)) {}

std::unique_ptr<wire::Connection> RpcClient::acquire(int timeout_ms, bool& fresh) {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto c = std::move(idle_.back());
      idle_.pop_back();
      fresh = false;
      return c;
    }
  }
  fresh = true;
  const size_t first = current_;
  // A machine that is gone must not keep anybody from the next.
  if (endpoints_.size() > 1) timeout_ms = std::min(timeout_ms, one_of_several_ms);
  for (size_t i = 0;; ++i) {
    const size_t which = (first + i) % endpoints_.size();
    try {
      auto c = wire::Connection::connect(tls_, endpoints_[which].host, endpoints_[which].port, timeout_ms);
      if (greet_) greet_(*c);
      current_ = which;
      return c;
    } catch (const wire::Error&) {
      if (i + 1 == endpoints_.size()) throw;
    }
  }
}

void RpcClient::release(std::unique_ptr<wire::Connection> connection) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
}

void RpcClient::abandon() {
  trim(0);
  std::lock_guard lock(mutex_);
  for (int fd : waiting_) shutdown(fd, SHUT_RDWR);
}

void RpcClient::trim(size_t keep) {
  std::vector<std::unique_ptr<wire::Connection>> old;
  std::lock_guard lock(mutex_);
  while (idle_.size() > keep) {
    old.push_back(std::move(idle_.front()));
    idle_.erase(idle_.begin());
  }
}

/// Lets abandon() find a socket until its connection is released or closed. Costs nothing where there is no other server.
struct RpcClient::Waiting {
  RpcClient& client;
  const int fd;
  Waiting(RpcClient& client, int fd) : client(client), fd(fd) {
    if (client.endpoints_.size() == 1) return;
    std::lock_guard lock(client.mutex_);
    client.waiting_.insert(fd);
  }
  ~Waiting() {
    if (client.endpoints_.size() == 1) return;
    std::lock_guard lock(client.mutex_);
    client.waiting_.erase(fd);
  }
};

template <typename Receive>
int RpcClient::exchange(uint16_t type, uint16_t flags, std::span<const iovec> payload, int timeout_ms, bool repeatable, int unreachable_ms, Receive receive) {
  const int64_t began = monotonic_ms(), deadline = began + timeout_ms;
  int error = EHOSTDOWN;
  for (int attempt = 0;; ++attempt) {
    int64_t now = monotonic_ms();
    int left = static_cast<int>(deadline - now);
    if (left <= 0) return error;
    // A server that has been away for a whole time-out is asked once a second; everybody else fails at once instead of queueing.
    int64_t down = down_since_ms_.load();
    if (down != 0 && now - down > timeout_ms) {
      int64_t tried = tried_ms_.load();
      if (now - tried < 1000 || !tried_ms_.compare_exchange_strong(tried, now)) return EHOSTDOWN;
      left = std::min(left, 2000);
    }
    bool sent = false;
    try {
      bool fresh;
      auto c = acquire(std::min(left, 3000), fresh);
      const Waiting waiting(*this, c->fd());
      uint64_t id = next_id_.fetch_add(1);
      sent = true;
      c->send({0, type, flags, id}, payload, left);
      wire::FrameHeader h = c->receive_header(left);
      if (h.id != id) throw wire::Error(wire::ErrorCode::malformed, what_ + " answered request " + std::to_string(h.id) + " instead of " + std::to_string(id));
      int r = receive(*c, h, left);
      release(std::move(c));
      if (down_since_ms_.exchange(0) != 0) log(Priority::notice, "%s is back", what_.c_str());
      return r;
    } catch (const wire::Error& e) {
      int64_t none = 0;
      bool first = down_since_ms_.compare_exchange_strong(none, monotonic_ms());
      if (first) {
        log(Priority::warning, "%s at %s:%u does not answer: %s", what_.c_str(), host().c_str(), port(), e.what());
        trim(0);
      }
      if (e.code == wire::ErrorCode::timed_out) error = ETIMEDOUT;
      else if (e.code == wire::ErrorCode::not_admitted) return EACCES;
      else if (e.code == wire::ErrorCode::malformed) return EPROTO;
      else error = EHOSTDOWN;
      if (sent && !repeatable) return EIO;
      if (e.code != wire::ErrorCode::timed_out && monotonic_ms() - began > unreachable_ms) return error;
      if (down != 0 && now - down > timeout_ms) return error;
      std::this_thread::sleep_for(std::chrono::milliseconds(std::min(attempt == 0 ? 1 : 20 * attempt, 500)));
    }
  }
}

int RpcClient::call(uint16_t type, std::span<const iovec> payload, Answer& answer, int timeout_ms, bool repeatable, int unreachable_ms) {
  return exchange(type, 0, payload, timeout_ms, repeatable, unreachable_ms, [&](wire::Connection& c, const wire::FrameHeader& h, int left) {
    if (h.length < 4) throw wire::Error(wire::ErrorCode::malformed, what_ + " sent an answer of " + std::to_string(h.length) + " bytes");
    answer.data.resize(h.length);
    answer.flags = h.flags;
    c.read_exact(answer.data.data(), h.length, left);
    int32_t status;
    std::memcpy(&status, answer.data.data(), 4);
    return answer.status = status;
  });
}

int RpcClient::receive(wire::Connection& c, const wire::FrameHeader& h, Transfer& t, int left) {
  auto malformed = [&] { return wire::Error(wire::ErrorCode::malformed, what_ + " sent an answer of " + std::to_string(h.length) + " bytes"); };
  if (h.length < 4) throw malformed();
  t.answer_flags = h.flags;
  t.data_bytes = 0;
  if (t.into.empty()) {
    t.answer.data.resize(h.length);
    c.read_exact(t.answer.data.data(), h.length, left);
    int32_t status;
    std::memcpy(&status, t.answer.data.data(), 4);
    return t.answer.status = status;
  }
  uint32_t head[2] = {0, h.length - 4};
  const bool checked = h.flags & object::flag_checked;
  if (checked && h.length < 8) throw malformed();
  c.read_exact(head, checked ? 8 : 4, left);
  size_t capacity = 0, bytes = head[1];
  for (const iovec& piece : t.into) capacity += piece.iov_len;
  const size_t behind = checked ? h.length - 8 - bytes : 0;
  if (bytes > capacity || (checked && bytes > h.length - 8) || behind % 4 != 0) throw malformed();
  t.data_bytes = bytes;
  for (const iovec& piece : t.into) {
    size_t n = std::min(bytes, piece.iov_len);
    if (n > 0) c.read_exact(piece.iov_base, n, left);
    bytes -= n;
  }
  t.sums.resize(behind / 4);
  if (behind > 0) c.read_exact(t.sums.data(), behind, left);
  return static_cast<int>(head[0]);
}

int RpcClient::transfer(Transfer& t, int timeout_ms, bool repeatable, int unreachable_ms) {
  return exchange(t.type, t.flags, t.payload, timeout_ms, repeatable, unreachable_ms,
                  [&](wire::Connection& c, const wire::FrameHeader& h, int left) { return receive(c, h, t, left); });
}

std::unique_ptr<RpcClient::Started> RpcClient::start(const Transfer& t, int timeout_ms) {
  return down_since_ms_.load() != 0 ? nullptr : start_once(t, timeout_ms);
}

std::unique_ptr<RpcClient::Started> RpcClient::start_once(const Transfer& t, int timeout_ms) {
  try {
    bool fresh;
    auto started = std::make_unique<Started>();
    started->connection = acquire(std::min(timeout_ms, 3000), fresh);
    started->id = next_id_.fetch_add(1);
    started->connection->send({0, t.type, t.flags, started->id}, t.payload, timeout_ms);
    return started;
  } catch (const wire::Error&) {
    return nullptr;
  }
}

bool RpcClient::finish(std::unique_ptr<Started> started, Transfer& t, int timeout_ms, int& status) {
  try {
    wire::FrameHeader h = started->connection->receive_header(timeout_ms);
    if (h.id != started->id) return false;
    status = receive(*started->connection, h, t, timeout_ms);
    release(std::move(started->connection));
    return true;
  } catch (const wire::Error&) {
    return false;
  }
}

}  // namespace xos::fs
