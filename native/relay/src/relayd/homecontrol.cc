// What xosd asks of jobs whose home is here: signals, checkpoints, restores.
#include "home.h"

#include "control.h"
#include "log.h"

#include <csignal>

namespace xos::relay {

using nlohmann::json;

namespace {

Bytes bytes_of(const std::string& text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

json failure(const std::string& code, const std::string& message) { return {{"ok", false}, {"error", {{"code", code}, {"message", message}}}}; }

/// Kinds of descriptors 0-2 as the restored streams say.
void kinds_of(const json& streams, uint8_t (&kinds)[3], bool& has_terminal) {
  for (uint8_t& kind : kinds) kind = kind_null;
  for (const json& stream : streams) {
    const std::string kind = stream.value("kind", "");
    bool first = true;
    for (const int fd : stream.value("target_fds", std::vector<int>())) {
      if (fd < 0 || fd > 2) continue;
      kinds[fd] = kind == "pty" ? kind_tty : fd == 2 && !first ? kind_as_out : kind_pipe;
      first = false;
    }
    has_terminal = has_terminal || kind == "pty";
  }
}

}  // namespace

/// The living job that a request names, of its caller. Throws CodedError.
Job& Home::owned(const json& request) {
  const std::string id = request.at("job");
  const uid_t uid = request.at("uid");
  Job* job = find(id);
  if (!job || (uid != 0 && job->uid != uid)) throw CodedError("XOS_JOB_UNKNOWN", "there is no job '" + id + "' of yours on node '" + node_ + "'; see 'xps'");
  if (job->ended) throw CodedError("XOS_JOB_ENDED", "job '" + id + "' has ended");
  return *job;
}

void Home::signal(const std::string& id, int number, uid_t uid) {
  Job& job = owned({{"job", id}, {"uid", uid}});
  if (number < 0 || number > 64) throw CodedError("XOS_SIGNAL", "cannot signal job '" + id + "': " + std::to_string(number) + " is no signal");
  if (number == 0) return;
  const uint8_t payload[2] = {static_cast<uint8_t>(number), 0};
  if (hold(job, frame_signal, 0, payload)) return;
  if (!job.link) {
    if (job.state == "checkpointed" && (number == SIGKILL || number == SIGTERM || number == SIGHUP || number == SIGINT)) {
      // It exists as a checkpoint only: what waits for it here goes, the checkpoint stays.
      if (job.proxy) {
        Exit exit;
        exit.signal = static_cast<uint8_t>(number);
        job.exit = exit;
        job.proxy->send(frame_exit, 0, {reinterpret_cast<const uint8_t*>(&exit), sizeof exit});
        job.proxy->job = nullptr;
        job.proxy->finish();
        job.proxy = nullptr;
        kill(job.proxy_pid, SIGCONT);
      }
      return end(job, "ended");
    }
    throw CodedError("XOS_JOB_NOT_RUNNING", "cannot signal job '" + id + "': it is " + job.state);
  }
  job.link->send(frame_signal, 0, job.number, {payload});
}

void Home::control(const json& request, Answer answer) {
  const std::string op = request.at("op");
  if (op == "restore") return restore(request, std::move(answer));
  if (op == "migrate") return migrate(request, std::move(answer));
  Job& job = owned(request);
  if (!job.link) throw CodedError("XOS_JOB_NOT_RUNNING", "cannot " + op + " job '" + job.id + "': it is " + job.state);
  if (job.control) throw CodedError("XOS_JOB_BUSY", "cannot " + op + " job '" + job.id + "': another checkpoint, check or restore of it is under way");
  json order{{"op", op}, {"user", job.user}, {"vo", job.vo}, {"session", job.session}};
  if (op == "checkpoint") {
    order["directory"] = request.at("directory").get<std::string>();
    order["leave_running"] = request.value("leave_running", false);
    if (request.contains("timeout_ms")) order["timeout_ms"] = request["timeout_ms"];
  }
  job.control = std::move(answer);
  job.control_op = op;
  job.control_leaves_running = op == "check" || order.value("leave_running", false);
  job.state_before = job.state;
  if (op == "checkpoint") set_state(job, "checkpointing");
  job.link->send(frame_control, 0, job.number, {bytes_of(order.dump())});
}

void Home::restore(const json& request, Answer answer) {
  const uid_t uid = request.at("uid");
  const std::string id = request.value("job", ""), session_id = request.at("session");
  const Session* session = sessions_.find(session_id, Loop::clock_ms());
  if (!session || (uid != 0 && session->uid != uid)) throw CodedError("XOS_SESSION_UNKNOWN", "cannot restore job '" + id + "': the session is over, or not yours; log in again");
  Job* job = find(id);
  if (job && job->ended) job = nullptr;
  if (job && uid != 0 && job->uid != uid) throw CodedError("XOS_JOB_UNKNOWN", "there is no job '" + id + "' of yours on node '" + node_ + "'; see 'xps'");
  if (job && (job->link || job->control)) throw CodedError("XOS_JOB_RUNNING", "cannot restore job '" + id + "': it is " + job->state + "; end it first with 'xkill " + id + "'");
  const std::string node = request.value("node", "").empty() ? placer_.choose({}) : request["node"].get<std::string>();
  Link* link = link_to_(node, true);
  if (!link) throw CodedError("XOS_NODE_UNREACHABLE", "cannot restore job '" + id + "' on node '" + node + "': it is unknown or cannot be reached; see 'xnode'");
  if (!job) {  // a lost or forgotten one, or one of another home: it goes on as a new job
    auto fresh = std::make_unique<Job>();
    job = fresh.get();
    job->number = new_number();
    job->id = node_ + "-" + std::to_string(job->number);
    job->user = session->user;
    job->vo = session->vo;
    job->uid = session->uid;
    job->started_ms = Loop::clock_ms();
    jobs_[job->number] = std::move(fresh);
  }
  job->session = session->id;
  job->link = link;
  job->node = node;
  job->begun = true;
  job->awaits_proxy = !job->proxy && request.value("attach", false);
  job->detached = !job->proxy && !job->awaits_proxy;
  job->state_before = job->state;
  job->control = std::move(answer);
  job->control_op = "restore";
  placer_.started(node);
  job->counted = true;
  set_state(*job, "restoring");
  json order{{"op", "restore"}, {"directory", request.at("directory")}, {"session", session_id}, {"job", job->id}, {"manifest_job", id}};
  if (request.contains("timeout_ms")) order["timeout_ms"] = request["timeout_ms"];
  link->send(frame_control, 0, job->number, {bytes_of(order.dump())});
}

/// While a checkpoint or a restore works, and between them, stdin waits here: the far end could neither put it into the checkpoint nor
/// into a job that is not there yet.
bool Home::holds_input(const Job& job) const {
  return job.state == "checkpointed" || (job.control && (job.control_op == "checkpoint" || job.control_op == "restore"));
}

void Home::release_input(Job& job) {
  if (!job.returned_input.empty()) job.link->send(frame_data, stream_in, job.number, {Bytes(job.returned_input)});
  job.returned_input.clear();
  if (job.input_closed) job.link->send(frame_close, stream_in, job.number, {});
}

void Home::restored(Job& job, const json& result) {
  kernel_.restored(job.number);
  if (job.name.empty()) {
    const std::string program = result.value("program", "");
    job.name = program.substr(program.rfind('/') + 1);
    job.arguments = result.value("argv", std::vector<std::string>());
  }
  kinds_of(result.value("streams", json::array()), job.kinds, job.has_terminal);
  emit_({{"event", "job-started"}, {"job", job.id}, {"name", job.name}, {"argv", job.arguments}, {"node", job.node}, {"state", "running"}, {"session", job.session}, {"uid", job.uid},
         {"user", job.user}, {"vo", job.vo}, {"proxy_pid", job.proxy_pid}, {"started_ms", job.started_ms}});
  set_state(job, job.move ? job.state_before : "running");
  if (job.detached) return job.link->send(frame_close, stream_in, job.number, {});
  if (job.proxy) {
    // What was under way when the checkpoint was made is in the checkpoint's pipes now, or was returned.
    job.proxy->typed.clear();
    for (const uint16_t stream : {stream_in, stream_tty}) {
      const uint32_t kept = stream == stream_in ? static_cast<uint32_t>(job.returned_input.size()) : job.move ? job.move->held_typed : 0;
      const uint32_t bytes = job.in_flight[stream] - std::min(job.in_flight[stream], kept);
      job.in_flight[stream] -= bytes;
      if (bytes) job.proxy->send(frame_credit, stream, {reinterpret_cast<const uint8_t*>(&bytes), sizeof bytes});
    }
    const uint8_t state = state_restored;
    job.proxy->send(frame_state, 0, {&state, 1});
    if (!job.move) kill(job.proxy_pid, SIGCONT);  // alive: its connection is open; a job that is moved never had it stopped
  }
  release_input(job);
}

void Home::control_done(Job& job, Bytes payload) {
  json result = json::parse(payload.begin(), payload.end(), nullptr, false);
  if (!result.is_object()) result = failure("XOS_INTERNAL", "the cell's answer cannot be read");
  const bool good = result.value("ok", false);
  if (job.move) return moved(job, std::move(result));
  const auto answer = std::move(job.control);
  job.control = nullptr;
  if (job.control_op == "restore") {
    if (good) {
      restored(job, result);
    } else {
      if (job.counted) placer_.ended(job.node);
      job.counted = false;
      job.link = nullptr;
      if (job.state_before == "starting") end(job, "ended");
      else set_state(job, job.state_before);
    }
    result["job"] = job.id;
    result["node"] = job.node;
  } else if (good && !job.control_leaves_running) {
    if (job.counted) placer_.ended(job.node);
    job.counted = false;
    job.link = nullptr;
    set_state(job, "checkpointed");
    if (job.proxy) {
      Buffer buffer;
      Writer out(buffer);
      out.u8(state_checkpointed);
      out.u8(0);
      out.text("job " + job.id + " ('" + job.name.substr(0, 64) + "') is checkpointed and has stopped; 'xrestart' lets it go on here");
      job.proxy->send(frame_state, 0, {buffer.data(), buffer.size()});
    }
  } else if (job.state == "checkpointing") {
    set_state(job, job.state_before);
  }
  if (job.control_op == "checkpoint" && job.link) release_input(job);
  if (answer) answer(result);
}

}  // namespace xos::relay
