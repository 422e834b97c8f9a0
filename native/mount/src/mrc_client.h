// The mount's side of the metadata service: one session, repeated calls, groups when asked for, reclaim after a restart of the MRC.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "protocol.h"
#include "rpc_client.h"

namespace xos::fs {

class MrcClient {
 public:
  /// `put_reclaim` appends the body of a reclaim request; `reset` drops everything cached (called before a session starts anew).
  MrcClient(wire::TlsContext& tls, std::function<void(Writer&)> put_reclaim, std::function<void()> reset);
  struct Server {
    std::string node, host;
    uint16_t port = 0;
    bool operator==(const Server&) const = default;
  };
  /// Members of the group, of which one serves; at least one.
  void set_servers(std::vector<Server> servers);
  /// For how long the one that serves may be silent on the connection for callbacks.
  int silence_ms() const;
  /// The one that serves is silent: what waits for it is repeated at the others. Nothing happens when there are none.
  void look_elsewhere();
  bool known() const;

  /// `groups` fills the supplementary groups of the caller; it is called only when the MRC asks. 0 or errno.
  using Groups = std::function<std::vector<uint32_t>()>;
  int call(uint16_t type, const metadata::Caller& caller, const Writer& arguments, RpcClient::Answer& answer, const Groups& groups = {});
  uint64_t instance() const { return instance_; }
  /// A connection for callbacks, greeted as such. Throws wire::Error; null while no server was told.
  std::unique_ptr<wire::Connection> open_callbacks();
  void trim(size_t keep);

 private:
  std::shared_ptr<RpcClient> client() const;
  void greet(wire::Connection& connection, bool callbacks);
  uint16_t take_slot();
  void give_slot(uint16_t slot);

  wire::TlsContext& tls_;
  std::function<void(Writer&)> put_reclaim_;
  std::function<void()> reset_;
  const uint64_t instance_;
  mutable std::mutex mutex_;
  std::shared_ptr<RpcClient> client_;
  std::vector<Server> servers_;
  std::mutex greet_mutex_;
  uint64_t server_instance_ = 0;
  std::mutex slot_mutex_;
  std::vector<uint16_t> free_slots_;
  uint16_t slots_made_ = 0;
  std::atomic<uint64_t> sequence_{1};
};

inline constexpr int call_timeout_ms = 10000;
inline constexpr int another_ms = 2500;  ///< to wait for one of several servers before the next is tried
inline constexpr int ask_again_max_ms = 3600 * 1000;  ///< a large file that is copied for a snapshot takes its time

}  // namespace xos::fs
