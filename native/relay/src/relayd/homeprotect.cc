// Protected jobs: the checkpoint that is kept of each, and how it goes on from there when its node is lost (docs/decisions/0030-fault-tolerance.md).
#include "home.h"

#include "control.h"
#include "log.h"
#include "protect.h"

#include <csignal>
#include <ctime>

namespace xos::relay {

using nlohmann::json;

namespace {

/// The far end looks once a second whether its time is over, and then kills; the rest is for clocks that do not run alike.
constexpr int64_t fence_margin_ms = 3000;
/// Of what a job was given to read since its checkpoint. Who reads more is not recovered until the next one is made.
constexpr size_t input_log_bytes_max = 8 << 20;

std::string time_of_day(int64_t clock_ms) {
  const time_t seconds = clock_ms / 1000;
  tm local;
  char text[16];
  strftime(text, sizeof text, "%H:%M:%S", localtime_r(&seconds, &local));
  return text;
}

}  // namespace

uint16_t Home::default_protection(const std::string& vo) const {
  const auto known = protect_default_.find(vo);
  return known == protect_default_.end() ? uint16_t{protect_no} : known->second;
}

void Home::decide_protection(Job& job, Spec& spec) {
  if (spec.head.protect == protect_unsaid) spec.head.protect = default_protection(job.vo);
  if (spec.head.protect > protect_no) spec.head.protect = std::max(spec.head.protect, protect_seconds_min);
  job.protect = spec.head.protect;
}

/// A checkpoint that xosd had taken is whole: the job goes on from it from now on, and what was read before it need not be remembered.
void Home::keep(Job& job, const json& result) {
  job.kept = {job.control_directory, job.control_began_ms, job.input_base + result.value("input_taken_in", uint64_t{0}), job.state_before == "stopped"};
  const uint64_t log_begin = job.input_sent - job.input_log.size();
  if (job.kept.input > log_begin) job.input_log.erase(job.input_log.begin(), job.input_log.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(job.kept.input - log_begin, job.input_log.size())));
  emit_({{"event", "job-kept"}, {"job", job.id}, {"checkpoint", job.kept.directory}, {"checkpoint_ms", job.kept.made_ms}});
}

/// Of what is sent to the job's stdin.
void Home::note_input(Job& job, Bytes data) {
  job.input_sent += data.size();
  if (job.protect <= protect_no) return;
  if (job.input_log.size() + data.size() > input_log_bytes_max) job.input_log.erase(job.input_log.begin(), job.input_log.begin() + static_cast<ptrdiff_t>(job.input_log.size() / 2));
  job.input_log.insert(job.input_log.end(), data.begin(), data.end());
}

/// What the far end had not given to the job when its checkpoint was made. It is older than what is held here.
void Home::input_came_back(Job& job, Bytes data) {
  job.returned_input.insert(job.returned_input.begin(), data.begin(), data.end());
  job.input_sent -= std::min<uint64_t>(job.input_sent, data.size());
  job.input_log.resize(job.input_log.size() - std::min(job.input_log.size(), data.size()));
}

bool Home::recoverable(const Job& job) const {
  return job.protect > protect_no && job.proxy && !job.kept.directory.empty() && job.input_sent - job.input_log.size() <= job.kept.input;
}

