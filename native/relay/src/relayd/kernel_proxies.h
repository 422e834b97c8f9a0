// What the kernel shows of proxies and tells about them: /dev/xos_proxy (kmod/xos_proxy/uapi/xos_proxy.h). Does nothing where the module is not loaded.
#pragma once
#include "loop.h"
#include "protocol.h"

#include <functional>
#include <map>
#include <sys/types.h>

namespace xos::relay {

class KernelProxies : public Watcher {
 public:
  enum class Event { stop, go_on, kill };
  using Tell = std::function<void(uint64_t job, Event event)>;
  /// `tell` is called in the loop for each STOP, CONT or KILL of a proxy.
  KernelProxies(Loop& loop, Tell tell) : loop_(loop), tell_(std::move(tell)) { open(); }
  /// Opens the device when the module was loaded since. Called every few seconds.
  void open();
  /// Watches the process at the other end of `socket` (a connected Unix socket) as the proxy of `job`. False when that cannot be.
  bool add(uint64_t job, int socket, pid_t pid);
  void remove(uint64_t job);
  bool has(uint64_t job) const { return shown_.contains(job); }
  /// What the job's present cell has used; `restored()` says that another cell begins to count anew.
  void use(uint64_t job, const Usage& usage, uint64_t memory_kb_max = 0);
  void restored(uint64_t job);
  void ready(uint32_t events) override;

 private:
  struct Shown { uint64_t base_user_us = 0, base_system_us = 0, user_us = 0, system_us = 0, memory_kb_max = 0; };
  Loop& loop_;
  Tell tell_;
  unique_fd device_;
  bool told_ = false;  ///< why it cannot be opened
  std::map<uint64_t, Shown> shown_;
};

}  // namespace xos::relay
