#include "control_operations.h"

#include "log.h"
#include "protect.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <sstream>
#include <unistd.h>

namespace xos::relay {

using nlohmann::json;

namespace {

struct TreeUsage { uint32_t processes = 0; double cpu_seconds = 0; uint64_t memory_bytes = 0; };

/// Adds up the processes below `pid`, as this node's /proc sees them.
void add_usage(pid_t pid, TreeUsage& usage, int depth) {
  const std::string directory = "/proc/" + std::to_string(pid) + "/";
  std::ifstream children(directory + "task/" + std::to_string(pid) + "/children");
  for (pid_t child; children >> child;) {
    std::ifstream file("/proc/" + std::to_string(child) + "/stat");
    std::string line;
    std::getline(file, line);
    const size_t end = line.rfind(')');
    if (end != line.npos) {
      char state;
      long field[22] = {};
      std::istringstream rest(line.substr(end + 2));
      rest >> state;
      for (int i = 0; i < 21 && rest >> field[i]; i++) {}
      static const double tick = static_cast<double>(sysconf(_SC_CLK_TCK));
      usage.processes++;
      usage.cpu_seconds += static_cast<double>(field[10] + field[11] + field[12] + field[13]) / tick;
      usage.memory_bytes += static_cast<uint64_t>(field[20] > 0 ? field[20] : 0) * 4096;
    }
    if (depth < 64) add_usage(child, usage, depth + 1);
  }
}

Session read_session(const json& request) {
  Session session;
  session.id = request.at("session");
  session.secret = request.value("secret", "");
  session.uid = request.at("uid");
  session.gid = request.at("gid");
  session.groups = request.value("groups", std::vector<gid_t>());
  session.user = request.value("user", "");
  session.vo = request.value("vo", "");
  session.home = request.value("home", "");
  session.origin = request.at("origin");
  session.expires_ms = request.at("expires_ms");
  if (session.id.size() != 32) throw CodedError("XOS_MALFORMED", "a session is 32 hexadecimal digits");
  if (session.uid == 0 || session.gid == 0) throw CodedError("XOS_MALFORMED", "session '" + session.id + "' would be root's: refused");
  return session;
}

std::vector<Peers::Address> read_peers(const json& request, const std::string& self) {
  std::vector<Peers::Address> list;
  for (const json& node : request.at("nodes"))
    if (node.at("node") != self) list.push_back({node.at("node"), node.at("address"), node.at("port")});
  return list;
}

std::vector<NodeLoad> read_table(const json& request) {
  std::vector<NodeLoad> table;
  for (const json& node : request.at("nodes"))
    table.push_back({node.at("node"), node.value("cpus", 1.0), node.value("running", 0.0), node.value("load", 0.0), node.value("memory_free_bytes", uint64_t{0}), node.value("eligible", true)});
  return table;
}

/// What a VO's jobs may have on this node, decided by xosd (src/isolation).
void limit_vo(Parts& parts, const json& request) {
  const std::string vo = request.at("vo");
  const json& cells = request.at("cells");
  parts.cells.narrow(vo, {cells.value("isolated", false), cells.value("untrusted", false), cells.value("own_network", false), cells.value("few_devices", false)});
  cell::GroupLimits limits;
  const auto absolute = [](const std::string& path) { return path.starts_with("/") && path.find("/../") == path.npos; };
  limits.directory = request.value("directory", "");
  limits.fence = request.value("fence", "");
  limits.settings = request.value("settings", std::map<std::string, std::string>());
  if (!limits.directory.empty() && !absolute(limits.directory)) throw CodedError("XOS_MALFORMED", "the control group '" + limits.directory + "' is no absolute path");
  uint16_t protect = protect_no;
  if (const std::string wanted = request.value("protect", "no"); !read_protect(wanted.c_str(), protect)) throw CodedError("XOS_MALFORMED", "jobs cannot be protected as '" + wanted + "' says");
  parts.home.protect_by_default(vo, protect);
  const std::string failed = parts.far.limit_vo(vo, limits, request.value("memory_max", uint64_t{0}));
  if (!failed.empty()) throw CodedError("XOS_CGROUP", failed);
}

json cells(Parts& parts) {
  auto seen = std::make_shared<std::promise<std::vector<Far::Seen>>>();
  auto answer = seen->get_future();
  parts.loop.post([&parts, seen] { seen->set_value(parts.far.jobs()); });
  if (answer.wait_for(std::chrono::seconds(5)) != std::future_status::ready) throw CodedError("XOS_BUSY", "the relay does not answer; try again");
  json list = json::array();
  for (const Far::Seen& job : answer.get()) {
    TreeUsage usage;
    if (job.cell > 0) add_usage(job.cell, usage, 0);  // on this thread: reading /proc must not hold up the streams
    list.push_back({{"job", job.job}, {"home", job.home}, {"session", job.session}, {"uid", job.uid}, {"processes", usage.processes}, {"cpu_seconds", usage.cpu_seconds}, {"memory_bytes", usage.memory_bytes}});
  }
  return {{"cells", list}};
}

/// The jobs of this home, in the order of their numbers; a page of them when the request has a limit, so that no answer outgrows a line
/// of the control socket. Their arguments are for people and are cut.
json jobs(const json& all, const json& request) {
  constexpr size_t arguments_bytes_max = 512;
  const uint64_t after = request.value("after", uint64_t{0}), limit = request.value("limit", UINT64_MAX);
  json page = json::array(), answer;
  uint64_t last = after;
  for (const json& entry : all) {
    const std::string& id = entry.at("job").get_ref<const std::string&>();
    const uint64_t number = strtoull(id.c_str() + id.rfind('-') + 1, nullptr, 10);
    if (number <= after) continue;
    if (page.size() == limit) {
      answer["next"] = last;
      break;
    }
    last = number;
    page.push_back(entry);
    size_t left = arguments_bytes_max;
    json cut = json::array();
    for (const json& argument : entry.at("argv")) {
      if (left == 0) break;
      cut.push_back(argument.get_ref<const std::string&>().substr(0, left));
      left -= std::min(left, cut.back().get_ref<const std::string&>().size() + 1);
    }
    page.back()["argv"] = cut;
  }
  answer["jobs"] = page;
  return answer;
}

/// In the loop. Throws for what is wrong with the request.
void serve(Parts& parts, const std::string& op, const json& request, const ControlServer::Reply& reply, const ControlServer::Fail& fail) {
  if (op == "peers") {
    parts.peers.set(read_peers(request, parts.node));
  } else if (op == "placement") {
    parts.placer.push(read_table(request));
  } else if (op == "vo-limits") {
    limit_vo(parts, request);
  } else if (op == "session-add") {
    Session session = read_session(request);
    session.added_ms = Loop::clock_ms();
    parts.sessions.add(std::move(session));
    parts.sessions_changed();  // before the answer: the session's first program finds its policy in the kernel
  } else if (op == "session-remove") {
    const std::string session = request.at("session");
    parts.sessions.remove(session);
    parts.sessions_changed();
    if (request.value("kill", false)) {
      parts.home.end_session(session);
      parts.far.end_session(session);
    }
    log(Priority::info, "session '%s' removed: %s", session.c_str(), request.value("reason", "no reason given").c_str());
  } else if (op == "jobs") {
    return reply(jobs(parts.home.jobs(), request));
  } else if (op == "notice") {
    parts.home.notice(request.at("job"), request.at("text"));
  } else if (op == "signal") {
    parts.home.signal(request.at("job"), request.at("signal"), request.at("uid"));
  } else if (op == "checkpoint" || op == "check" || op == "restore" || op == "migrate") {
    return parts.home.control(request, [reply, fail](const json& result) {
      if (result.value("ok", false)) reply(result);
      else fail(result["error"].value("code", "XOS_INTERNAL"), result["error"].value("message", "no reason given"));
    });
  } else {
    throw CodedError("XOS_UNKNOWN_OPERATION", "the relay has no operation '" + op + "'");
  }
  reply({});
}

}  // namespace

void serve_control(Parts& parts, const std::string& op, const json& request, ControlServer::Reply reply, ControlServer::Fail fail) {
  if (op == "cells") return reply(cells(parts));
  parts.loop.post([&parts, op, request, reply, fail] {
    try {
      serve(parts, op, request, reply, fail);
    } catch (const CodedError& error) {
      fail(error.code, error.what());
    } catch (const json::exception& error) {
      fail("XOS_MALFORMED", "cannot serve '" + op + "': a field is missing or of the wrong type: " + error.what());
    } catch (const std::exception& error) {
      fail("XOS_INTERNAL", "cannot serve '" + op + "': " + error.what());
    }
  });
}

}  // namespace xos::relay
