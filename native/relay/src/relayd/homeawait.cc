// Jobs for a named node that has not heard of their session yet: a login does not wait for slow nodes, so who names one right after it is
// not refused for that. The job is offered again for a while, with all that its proxy has sent meanwhile.
#include "home.h"

#include "log.h"

#include <cstring>
#include <utility>

namespace xos::relay {

namespace {
constexpr size_t unbegun_bytes_max = 4 * window_bytes;
}

void append_frame(std::vector<uint8_t>& frames, uint16_t type, uint16_t flags, Bytes payload) {
  const Header header{static_cast<uint32_t>(payload.size()), type, flags, 0};
  const auto* head = reinterpret_cast<const uint8_t*>(&header);
  frames.insert(frames.end(), head, head + sizeof header);
  frames.insert(frames.end(), payload.begin(), payload.end());
}

void Home::to_far(Job& job, const Header& header, Bytes payload) {
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

void Home::place_awaiting() {
  for (const uint64_t number : std::exchange(awaiting_, {})) {
    const auto found = jobs_.find(number);
    if (found == jobs_.end() || found->second->ended || !found->second->proxy) continue;
    Job& job = *found->second;
    job.tried.clear();
    if (!place(job)) {
      give_up(job, "XOS_NODE_UNREACHABLE", "cannot run '" + job.name + "' on node '" + job.node + "': it cannot be reached; see 'xnode'", false, 125);
      continue;
    }
    for (size_t at = 0; at < job.unbegun.size();) {
      Header header;
      memcpy(&header, job.unbegun.data() + at, sizeof header);
      job.link->send(header.type, header.flags, job.number, {Bytes(job.unbegun).subspan(at + sizeof header, header.length)});
      at += sizeof header + header.length;
    }
  }
}

}  // namespace xos::relay
