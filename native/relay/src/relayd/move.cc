// Moving a running job to another node: check it, see whether the other node is fit, checkpoint, restore there; restored where it was when
// that fails (docs/decisions/0029-migration.md). Its proxy is told nothing: what it sends meanwhile waits here.
#include "home.h"

#include "control.h"
#include "log.h"

#include <algorithm>

namespace xos::relay {

using nlohmann::json;

namespace {

/// How long the other node may take to say whether it is fit.
constexpr int64_t fit_ms_max = 30000;

std::string reason(const json& result) { return result.contains("error") ? result["error"].value("message", "no reason given") : "no reason given"; }
std::string code_of(const json& result) { return result.contains("error") ? result["error"].value("code", "XOS_INTERNAL") : "XOS_INTERNAL"; }

/// The first thing that keeps a job from going on elsewhere, or nothing. What is a hint for a checkpoint (a file that only this node has) is an
/// obstacle here, unless the file is deleted: then it is in the images.
const json* obstacle_in(const json& list) {
  for (const json& obstacle : list) {
    const bool of_this_node = obstacle.value("code", "") == "XOS_CHECKPOINT_FILE" && obstacle.value("what", "").find(" (deleted)") == std::string::npos;
    if (obstacle.value("certain", true) || of_this_node) return &obstacle;
  }
  return nullptr;
}

}  // namespace

void Home::migrate(const json& request, Answer answer) {
  Job& job = owned(request);
  const std::string attempt = "cannot migrate job '" + job.id + "'", wanted = request.value("node", "");
  if (!job.link || (job.state != "running" && job.state != "stopped")) throw CodedError("XOS_JOB_NOT_RUNNING", attempt + ": it is " + job.state);
  if (job.control) throw CodedError("XOS_JOB_BUSY", attempt + ": another checkpoint, check or restore of it is under way; try again");
  const std::string to = wanted.empty() ? placer_.choose({job.node}) : wanted;
  if (to == job.node) throw CodedError("XOS_NO_NODE", attempt + (wanted.empty() ? ": no other node can take it now; see 'xnode'" : ": it runs on node '" + to + "' already"));
  if (!link_to_(to, true) && !spreads(job.session)) throw CodedError("XOS_NODE_UNREACHABLE", attempt + " to node '" + to + "': it is unknown or cannot be reached; see 'xnode'");
  job.move = std::make_unique<Move>();
  job.move->from = job.node;
  job.move->to = to;
  job.move->directory = request.at("directory").get<std::string>();
  job.control = std::move(answer);
  job.control_op = "check";
  send_order(*job.link, job, json{{"op", "check"}});
}

/// A step of the move is done, or has failed.
void Home::moved(Job& job, json result) {
  const bool good = result.value("ok", false);
  if (job.control_op == "check") {
    if (!good) return move_over(job, result);
    const json obstacles = result.value("obstacles", json::array());
    if (const json* obstacle = obstacle_in(obstacles))
      return move_over(job, failure(obstacle->value("code", ""), "cannot migrate job '" + job.id + "': '" + obstacle->value("program", "") + "' (process " + std::to_string(obstacle->value("pid", 0)) +
                                                                     ") " + obstacle->value("what", "") + "; " + obstacle->value("advice", "")));
    job.move->needs = {{"op", "fit"}, {"session", job.session}, {"job", job.id}, {"cpu_features", result.value("cpu_features", json::array())}, {"kernel", result.value("kernel", "")}};
    job.control_op = "fit";
    job.move->due_ms = Loop::now_ms() + fit_ms_max;
    return ask_fitness(job);
  }
  if (job.control_op == "fit") {
    job.move->fitting = nullptr;
    const std::string code = good ? "" : code_of(result);
    if ((code == "XOS_SESSION_UNKNOWN" || code == "XOS_NODE_UNREACHABLE") && spreads(job.session)) {
      job.move->asks_again = true;
      return;
    }
    job.move->due_ms = 0;
    if (!good) return move_over(job, failure(code_of(result), "cannot migrate job '" + job.id + "' to node '" + job.move->to + "': " + reason(result)));
    return move_out(job);
  }
  if (job.control_op == "checkpoint") {
    if (!good) {
      set_state(job, job.state_before);
      return move_over(job, result);
    }
    if (job.counted) placer_.ended(job.node);
    job.counted = false;
    job.link = nullptr;
    job.move->bytes = result.value("bytes", uint64_t{0});
    job.move->frozen_ms = result.value("frozen_ms", int64_t{0});
    job.move->gone_ms = Loop::now_ms();
    return move_in(job, job.move->to);
  }
  if (good) return arrived(job, result);
  if (job.counted) placer_.ended(job.node);
  job.counted = false;
  job.link = nullptr;
  if (job.node == job.move->from) return stranded(job, result);
  job.move->refusal = result;
  move_in(job, job.move->from);
}

void Home::ask_fitness(Job& job) {
  Link* link = link_to_(job.move->to, true);
  if (!link) return moved(job, failure("XOS_NODE_UNREACHABLE", "it is unknown or cannot be reached; see 'xnode'"));
  job.move->fitting = link;
  send_order(*link, job, job.move->needs);
}

void Home::move_out(Job& job) {
  if (!job.link) return move_over(job, failure("XOS_JOB_NOT_RUNNING", "cannot migrate job '" + job.id + "': it is " + job.state));
  job.control_op = "checkpoint";
  job.control_leaves_running = false;
  job.state_before = job.state;
  job.move->holds = true;
  set_state(job, "checkpointing");
  const json order{{"op", "checkpoint"}, {"move", true}, {"user", job.user}, {"vo", job.vo}, {"session", job.session}, {"directory", job.move->directory}, {"leave_running", false}};
  send_order(*job.link, job, order);
}

void Home::move_in(Job& job, const std::string& node) {
  if (!job.proxy && !job.detached && !job.awaits_proxy) return end(job, "ended");  // it would have ended with its proxy where it was
  job.node = node;
  job.control_op = "restore";
  set_state(job, "restoring");
  Link* link = link_to_(node, true);
  if (!link) return moved(job, failure("XOS_NODE_UNREACHABLE", "node '" + node + "' cannot be reached"));
  job.link = link;
  placer_.started(node);
  job.counted = true;
  job.input_base = job.input_sent;
  // What was typed since it stood still is held, and sent as it came.
  if (job.proxy) job.move->typed.assign(job.proxy->typed.begin(), job.proxy->typed.end() - std::min<ptrdiff_t>(job.held_typed, std::ssize(job.proxy->typed)));
  json order{{"op", "restore"}, {"directory", job.move->directory}, {"session", job.session}, {"job", job.id}, {"manifest_job", job.id}, {"remove", true}};
  if (!job.move->typed.empty()) order["typed"] = job.move->typed;
  send_order(*link, job, order);
}

void Home::arrived(Job& job, const json& result) {
  const int64_t stood_ms = job.move->frozen_ms + (Loop::now_ms() - job.move->gone_ms);
  restored(job, result);
  job.stops_quietly = job.state == "stopped";
  const json refusal = job.move->refusal;
  if (!refusal.is_null())
    return move_over(job, failure(code_of(refusal), "cannot migrate job '" + job.id + "' to node '" + job.move->to + "': " + reason(refusal) + "; it goes on on node '" + job.node + "'"));
  move_over(job, {{"ok", true}, {"job", job.id}, {"from", job.move->from}, {"node", job.node}, {"bytes", job.move->bytes}, {"processes", result.value("processes", 0)}, {"standstill_ms", stood_ms}});
}

/// It could be restored on neither node. When it is protected it goes on from its last checkpoint. Otherwise its images stay, and its proxy waits as it does after a checkpoint.
void Home::stranded(Job& job, const json& result) {
  if (recoverable(job)) {
    job.tried.clear();
    return begin_recovery(job, "'" + job.name + "' (job " + job.id + ") could be restored neither on node '" + job.move->to + "' nor on node '" + job.move->from + "'", reason(result), Loop::now_ms());
  }
  set_state(job, "checkpointed");
  const std::string name = job.move->directory.substr(job.move->directory.rfind('/') + 1);
  const std::string text = "job " + job.id + " ('" + job.name.substr(0, 64) + "') could be restored neither on node '" + job.move->to + "' nor on node '" + job.move->from + "'; 'xrestart " + name + "' lets it go on";
  log(Priority::warning, "%s (%s)", text.c_str(), reason(result).c_str());
  const json refusal = job.move->refusal.is_null() ? result : job.move->refusal;
  if (job.proxy) {
    Buffer buffer;
    Writer out(buffer);
    out.u8(state_checkpointed);
    out.u8(0);
    out.text(std::string_view(text).substr(0, 511));
    job.proxy->send(frame_state, 0, {buffer.data(), buffer.size()});
  }
  move_over(job, failure(code_of(refusal), "cannot migrate: " + text + " (" + job.move->to + ": " + reason(refusal) + "; " + job.move->from + ": " + reason(result) + ")"));
}

/// What the proxy sent meanwhile goes to where the job is now.
void Home::move_over(Job& job, json result) {
  const std::unique_ptr<Move> move = std::move(job.move);
  const auto answer = std::move(job.control);
  job.control = nullptr;
  if (job.link && move->holds) {
    if (job.control_op == "checkpoint") release_input(job);  // restored() has done it otherwise
    release_held(job);
  }
  job.held = {};  // a stranded job's: its proxy stops
  job.held_typed = 0;
  if (answer) answer(result);
}

/// A connection ended on which the move depends. True when that has been dealt with, and the job is not lost.
bool Home::move_cut(Job& job, Link& link, const std::string& why) {
  if (!job.move) return false;
  if (job.move->fitting == &link) {
    moved(job, failure("XOS_NODE_UNREACHABLE", "the connection to it ended: " + why));
    return job.link != &link;
  }
  if (job.link != &link || job.control_op != "restore") return false;
  if (job.counted) placer_.ended(job.node);
  job.counted = false;
  job.link = nullptr;
  job.move->cut = failure("XOS_NODE_UNREACHABLE", "the connection to node '" + job.node + "' ended: " + why);
  job.move->due_ms = fence_of(link);  // it may run there until then
  return true;
}

void Home::move_tick() {
  std::vector<Job*> due, again;
  for (auto& [number, job] : jobs_)
    if (job->move && job->move->asks_again) again.push_back(job.get());
    else if (job->move && job->move->due_ms && Loop::now_ms() >= job->move->due_ms) due.push_back(job.get());
  for (Job* job : again) {
    job->move->asks_again = false;
    ask_fitness(*job);
  }
  for (Job* job : due) {
    job->move->due_ms = 0;
    if (job->control_op == "fit" && job->move->fitting) job->move->fitting->send(frame_kill, 0, job->number, {});  // its answer is that it failed
    else if (job->control_op == "restore" && !job->link) moved(*job, job->move->cut);
  }
}

}  // namespace xos::relay
