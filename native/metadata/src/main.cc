// xos-mrc: metadata and replica catalogue of a VO's volumes.
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "control.h"
#include "control_requests.h"
#include "engine.h"
#include "flags.h"
#include "frame_server.h"
#include "janitor.h"
#include "log.h"
#include "mover.h"
#include "osd_table.h"
#include "replicator.h"
#include "service.h"
#include "sessions.h"
#include "store.h"
#include "sweeper.h"
#include "transfers.h"

using namespace xos;
using namespace xos::fs;
using namespace xos::fs::metadata;
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

/// A clean end writes everything out, so that the next start of the machine has nothing to give up.
void end_when_told(Store& store, const sigset_t& ends) {
  int signal = 0;
  while (sigwait(&ends, &signal) != 0) continue;
  try {
    store.sync();
  } catch (const StoreError& e) {
    log(Priority::error, "cannot write the metadata out at the end: %s", e.what());
  }
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  DaemonFlags flags = parse_flags(argc, argv, needs_listen | needs_state);
  prepare_process();
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  try {
    Store store(flags.state);
    if (store.lost_changes()) log(Priority::warning, "the machine was stopped without us: went back to the metadata that was on the disk, of at most 5 s before");
    std::thread([&] { end_when_told(store, ends); }).detach();
    std::unordered_set<uint64_t> writing;
    std::vector<uint64_t> orphans;
    Sessions sessions(remember(store, writing, orphans));
    for (uint64_t id : orphans) sessions.doom(id);
    sessions.set_unsettled(std::move(writing));
    Engine engine(store, sessions);
    wire::TlsContext tls(flags.credentials);
    OsdTable osds(store, tls, flags.node);
    Moves moves;
    Service service(store, engine, sessions, osds, moves, flags.node);
    Janitor janitor(store, engine, sessions, osds, service);
    Sweeper sweeper(store, osds, service, moves);
    Mover mover(store, engine, sessions, osds, service, moves);
    mover.recover();
    Replicator replicator(store, engine, sessions, osds, service, moves);
    mover.give_up_replica = [&](uint64_t file, const std::string& osd) {
      try {
        replicator.drop(file, osd);
      } catch (const CodedError& e) {
        log(Priority::warning, "%s", e.what());
      }
    };
    Snapshotter snapshotter(store, engine, sessions, osds, service, moves);
    service.use(snapshotter);
    Mirrors mirrors(store, engine, osds, service);
    service.use(mirrors);
    janitor.use(mirrors);
    replicator.suspect = [&](uint64_t file, uint16_t osd) { mirrors.suspect(file, osd); };
    mover.retire_mirrors = [&](const std::vector<uint64_t>& files) { mirrors.retire(files); };
    Transfers transfers(flags.state);
    Mrc mrc{store, engine, sessions, osds, janitor, sweeper, mover, replicator, snapshotter, mirrors, service, transfers};
    auto answer = [&mrc](const std::string& op, const json& request) {
      try {
        return answer_control(mrc, op, request);
      } catch (const json::exception& e) {
        throw CodedError("XOS_BAD_REQUEST", "cannot do '" + op + "': " + e.what());
      }
    };
    ControlServer server(flags.run + "/mrc.ctl", [&](const std::string& op, const json& request, ControlServer::Reply reply, ControlServer::Fail fail) {
      if (op != "snapshot") return reply(answer(op, request));
      // It waits for clients and OSDs; what else is asked does not wait for it.
      std::thread([answer, op, request, reply, fail] {
        try {
          reply(answer(op, request));
        } catch (const CodedError& e) {
          fail(e.code, e.what());
        } catch (const std::exception& e) {
          fail("XOS_INTERNAL", e.what());
        }
      }).detach();
    });
    std::thread([&] { janitor.run(); }).detach();
    std::thread([&] { sweeper.run(); }).detach();
    std::thread([&] { mover.run(); }).detach();
    std::thread([&] { replicator.run(); }).detach();
    std::thread([&] { mirrors.keep_leases(); }).detach();
    std::thread([&] { mirrors.care(); }).detach();
    std::thread([&] {
      for (;; std::this_thread::sleep_for(std::chrono::seconds(10))) transfers.purge();
    }).detach();
    log(Priority::info, "metadata service of VO '%s' on %s:%u, database in '%s'", flags.vo.c_str(), flags.listen_address.c_str(),
        flags.listen_port, flags.state.c_str());
    serve_frames(tls, flags.listen_address, flags.listen_port, 2000, [&](wire::Connection& c) { service.serve(c); });
  } catch (const std::exception& e) {
    log(Priority::error, "cannot start the metadata service: %s", e.what());
    return 1;
  }
}
