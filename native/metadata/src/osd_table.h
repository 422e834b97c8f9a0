// The OSDs an MRC knows: numbers and keys are stored, space and liveness are what was told or measured last.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine.h"
#include "rpc_client.h"
#include "store.h"

namespace xos::fs::metadata {

/// draining: gets nothing new and gives up what it has; removed: has nothing and gets nothing.
enum class OsdState : uint8_t { used = 0, draining = 1, removed = 2 };

struct Osd {
  uint16_t number = 0;
  std::string name, node, address, key;
  uint16_t port = 0;
  uint64_t total_bytes = 0, free_bytes = 0;
  bool up = true;
  OsdState state = OsdState::used;  ///< stored by set_state, not by set
};

class OsdTable {
 public:
  OsdTable(Store& store, wire::TlsContext& tls, std::string mrc_node);
  /// Replaces addresses, keys and liveness; OSDs that are not named any more stay known (files refer to them) but get nothing new.
  void set(std::vector<Osd> osds);
  /// False when there is none of that name. On the disk when it returns.
  bool set_state(const std::string& name, OsdState state);
  OsdState state(const std::string& name) const;
  std::vector<Osd> list() const;
  bool find(uint16_t number, Osd& osd) const;
  /// OSDs for a new file of a client on `node`; empty when none is up with space.
  std::vector<uint16_t> place(const VolumePolicy& policy, const std::string& node);
  std::shared_ptr<RpcClient> client(uint16_t number);
  void set_space(uint16_t number, uint64_t total_bytes, uint64_t free_bytes, bool up);

 private:
  Store& store_;
  wire::TlsContext& tls_;
  const std::string mrc_node_;
  std::mutex set_mutex_;
  mutable std::mutex mutex_;
  std::map<uint16_t, Osd> osds_;
  std::map<uint16_t, std::shared_ptr<RpcClient>> clients_;
  unsigned next_ = 0;
};

constexpr uint64_t room_bytes = 64u << 20;  ///< that copies leave free on an OSD

/// Whether `osd` is one of `osds`.
inline bool contains(const std::vector<uint16_t>& osds, uint16_t osd) { return std::find(osds.begin(), osds.end(), osd) != osds.end(); }

}  // namespace xos::fs::metadata
