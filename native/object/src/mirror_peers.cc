#include "mirror_peers.h"

#include <cerrno>

#include "codec.h"
#include "log.h"
#include "object_protocol.h"

namespace xos::fs {

namespace {

/// Longer than that the file's writers do not wait for one member: the MRC goes on without it. A disk that syncs may take its time.
constexpr int change_ms = 1500, sync_ms = 4000;

}  // namespace

std::shared_ptr<RpcClient> WirePeers::client(const MirrorMember& m) {
  std::lock_guard lock(mutex_);
  auto& c = clients_[m.osd];
  if (!c || c->host() != m.address || c->port() != m.port) c = std::make_shared<RpcClient>(tls_, "OSD '" + m.osd + "'", m.address, m.port);
  return c;
}

int WirePeers::ask(const std::vector<MirrorMember>& members, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<void()>& meanwhile) {
  const int timeout_ms = type == object::sync ? sync_ms : change_ms;
  struct One {
    std::shared_ptr<RpcClient> client;
    std::string head;
    RpcClient::Transfer transfer;
    std::unique_ptr<RpcClient::Started> started;
  };
  std::vector<One> all(members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    One& one = all[i];
    one.client = client(members[i]);
    one.head = Writer().text(members[i].body).raw({reinterpret_cast<const char*>(members[i].mac.data()), members[i].mac.size()}).bytes();
    one.transfer.type = type;
    one.transfer.flags = flags;
    one.transfer.payload.push_back({one.head.data(), one.head.size()});
    if (!arguments.empty()) one.transfer.payload.push_back({const_cast<char*>(arguments.data()), arguments.size()});
    one.started = one.client->start_once(one.transfer, timeout_ms);
  }
  if (meanwhile) meanwhile();
  int error = 0;
  for (size_t i = 0; i < members.size(); ++i) {
    int status = EHOSTDOWN;
    if (all[i].started && !all[i].client->finish(std::move(all[i].started), all[i].transfer, timeout_ms, status)) status = ETIMEDOUT;
    if (status != 0) log(Priority::warning, "member '%s' of a file with replicas did not take a change: %s", members[i].osd.c_str(), strerror(status));
    if (error == 0) error = status;
  }
  return error;
}

}  // namespace xos::fs
