// What xosd asks of jobs whose home is here: signals, checkpoints, restores.
#include "home.h"

#include "control.h"
#include "log.h"

#include <algorithm>
#include <csignal>

namespace xos::relay {

using nlohmann::json;

namespace {

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

void send_order(Link& link, const Job& job, const json& order) {
  const std::string text = order.dump();
  link.send(frame_control, 0, job.number, {{reinterpret_cast<const uint8_t*>(text.data()), text.size()}});
}

json failure(const std::string& code, const std::string& message) { return {{"ok", false}, {"error", {{"code", code}, {"message", message}}}}; }

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
  if (signal_recovering(job, number) || hold(job, frame_signal, 0, payload)) return;
  if (!job.link) {
    // It exists as a checkpoint only: what waits for it here goes, the checkpoint stays.
    if (job.state == "checkpointed" && (number == SIGKILL || number == SIGTERM || number == SIGHUP || number == SIGINT)) return end_waiting(job, number);
    throw CodedError("XOS_JOB_NOT_RUNNING", "cannot signal job '" + id + "': it is " + job.state);
  }
  job.link->send(frame_signal, 0, job.number, {payload});
}

/// The job exists as a checkpoint only, or is on its way back from one, and shall not go on.
void Home::end_waiting(Job& job, int number) {
  if (job.link) job.link->send(frame_kill, 0, job.number, {});
  job.exit = {};
  job.exit.signal = static_cast<uint8_t>(number);
  if (job.proxy) {
    job.proxy->send(frame_exit, 0, {reinterpret_cast<const uint8_t*>(&job.exit), sizeof job.exit});
    job.proxy->job = nullptr;
    job.proxy->finish();
    job.proxy = nullptr;
    kill(job.proxy_pid, SIGCONT);
  }
  end(job, "ended");
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
    order["directory"] = job.control_directory = request.at("directory").get<std::string>();
    order["leave_running"] = request.value("leave_running", false);
    if (request.contains("timeout_ms")) order["timeout_ms"] = request["timeout_ms"];
  }
  job.control = std::move(answer);
  job.control_op = op;
  job.control_leaves_running = op == "check" || order.value("leave_running", false);
  job.control_protects = op == "checkpoint" && job.control_leaves_running && request.value("protect", false);
  job.control_began_ms = Loop::clock_ms();
  job.state_before = job.state;
  if (op == "checkpoint") set_state(job, "checkpointing");
  send_order(*job.link, job, order);
}

void Home::restore(const json& request, Answer answer) {
  const uid_t uid = request.at("uid");
  const std::string id = request.value("job", ""), session_id = request.at("session");
  const Session* session = sessions_.find(session_id, Loop::clock_ms());
  if (!session || (uid != 0 && session->uid != uid)) throw CodedError("XOS_SESSION_UNKNOWN", "cannot restore job '" + id + "': the session is over, or not yours; log in again");
  Job* job = find(id);
  if (job && job->ended) job = nullptr;
  if (job && uid != 0 && job->uid != uid) throw CodedError("XOS_JOB_UNKNOWN", "there is no job '" + id + "' of yours on node '" + node_ + "'; see 'xps'");
  if (job && (job->link || job->control || recovering(*job))) throw CodedError("XOS_JOB_RUNNING", "cannot restore job '" + id + "': it is " + job->state + "; end it first with 'xkill " + id + "'");
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
    if (request.value("attach", false)) job->protect = default_protection(job->vo);
    jobs_[job->number] = std::move(fresh);
  }
  job->session = session->id;
  job->awaits_proxy = !job->proxy && request.value("attach", false);
  job->detached = !job->proxy && !job->awaits_proxy;
  job->control = std::move(answer);
  job->kept = {};  // it is of another course of the job
  job->input_log.clear();
  job->input_base = job->input_sent;
  json order{{"op", "restore"}, {"directory", request.at("directory")}, {"manifest_job", id}};
  if (request.contains("timeout_ms")) order["timeout_ms"] = request["timeout_ms"];
  send_restore(*job, *link, node, std::move(order));
}

