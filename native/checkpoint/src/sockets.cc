// Which sockets lead out of the tree. Peers of Unix sockets come from sock_diag(7), those of TCP from /proc/net.
#include "fd.h"
#include "obstacles.h"
#include <arpa/inet.h>
#include <cstring>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <optional>
#include <set>
#include <sstream>
#include <sys/socket.h>
#include <sys/xattr.h>

namespace xos::checkpoint {
namespace {

struct UnixSocket {
  int type = 0;
  uint32_t peer = 0;  ///< inode; 0: not connected
  std::string name;
};
struct TcpSocket {
  std::string local, remote;  ///< as the kernel prints them
  int state = 0;
};

constexpr int tcp_listen = 10;

std::string attributeText(const rtattr* attribute) {
  std::string text(static_cast<const char*>(RTA_DATA(attribute)), RTA_PAYLOAD(attribute));
  while (!text.empty() && text.back() == '\0') text.pop_back();
  if (!text.empty() && text[0] == '\0') text[0] = '@';  // abstract
  return text;
}

void takeUnix(const nlmsghdr* header, std::map<uint32_t, UnixSocket>& sockets) {
  auto* message = static_cast<const unix_diag_msg*>(NLMSG_DATA(header));
  UnixSocket& socket = sockets[message->udiag_ino];
  socket.type = message->udiag_type;
  auto length = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof *message));
  auto* attribute = reinterpret_cast<const rtattr*>(message + 1);
  for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length)) {
    if (attribute->rta_type == UNIX_DIAG_PEER) std::memcpy(&socket.peer, RTA_DATA(attribute), sizeof socket.peer);
    if (attribute->rta_type == UNIX_DIAG_NAME) socket.name = attributeText(attribute);
  }
}

/// All Unix sockets of this network namespace by inode; nothing when the kernel has no unix_diag.
std::optional<std::map<uint32_t, UnixSocket>> unixSockets() {
  Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  struct {
    nlmsghdr header;
    unix_diag_req request;
  } ask{};
  ask.header = {.nlmsg_len = sizeof ask, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP};
  ask.request = {.sdiag_family = AF_UNIX, .udiag_states = ~0u, .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_NAME};
  timeval patience{.tv_sec = 2};
  if (!netlink || setsockopt(netlink.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0) return std::nullopt;
  if (send(netlink.get(), &ask, sizeof ask, 0) < 0) return std::nullopt;
  std::map<uint32_t, UnixSocket> sockets;
  alignas(nlmsghdr) char buffer[32768];
  for (;;) {
    ssize_t got = recv(netlink.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    auto length = static_cast<unsigned>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, length); header = NLMSG_NEXT(header, length)) {
      if (header->nlmsg_type == NLMSG_DONE) return sockets;
      if (header->nlmsg_type == NLMSG_ERROR) return std::nullopt;
      takeUnix(header, sockets);
    }
  }
}

void readTcp(const char* path, std::map<uint64_t, TcpSocket>& sockets) {
  std::istringstream lines(readFile(path, 64u << 20));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string slot, skipped;
    TcpSocket socket;
    uint64_t inode = 0;
    words >> slot >> socket.local >> socket.remote >> std::hex >> socket.state >> std::dec;
    for (int i = 0; i < 5; ++i) words >> skipped;  // queues, timer, retransmits, uid, timeout
    if (words >> inode && inode) sockets[inode] = socket;
  }
}

/// "0100007F:1F90" (little-endian words) in the usual form.
std::string address(const std::string& hex) {
  size_t colon = hex.find(':');
  char text[INET6_ADDRSTRLEN] = "?";
  uint32_t words[4] = {};
  for (size_t i = 0; i < colon / 8 && i < 4; ++i) words[i] = static_cast<uint32_t>(std::stoul(hex.substr(i * 8, 8), nullptr, 16));
  inet_ntop(colon == 8 ? AF_INET : AF_INET6, words, text, sizeof text);
  return std::string(text) + " port " + std::to_string(std::stoul(hex.substr(colon + 1), nullptr, 16));
}

