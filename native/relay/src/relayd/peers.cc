#include "peers.h"

#include "log.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>

namespace xos::relay {
namespace {
constexpr int64_t retry_after_ms = 1000;
constexpr size_t guests_max = 4096;
}  // namespace

void Peers::open(const std::string& node, Peer& peer) {
  peer.retry_ms = Loop::now_ms() + retry_after_ms;
  peer.link = std::make_unique<WireLink>(loop_, *this, tls_, node, peer.address, peer.port);
}

void Peers::bury(std::unique_ptr<WireLink> link) {
  graves_.push_back(std::move(link));
  loop_.later([this] { graves_.clear(); });
}

void Peers::set(const std::vector<Address>& nodes) {
  std::map<std::string, Peer> next;
  for (const Address& node : nodes) {
    Peer& peer = next[node.node];
    peer.address = node.address;
    peer.port = node.port;
    const auto known = peers_.find(node.node);
    if (known == peers_.end() || known->second.address != node.address || known->second.port != node.port) continue;
    peer = std::move(known->second);
    peers_.erase(known);
  }
  std::map<std::string, Peer> left = std::move(peers_);
  peers_ = std::move(next);
  for (auto& [node, peer] : left)
    if (peer.link && !peer.link->over()) {
      WireLink* link = peer.link.get();
      link->end_link("it has left the VO, or has another address now");
      bury(std::move(peer.link));
    }
  for (auto& [node, peer] : peers_)
    if (!peer.link) open(node, peer);
}

Link* Peers::find(const std::string& node, bool may_wait) {
  const auto found = peers_.find(node);
  if (found == peers_.end()) return nullptr;
  Peer& peer = found->second;
  if (!peer.link && may_wait) open(node, peer);
  if (!peer.link || peer.link->over() || (!peer.link->open() && !may_wait)) return nullptr;
  return peer.link.get();
}

void Peers::tick() {
  std::vector<WireLink*> links;
  for (auto& [node, peer] : peers_) {
    if (peer.link) links.push_back(peer.link.get());
    else if (Loop::now_ms() >= peer.retry_ms) open(node, peer);
  }
  for (WireLink* link : links) link->beat(silent_far_ms, false);
}

void Peers::link_up(Link& link) {
  const auto found = peers_.find(link.node());
  if (found != peers_.end()) found->second.told = false;
  log(Priority::info, "connected to node '%s'", link.node().c_str());
  home_->link_up(link);
}

void Peers::link_down(Link& link, const std::string& reason, bool began) {
  const std::string node = link.node();
  const auto found = peers_.find(node);
  std::unique_ptr<WireLink> old;
  if (found != peers_.end() && found->second.link.get() == &link) {
    Peer& peer = found->second;
    old = std::move(peer.link);
    // A node that stays away is worth one line, not one a second.
    if (began || !peer.told) log(Priority::warning, "node '%s' (%s:%u) %s: %s", node.c_str(), peer.address.c_str(), peer.port, began ? "is gone" : "cannot be reached", reason.c_str());
    peer.told = true;
  }
  home_->link_down(link, reason, began);
  if (old) bury(std::move(old));
}

Guests::Guests(Loop& loop, wire::TlsContext& tls, End& far, int listener) : loop_ref_(loop), tls_(tls), far_(far), listener_(listener) {
  fcntl(listener, F_SETFL, O_NONBLOCK);
  loop.watch(*this, listener, EPOLLIN);
}

void Guests::ready(uint32_t) {
  for (;;) {
    const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) log(Priority::error, "cannot accept a connection: %s", strerror(errno));
      return;
    }
    if (links_.size() >= guests_max) {
      close(fd);
      continue;
    }
    links_.push_back(std::make_unique<WireLink>(loop_ref_, *this, tls_, fd));
  }
}

void Guests::tick() {
  std::vector<WireLink*> links;
  for (const auto& link : links_) links.push_back(link.get());
  for (WireLink* link : links) link->beat(silent_home_ms, true);
}

void Guests::link_down(Link& link, const std::string& reason, bool began) {
  if (!began) log(Priority::warning, "connection refused: %s", reason.c_str());
  far_.link_down(link, reason, began);
  loop_ref_.later([this, &link] { std::erase_if(links_, [&](const auto& each) { return each.get() == &link; }); });
}

}  // namespace xos::relay
