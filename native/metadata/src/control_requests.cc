#include "control_requests.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "borrowing.h"
#include "capability.h"
#include "check.h"
#include "control.h"
#include "metadata_metrics.h"

namespace xos::fs::metadata {

using nlohmann::json;

namespace {

/// What the request names, the rest as in `p`.
VolumePolicy parse_policy(const json& request, VolumePolicy p = {}) {
  json j = request.value("policy", json::object());
  p.stripe_bytes = j.value("stripe_size", p.stripe_bytes);
  p.width = j.value("width", p.width);
  p.placement = j.value("placement", p.placement);
  if (j.contains("atime")) p.atime = j["atime"] == "relatime";
  if (j.contains("replication")) {
    p.all = j["replication"] == "all";
    if (j["replication"] == "none") p.copies = 1;
  }
  if (const uint32_t copies = j.value("replicas", uint32_t{p.copies}); copies != p.copies) p.copies = static_cast<uint8_t>(std::min(copies, 255u));
  return p;
}

json show(const VolumePolicy& p) {
  return {{"stripe_size", p.stripe_bytes}, {"width", p.width}, {"placement", p.placement}, {"atime", p.atime ? "relatime" : "noatime"},
          {"replication", p.copies == 1 ? "none" : p.all ? "all" : "quorum"}, {"replicas", p.copies}};
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
                                       "4194304, width 1–256, placement with-mrc, spread or local, replicas 1–" + std::to_string(mirror_copies_max) + " (with more than one the width is 1)");
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
    list.push_back({{"name", v.name}, {"root", v.root}, {"uid", root.r.uid}, {"gid", root.r.gid}, {"mode", root.r.mode & 07777}, {"policy", show(v.policy)}});
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

/// Volume of an inode, or of the name in `volume`.
uint64_t find(Mrc& m, const json& request, Inode& i) {
  uint64_t id = request.value("inode", uint64_t{0});
  if (request.contains("volume")) {
    const std::string name = request["volume"];
    for (auto& v : m.engine.volumes())
      if (v.name == name) id = v.root;
    if (id == 0) throw CodedError("XOS_NO_VOLUME", "cannot find volume '" + name + "': there is none of that name");
  }
  int status = 0;
  m.store.read([&](const Txn& txn) { status = m.engine.getattr(txn, id, i); });
  if (status != 0 || id == root_id) throw CodedError("XOS_NO_FILE", "cannot find file " + std::to_string(id) + ": it is not in a volume of this metadata server");
  return i.r.volume;
}

const char* type_of(uint32_t mode) {
  if (S_ISDIR(mode)) return "directory";
  if (S_ISREG(mode)) return "file";
  return S_ISLNK(mode) ? "link" : "special";
}

json show(const Usage& u) {
  return {{"bytes", u.bytes}, {"files", u.files}, {"bytes_max", u.bytes_max}, {"files_max", u.files_max}};
}

/// `inode-show`: one file, directory or volume, with its policy and where its stripes are.
json inode_show(Mrc& m, const json& request) {
  Inode i;
  const uint64_t volume = find(m, request, i);
  bool own = false;
  VolumePolicy policy;
  std::optional<Inode> contents;
  m.store.read([&](const Txn& txn) {
    policy = m.engine.policy_for(txn, i, &own);
    contents = contents_of(txn, i);
  });
  if (!contents) contents = i;
  json osds = json::array();
  for (size_t n = 0; n < std::min<size_t>(contents->r.width, contents->osds.size()); ++n) {
    Osd osd;
    if (m.osds.find(contents->osds[n], osd)) osds.push_back({{"osd", osd.name}, {"node", osd.node}, {"up", osd.up}});
  }
  std::string name;
  for (auto& v : m.engine.volumes())
    if (v.root == volume) name = v.name;
  json answer = {{"inode", i.id}, {"volume", name}, {"type", i.id == volume ? "volume" : type_of(i.r.mode)}, {"uid", i.r.uid}, {"gid", i.r.gid},
                 {"mode", i.r.mode & 07777}, {"size", i.r.size}, {"disk_bytes", i.r.disk_bytes}, {"policy", show(policy)},
                 {"own_policy", own || i.id == volume}, {"acl", (i.r.flags & (inode_has_acl | inode_has_default_acl)) != 0}};
  if (S_ISREG(i.r.mode)) answer["stripes"] = {{"stripe_size", contents->r.stripe_bytes}, {"width", contents->r.width}, {"osds", osds}};
  return answer;
}

/// `policy-set {inode|volume, policy:{…}|null}`: what is not named stays.
json policy_set(Mrc& m, const json& request) {
  Inode i;
  find(m, request, i);
  int status = 0;
  Effects effects;
  m.store.write([&](Txn& txn) {
    effects = {};
    std::optional<VolumePolicy> policy;
    if (request.contains("policy") && !request["policy"].is_null()) policy = parse_policy(request, m.engine.policy_for(txn, i));
    status = m.engine.policy_set(txn, i.id, policy, effects);
  });
  if (status == EROFS) throw CodedError("XOS_READ_ONLY", "cannot set the policy of file " + std::to_string(i.id) + ": it belongs to a snapshot, which is not changed");
  if (status == EBUSY) throw CodedError("XOS_BUSY", "cannot change the stripes or replicas of file " + std::to_string(i.id) + ": it has contents already, or is open; copy it into a new file");
  if (status == EOPNOTSUPP)
    throw CodedError("XOS_NOT_SUPPORTED", "cannot keep write replicas of file " + std::to_string(i.id) + ": its volume has snapshots, and there are none of such files yet");
  if (status != 0)
    throw CodedError("XOS_BAD_POLICY", "cannot set the policy of file " + std::to_string(i.id) + ": stripe_size must be a multiple of 4096 up to 4194304, "
                                       "width 1–256, placement with-mrc, spread or local, replicas 1–" + std::to_string(mirror_copies_max) + " (with more than one the width is 1), and it must be a volume, a directory or an empty file");
  m.store.sync();
  m.sessions.invalidate(effects, nullptr);
  return json::object();
}

/// `usage {volume}`: by user, with the limits.
json usage(Mrc& m, const json& request) {
  Inode i;
  const uint64_t volume = find(m, request, i);
  std::map<uint32_t, Usage> rows;
  m.store.read([&](const Txn& txn) { rows = m.engine.usage(txn, volume); });
  json users = json::array();
  for (auto& [who, u] : rows) {
    if (who == usage_all || who == usage_default) continue;
    users.push_back(show(u));
    users.back()["uid"] = who;
  }
  return {{"all", show(rows[usage_all])}, {"default", show(rows[usage_default])}, {"users", users}};
}

/// `quota-set {volume, uid?|default?, bytes_max?, files_max?}`: 0 lifts a limit.
json quota_set(Mrc& m, const json& request) {
  Inode i;
  const uint64_t volume = find(m, request, i);
  const uint32_t who = request.contains("uid") ? request["uid"].get<uint32_t>() : request.value("default", false) ? usage_default : usage_all;
  auto limit = [&](const char* name) { return request.contains(name) ? std::optional<uint64_t>(request[name].get<uint64_t>()) : std::nullopt; };
  std::vector<uint64_t> writing;
  m.store.write([&](Txn& txn) {
    writing.clear();
    m.engine.quota_set(txn, volume, who, limit("bytes_max"), limit("files_max"), writing);
  });
  m.store.sync();
  // Who has a file open for writing was told that there are no limits, or others.
  m.sessions.withdraw_growth(writing);
  return json::object();
}

/// `check {repair?}`: whether the database agrees with itself.
json check_database(Mrc& m, const json& request) {
  CheckReport r;
  if (request.value("repair", false)) {
    m.store.write([&](Txn& txn) { r = repair(txn, [&] { return m.engine.new_id(txn); }); });
    m.store.sync();
    m.sessions.invalidate_all();
  } else {
    m.store.read([&](const Txn& txn) { r = check(txn); });
  }
  return {{"inodes", r.inodes}, {"entries", r.entries}, {"problems", r.problems()}, {"dangling", r.dangling}, {"links", r.links}, {"parents", r.parents},
          {"lost", r.lost}, {"attributes", r.attributes}, {"usage", r.usage}, {"borrowed", r.borrowed}, {"found", r.found}};
}

const char* name_of(OsdState state) { return state == OsdState::used ? "used" : state == OsdState::draining ? "draining" : "removed"; }

/// Others must be there for what it has.
void demand_others(Mrc& m, const std::string& name) {
  for (auto& o : m.osds.list())
    if (o.name != name && o.up && o.state == OsdState::used) return;
  throw CodedError("XOS_NO_SERVER", "cannot drain OSD '" + name + "': there is no other one that could take its files; let another node take part first");
}

/// `osd {osd, action: drain|use|remove|status}` → its state and how far a drain is.
json osd_state(Mrc& m, const json& request) {
  const std::string name = request.at("osd"), action = request.value("action", "status");
  Osd osd;
  for (auto& o : m.osds.list())
    if (o.name == name) osd = o;
  if (osd.name.empty()) throw CodedError("XOS_NO_SERVER", "cannot " + action + " OSD '" + name + "': the metadata server knows none of that name");
  if (action == "drain") {
    demand_others(m, name);
    m.mover.drain(name);
  } else if (action == "use") {
    m.mover.use(name);
  } else if (action == "remove") {
    if (osd.state == OsdState::used) throw CodedError("XOS_IN_USE", "cannot remove OSD '" + name + "': it is in use; drain it first");
    if (const uint64_t files = m.mover.files_at(osd.number); files > 0)
      throw CodedError("XOS_NOT_EMPTY", "cannot remove OSD '" + name + "': " + std::to_string(files) + " files are there still; wait until it is drained");
    m.osds.set_state(name, OsdState::removed);
  } else if (action != "status") {
    throw CodedError("XOS_BAD_REQUEST", "cannot do '" + action + "' with an OSD: it must be drain, use, remove or status");
  }
  const auto p = m.mover.progress(name);
  const OsdState state = m.osds.state(name);
  const uint64_t left = p.running ? std::max<uint64_t>(1, p.left) : m.mover.files_at(osd.number);  // a look at every inode
  return {{"osd", name}, {"state", name_of(state)}, {"drained", state != OsdState::used && left == 0}, {"left", left}, {"moved", p.moved}, {"moved_bytes", p.moved_bytes},
          {"busy", p.busy}, {"failed", p.failed}, {"reason", p.reason}};
}

json show(Mrc& m, const Replicator::Copy& copy) {
  json osds = json::array();
  for (uint16_t number : copy.osds) {
    Osd osd;
    if (m.osds.find(number, osd)) osds.push_back({{"osd", osd.name}, {"node", osd.node}, {"up", osd.up}});
  }
  const char* state = copy.state == Replicator::State::behind ? "behind" : copy.state == Replicator::State::whole ? "whole" : copy.state == Replicator::State::making ? "making" : "dropping";
  return {{"state", state}, {"osds", osds}};
}

/// `replicas {inode, action: count|add|drop|status, count?, osd?}` → its copies, and how far the one is that is being made.
json replicas(Mrc& m, const json& request) {
  const uint64_t file = request.at("inode");
  const std::string action = request.value("action", "status");
  bool of_snapshot = false;
  m.store.read([&](const Txn& txn) {
    Inode i;
    of_snapshot = m.engine.getattr(txn, file, i) == 0 && is_frozen(i);
  });
  if (of_snapshot && action != "status")
    throw CodedError("XOS_READ_ONLY", "cannot change the replicas of file " + std::to_string(file) + ": it belongs to a snapshot, which is not changed");
  if (action == "count") {
    const auto count = request.at("count").get<int64_t>();
    if (count < 1) throw CodedError("XOS_BAD_ARGUMENT", "cannot keep " + std::to_string(count) + " copies of file " + std::to_string(file) + ": it must be one at least");
    m.replicator.set_count(file, static_cast<size_t>(count));
  } else if (action == "add") {
    m.replicator.add(file, request.at("osd"));
  } else if (action == "drop") {
    m.replicator.drop(file, request.at("osd"));
  } else if (action != "status") {
    throw CodedError("XOS_BAD_REQUEST", "cannot do '" + action + "' with replicas: it must be count, add, drop or status");
  }
  json copies = json::array();
  for (auto& copy : m.replicator.copies(file)) copies.push_back(show(m, copy));
  const auto p = m.replicator.progress(file);
  return {{"copies", copies}, {"running", p.running}, {"bytes", p.bytes}, {"bytes_total", p.bytes_total}, {"reason", p.reason}};
}

/// `snapshot {inode|volume, action: create|remove|list, name?}` of the volume that it is in.
json snapshot(Mrc& m, const json& request) {
  Inode i;
  const uint64_t volume = find(m, request, i);
  const std::string action = request.value("action", "list");
  json answer = json::object();
  if (action == "create") {
    const auto made = m.snapshotter.create(volume, request.at("name"));
    answer = {{"files", made.files}, {"writing", made.writing}};
  } else if (action == "remove") {
    m.snapshotter.remove(volume, request.at("name"));
  } else if (action != "list") {
    throw CodedError("XOS_BAD_REQUEST", "cannot do '" + action + "' with snapshots: it must be create, remove or list");
  }
  json list = json::array();
  m.store.read([&](const Txn& txn) {
    for (auto& s : m.engine.snapshots(txn, volume)) list.push_back({{"name", s.name}, {"root", s.root}, {"created_ms", s.created_ns / 1000000}});
  });
  answer["snapshots"] = list;
  return answer;
}

/// `sweep {action: start|stop|status, remove?, grace_ms?, per_second?}`: objects that belong to no file.
json sweep(Mrc& m, const json& request) {
  const std::string action = request.value("action", "status");
  if (action == "start") {
    Sweeper::Options options;
    options.remove = request.value("remove", false);
    options.grace_ms = request.value("grace_ms", options.grace_ms);
    options.removals_per_second = request.value("per_second", options.removals_per_second);
    if (options.grace_ms < 0) throw CodedError("XOS_BAD_REQUEST", "cannot look for orphans: grace_ms must not be negative");
    if (!m.sweeper.start(options))
      throw CodedError("XOS_BUSY", "cannot begin to look for objects without a file: that is being done; look at its progress with 'status' or end it with 'stop'");
  } else if (action == "stop") {
    m.sweeper.stop();
  } else if (action != "status") {
    throw CodedError("XOS_BAD_REQUEST", "cannot do '" + action + "' with orphans: it must be start, stop or status");
  }
  const auto p = m.sweeper.progress();
  return {{"running", p.running}, {"removing", p.removing}, {"whole", p.whole}, {"osds", p.osds}, {"osds_done", p.osds_done}, {"osds_away", p.osds_away},
          {"objects", p.objects}, {"orphans", p.orphans}, {"orphan_bytes", p.orphan_bytes}, {"removed", p.removed}, {"failed", p.failed}, {"young", p.young},
          {"unknown", p.unknown}, {"started_ms", p.started_ms}, {"finished_ms", p.finished_ms}};
}

}  // namespace

json answer_control(Mrc& m, const std::string& op, const json& request) {
  if (op == "volume-create") return volume_create(m, request);
  if (op == "volume-remove") return volume_remove(m, request);
  if (op == "volume-list") return volume_list(m);
  if (op == "inode-show") return inode_show(m, request);
  if (op == "policy-set") return policy_set(m, request);
  if (op == "usage") return usage(m, request);
  if (op == "quota-set") return quota_set(m, request);
  if (op == "check") return check_database(m, request);
  if (op == "sweep") return sweep(m, request);
  if (op == "osd") return osd_state(m, request);
  if (op == "replicas") return replicas(m, request);
  if (op == "snapshot") return snapshot(m, request);
  if (Transfers::knows(op)) return m.transfers.answer(m, op, request);
  if (op == "osds") return set_osds(m, request);
  if (op == "client-drop") return {{"dropped", m.janitor.drop_node(request.at("node"))}};
  if (op == "stats") return stats(m);
  if (op == "metrics") return {{"text", describe_mrc(m)}};
  throw CodedError("XOS_UNKNOWN_OPERATION", "cannot do '" + op + "': the MRC knows volume-create, volume-remove, volume-list, inode-show, policy-set, usage, quota-set, check, sweep, osd, replicas, snapshot, dump-begin, dump-read, restore-begin, restore-write, "
                                            "restore-commit, transfer-end, "
                                            "osds, client-drop, stats, metrics");
}

}  // namespace xos::fs::metadata
