// xos-relayd: jobs of this node. The home end stands behind the proxies, the far end runs jobs in cells; both in one event loop.
#include "control_operations.h"
#include "flags.h"
#include "kernel_policy.h"
#include "log.h"
#include "node_files.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

using namespace xos;
using namespace xos::relay;

namespace {

/// /run/xos/relay.sock: anybody may connect, and proves with the session's secret who he is.
class Door : public Watcher {
 public:
  Door(Loop& loop, Home& home, const std::string& path) : home_(home) {
    listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw CodedError("XOS_PATH", "cannot listen on '" + path + "': the path is too long");
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    unlink(path.c_str());
    if (!listener_ || bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 || chmod(path.c_str(), 0666) < 0 || listen(listener_.get(), 1024) < 0)
      throw CodedError("XOS_SOCKET", "cannot listen on '" + path + "': " + strerror(errno));
    loop.watch(*this, listener_.get(), EPOLLIN);
  }
  void ready(uint32_t) override {
    for (;;) {
      const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) return;
      ucred peer{};
      socklen_t size = sizeof peer;
      if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        close(fd);
        continue;
      }
      home_.accept_proxy(fd, peer.uid, peer.pid);
    }
  }

 private:
  Home& home_;
  unique_fd listener_;
};

void raise_limits() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

std::string cell_program(const char* self) {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  const std::string own(length > 0 ? std::string(path, length) : self);
  const std::string beside = own.substr(0, own.rfind('/') + 1) + "xos-cell";
  if (const char* set = getenv("XOS_CELL_PROGRAM")) return set;  // build trees keep it elsewhere
  return beside;
}

int serve(const DaemonFlags& flags, const char* self) {
  Loop loop;
  wire::TlsContext tls(flags.credentials);
  if (tls.self().node != flags.node || tls.self().vo != flags.vo)
    throw CodedError("XOS_IDENTITY", "the certificate in '" + flags.credentials + "' is of node '" + tls.self().node + "' of VO '" + tls.self().vo + "', not of '" + flags.node + "' of '" + flags.vo + "'");
  Sessions sessions;
  Placer placer(flags.node);
  LeaseGuard guard;  // before any thread
  Cells cells(loop, cell_program(self));
  Far far(loop, sessions, cells, guard, flags.node);
  End* home_end = nullptr;
  Peers peers(loop, tls, home_end);
  LocalLink* local = nullptr;
  ControlServer* control = nullptr;
  Home home(
      loop, sessions, placer, flags.node, flags.state, [&](const std::string& node, bool may_wait) { return node == flags.node ? &local->to_far() : peers.find(node, may_wait); },
      [&](const nlohmann::json& event) {
        if (control) control->emit(event);
      });
  home_end = &home;
  LocalLink inside(loop, home, far, flags.node);
  local = &inside;
  Guests guests(loop, tls, far, wire::listen_tcp(flags.listen_address, flags.listen_port));
  make_local_directory(flags.run);
  KernelPolicy kernel;
  const auto keep_policy = [&] {
    std::map<uint32_t, std::string> vos;
    sessions.each_own(Loop::clock_ms(), [&vos](const Session& session) {
      if (const uint32_t vo = vo_of(session.uid)) vos[vo] = session.vo;
    });
    kernel.keep(merge_policies("/etc/xos/policy.d", flags.run + "/policy"), vos);
  };
  keep_policy();
  Parts parts{loop, sessions, placer, peers, home, far, cells, flags.node, flags.vo, keep_policy};
  Door door(loop, home, flags.run + "/relay.sock");
  ControlServer server(flags.run + "/relayd.ctl", [&](const std::string& op, const nlohmann::json& request, auto reply, auto fail) { serve_control(parts, op, request, reply, fail); });
  control = &server;
  loop.every(1000, [&] {
    peers.tick();
    guests.tick();
    home.tick();
  });
  loop.every(200, [&] {
    far.tick();
    cells.tick();
  });
  loop.every(5000, keep_policy);
  log(Priority::notice, "relay of node '%s' of VO '%s' serves %s:%u", flags.node.c_str(), flags.vo.c_str(), flags.listen_address.c_str(), flags.listen_port);
  loop.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const DaemonFlags flags = parse_flags(argc, argv, needs_listen | needs_state);
  raise_limits();
  share_mounts();
  try {
    std::filesystem::create_directories(flags.run);
    std::filesystem::create_directories(flags.state);
    return serve(flags, argv[0]);
  } catch (const std::exception& error) {
    log(Priority::error, "cannot serve as relay of node '%s': %s", flags.node.c_str(), error.what());
    return 1;
  }
}
