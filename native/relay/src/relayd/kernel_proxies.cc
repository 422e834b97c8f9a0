#include "kernel_proxies.h"

#include "log.h"
#include "xos_proxy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5; not in the headers of older C libraries
#endif

namespace xos::relay {

void KernelProxies::open() {
  if (device_) return;
  device_.reset(::open(XOS_PROXY_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!device_) {
    const bool absent = errno == ENOENT || errno == ENXIO || errno == ENODEV;
    if (!absent && !told_) log(Priority::warning, "cannot open '%s': %s; proxies do not show what their jobs use", XOS_PROXY_DEVICE, strerror(errno));
    told_ = told_ || !absent;
    return;
  }
  loop_.watch(*this, device_.get(), EPOLLIN);
}

bool KernelProxies::add(uint64_t job, int socket, pid_t pid) {
  if (!device_) return false;
  int process = -1;
  socklen_t size = sizeof process;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &process, &size) < 0) return false;
  const unique_fd held(process);
  const xos_proxy_watch watch{job, pid, 0};
  if (ioctl(device_.get(), XOS_PROXY_ADD, &watch) < 0) return false;
  shown_[job] = {};
  // It lives after the call, so the number was its own during the call.
  pollfd look{held.get(), POLLIN, 0};
  if (poll(&look, 1, 0) == 0) return true;
  remove(job);
  return false;
}

void KernelProxies::remove(uint64_t job) {
  if (shown_.erase(job) == 0) return;
  const __u64 cookie = job;
  ioctl(device_.get(), XOS_PROXY_REMOVE, &cookie);
}

void KernelProxies::use(uint64_t job, const Usage& usage, uint64_t memory_kb_max) {
  const auto found = shown_.find(job);
  if (found == shown_.end()) return;
  Shown& shown = found->second;
  // A process of the job that ended unwaited for takes its time along: what was shown stays.
  shown.user_us = std::max(shown.user_us, shown.base_user_us + usage.user_us);
  shown.system_us = std::max(shown.system_us, shown.base_system_us + usage.system_us);
  shown.memory_kb_max = std::max(shown.memory_kb_max, memory_kb_max);
  constexpr uint64_t time_us_max = XOS_PROXY_TIME_MAX / 1000, memory_kb_limit = XOS_PROXY_MEMORY_MAX >> 10;
  const xos_proxy_usage said{job, std::min(shown.user_us, time_us_max) * 1000, std::min(shown.system_us, time_us_max) * 1000,
                             std::min(usage.memory_kb, memory_kb_limit) << 10, std::min(shown.memory_kb_max, memory_kb_limit) << 10};
  if (ioctl(device_.get(), XOS_PROXY_USAGE, &said) < 0) log(Priority::warning, "cannot show the usage of job %llu: %s", static_cast<unsigned long long>(job), strerror(errno));
}

void KernelProxies::restored(uint64_t job) {
  const auto found = shown_.find(job);
  if (found == shown_.end()) return;
  found->second.base_user_us = found->second.user_us;
  found->second.base_system_us = found->second.system_us;
}

void KernelProxies::ready(uint32_t) {
  xos_proxy_event events[64];
  const ssize_t size = read(device_.get(), events, sizeof events);  // more than these: the loop comes back
  for (ssize_t i = 0; i * static_cast<ssize_t>(sizeof *events) < size; i++) {
    if (events[i].events & XOS_PROXY_KILL) tell_(events[i].cookie, Event::kill);
    else if (events[i].events & XOS_PROXY_STOP) tell_(events[i].cookie, Event::stop);
    else if (events[i].events & XOS_PROXY_CONT) tell_(events[i].cookie, Event::go_on);
  }
}

}  // namespace xos::relay
