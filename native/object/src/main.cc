// xos-osd: keeps stripes of files on the local disk of its node.
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include "capability.h"
#include "control.h"
#include "flags.h"
#include "frame_server.h"
#include "json.h"
#include "local_service.h"
#include "log.h"
#include "mirror_peers.h"
#include "object_metrics.h"
#include "object_service.h"
#include "object_store.h"
#include "scrubber.h"

using namespace xos;
using namespace xos::fs;

namespace {

/// Keys outlive a restart: between the start and the next word from xosd clients would be refused what they were given.
void save_keys(const std::string& path, const nlohmann::json& keys) {
  std::string temporary = path + ".new";
  int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  std::string text = keys.dump();
  bool written = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  if (!written || rename(temporary.c_str(), path.c_str()) != 0)
    log(Priority::warning, "cannot keep the keys in '%s': %s", path.c_str(), strerror(errno));
}

void set_keys(CapabilityVerifier& verifier, const nlohmann::json& list) {
  std::map<std::string, std::string> keys;
  for (const auto& k : list) {
    std::string key = parse_key(k.at("key").get<std::string>());
    if (key.size() < 16) throw CodedError("XOS_BAD_KEY", "cannot take the key of MRC '" + k.at("mrc").get<std::string>() + "': it is shorter than 16 bytes");
    keys[k.at("mrc").get<std::string>()] = key;
  }
  verifier.set_keys(std::move(keys));
}

void load_keys(CapabilityVerifier& verifier, const std::string& path) {
  std::ifstream file(path);
  if (!file) return;
  try {
    const nlohmann::json keys = parse_json(std::string{std::istreambuf_iterator<char>(file), {}});
    if (keys.is_discarded()) throw std::runtime_error("they are no JSON");
    set_keys(verifier, keys);
  } catch (const std::exception& e) {
    log(Priority::warning, "cannot read the keys in '%s', waiting to be told: %s", path.c_str(), e.what());
  }
}

nlohmann::json scrub(Scrubber& scrubber, const nlohmann::json& request) {
  std::string action = request.value("action", "status");
  if (action == "start") {
    if (!scrubber.start(request.value("bytes_per_second", uint64_t{0})))
      throw CodedError("XOS_BUSY", "cannot begin a scrub: one is running; look at its progress with 'status' or end it with 'stop'");
  } else if (action == "stop") {
    scrubber.stop();
  } else if (action != "status") {
    throw CodedError("XOS_BAD_REQUEST", "cannot do '" + action + "' with the scrub: it knows start, stop and status");
  }
  auto p = scrubber.progress();
  return {{"running", p.running},         {"files", p.files},           {"files_total", p.files_total}, {"bytes", p.bytes},
          {"skipped", p.skipped},         {"started_ms", p.started_ms}, {"finished_ms", p.finished_ms}, {"corrupt_blocks", p.corrupt_blocks}};
}

nlohmann::json corrupt_list(const ObjectStore& store) {
  auto list = nlohmann::json::array();
  for (auto& c : store.corrupt()) {
    list.push_back({{"file", c.file}, {"offset", c.block * block_bytes}});
    if (list.size() == 1000) break;
  }
  return list;
}

struct Osd {
  std::string key_file;
  ObjectStore& store;
  CapabilityVerifier& verifier;
  Scrubber& scrubber;
};

void control(Osd& osd, const std::string& op, const nlohmann::json& request, ControlServer::Reply& reply) {
  if (op == "keys") {
    set_keys(osd.verifier, request.at("keys"));
    save_keys(osd.key_file, request.at("keys"));
    reply({});
  } else if (op == "stats") {
    Space s = osd.store.space();
    reply({{"total_bytes", s.total_bytes},
           {"free_bytes", s.free_bytes},
           {"objects", s.objects},
           {"keys", osd.verifier.has_keys()},
           {"corrupt_blocks", osd.store.corrupt().size()}});
  } else if (op == "metrics") {
    reply({{"text", describe_osd(osd.store, osd.scrubber, osd.verifier)}});
  } else if (op == "scrub") {
    reply(scrub(osd.scrubber, request));
  } else if (op == "corrupt") {
    reply({{"blocks", corrupt_list(osd.store)}});
  } else {
    throw CodedError("XOS_UNKNOWN_OPERATION", "cannot do '" + op + "': the OSD knows keys, stats, metrics, scrub and corrupt");
  }
}

}  // namespace

int main(int argc, char** argv) {
  DaemonFlags flags = parse_flags(argc, argv, needs_listen | needs_state);
  prepare_process();
  signal(SIGTERM, [](int) { _exit(0); });  // nothing is held back in memory: what was acknowledged is in the kernel
  signal(SIGINT, [](int) { _exit(0); });
  signal(SIGIO, SIG_IGN);  // a lease that asks whether somebody has an object open (object_store.cc) may be broken while it is held
  try {
    ObjectStore store(flags.state);
    CapabilityVerifier verifier(flags.node);
    Scrubber scrubber(store, flags.state + "/scrubbed");
    Osd osd{flags.state + "/keys.json", store, verifier, scrubber};
    load_keys(verifier, osd.key_file);
    wire::TlsContext tls(flags.credentials);
    MirrorSession session(boottime_ms);
    WirePeers peers(tls);
    Mirror mirror(store, session, peers);
    ControlServer server(flags.run + "/osd.ctl", [&](const std::string& op, const nlohmann::json& request, ControlServer::Reply reply, ControlServer::Fail) {
      try {
        control(osd, op, request, reply);
      } catch (const nlohmann::json::exception& e) {
        throw CodedError("XOS_BAD_REQUEST", "cannot do '" + op + "': " + e.what());
      }
    });
    std::thread([&] { scrubber.run(); }).detach();
    std::thread([&, path = flags.run + "/osd.local"] {
      try {
        serve_local(path, flags.node, store, verifier);
      } catch (const std::exception& e) {
        log(Priority::warning, "nothing is lent to programs of this node: %s", e.what());
      }
    }).detach();
    std::thread([] {
      for (;;) {
        std::this_thread::sleep_for(std::chrono::seconds(5));
        BufferPool::instance().trim();
        malloc_trim(0);
      }
    }).detach();
    log(Priority::info, "object service of node '%s' on %s:%u, objects in '%s'", flags.node.c_str(), flags.listen_address.c_str(),
        flags.listen_port, flags.state.c_str());
    serve_frames(tls, flags.listen_address, flags.listen_port, 1024, [&](wire::Connection& c) { ObjectService(store, mirror, verifier).serve(c); });
  } catch (const std::exception& e) {
    log(Priority::error, "cannot start the object service: %s", e.what());
    return 1;
  }
}
