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
  void set_server(const std::string& node, const std::string& host, uint16_t port);
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
  std::string node_, host_;
  uint16_t port_ = 0;
  std::mutex greet_mutex_;
  uint64_t server_instance_ = 0;
  std::mutex slot_mutex_;
  std::vector<uint16_t> free_slots_;
  uint16_t slots_made_ = 0;
  std::atomic<uint64_t> sequence_{1};
};

inline constexpr int call_timeout_ms = 10000;
inline constexpr int ask_again_max_ms = 3600 * 1000;  ///< a large file that is copied for a snapshot takes its time

}  // namespace xos::fs
