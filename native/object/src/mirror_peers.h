// MirrorPeers over wire.
#pragma once
#include "mirror.h"
#include "rpc_client.h"

namespace xos::fs {

class WirePeers : public MirrorPeers {
 public:
  explicit WirePeers(wire::TlsContext& tls) : tls_(tls) {}
  int ask(const std::vector<MirrorMember>& members, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<void()>& meanwhile) override;

 private:
  std::shared_ptr<RpcClient> client(const MirrorMember& member);
  wire::TlsContext& tls_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<RpcClient>> clients_;
};

}  // namespace xos::fs
