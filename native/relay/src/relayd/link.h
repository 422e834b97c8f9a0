// What joins the home and the far end of jobs: a wire connection to another node, or a queue inside this process.
#pragma once
#include "async.h"
#include "loop.h"
#include "protocol.h"

#include <initializer_list>
#include <memory>
#include <span>
#include <string>

namespace xos::relay {

inline constexpr int64_t silent_far_ms = 8000;    ///< so long nothing is heard of a node that runs our jobs: it is given up
inline constexpr int64_t silent_home_ms = 20000;  ///< a node whose jobs run here has answered no heartbeat: later, so that it has given them up already

using Bytes = std::span<const uint8_t>;

class Link;

/// One end of jobs. The home end serves links that this node opened, the far end those it accepted; the link inside the process serves both.
class End {
 public:
  virtual ~End() = default;
  virtual void take(Link& link, const Header& header, Bytes payload) = 0;
  virtual void link_up(Link&) {}
  /// The link is over. `began`: it was open once, so what was sent may have arrived.
  virtual void link_down(Link& link, const std::string& reason, bool began) = 0;
  /// Queued data has gone out again.
  virtual void link_drained(Link&) {}
};

class Link {
 public:
  virtual ~Link() = default;
  virtual void send(uint16_t type, uint16_t flags, uint64_t id, std::initializer_list<Bytes> payload) = 0;
  /// Too much is queued already: streams should wait for link_drained.
  virtual bool congested() const = 0;
  const std::string& node() const { return node_; }
  /// When the other end was heard of last, on Loop::now_ms(); 0 when it is this process.
  virtual int64_t heard_ms() const { return 0; }
  /// When the newest heartbeat that the other end answered was sent, on Loop::boot_ms(); INT64_MAX when it is this process.
  virtual int64_t answered_ms() const { return INT64_MAX; }

 protected:
  std::string node_;  ///< the other end's
};

/// A wire connection in the loop, with heartbeats.
class WireLink : public Link, public Watcher {
 public:
  /// Opens a connection to `node`. Its certificate must say that name.
  WireLink(Loop& loop, End& end, wire::TlsContext& tls, const std::string& node, const std::string& address, uint16_t port);
  /// Serves an accepted socket, which it owns.
  WireLink(Loop& loop, End& end, wire::TlsContext& tls, int fd);
  void send(uint16_t type, uint16_t flags, uint64_t id, std::initializer_list<Bytes> payload) override;
  bool congested() const override;
  void ready(uint32_t events) override;
  bool open() const { return up_; }
  bool over() const { return over_; }
  int64_t heard_ms() const override { return heard_ms_; }
  int64_t answered_ms() const override { return answered_ms_; }
  /// Sends a heartbeat; ends the link when nothing was heard for `silence_ms`. With `answered` when no heartbeat of the last `silence_ms` was answered:
  /// what arrives late, because the network held it up, does not count then (docs/decisions/0030-fault-tolerance.md).
  void beat(int64_t silence_ms, bool answered);
  void end_link(const std::string& reason);

 private:
  Loop& loop_ref_;
  End& end_;
  std::unique_ptr<wire::AsyncConnection> connection_;
  bool client_, up_ = false, over_ = false, flush_due_ = false, was_congested_ = false;
  uint32_t watched_ = 0;
  int64_t heard_ms_, answered_ms_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  void settle();
  void drive();
  void came_up();
  void answered(Bytes clock);
};

/// Both ends of jobs that run on their home node. Frames wait until the end of the loop's round, so that nobody is called back inside a call.
class LocalLink {
 public:
  LocalLink(Loop& loop, End& home, End& far, const std::string& node);
  Link& to_far() { return to_far_; }

 private:
  class Direction : public Link {
   public:
    Direction(Loop& loop, End& end, const std::string& node) : loop_(loop), end_(end) { node_ = node; }
    void send(uint16_t type, uint16_t flags, uint64_t id, std::initializer_list<Bytes> payload) override;
    bool congested() const override { return false; }
    Direction* back = nullptr;

   private:
    Loop& loop_;
    End& end_;
    std::vector<uint8_t> queue_;
    bool due_ = false;
    void deliver();
  };
  Direction to_far_, to_home_;
};

}  // namespace xos::relay
