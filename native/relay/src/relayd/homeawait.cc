// What proxies send while their jobs are nowhere: between two nodes, or not yet with a named node that has not heard of their session. A login does
// not wait for slow nodes, so who names one right after it is not refused for that: the job is offered again for a while, with all that its proxy has sent meanwhile.
#include "home.h"

#include "log.h"

#include <cstring>
#include <utility>

namespace xos::relay {

namespace {
/// Input is bounded by its windows, the rest is for the other frames.
constexpr size_t unbegun_bytes_max = 4 * window_bytes, held_bytes_max = 4 * window_bytes;
}

void append_frame(std::vector<uint8_t>& frames, uint16_t type, uint16_t flags, Bytes payload) {
  const Header header{static_cast<uint32_t>(payload.size()), type, flags, 0};
  const auto* head = reinterpret_cast<const uint8_t*>(&header);
  frames.insert(frames.end(), head, head + sizeof header);
  frames.insert(frames.end(), payload.begin(), payload.end());
}

void Home::to_far(Job& job, const Header& header, Bytes payload) {
  if (header.type == frame_data && header.flags == stream_in) note_input(job, payload);
  if (job.retry_until_ms && !job.begun) {
    append_frame(job.unbegun, header.type, header.flags, payload);
    if (job.unbegun.size() > unbegun_bytes_max && job.proxy) {
      log(Priority::warning, "proxy of job '%s' sends more than its windows allow; it is dropped", job.id.c_str());
      return proxy_gone(*job.proxy);
    }
  }
  if (job.link) job.link->send(header.type, header.flags, job.number, {payload});
}

/// Whether a job that was refused for its session waits for it.
bool Home::await_session(Job& job) {
  if (!job.proxy || Loop::clock_ms() > job.retry_until_ms || !sessions_.find(job.session, Loop::clock_ms())) return false;
  set_state(job, "starting");
  awaiting_.push_back(job.number);
  return true;
}

/// The same for a restore that ended so.
bool Home::await_session_to_restore(Job& job, const nlohmann::json& result) {
  if (result.value("ok", false) || result["error"].value("code", "") != "XOS_SESSION_UNKNOWN" || recovering(job) || !spreads(job.session)) return false;
  if (job.counted) placer_.ended(job.node);
  job.counted = false;
  job.link = nullptr;
  awaiting_.push_back(job.number);
  return true;
}

/// Whether a node that has not heard of the session may hear of it yet.
bool Home::spreads(const std::string& session) const {
  const Session* found = sessions_.find(session, Loop::clock_ms());
  return found && Loop::clock_ms() < found->added_ms + session_spread_ms;
}

void Home::place_awaiting() {
  for (const uint64_t number : std::exchange(awaiting_, {})) {
    const auto found = jobs_.find(number);
    if (found == jobs_.end() || found->second->ended) continue;
    Job& job = *found->second;
    if (job.control_op == "restore" && job.control) {
      restore_again(job);
      continue;
    }
    if (!job.proxy) continue;
    job.tried.clear();
    if (!place(job)) {
      give_up(job, "XOS_NODE_UNREACHABLE", "cannot run '" + job.name + "' on node '" + job.node + "': it cannot be reached; see 'xnode'", false, 125);
      continue;
    }
    replay(job, job.unbegun);
  }
}

/// True when it waits: the job is between two nodes, where a signal or a line that was typed would be lost.
bool Home::hold(Job& job, uint16_t type, uint16_t flags, Bytes payload) {
  if (!between_nodes(job)) return false;
  const bool input = type == frame_data && flags == stream_tty;
  if (!input && type != frame_signal && type != frame_winsize && type != frame_termios && type != frame_foreground && type != frame_close) return false;
  if (job.held.size() > held_bytes_max) return true;
  append_frame(job.held, type, flags, payload);
  if (input) job.held_typed += static_cast<uint32_t>(payload.size());
  return true;
}

/// The job is where it was or elsewhere, and takes what waited for it.
void Home::release_held(Job& job) {
  replay(job, std::exchange(job.held, {}));
  job.held_typed = 0;
}

/// Sends what append_frame() has kept.
void Home::replay(Job& job, Bytes frames) {
  while (!frames.empty()) {
    Header header;
    memcpy(&header, frames.data(), sizeof header);
    job.link->send(header.type, header.flags, job.number, {frames.subspan(sizeof header, header.length)});
    frames = frames.subspan(sizeof header + header.length);
  }
}

}  // namespace xos::relay