void Home::send_restore(Job& job, Link& link, const std::string& node, json order) {
  job.begun = true;
  job.state_before = job.state;
  job.control_op = "restore";
  set_state(job, "restoring");
  order["session"] = job.session;
  order["job"] = job.id;
  job.restore_order = std::move(order);
  order_restore(job, link, node);
}

void Home::order_restore(Job& job, Link& link, const std::string& node) {
  job.link = &link;
  job.node = node;
  placer_.started(node);
  job.counted = true;
  send_order(link, job, job.restore_order);
}

void Home::restore_again(Job& job) {
  if (Link* link = link_to_(job.node, true)) return order_restore(job, *link, job.node);
  control_over(job, failure("XOS_NODE_UNREACHABLE", "node '" + job.node + "' cannot be reached"));
}

/// While a checkpoint or a restore works, and between them, stdin waits here: the far end could neither put it into the checkpoint nor
/// into a job that is not there yet.
bool Home::holds_input(const Job& job) const {
  return job.state == "checkpointed" || recovering(job) || (job.control && (job.control_op == "checkpoint" || job.control_op == "restore"));
}

void Home::release_input(Job& job) {
  const std::vector<uint8_t> held = std::move(job.returned_input);
  job.returned_input = {};
  for (size_t at = 0; at < held.size(); at += data_bytes_max) {
    const Bytes part = Bytes(held).subspan(at, std::min<size_t>(data_bytes_max, held.size() - at));
    note_input(job, part);
    job.link->send(frame_data, stream_in, job.number, {part});
  }
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
  const bool recovers = recovering(job);
  json event = describe(job);
  event["event"] = "job-started";
  event["state"] = "running";
  emit_(event);
  set_state(job, job.move ? job.state_before : "running");
  if (job.detached) return job.link->send(frame_close, stream_in, job.number, {});
  if (job.proxy) {
    // What was under way when the checkpoint was made is in the checkpoint's pipes now, or was returned.
    job.proxy->typed.erase(job.proxy->typed.begin(), job.proxy->typed.end() - std::min<ptrdiff_t>(job.held_typed, std::ssize(job.proxy->typed)));
    for (const uint16_t stream : {stream_in, stream_tty}) {
      const size_t kept = stream == stream_in ? job.returned_input.size() : size_t{job.held_typed};
      const uint32_t bytes = job.in_flight[stream] - static_cast<uint32_t>(std::min<size_t>(job.in_flight[stream], kept));
      job.in_flight[stream] -= bytes;
      if (bytes) job.proxy->send(frame_credit, stream, {reinterpret_cast<const uint8_t*>(&bytes), sizeof bytes});
    }
    const uint8_t state = state_restored;
    job.proxy->send(frame_state, 0, {&state, 1});
    if (recovers) recovered(job);
    else if (!job.move) kill(job.proxy_pid, SIGCONT);  // alive: its connection is open; a job that is moved never had it stopped
  }
  job.input_again = job.returned_input.size() - std::min<size_t>(job.returned_input.size(), job.in_flight[stream_in]);
  release_input(job);
}

void Home::control_done(Job& job, Bytes payload) {
  json result = parse_json(payload);
  control_over(job, result.is_object() ? std::move(result) : failure("XOS_INTERNAL", "the cell's answer cannot be read"));
}

void Home::control_over(Job& job, json result) {
  const bool good = result.value("ok", false);
  if (job.move) return moved(job, std::move(result));
  if (job.control_op == "restore" && await_session_to_restore(job, result)) return;
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
  if (good && job.control_protects) keep(job, result);
  job.control_protects = false;
  if (job.control_op == "checkpoint" && job.link) release_input(job);
  if (answer) answer(result);
}

}  // namespace xos::relay
