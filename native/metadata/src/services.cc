#include "services.h"

#include <thread>

#include "control.h"
#include "control_requests.h"
#include "log.h"

namespace xos::fs::metadata {

using nlohmann::json;

namespace {

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

struct Services::All {
  std::unordered_set<uint64_t> writing;
  std::vector<uint64_t> orphans;
  Sessions sessions;
  Engine engine;
  OsdTable osds;
  Moves moves;
  Service service;
  Janitor janitor;
  Sweeper sweeper;
  Mover mover;
  Replicator replicator;
  Snapshotter snapshotter;
  Mirrors mirrors;
  Transfers transfers;
  Mrc mrc;

  All(Store& store, const DaemonFlags& flags, wire::TlsContext& tls)
      : sessions(remember(store, writing, orphans)), engine(store, sessions), osds(store, tls, flags.node), service(store, engine, sessions, osds, moves, flags.node),
        janitor(store, engine, sessions, osds, service), sweeper(store, osds, service, moves), mover(store, engine, sessions, osds, service, moves),
        replicator(store, engine, sessions, osds, service, moves), snapshotter(store, engine, sessions, osds, service, moves),
        mirrors(store, engine, osds, service), transfers(flags.state),
        mrc{store, engine, sessions, osds, janitor, sweeper, mover, replicator, snapshotter, mirrors, service, transfers} {}
};

Services::Services(Store& store, const DaemonFlags& flags, wire::TlsContext& tls) : all_(std::make_unique<All>(store, flags, tls)) {
  All& a = *all_;
  for (uint64_t id : a.orphans) a.sessions.doom(id);
  a.sessions.set_unsettled(std::move(a.writing));
  a.mover.recover();
  a.mover.give_up_replica = [&a](uint64_t file, const std::string& osd) {
    try {
      a.replicator.drop(file, osd);
    } catch (const CodedError& e) {
      log(Priority::warning, "%s", e.what());
    }
  };
  a.service.use(a.snapshotter);
  a.service.use(a.mirrors);
  a.janitor.use(a.mirrors);
  a.replicator.suspect = [&a](uint64_t file, uint16_t osd) { a.mirrors.suspect(file, osd); };
  a.mover.retire_mirrors = [&a](const std::vector<uint64_t>& files) { a.mirrors.retire(files); };
}

Services::~Services() = default;

void Services::start() {
  All& a = *all_;
  std::thread([&a] { a.janitor.run(); }).detach();
  std::thread([&a] { a.sweeper.run(); }).detach();
  std::thread([&a] { a.mover.run(); }).detach();
  std::thread([&a] { a.replicator.run(); }).detach();
  std::thread([&a] { a.mirrors.keep_leases(); }).detach();
  std::thread([&a] { a.mirrors.care(); }).detach();
  std::thread([&a] {
    for (;; std::this_thread::sleep_for(std::chrono::seconds(10))) a.transfers.purge();
  }).detach();
}

void Services::serve(wire::Connection& connection, const wire::FrameHeader& first, const std::vector<std::byte>& payload) {
  all_->service.serve(connection, first, payload);
}

json Services::answer(const std::string& op, const json& request) {
  try {
    json result = answer_control(all_->mrc, op, request);
    all_->mrc.store.wait_current();
    return result;
  } catch (const json::exception& e) {
    throw CodedError("XOS_BAD_REQUEST", "cannot do '" + op + "': " + e.what());
  }
}

}  // namespace xos::fs::metadata
