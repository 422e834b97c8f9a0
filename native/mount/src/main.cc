// xos-mount: mounts the volumes of a VO.
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "control.h"
#include "flags.h"
#include "frame_server.h"
#include "lock_waiters.h"
#include "log.h"
#include "mount.h"
#include "mount_metrics.h"

using namespace xos;
using namespace xos::fs;
using nlohmann::json;

namespace {

/// Threads that send what is written behind; a program that waits for its writes sends them itself.
constexpr int senders = 3;

/// A predecessor that was killed leaves a mount that answers ENOTCONN: take it (and any below it) away.
void remove_dead_mounts(const std::string& path) {
  for (int i = 0; i < 16; ++i) {
    std::ifstream table("/proc/self/mountinfo");
    bool found = false;
    for (std::string line; std::getline(table, line);) {
      std::istringstream fields(line);
      std::string id, parent, device, root, point;
      fields >> id >> parent >> device >> root >> point;
      if (point == path && line.find(" fuse.xtreemfs ") != std::string::npos) found = true;
    }
    if (!found) return;
    if (umount2(path.c_str(), MNT_DETACH) != 0) {
      log(Priority::warning, "cannot take the old mount at '%s' away: %s", path.c_str(), strerror(errno));
      return;
    }
    log(Priority::notice, "took over the mount point '%s' from a predecessor", path.c_str());
  }
}

bool make_directories(const std::string& path) {
  for (size_t i = 1; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '/') continue;
    if (mkdir(path.substr(0, i).c_str(), 0755) != 0 && errno != EEXIST) return false;
  }
  return true;
}

/// The kernel reads ahead 128 KiB of a FUSE file unless it is told otherwise here.
void raise_readahead(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return;
  std::ofstream file("/sys/class/bdi/" + std::to_string(major(st.st_dev)) + ":" + std::to_string(minor(st.st_dev)) + "/read_ahead_kb");
  file << 1024 << std::flush;
  if (!file) log(Priority::info, "read-ahead of '%s' stays at the kernel's default: /sys is not writable here", path.c_str());
}

void init(void* mount, fuse_conn_info* conn) {
  conn->max_write = 1 << 20;
  conn->max_readahead = 1 << 20;
  conn->max_background = 64;
  conn->congestion_threshold = 48;
  for (uint64_t want : {FUSE_CAP_POSIX_LOCKS, FUSE_CAP_FLOCK_LOCKS, FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS, FUSE_CAP_AUTO_INVAL_DATA,
                        FUSE_CAP_HANDLE_KILLPRIV_V2, FUSE_CAP_ASYNC_READ, FUSE_CAP_DIRECT_IO_ALLOW_MMAP, FUSE_CAP_POSIX_ACL, FUSE_CAP_DONT_MASK,
                        FUSE_CAP_EXPORT_SUPPORT})
    fuse_set_feature_flag(conn, want);
  fuse_unset_feature_flag(conn, FUSE_CAP_WRITEBACK_CACHE);
  fuse_unset_feature_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC);
  fuse_unset_feature_flag(conn, FUSE_CAP_READDIRPLUS_AUTO);
  // A mount of ours stays good as a layer of an overlay: objects then lie on no stacked file system themselves.
  conn->max_backing_stack_depth = 1;
  Mount& m = *static_cast<Mount*>(mount);
  m.local.configure(m.osd_socket, fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH));
}

json control(Mount& m, const std::string& op, const json& request) {
  if (op == "servers") {
    std::vector<OsdAddress> osds;
    for (const auto& j : request.value("osds", json::array()))
      osds.push_back({j.value("osd", j.at("node").get<std::string>()), j.at("node"), j.at("address"), j.at("port")});
    m.objects.set_servers(osds);
    std::vector<std::string> here;
    for (const auto& o : osds)
      if (o.node == m.tls.self().node) here.push_back(o.name);
    m.local.set_osds(std::move(here));
    if (request.contains("mrc") && !request["mrc"].is_null()) {
      std::vector<MrcClient::Server> servers;
      for (auto& j : request["mrc"].is_array() ? request["mrc"] : json::array({request["mrc"]}))
        servers.push_back({j.at("node"), j.at("address"), j.at("port")});
      if (servers.empty()) throw CodedError("XOS_BAD_REQUEST", "cannot set the servers: the list of MRCs is empty");
      m.mrc.set_servers(std::move(servers));
    }
    return json::object();
  }
  if (op == "stats") return {{"operations", m.operations.load()}, {"mrc_calls", m.mrc_calls.load()}, {"leases", m.cache.valid()}, {"servers", m.mrc.known()}, {"passed_through", m.passed_through.load()}};
  if (op == "metrics") return {{"text", describe_mount(m)}};
  throw CodedError("XOS_UNKNOWN_OPERATION", "cannot do '" + op + "': the mount knows servers, stats and metrics");
}

