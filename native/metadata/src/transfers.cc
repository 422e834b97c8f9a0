#include "transfers.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "capability.h"
#include "control.h"
#include "control_requests.h"
#include "log.h"
#include "object_protocol.h"
#include "osd_calls.h"

namespace xos::fs::metadata {

using nlohmann::json;

namespace {

constexpr size_t piece_max = 512u << 10;

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(n));
  return text;
}

std::string from_base64(const std::string& text) {
  if (text.size() % 4 != 0 || text.size() > 2 * piece_max) throw CodedError("XOS_BAD_REQUEST", "cannot take a piece of a dump: it is no base64, or too long");
  std::string bytes(text.size() / 4 * 3, '\0');
  const int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (n < 0) throw CodedError("XOS_BAD_REQUEST", "cannot take a piece of a dump: it is no base64");
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  bytes.resize(static_cast<size_t>(n) - padding);
  return bytes;
}

/// Numbers of all objects at the servers that the dump names.
std::unordered_set<uint64_t> objects_of(Mrc& m, const std::vector<std::string>& names) {
  std::unordered_set<uint64_t> found;
  for (auto& osd : m.osds.list()) {
    if (std::find(names.begin(), names.end(), osd.name) == names.end()) continue;
    bool end = false;
    for (uint64_t from = 0; !end;) {
      RpcClient::Answer answer;
      if (int r = call_osd(m.osds, m.service, osd.number, object::list, 0, right_delete, 0, Writer().put(from).put(object::list_max), answer, call_ms); r != 0)
        throw CodedError("XOS_UNAVAILABLE", "cannot restore: OSD '" + osd.name + "' does not tell which files it has (error " + std::to_string(r) + "); try again when it is up");
      Reader r(answer.begin(), answer.size());
      end = r.get<uint8_t>() != 0;
      uint64_t last = 0;
      for (uint32_t n = r.get<uint32_t>(); n > 0; --n) {
        found.insert(last = r.get<uint64_t>());
        r.raw(16);
      }
      if (last == ~0ull || (!end && last < from)) break;
      from = last + 1;
    }
  }
  return found;
}

}  // namespace

bool Transfers::knows(const std::string& op) {
  return op == "dump-begin" || op == "dump-read" || op == "restore-begin" || op == "restore-write" || op == "restore-commit" || op == "transfer-end";
}

/// Caller holds mutex_.
uint64_t Transfers::add(Transfer transfer) {
  if (transfers_.size() >= transfers_max)
    throw CodedError("XOS_BUSY", "cannot begin another dump or restore: " + std::to_string(transfers_max) + " are under way; try again when one has ended");
  transfer.used_ms = monotonic_ms();
  transfers_[next_] = std::move(transfer);
  return next_++;
}

/// Caller holds mutex_.
Transfers::Transfer& Transfers::find(uint64_t id, bool dump) {
  auto it = transfers_.find(id);
  if (it == transfers_.end() || (it->second.dump != nullptr) != dump)
    throw CodedError("XOS_GONE", "cannot go on with the dump or restore: it is not under way any more (the metadata server was restarted, or nothing came for a minute); begin again");
  it->second.used_ms = monotonic_ms();
  return it->second;
}

json Transfers::begin_dump(Mrc& m, const std::string& name) {
  std::map<uint16_t, std::string> names;
  for (auto& osd : m.osds.list()) names[osd.number] = osd.name;
  for (auto& v : m.engine.volumes()) {
    if (v.name != name) continue;
    std::map<uint32_t, Usage> limits;
    // Only limits are wanted: a volume that has none must not be counted for that.
    m.store.read([&](const Txn& txn) {
      if (m.engine.has_limits(v.root)) limits = m.engine.usage(txn, v.root);
    });
    return {{"transfer", add({std::make_unique<VolumeDump>(m.store, v, std::move(names), std::move(limits)), nullptr})}};
  }
  throw CodedError("XOS_NO_VOLUME", "cannot dump volume '" + name + "': there is none of that name");
}

json Transfers::commit(Mrc& m, VolumeRestore& restore, const std::string& volume, bool incomplete) {
  restore.finish();
  const auto objects = objects_of(m, restore.osds());
  VolumeRestore::Wanted wanted{volume, [&](const std::string& osd) {
    for (auto& o : m.osds.list())
      if (o.name == osd) return static_cast<int>(o.number);
    return -1;
  }, [&](uint64_t file) { return objects.contains(file); }, incomplete};
  VolumeRestore::Restored done;
  Effects effects;
  m.store.write([&](Txn& txn) {
    effects = {};
    const int status = restore.make(txn, m.engine, wanted, done, effects);
    if (status == EEXIST) throw CodedError("XOS_EXISTS", "cannot restore volume '" + volume + "': there is one of that name; choose another");
    if (status != 0) throw CodedError("XOS_BAD_VOLUME", "cannot restore volume '" + volume + "': its name must be 1–255 bytes without '/'");
  });
  // The OSDs know what was written after the dump was made.
  m.sessions.unsettle(done.written);
  m.store.sync();
  m.sessions.invalidate(effects, nullptr);
  log(Priority::notice, "restored volume '%s': %lu files, %lu names", volume.c_str(), done.inodes, done.names);
  return {{"inodes", done.inodes}, {"names", done.names}, {"bytes", done.bytes}, {"empty", done.empty}};
}

json Transfers::answer(Mrc& m, const std::string& op, const json& request) {
  std::lock_guard lock(mutex_);
  const uint64_t id = request.value("transfer", uint64_t{0});
  try {
    if (op == "dump-begin") return begin_dump(m, request.at("volume"));
    if (op == "restore-begin") return {{"transfer", add({nullptr, std::make_unique<VolumeRestore>(directory_)})}};
    if (op == "dump-read") {
      std::string block = find(id, true).dump->next();
      if (block.empty()) transfers_.erase(id);
      return {{"data", to_base64(block)}, {"end", block.empty()}};
    }
    if (op == "restore-write") {
      find(id, false).restore->feed(from_base64(request.at("data")));
      return json::object();
    }
    if (op == "restore-commit") {
      json done = commit(m, *find(id, false).restore, request.at("volume"), request.value("incomplete", false));
      transfers_.erase(id);
      return done;
    }
  } catch (const BadDump& e) {
    transfers_.erase(id);
    throw CodedError("XOS_BAD_DUMP", std::string("cannot restore: ") + e.what());
  }
  transfers_.erase(id);
  return json::object();
}

void Transfers::purge() {
  std::lock_guard lock(mutex_);
  const int64_t now = monotonic_ms();
  std::erase_if(transfers_, [&](auto& t) { return now - t.second.used_ms > idle_ms; });
}

}  // namespace xos::fs::metadata
