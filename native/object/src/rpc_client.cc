#include "rpc_client.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "log.h"

namespace xos::fs {

int64_t monotonic_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

RpcClient::RpcClient(wire::TlsContext& tls, std::string what, std::string host, uint16_t port, Greeting greet)
    : tls_(tls), what_(std::move(what)), host_(std::move(host)), port_(port), greet_(std::move(greet)) {}

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
  auto c = wire::Connection::connect(tls_, host_, port_, timeout_ms);
  if (greet_) greet_(*c);
  return c;
}

void RpcClient::release(std::unique_ptr<wire::Connection> connection) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
}

void RpcClient::trim(size_t keep) {
  std::vector<std::unique_ptr<wire::Connection>> old;
  std::lock_guard lock(mutex_);
  while (idle_.size() > keep) {
    old.push_back(std::move(idle_.front()));
    idle_.erase(idle_.begin());
  }
}

template <typename Receive>
int RpcClient::exchange(uint16_t type, std::span<const iovec> payload, int timeout_ms, bool repeatable, Receive receive) {
  const int64_t deadline = monotonic_ms() + timeout_ms;
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
      uint64_t id = next_id_.fetch_add(1);
      sent = true;
      c->send({0, type, 0, id}, payload, left);
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
        log(Priority::warning, "%s at %s:%u does not answer: %s", what_.c_str(), host_.c_str(), port_, e.what());
        trim(0);
      }
      if (e.code == wire::ErrorCode::timed_out) error = ETIMEDOUT;
      else if (e.code == wire::ErrorCode::not_admitted) return EACCES;
      else if (e.code == wire::ErrorCode::malformed) return EPROTO;
      else error = EHOSTDOWN;
      if (sent && !repeatable) return EIO;
      if (down != 0 && now - down > timeout_ms) return error;
      std::this_thread::sleep_for(std::chrono::milliseconds(std::min(attempt == 0 ? 1 : 20 * attempt, 500)));
    }
  }
}

int RpcClient::call(uint16_t type, std::span<const iovec> payload, Answer& answer, int timeout_ms, bool repeatable) {
  return exchange(type, payload, timeout_ms, repeatable, [&](wire::Connection& c, const wire::FrameHeader& h, int left) {
    if (h.length < 4) throw wire::Error(wire::ErrorCode::malformed, what_ + " sent an answer of " + std::to_string(h.length) + " bytes");
    answer.data.resize(h.length);
    answer.flags = h.flags;
    c.read_exact(answer.data.data(), h.length, left);
    int32_t status;
    std::memcpy(&status, answer.data.data(), 4);
    return answer.status = status;
  });
}

int RpcClient::call_into(uint16_t type, std::span<const iovec> payload, void* data, size_t capacity, size_t& data_bytes, int timeout_ms) {
  return exchange(type, payload, timeout_ms, true, [&](wire::Connection& c, const wire::FrameHeader& h, int left) {
    if (h.length < 4 || h.length - 4 > capacity)
      throw wire::Error(wire::ErrorCode::malformed, what_ + " sent an answer of " + std::to_string(h.length) + " bytes");
    int32_t status;
    c.read_exact(&status, 4, left);
    data_bytes = h.length - 4;
    if (data_bytes) c.read_exact(data, data_bytes, left);
    return static_cast<int>(status);
  });
}

}  // namespace xos::fs
