// This xos-mrc in its group: alone, following or leading; and the operations of the control socket that are about it (README.md).
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "json.h"
#include "leader.h"
#include "member.h"

namespace xos::fs::metadata {

class Group {
 public:
  /// `serve`: called once, when this one may serve the volumes; returns when it does.
  Group(Store& store, wire::TlsContext& tls, std::string node, std::function<void()> serve);
  /// Serves at once when it is in no group; else keeps the disk up to date until it leads.
  void start();
  Member& member() { return member_; }
  static bool knows(const std::string& op);
  /// May wait for others. Throws CodedError, json::exception.
  nlohmann::json answer(const std::string& op, const nlohmann::json& request);

 private:
  nlohmann::json lead(uint64_t term);
  nlohmann::json state() const;
  [[noreturn]] void keep_synced();

  Store& store_;
  wire::TlsContext& tls_;
  Member member_;
  const std::function<void()> serve_;
  const bool grouped_;
  std::mutex electing_;
  std::atomic<Leader*> leader_{nullptr};
  std::atomic<bool> serves_{false};
};

}  // namespace xos::fs::metadata
