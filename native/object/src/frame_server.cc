#include "frame_server.h"

#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "codec.h"
#include "log.h"

namespace xos::fs {

namespace {

std::atomic<int> connections{0};

}  // namespace

int frame_connections() { return connections.load(std::memory_order_relaxed); }

void serve_frames(wire::TlsContext& tls, const std::string& address, uint16_t port, int connections_max,
                  std::function<void(wire::Connection&)> serve) {
  int listener = wire::listen_tcp(address, port);
  for (;;) {
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        pollfd p{listener, POLLIN, 0};
        poll(&p, 1, 60000);
      } else if (errno != EINTR && errno != ECONNABORTED) {
        log(Priority::warning, "cannot accept a connection: %s", strerror(errno));
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
      continue;
    }
    if (connections.load() >= connections_max) {
      log(Priority::warning, "refused a connection: %d are open already", connections_max);
      close(fd);
      continue;
    }
    ++connections;
    std::thread([&tls, serve, fd] {
      std::string who = "a peer";
      try {
        auto connection = wire::Connection::accept(tls, fd, 5000);
        who = "node '" + connection->peer().node + "'";
        serve(*connection);
      } catch (const wire::Error& e) {
        if (e.code != wire::ErrorCode::closed) log(Priority::warning, "connection of %s ended: %s", who.c_str(), e.what());
      } catch (const std::exception& e) {
        log(Priority::warning, "connection of %s dropped: %s", who.c_str(), e.what());
      }
      --connections;
    }).detach();
  }
}

struct BufferPool::Impl {
  std::mutex mutex;
  std::vector<std::pair<char*, size_t>> free;
  size_t least = 0;  // fewest free ones since the last trim: those nobody needed
};

BufferPool::Impl& BufferPool::impl() {
  static Impl& impl = *new Impl;  // never destroyed: detached threads use it while the process exits
  return impl;
}

BufferPool& BufferPool::instance() {
  static BufferPool pool;
  return pool;
}

BufferPool::Buffer BufferPool::take(size_t bytes) {
  Impl& p = impl();
  {
    std::lock_guard lock(p.mutex);
    for (size_t i = p.free.size(); i-- > 0;) {
      if (p.free[i].second < bytes) continue;
      auto [data, size] = p.free[i];
      p.free.erase(p.free.begin() + static_cast<ptrdiff_t>(i));
      p.least = std::min(p.least, p.free.size());
      return {data, size, this};
    }
  }
  size_t size = std::max<size_t>(bytes, (1u << 20) + 4096);
  char* data = static_cast<char*>(malloc(size));
  if (!data) throw std::bad_alloc();
  return {data, size, this};
}

void BufferPool::give(char* data, size_t bytes) {
  Impl& p = impl();
  std::lock_guard lock(p.mutex);
  p.free.emplace_back(data, bytes);
}

void BufferPool::trim() {
  Impl& p = impl();
  std::lock_guard lock(p.mutex);
  for (size_t n = p.least; n > 0 && !p.free.empty(); --n) {
    ::free(p.free.front().first);
    p.free.erase(p.free.begin());
  }
  p.least = p.free.size();
}

BufferPool::Buffer& BufferPool::Buffer::operator=(Buffer&& o) noexcept {
  std::swap(data, o.data);
  std::swap(bytes, o.bytes);
  std::swap(pool, o.pool);
  return *this;
}

BufferPool::Buffer::~Buffer() {
  if (data) pool->give(data, bytes);
}

void prepare_process() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65536);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
}

}  // namespace xos::fs