void Home::say_to(Job& job, const std::string& text) {
  to_proxy(job, {static_cast<uint32_t>(text.size()), frame_notice, 0, 0}, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

void Home::notice(const std::string& id, const std::string& text) {
  say_to(owned({{"job", id}, {"uid", 0}}), text.substr(0, 1024));
}

/// Loop::now_ms() from which on nothing runs any more that was sent over a link which is down. Its other end was told to go on by an answer to something it had sent
/// before we heard it; it ends what it runs silent_home_ms after that.
int64_t Home::fence_of(const Link& link) { return link.heard_ms() + silent_home_ms + fence_margin_ms; }

/// The node that ran the job is gone.
void Home::lost(Job& job, const Link& link, const std::string& reason) {
  if (recoverable(job)) {
    job.tried = {job.node};
    return begin_recovery(job, "node '" + job.node + "' was lost; '" + job.name + "' (job " + job.id + ")", reason, fence_of(link));
  }
  if (!job.kept.directory.empty()) say_to(job, "'" + job.name + "' has read too much since its last checkpoint to go on from there by itself");
  lost_for_good(job, reason);
}

void Home::lost_for_good(Job& job, const std::string& reason) {
  log(Priority::warning, "job '%s' ('%s') was lost with node '%s': %s", job.id.c_str(), job.name.c_str(), job.node.c_str(), reason.c_str());
  Buffer buffer;
  Writer out(buffer);
  const std::string why = job.state == "recovering" ? " and it could not go on elsewhere: " + reason.substr(0, 512) : "";
  out.text("node '" + job.node + "' that ran '" + job.name + "' (job " + job.id + ") was lost" + why + "; a checkpoint of it, if there is one, goes on with 'xrestart'");
  to_proxy(job, {static_cast<uint32_t>(buffer.size()), frame_lost, 0, 0}, {buffer.data(), buffer.size()});
  if (job.proxy) {
    job.proxy->job = nullptr;
    job.proxy->finish();
    job.proxy = nullptr;
  }
  job.exit.code = 137;
  emit_({{"event", "job-lost"}, {"job", job.id}, {"node", job.node}, {"reason", reason}});
  end(job, "lost");
}

/// The job's proxy waits from here on. `what` happened, for the user, and `reason`, for the log.
void Home::begin_recovery(Job& job, const std::string& what, const std::string& reason, int64_t fenced_until_ms) {
  if (!recovering(job)) job.stopped_before = job.state == "stopped" || ((job.state == "checkpointing" || job.state == "restoring") && job.state_before == "stopped");
  const std::string asked = job.move ? "migrate" : job.control_op;
  if (job.move && job.move->fitting) job.move->fitting->send(frame_kill, 0, job.number, {});
  job.move = nullptr;
  job.state_before = "recovering";
  const auto answer = std::move(job.control);
  job.control = nullptr;
  job.control_protects = false;
  if (job.counted) placer_.ended(job.node);
  job.counted = false;
  job.link = nullptr;
  job.fenced_until_ms = fenced_until_ms;
  // All that it read since the checkpoint it will read again. What came in while a checkpoint was being made is behind that.
  const uint64_t log_begin = job.input_sent - job.input_log.size();
  const size_t skip = static_cast<size_t>(job.kept.input - log_begin);
  job.returned_input.insert(job.returned_input.begin(), job.input_log.begin() + static_cast<ptrdiff_t>(skip), job.input_log.end());
  job.input_log.clear();
  job.input_sent = job.input_base = job.kept.input;
  const int64_t wait_s = std::max<int64_t>(0, job.fenced_until_ms - Loop::now_ms() + 999) / 1000;
  log(Priority::warning, "%s goes on elsewhere in %lld s from '%s': %s", what.c_str(), static_cast<long long>(wait_s), job.kept.directory.c_str(), reason.c_str());
  set_state(job, "recovering");
  say_to(job, what + " goes on elsewhere in " + std::to_string(wait_s) + " s, from its checkpoint of " + time_of_day(job.kept.made_ms));
  if (answer) answer({{"ok", false}, {"error", {{"code", "XOS_JOB_LOST"}, {"message", "cannot " + asked + " job '" + job.id + "': " + what + "; it goes on from its last checkpoint"}}}});
}

/// The lost copy has ended: restores the job on the best node that was not tried yet.
void Home::recover(Job& job) {
  const std::string lost_node = job.node;
  for (;;) {
    const std::string node = placer_.choose(job.tried);
    if (!job.tried.insert(node).second) return lost_for_good(job, job.recovery_failure.empty() ? "there is no other node" : job.recovery_failure);
    Link* link = link_to_(node, false);
    if (!link) continue;
    const uint64_t number = job.number;
    job.control = [this, number, node, lost_node](const json& result) {
      const auto found = jobs_.find(number);
      if (result.value("ok", false) || found == jobs_.end() || found->second->ended) return;
      found->second->recovery_failure = result["error"].value("message", "no reason given");
      if (found->second->state == "recovering" && found->second->node == node) found->second->node = lost_node;  // it never ran there
      log(Priority::warning, "job '%s' could not go on on node '%s': %s", found->second->id.c_str(), node.c_str(), found->second->recovery_failure.c_str());
    };
    return send_restore(job, *link, node, {{"op", "restore"}, {"directory", job.kept.directory}, {"manifest_job", job.id}});
  }
}

/// It runs again, with its proxy. Before any output: the line stands where the output goes on.
void Home::recovered(Job& job) {
  job.recovery_failure.clear();
  say_to(job, "'" + job.name + "' (job " + job.id + ") goes on on node '" + job.node + "'");
  log(Priority::notice, "job '%s' goes on on node '%s' from '%s'", job.id.c_str(), job.node.c_str(), job.kept.directory.c_str());
  const auto signal = [&job](int number, uint8_t from_terminal) {
    const uint8_t payload[2] = {static_cast<uint8_t>(number), from_terminal};
    job.link->send(frame_signal, 0, job.number, {payload});
  };
  if (job.has_terminal) signal(SIGWINCH, 1);  // what fills its screen draws it anew: our lines are on it
  job.stops_quietly = job.stopped_before || job.kept.stopped;
  if (job.stopped_before != job.kept.stopped) signal(job.stopped_before ? SIGSTOP : SIGCONT, 0);
  release_held(job);  // behind the signal: one that comes from the terminal takes away what was typed before it
}

/// What shall become of a job that is nowhere just now. False when the signal is for the program, and waits for it.
bool Home::signal_recovering(Job& job, int number) {
  if (!recovering(job)) return false;
  switch (number) {
    case SIGINT: case SIGTERM: case SIGHUP: case SIGQUIT: case SIGKILL:
      end_waiting(job, number);
      return true;
    case SIGTSTP: case SIGSTOP: {
      job.stopped_before = true;
      const uint8_t state[2] = {state_stopped, static_cast<uint8_t>(number)};
      to_proxy(job, {sizeof state, frame_state, 0, 0}, state);
      return true;
    }
    case SIGCONT:
      job.stopped_before = false;
      return true;
  }
  return false;
}

}  // namespace xos::relay
