// xos-mrc: metadata and replica catalogue of a VO's volumes.
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "capability.h"
#include "control.h"
#include "engine.h"
#include "flags.h"
#include "frame_server.h"
#include "janitor.h"
#include "log.h"
#include "osd_table.h"
#include "service.h"
#include "sessions.h"
#include "store.h"

using namespace xos;
using namespace xos::fs;
using namespace xos::fs::metadata;
using nlohmann::json;

namespace {

struct Mrc {
  Store& store;
  Engine& engine;
  Sessions& sessions;
  OsdTable& osds;
  Janitor& janitor;
};

VolumePolicy parse_policy(const json& request) {
  VolumePolicy p;
  json j = request.value("policy", json::object());
  p.stripe_bytes = j.value("stripe_size", p.stripe_bytes);
  p.width = j.value("width", p.width);
  p.placement = j.value("placement", p.placement);
  return p;
}

json volume_create(Mrc& m, const json& request) {
  std::string name = request.at("name");
  uint32_t uid = request.value("uid", 0u), gid = request.value("gid", uid);
  uint32_t mode = request.value("mode", 0700u);
  VolumePolicy policy = parse_policy(request);
  uint64_t root = 0;
  int status = 0;
  Effects effects;
  m.store.write([&](Txn& txn) {
    effects = {};
    status = m.engine.volume_create(txn, name, uid, gid, mode, policy, root, effects);
  });
  if (status == EEXIST) throw CodedError("XOS_EXISTS", "cannot create volume '" + name + "': it exists already");
  if (status != 0)
    throw CodedError("XOS_BAD_VOLUME", "cannot create volume '" + name + "': its name must be 1–255 bytes without '/', stripe_size a multiple of 4096 up to "
                                       "4194304, width 1–256, placement with-mrc, spread or local");
  m.store.sync();
  m.sessions.invalidate(effects, nullptr);
  return {{"root", root}};
}

json volume_remove(Mrc& m, const json& request) {
  std::string name = request.at("name");
  int status = 0;
  Effects effects;
  m.store.write([&](Txn& txn) {
    effects = {};
    status = m.engine.volume_remove(txn, name, request.value("force", false), effects);
  });
  if (status == ENOENT) throw CodedError("XOS_NO_VOLUME", "cannot remove volume '" + name + "': there is none of that name");
  if (status == ENOTEMPTY) throw CodedError("XOS_NOT_EMPTY", "cannot remove volume '" + name + "': it has files; remove them or pass force");
  if (status != 0) throw CodedError("XOS_INTERNAL", "cannot remove volume '" + name + "': error " + std::to_string(status));
  m.store.sync();
  m.sessions.invalidate(effects, nullptr);
  return json::object();
}

json volume_list(Mrc& m) {
  json list = json::array();
  for (auto& v : m.engine.volumes()) {
    Inode root;
    int status = 0;
    m.store.read([&](const Txn& txn) { status = m.engine.getattr(txn, v.root, root); });
    if (status != 0) continue;
    list.push_back({{"name", v.name}, {"root", v.root}, {"uid", root.r.uid}, {"gid", root.r.gid}, {"mode", root.r.mode & 07777},
                    {"policy", {{"stripe_size", v.policy.stripe_bytes}, {"width", v.policy.width}, {"placement", v.policy.placement}}}});
  }
  return {{"volumes", list}};
}

json set_osds(Mrc& m, const json& request) {
  std::vector<Osd> osds;
  for (const auto& j : request.at("osds")) {
    Osd o;
    o.node = j.at("node");
    o.name = j.value("osd", o.node);
    o.address = j.at("address");
    o.port = j.at("port");
    o.key = parse_key(j.at("key").get<std::string>());
    if (o.key.size() < 16) throw CodedError("XOS_BAD_KEY", "cannot take the key of OSD '" + o.name + "': it is shorter than 16 bytes");
    o.free_bytes = j.value("free_bytes", uint64_t{1} << 30);
    o.up = j.value("up", true);
    osds.push_back(o);
  }
  m.osds.set(std::move(osds));
  return json::object();
}

json stats(Mrc& m) {
  auto [transactions, changes] = m.store.counters();
  auto counts = m.sessions.counts();
  uint64_t files = 0, deletions = 0, orphans = 0;
  m.store.read([&](const Txn& txn) {
    files = txn.entries(table_inode);
    deletions = txn.entries(table_deletion);
    orphans = txn.entries(table_orphan);
  });
  json osds = json::array();
  for (auto& o : m.osds.list()) osds.push_back({{"osd", o.name}, {"node", o.node}, {"up", o.up}, {"total_bytes", o.total_bytes}, {"free_bytes", o.free_bytes}});
  return {{"inodes", files}, {"orphans", orphans}, {"objects_to_delete", deletions}, {"transactions", transactions}, {"changes", changes},
          {"sessions", counts.sessions}, {"open_files", counts.open_files}, {"locks", counts.locks}, {"leases", counts.leases}, {"osds", osds}};
}

json control(Mrc& m, const std::string& op, const json& request) {
  if (op == "volume-create") return volume_create(m, request);
  if (op == "volume-remove") return volume_remove(m, request);
  if (op == "volume-list") return volume_list(m);
  if (op == "osds") return set_osds(m, request);
  if (op == "client-drop") return {{"dropped", m.janitor.drop_node(request.at("node"))}};
  if (op == "stats") return stats(m);
  throw CodedError("XOS_UNKNOWN_OPERATION", "cannot do '" + op + "': the MRC knows volume-create, volume-remove, volume-list, osds, client-drop, stats");
}

/// Sessions, written and unlinked files that a predecessor left in the database.
std::set<uint64_t> remember(Store& store, std::unordered_set<uint64_t>& writing, std::vector<uint64_t>& orphans) {
  std::set<uint64_t> instances;
  store.read([&](const Txn& txn) {
    txn.scan(table_meta, "session:", [&](std::string_view key, std::string_view) {
      if (!key.starts_with("session:")) return false;
      instances.insert(id_of(key.substr(8)));
      return true;
    });
    txn.scan(table_writing, "", [&](std::string_view key, std::string_view) {
      writing.insert(id_of(key));
      return true;
    });
    txn.scan(table_orphan, "", [&](std::string_view key, std::string_view) {
      orphans.push_back(id_of(key));
      return true;
    });
  });
  return instances;
}

}  // namespace

