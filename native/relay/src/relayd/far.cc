#include "far.h"

#include "log.h"

#include <cstring>

namespace xos::relay {

using nlohmann::json;

void Far::refuse(Link& link, uint64_t number, const std::string& code, const std::string& message) {
  Buffer buffer;
  Writer out(buffer);
  out.u8(1);
  out.u8(126);
  out.text(code);
  out.text(message);
  link.send(frame_refused, 0, number, {{buffer.data(), buffer.size()}});
}

void Far::take(Link& link, const Header& header, Bytes payload) {
  if (header.type == frame_spawn) return spawn(link, header.id, payload);
  const auto found = jobs_.find({&link, header.id});
  if (found != jobs_.end()) return found->second->take(header, payload);
  if (header.type == frame_control) return control(link, header.id, payload);
}

void Far::spawn(Link& link, uint64_t number, Bytes payload) {
  Reader in(payload.data(), payload.size());
  const std::string session_id(in.text(64)), job(in.text(128));
  const Bytes spec_bytes(in.at(), in.left());
  Spec spec;
  if (!in.ok() || !read_spec(in, spec) || jobs_.contains({&link, number}))
    return refuse(link, number, "XOS_MALFORMED", "cannot start job '" + job + "' on node '" + node_ + "': its description is malformed");
  const Session* session = sessions_.find(session_id, Loop::clock_ms());
  // Only the node where the user has logged in may speak for the session; its name is in its certificate.
  if (!session || session->origin != link.node())
    return refuse(link, number, "XOS_SESSION_UNKNOWN", "cannot start job '" + job + "' on node '" + node_ + "': the session is not open there");
  auto fresh = std::make_unique<FarJob>(*this, link, number);
  FarJob& started = *fresh;
  jobs_[{&link, number}] = std::move(fresh);
  if (started.start(*session, job, spec_bytes, spec)) return;
  refuse(link, number, "XOS_NO_CELL", "cannot start job '" + job + "' on node '" + node_ + "': no cell could be made; see the node's log");
  forget(started);
}

void Far::control(Link& link, uint64_t number, Bytes payload) {
  const json request = parse_json(payload);
  const auto fail = [&](const std::string& code, const std::string& message) {
    const std::string text = json_text({{"ok", false}, {"error", {{"code", code}, {"message", message}}}});
    link.send(frame_result, 0, number, {{reinterpret_cast<const uint8_t*>(text.data()), text.size()}});
  };
  const std::string op = request.is_object() ? request.value("op", "") : "";
  if (op != "restore" && op != "fit") return fail("XOS_JOB_UNKNOWN", "the job does not run on node '" + node_ + "' any more");
  const Session* session = sessions_.find(request.value("session", ""), Loop::clock_ms());
  if (!session || session->origin != link.node()) return fail("XOS_SESSION_UNKNOWN", "cannot restore on node '" + node_ + "': the session is not open there; log in again, or see whether the node's owner lets you in");
  // The order may have lain here while nothing else did: its time is over, and another node may have had it since.
  if (link.answered_ms() < Loop::boot_ms() - silent_home_ms) return fail("XOS_NODE_UNREACHABLE", "node '" + node_ + "' has heard nothing of the job's home for too long");
  auto fresh = std::make_unique<FarJob>(*this, link, number);
  FarJob& job = *fresh;
  jobs_[{&link, number}] = std::move(fresh);
  if (job.restore(*session, request.value("job", ""), request)) return;
  fail("XOS_NO_CELL", "cannot restore on node '" + node_ + "': no cell could be made; see the node's log");
  forget(job);
}

void Far::link_down(Link& link, const std::string& reason, bool) {
  size_t count = 0;
  for (auto it = jobs_.lower_bound({&link, 0}); it != jobs_.end() && it->first.first == &link;) {
    it->second->kill_cell();
    graves_.push_back(std::move(it->second));
    it = jobs_.erase(it);
    count++;
  }
  if (count) log(Priority::warning, "home node '%s' is gone (%s): %zu of its jobs ended here", link.node().c_str(), reason.c_str(), count);
  loop_.later([this] { graves_.clear(); });
}

void Far::link_drained(Link& link) {
  for (auto it = jobs_.lower_bound({&link, 0}); it != jobs_.end() && it->first.first == &link; ++it) it->second->link_drained();
}

void Far::end_session(const std::string& session) {
  std::vector<FarJob*> over;  // ending one takes it out of the map
  for (auto& [key, job] : jobs_)
    if (job->session == session) over.push_back(job.get());
  for (FarJob* job : over) job->cell_gone();
}

void Far::tick() {
  for (auto& [key, job] : jobs_) job->tick();
  groups_.tick(Loop::now_ms());
}

std::string Far::limit_vo(const std::string& vo, const cell::GroupLimits& limits, uint64_t memory_max) {
  memory_max_[vo] = memory_max;
  return groups_.set(vo, limits);
}

std::vector<Far::Seen> Far::jobs() const {
  std::vector<Seen> list;
  for (const auto& [key, job] : jobs_) list.push_back({job->job, job->home().node(), job->session, job->uid, job->cell_pid()});
  return list;
}

void Far::forget(FarJob& job) {
  const auto found = jobs_.find({&job.home(), job.number()});
  if (found == jobs_.end()) return;
  graves_.push_back(std::move(found->second));
  jobs_.erase(found);
  loop_.later([this] { graves_.clear(); });
}

}  // namespace xos::relay