int serve(const DaemonFlags& flags) {
  remove_dead_mounts(flags.mount);
  if (!make_directories(flags.mount)) {
    log(Priority::error, "cannot make the mount point '%s': %s", flags.mount.c_str(), strerror(errno));
    return 1;
  }
  wire::TlsContext tls(flags.credentials);
  Mount mount(tls, flags.vo);
  mount.osd_socket = flags.run + "/osd.local";
  fuse_lowlevel_ops ops{};
  ops.init = init;
  register_name_operations(ops);
  register_data_operations(ops);
  register_range_operations(ops);
  register_attribute_operations(ops);
  register_directory_operations(ops);
  register_lock_operations(ops);
  count_operations(ops);
  std::string options = "allow_other,default_permissions,nosuid,nodev,subtype=xtreemfs,fsname=" + flags.vo;
  const char* argv[] = {"xos-mount", "-o", options.c_str()};
  fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(argv));
  fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, &mount);
  fuse_opt_free_args(&args);
  if (!session) {
    log(Priority::error, "cannot make a FUSE session");
    return 1;
  }
  mount.session = session;
  if (fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, flags.mount.c_str()) != 0) {
    log(Priority::error, "cannot mount '%s': %s; is /dev/fuse there and am I root?", flags.mount.c_str(), strerror(errno));
    fuse_session_destroy(session);
    return 1;
  }
  // Blocked in all threads but this one, so that a signal ends the loop and not a worker's read.
  ControlServer server(flags.run + "/mount-" + flags.vo + ".ctl",
                       [&](const std::string& op, const json& request, ControlServer::Reply reply, ControlServer::Fail) {
                         try {
                           reply(control(mount, op, request));
                         } catch (const json::exception& e) {
                           throw CodedError("XOS_BAD_REQUEST", "cannot do '" + op + "': " + e.what());
                         }
                       });
  mount.kernel_names = mount.expire_kernel_names();
  std::thread([&] { mount.run_callbacks(); }).detach();
  std::thread([&] { mount.run_closer(); }).detach();
  std::thread([&] { mount.run_invalidator(); }).detach();
  std::thread([&] { mount.waiters->run(); }).detach();
  for (int i = 0; i < senders; ++i) std::thread([&] { mount.behind.run(); }).detach();
  std::thread([] {
    for (;;) {
      std::this_thread::sleep_for(std::chrono::seconds(5));
      BufferPool::instance().trim();
      malloc_trim(0);
    }
  }).detach();
  std::thread([path = flags.mount] { raise_readahead(path); }).detach();
  log(Priority::info, "mounted VO '%s' at '%s'", flags.vo.c_str(), flags.mount.c_str());
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, 16);
  fuse_loop_cfg_set_idle_threads(config, 16);
  int status = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  fuse_session_unmount(session);
  umount2(flags.mount.c_str(), MNT_DETACH);
  for (const auto& file : mount.files.all()) mount.behind.drain(file);
  mount.send_closes();
  log(Priority::info, "unmounted '%s'", flags.mount.c_str());
  _exit(status < 0 ? 1 : 0);  // detached threads still use `mount`: no destructors
}

}  // namespace

int main(int argc, char** argv) {
  DaemonFlags flags = parse_flags(argc, argv, needs_mount);
  prepare_process();
  while (flags.mount.size() > 1 && flags.mount.back() == '/') flags.mount.pop_back();
  try {
    return serve(flags);
  } catch (const std::exception& e) {
    log(Priority::error, "cannot mount VO '%s' at '%s': %s", flags.vo.c_str(), flags.mount.c_str(), e.what());
    return 1;
  }
}