int main(int argc, char** argv) {
  DaemonFlags flags = parse_flags(argc, argv, needs_listen | needs_state);
  prepare_process();
  // What was acknowledged is in the kernel already; the machine's own shutdown writes it out.
  signal(SIGTERM, [](int) { _exit(0); });
  signal(SIGINT, [](int) { _exit(0); });
  try {
    Store store(flags.state);
    std::unordered_set<uint64_t> writing;
    std::vector<uint64_t> orphans;
    Sessions sessions(remember(store, writing, orphans));
    for (uint64_t id : orphans) sessions.doom(id);
    sessions.set_unsettled(std::move(writing));
    Engine engine(store, sessions);
    wire::TlsContext tls(flags.credentials);
    OsdTable osds(store, tls, flags.node);
    Service service(store, engine, sessions, osds, flags.node);
    Janitor janitor(store, engine, sessions, osds, service);
    Mrc mrc{store, engine, sessions, osds, janitor};
    ControlServer server(flags.run + "/mrc.ctl", [&](const std::string& op, const json& request, ControlServer::Reply reply, ControlServer::Fail) {
      try {
        reply(control(mrc, op, request));
      } catch (const json::exception& e) {
        throw CodedError("XOS_BAD_REQUEST", "cannot do '" + op + "': " + e.what());
      }
    });
    std::thread([&] { janitor.run(); }).detach();
    log(Priority::info, "metadata service of VO '%s' on %s:%u, database in '%s'", flags.vo.c_str(), flags.listen_address.c_str(),
        flags.listen_port, flags.state.c_str());
    serve_frames(tls, flags.listen_address, flags.listen_port, 2000, [&](wire::Connection& c) { service.serve(c); });
  } catch (const std::exception& e) {
    log(Priority::error, "cannot start the metadata service: %s", e.what());
    return 1;
  }
}
