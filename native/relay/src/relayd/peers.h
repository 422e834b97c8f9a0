// The connections to other nodes: opened for the jobs whose home is here, accepted for the jobs that run here.
#pragma once
#include "link.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace xos::relay {

/// Connections that this node opened. Each belongs to the home end.
class Peers : public End {
 public:
  Peers(Loop& loop, wire::TlsContext& tls, End*& home) : loop_(loop), tls_(tls), home_(home) {}
  struct Address { std::string node, address; uint16_t port; };
  void set(const std::vector<Address>& nodes);
  /// Null when the node is unknown or not connected; with `may_wait` a connection that is being opened will do.
  Link* find(const std::string& node, bool may_wait);
  void tick();
  void take(Link& link, const Header& header, Bytes payload) override { home_->take(link, header, payload); }
  void link_up(Link& link) override;
  void link_down(Link& link, const std::string& reason, bool began) override;

 private:
  struct Peer { std::string address; uint16_t port = 0; std::unique_ptr<WireLink> link; int64_t retry_ms = 0; bool told = false; };
  Loop& loop_;
  wire::TlsContext& tls_;
  End*& home_;
  std::map<std::string, Peer> peers_;
  std::vector<std::unique_ptr<WireLink>> graves_;
  void open(const std::string& node, Peer& peer);
  void bury(std::unique_ptr<WireLink> link);
};

/// Connections that other nodes opened. Each belongs to the far end.
class Guests : public End, public Watcher {
 public:
  Guests(Loop& loop, wire::TlsContext& tls, End& far, int listener);
  void ready(uint32_t events) override;
  void tick();
  void take(Link& link, const Header& header, Bytes payload) override { far_.take(link, header, payload); }
  void link_down(Link& link, const std::string& reason, bool began) override;
  void link_drained(Link& link) override { far_.link_drained(link); }

 private:
  Loop& loop_ref_;
  wire::TlsContext& tls_;
  End& far_;
  unique_fd listener_;
  std::vector<std::unique_ptr<WireLink>> links_;
};

}  // namespace xos::relay
