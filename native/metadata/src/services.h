// All that serves the volumes of a database: in an MRC alone from its start, in a group where it leads.
#pragma once
#include <memory>
#include <string>

#include "flags.h"
#include "json.h"
#include "store.h"
#include "wire.h"

namespace xos::fs::metadata {

/// Lives until the process ends.
class Services {
 public:
  /// Takes up what a predecessor left in the database. Throws StoreError.
  Services(Store& store, const DaemonFlags& flags, wire::TlsContext& tls);
  ~Services();
  /// Begins the background work.
  void start();
  /// A connection of a mount, whose first frame was received. Until it leaves. Throws wire::Error, Malformed.
  void serve(wire::Connection& connection, const wire::FrameHeader& first, const std::vector<std::byte>& payload);
  /// control_requests.h. Throws CodedError.
  nlohmann::json answer(const std::string& op, const nlohmann::json& request);

 private:
  struct All;
  std::unique_ptr<All> all_;
};

}  // namespace xos::fs::metadata
