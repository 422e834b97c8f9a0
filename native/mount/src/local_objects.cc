#include "local_objects.h"

#include <algorithm>

#include "local_service.h"
#include "log.h"
#include "rpc_client.h"

namespace xos::fs {

void LocalObjects::configure(std::string path, bool kernel_can) {
  std::lock_guard lock(mutex_);
  path_ = std::move(path);
  usable_ = kernel_can;
}

void LocalObjects::set_osds(std::vector<std::string> names) {
  std::lock_guard lock(mutex_);
  osds_ = std::move(names);
}

bool LocalObjects::has(const std::string& osd) {
  std::lock_guard lock(mutex_);
  return usable_ && std::find(osds_.begin(), osds_.end(), osd) != osds_.end();
}

int LocalObjects::borrow(const std::string& proof, bool write, unique_fd& fd) {
  constexpr int timeout_ms = 2000;
  std::lock_guard lock(mutex_);
  if (monotonic_ms() < not_before_ms_) return EHOSTDOWN;
  int got = -1;
  int r = fs::borrow(path_, socket_, proof, write, timeout_ms, got);
  if (r == EHOSTDOWN) r = fs::borrow(path_, socket_, proof, write, timeout_ms, got);  // an OSD that was started again
  if (r == EHOSTDOWN) not_before_ms_ = monotonic_ms() + 5000;  // one that hangs must not cost every open its time
  fd.reset(got);
  return r;
}

void LocalObjects::give_up(const char* why) {
  std::lock_guard lock(mutex_);
  if (usable_) log(Priority::notice, "objects of this node are read and written through its OSD: %s", why);
  usable_ = false;
}

}  // namespace xos::fs
