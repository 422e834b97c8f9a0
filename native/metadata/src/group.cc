#include "group.h"

#include <unistd.h>

#include <chrono>
#include <thread>

#include "control.h"
#include "log.h"
#include "rpc_client.h"

namespace xos::fs::metadata {

using nlohmann::json;

namespace {

constexpr uint64_t transactions_max = 4000;
constexpr const char* standings[] = {"whole", "forgot", "partial"};

}  // namespace

Group::Group(Store& store, wire::TlsContext& tls, std::string node, std::function<void()> serve)
    : store_(store), tls_(tls), member_(store, std::move(node)), serve_(std::move(serve)), grouped_(!member_.members().empty()) {
  // What it has in memory is of one that leads: the next start is a follower's.
  member_.replaced = [](uint64_t term) {
    log(Priority::notice, "does not lead any more: term %lu has begun; ends, to follow it", term);
    _exit(0);
  };
}

void Group::start() {
  if (!grouped_) {
    serve_();
    serves_ = true;
    return;
  }
  std::thread([this] { keep_synced(); }).detach();
}

/// As the janitor does where one leads: the disk lags at most 5 s behind.
void Group::keep_synced() {
  int64_t synced = monotonic_ms();
  uint64_t synced_transactions = 0;
  for (;; std::this_thread::sleep_for(std::chrono::milliseconds(200))) {
    const uint64_t transactions = store_.counters().first;
    const int64_t now = monotonic_ms();
    if (leader_ || transactions == synced_transactions || (now - synced <= 5000 && transactions - synced_transactions <= transactions_max)) continue;
    try {
      store_.sync_here();
      synced = now;
      synced_transactions = transactions;
    } catch (const StoreError& e) {
      log(Priority::error, "cannot write the records out, will go on: %s", e.what());
    }
  }
}

bool Group::knows(const std::string& op) { return op == "group" || op == "lead" || op == "follow" || op == "state" || op == "digest"; }

json Group::state() const {
  const MemberState s = member_.state();
  json answer = {{"role", !grouped_ ? "alone" : leader_ ? "leader" : "follower"}, {"serves", serves_.load()}, {"term", s.term}, {"promised", member_.promised_to()},
                 {"position", {{"term", s.position.term}, {"sequence", s.position.sequence}}}, {"standing", standings[static_cast<int>(s.standing)]}, {"members", json::array()}};
  for (auto& m : member_.members()) answer["members"].push_back({{"node", m.node}, {"address", m.address}, {"port", m.port}});
  if (const Leader* leader = leader_) {
    answer["followers"] = json::array();
    for (auto& f : leader->followers())
      answer["followers"].push_back({{"node", f.node}, {"connected", f.connected}, {"kept", f.kept}, {"synced", f.synced}, {"copied_bytes", f.copied_bytes}});
  }
  return answer;
}

json Group::lead(uint64_t term) {
  std::unique_lock one(electing_, std::try_to_lock);
  if (!grouped_) throw CodedError("XOS_NO_GROUP", "cannot lead term " + std::to_string(term) + ": this MRC is in no group since its start; tell it its members and start it again");
  if (!one || leader_) throw CodedError("XOS_BUSY", "cannot lead term " + std::to_string(term) + ": this MRC leads already, or tries to");
  elect(member_, tls_, term);
  if (!member_.begin_to_lead(term)) throw CodedError("XOS_OLD_TERM", "cannot lead term " + std::to_string(term) + ": a later one was promised meanwhile");
  leader_ = new Leader(store_, member_, tls_, term);
  leader_.load()->start();
  log(Priority::notice, "leads term %lu", term);
  try {
    store_.lead(term, *leader_.load());
    serve_();
  } catch (const std::exception& e) {
    log(Priority::error, "cannot serve the volumes, ends: %s", e.what());
    _exit(1);
  }
  serves_ = true;
  return state();
}

json Group::answer(const std::string& op, const json& request) {
  if (op == "lead") return lead(request.at("term"));
  if (op == "follow") {
    const uint64_t term = request.at("term");
    if (const MemberState s = member_.state(); leader_ && term > s.term) member_.resign(term);
    if (member_.promise(term, "").status != GroupStatus::ok)
      throw CodedError("XOS_BUSY", "cannot promise term " + std::to_string(term) + ": a later one was promised, or somebody leads");
  } else if (op == "group") {
    std::vector<Peer> members;
    for (auto& m : request.at("members")) members.push_back({m.at("node"), m.at("address"), m.at("port")});
    member_.set_members(members, request.value("seed", false));
    if (!grouped_) {
      log(Priority::notice, "is in a group from now on; ends, to follow it");
      std::thread([] {
        // The answer goes first.
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        _exit(0);
      }).detach();
    }
  } else if (op == "digest") {
    json answer;
    store_.read([&](const Txn& txn) {
      const Position p = records::newest(txn);
      answer = {{"position", {{"term", p.term}, {"sequence", p.sequence}}}, {"digest", records::digest(txn)}};
    });
    return answer;
  }
  return state();
}

}  // namespace xos::fs::metadata