bool insideTree(const TcpSocket& socket, const std::map<uint64_t, TcpSocket>& all, const std::set<uint64_t>& tree) {
  for (auto& [inode, other] : all)
    if (tree.count(inode) && other.local == socket.remote && other.remote == socket.local) return true;
  return false;
}

/// In the queue of a listening socket of the tree: not accepted yet, so in nobody's descriptors.
bool waitsAtListener(uint32_t peer, const std::map<uint32_t, UnixSocket>& all, const std::set<uint64_t>& tree) {
  auto found = all.find(peer);
  if (found == all.end() || found->second.name.empty()) return false;
  for (auto& [inode, other] : all)
    if (tree.count(inode) && other.name == found->second.name) return true;
  return false;
}

void checkUnix(const Look& look, const UnixSocket& socket, const std::map<uint32_t, UnixSocket>& all, const std::set<uint64_t>& tree,
               Findings& findings) {
  if (!socket.peer || tree.count(socket.peer) || waitsAtListener(socket.peer, all, tree)) return;
  auto peer = all.find(socket.peer);
  if (socket.type == SOCK_DGRAM && peer != all.end() && !peer->second.name.empty()) return;  // connected again by name
  std::string whom = peer == all.end() || peer->second.name.empty() ? "a process outside of the job" : "'" + peer->second.name + "'";
  findings.add(look, "SOCKET", "is connected to " + whom, "end that connection and try again: its other end would stay behind");
}

/// What the kernel calls the protocol of a socket (lsof(8) asks in the same way); empty when it does not tell.
std::string protocolOf(const Look& look, int fd) {
  char name[64];
  const std::string path = "/proc/" + std::to_string(look.process.pid) + "/fd/" + std::to_string(fd);
  const ssize_t length = getxattr(path.c_str(), "system.sockprotoname", name, sizeof name);
  return length > 0 ? std::string(name, strnlen(name, static_cast<size_t>(length))) : "";
}

void checkProtocol(const Look& look, int fd, Findings& findings) {
  static const std::set<std::string> dumpable = {"UNIX", "UNIX-STREAM", "TCP", "TCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITEv6", "RAW", "RAWv6", "PING", "PINGv6", "NETLINK", "PACKET"};
  const std::string protocol = protocolOf(look, fd);
  if (!protocol.empty() && !dumpable.count(protocol))
    findings.add(look, "SOCKET", "has a socket of the kind " + protocol + " (descriptor " + std::to_string(fd) + ")", "CRIU knows Unix, TCP, UDP, raw, packet and netlink sockets only; end what uses it");
}

}  // namespace

void checkSockets(const std::vector<Look>& looks, Findings& findings) {
  std::set<uint64_t> tree;
  for (auto& look : looks)
    for (auto& [fd, target] : look.descriptors)
      if (uint64_t inode; numberAfter(target, "socket:[", inode)) tree.insert(inode);
  if (tree.empty()) return;
  auto all_unix = unixSockets();
  std::map<uint64_t, TcpSocket> all_tcp;
  readTcp("/proc/net/tcp", all_tcp);
  readTcp("/proc/net/tcp6", all_tcp);
  for (auto& look : looks) {
    for (auto& [fd, target] : look.descriptors) {
      uint64_t inode;
      if (!numberAfter(target, "socket:[", inode)) continue;
      checkProtocol(look, fd, findings);
      auto unix_socket = all_unix ? all_unix->find(static_cast<uint32_t>(inode)) : decltype(all_unix->end()){};
      if (all_unix && unix_socket != all_unix->end()) checkUnix(look, unix_socket->second, *all_unix, tree, findings);
      auto tcp = all_tcp.find(inode);
      if (tcp != all_tcp.end() && tcp->second.state != tcp_listen && !insideTree(tcp->second, all_tcp, tree))
        findings.add(look, "SOCKET", "has a network connection to " + address(tcp->second.remote),
                     "end that connection and try again: its other end would stay behind");
    }
  }
}

}  // namespace xos::checkpoint
