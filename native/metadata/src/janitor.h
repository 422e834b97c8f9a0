// Work of the MRC that no client waits for: deleting objects, sizes of files whose writer died, dead sessions, free space.
#pragma once
#include <string>

#include "engine.h"
#include "osd_table.h"
#include "service.h"
#include "sessions.h"
#include "store.h"

namespace xos::fs::metadata {

class Janitor {
 public:
  Janitor(Store& store, Engine& engine, Sessions& sessions, OsdTable& osds, Service& service)
      : store_(store), engine_(engine), sessions_(sessions), osds_(osds), service_(service) {}
  /// Before it runs. Sizes of files with write replicas are asked of who leads.
  void use(class Mirrors& mirrors) { mirrors_ = &mirrors; }
  /// Never returns; a round each 200 ms.
  [[noreturn]] void run();
  /// Drops the sessions of a node at once (control operation client-drop).
  size_t drop_node(const std::string& node);

 private:
  size_t collect_objects();
  bool recover_size(uint64_t id);
  void forget_late();
  void settle_sizes();
  void sweep_orphans();
  void forget(const std::vector<Sessions::Dropped>& dropped);
  void measure_space();
  int call(uint16_t osd, uint16_t type, uint64_t file, uint8_t rights, uint32_t epoch, RpcClient::Answer& answer, int timeout_ms);

  Store& store_;
  Engine& engine_;
  Sessions& sessions_;
  OsdTable& osds_;
  Service& service_;
  Mirrors* mirrors_ = nullptr;
  bool swept_after_start_ = false;
};

}  // namespace xos::fs::metadata
