#include "home.h"

#include "control.h"
#include "log.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

namespace xos::relay {

using nlohmann::json;

namespace {

constexpr uint64_t numbers_per_block = 10000;
constexpr size_t ended_jobs_max = 1000;
constexpr int64_t ended_ms_max = 600000;
constexpr size_t arguments_bytes_max = 4096;

/// What a program that has not begun does at a signal.
bool ends_by(int number) { return number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT; }

Bytes bytes_of(const Buffer& buffer) { return {buffer.data(), buffer.size()}; }

std::vector<std::string> first_arguments(const Strings& strings) {
  std::vector<std::string> list;
  size_t total = 0;
  const char* at = strings.block;
  for (uint32_t i = 0; i < strings.count && total < arguments_bytes_max; i++) {
    list.emplace_back(at);
    total += list.back().size() + 1;
    at += list.back().size() + 1;
  }
  return list;
}

/// Whether the terminal is the process's controlling one and its group is in the foreground. From /proc: TIOCGPGRP answers for one's own terminal only.
bool has_terminal(pid_t pid, dev_t terminal) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  char state;
  long parent, group, session, device, foreground;
  const size_t end = line.rfind(')');
  if (end == line.npos || sscanf(line.c_str() + end + 1, " %c %ld %ld %ld %ld %ld", &state, &parent, &group, &session, &device, &foreground) != 6) return false;
  // tty_nr packs the device number as the kernel's new_encode_dev() does.
  const dev_t packed = makedev((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
  return packed == terminal && group == foreground;
}

std::string base_name(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

}  // namespace

Home::Home(Loop& loop, Sessions& sessions, Placer& placer, std::string node, const std::string& state_directory, LinkTo link_to, Emit emit)
    : loop_(loop), sessions_(sessions), placer_(placer), node_(std::move(node)), counter_path_(state_directory + "/next-job"), link_to_(std::move(link_to)), emit_(std::move(emit)),
      kernel_(loop, [this](uint64_t number, KernelProxies::Event event) { proxy_signalled(number, event); }) {
  std::ifstream stored(counter_path_);
  if (!(stored >> reserved_)) reserved_ = 1;
  next_ = reserved_;
  reserve_numbers();
}

/// Writes down the end of a block of numbers before the first of them is used: no id comes twice, also after a crash.
void Home::reserve_numbers() {
  reserved_ = next_ + numbers_per_block;
  const std::string fresh = counter_path_ + ".new", text = std::to_string(reserved_) + "\n";
  unique_fd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || fsync(fd.get()) < 0 || rename(fresh.c_str(), counter_path_.c_str()) < 0)
    throw CodedError("XOS_STATE", "cannot keep the job counter '" + counter_path_ + "': " + strerror(errno));
}

uint64_t Home::new_number() {
  if (next_ >= reserved_) reserve_numbers();
  return next_++;
}

Job* Home::find(const std::string& id) const {
  const size_t dash = id.rfind('-');
  if (dash == id.npos || id.substr(0, dash) != node_) return nullptr;
  const auto found = jobs_.find(strtoull(id.c_str() + dash + 1, nullptr, 10));
  return found == jobs_.end() || found->second->id != id ? nullptr : found->second.get();
}

void Home::accept_proxy(int fd, uid_t uid, pid_t pid) {
  auto proxy = std::make_unique<Proxy>(*this, fd, uid, pid);
  Proxy* key = proxy.get();
  loop_.watch(*proxy, fd, EPOLLIN);
  proxies_[key] = std::move(proxy);
}

void Home::take_proxy(Proxy& proxy, const Header& header, Bytes payload) {
  Job* job = proxy.job;
  if (!job) {
    if (header.type == frame_spawn) return spawn(proxy, payload);
    if (header.type == frame_attach) return attach(proxy, payload);
    if (!proxy.end.empty()) return take_last_typed(proxy, header, payload);
    return proxy_gone(proxy);
  }
  if (header.type == frame_close && header.flags == stream_in) job->input_closed = true;
  const bool awaits = !job->link && job->retry_until_ms && !job->begun;
  if (!job->link && !awaits && !between_nodes(*job) && !(header.type == frame_data && header.flags == stream_in)) return;
  switch (header.type) {
    case frame_data:
      if (header.flags != stream_in && header.flags != stream_tty) return proxy_gone(proxy);
      job->in_flight[header.flags] += header.length;
      if (job->in_flight[header.flags] > 2 * window_bytes) {
        log(Priority::warning, "proxy of job '%s' ignores its window; it is dropped", job->id.c_str());
        return proxy_gone(proxy);
      }
      if (header.flags == stream_in && holds_input(*job)) {
        job->returned_input.insert(job->returned_input.end(), payload.begin(), payload.end());
        return;
      }
      if (header.flags == stream_tty) proxy.typed.insert(proxy.typed.end(), payload.begin(), payload.end());
      if (hold(*job, frame_data, header.flags, payload)) return;
      return to_far(*job, header, payload);
    case frame_close:
      if (header.flags == stream_in && holds_input(*job)) return;
      [[fallthrough]];
    case frame_credit:
    case frame_winsize:
    case frame_termios:
    case frame_foreground:
      if (hold(*job, header.type, header.flags, payload)) return;
      return to_far(*job, header, payload);
    case frame_signal: {
      if (payload.empty()) return;
      if (awaits && ends_by(payload[0])) {
        Exit exit;
        exit.signal = payload[0];
        return ended(*job, {reinterpret_cast<const uint8_t*>(&exit), sizeof exit});
      }
      if (payload[0] == SIGCONT && continued_by_kernel(*job)) return;  // the kernel told it already, and in order with STOP
      if (signal_recovering(*job, payload[0])) return;
      const uint8_t with_source[2] = {payload[0], static_cast<uint8_t>(payload.size() > 1 ? payload[1] : 0)};
      if (hold(*job, frame_signal, 0, with_source)) return;
      return to_far(*job, {sizeof with_source, frame_signal, 0, 0}, with_source);
    }
    default:
      return proxy_gone(proxy);
  }
}

void Home::refuse(Proxy& proxy, bool here, uint8_t status, const std::string& code, const std::string& message) {
  Buffer buffer;
  Writer out(buffer);
  out.u8(here);
  out.u8(status);
  out.text(code);
  out.text(std::string_view(message).substr(0, 1024));
  proxy.send(frame_refused, 0, bytes_of(buffer));
  proxy.finish();
}

void Home::spawn(Proxy& proxy, Bytes payload) {
  Reader in(payload.data(), payload.size());
  Prelude prelude;
  const bool readable = read_prelude(in, prelude);
  const Bytes spec_bytes(in.at(), in.left());
  Spec spec;
  if (!readable || !read_spec(in, spec)) return refuse(proxy, true, 126, "XOS_MALFORMED", "cannot start a job: its description is malformed");
  const Session* session = sessions_.prove(prelude.session, prelude.secret, proxy.uid(), Loop::clock_ms());
  if (!session) return refuse(proxy, prelude.node.empty(), 126, "XOS_SESSION_UNKNOWN", "cannot start a job: the session is over, or its key is not this user's; log in again");
  auto fresh = std::make_unique<Job>();
  Job& job = *fresh;
  job.number = new_number();
  job.id = node_ + "-" + std::to_string(job.number);
  job.name = base_name(spec.path);
  job.arguments = first_arguments(spec.arguments);
  job.session = session->id;
  job.user = session->user;
  job.vo = session->vo;
  job.uid = session->uid;
  job.wanted = prelude.node;
  if (!job.wanted.empty() && Loop::clock_ms() < session->added_ms + session_spread_ms) job.retry_until_ms = session->added_ms + session_spread_ms;
  job.process_group = prelude.process_group;
  proxy.terminal = prelude.terminal;
  memcpy(job.kinds, spec.head.streams, 3);
  job.has_terminal = spec.head.has_terminal;
  job.started_ms = Loop::clock_ms();
  decide_protection(job, spec);
  job.proxy = &proxy;
  job.proxy_pid = proxy.pid();
  proxy.job = &job;
  Buffer order;
  Writer out(order);
  out.text(job.session);
  out.text(job.id);
  job.order.assign(order.data(), order.data() + order.size());
  const size_t head_at = job.order.size();
  job.order.insert(job.order.end(), spec_bytes.begin(), spec_bytes.end());
  memcpy(job.order.data() + head_at, &spec.head, sizeof spec.head);  // the protection is decided here
  jobs_[job.number] = std::move(fresh);
  kernel_.add(job.number, proxy.fd(), proxy.pid());
  if (job.has_terminal)
    for (const auto& [number, other] : jobs_)
      if (other->reads_terminal && !other->ended && other->process_group == job.process_group && other->uid == job.uid) {
        const uint8_t yield = 1;
        proxy.send(frame_yield, 0, {&yield, 1});
      }
  if (!place(job)) give_up(job, "XOS_NODE_UNREACHABLE", "cannot run '" + job.name + "' on node '" + (job.wanted.empty() ? node_ : job.wanted) + "': it cannot be reached; see 'xnode'", job.wanted.empty(), 125);
}

/// Sends the job to the best node that was not tried yet. False when there is none.
bool Home::place(Job& job) {
  for (;;) {
    const std::string node = job.wanted.empty() ? placer_.choose(job.tried) : job.wanted;
    if (!job.tried.insert(node).second) return false;
    Link* link = link_to_(node, !job.wanted.empty());
    if (!link) continue;
    job.link = link;
    job.node = node;
    job.state = "running";
    placer_.started(node);
    job.counted = true;
    link->send(frame_spawn, 0, job.number, {Bytes(job.order)});
    json event = describe(job);
    event["event"] = "job-started";
    emit_(event);
    return true;
  }
}

void Home::give_up(Job& job, const std::string& code, const std::string& message, bool here, uint8_t status) {
  if (job.proxy) {
    Proxy& proxy = *job.proxy;
    proxy.job = nullptr;
    job.proxy = nullptr;
    refuse(proxy, here, status, code, message);
  }
  job.exit.code = status;
  end(job, "ended");
}

void Home::take(Link& link, const Header& header, Bytes payload) {
  const auto found = jobs_.find(header.id);
  if (found == jobs_.end() || found->second->ended) return;
  Job& job = *found->second;
  if (&link != job.link && !(job.move && &link == job.move->fitting)) return;  // of a node where it is no more
  if (header.type != frame_refused && !job.begun) {
    job.begun = true;
    job.unbegun = {};
  }
  Reader in(payload.data(), payload.size());
  switch (header.type) {
    case frame_exit: return ended(job, payload);
    case frame_refused: return refused(job, payload);
    case frame_result: return control_done(job, payload);
    case frame_unread:
      if (job.proxy) job.proxy->typed.insert(job.proxy->typed.begin(), payload.begin(), payload.end());  // older than what was not taken at all
      return;
    case frame_progress: {
      json event = parse_json(payload);
      if (!event.is_object()) return;
      event["event"] = "progress";
      event["job"] = job.id;
      return emit_(event);
    }
    case frame_usage: {
      Usage usage;
      if (in.raw(&usage, sizeof usage)) kernel_.use(job.number, usage);
      return;
    }
    case frame_state: {
      const uint8_t state = in.u8();
      set_state(job, state == state_stopped ? "stopped" : "running");
      if (const bool told = job.stops_quietly; job.stops_quietly = false, told && state == state_stopped) return;
      if (state == state_stopped && job.proxy_stopped) return;  // it would stop itself once more when it goes on
      return to_proxy(job, header, payload);
    }
    case frame_termios: {
      Termios seen;
      if (in.raw(&seen, sizeof seen) && job.reads_terminal != !(seen.lflag & 2)) {  // ICANON
        job.reads_terminal = !job.reads_terminal;
        yield_terminal(job);
      }
      return to_proxy(job, header, payload);
    }
    case frame_credit: {
      uint32_t bytes = in.u32();
      if (header.flags == stream_in && job.input_again) {
        const uint32_t again = static_cast<uint32_t>(std::min<uint64_t>(bytes, job.input_again));
        job.input_again -= again;
        bytes -= again;
        if (bytes == 0) return;
        payload = {reinterpret_cast<const uint8_t*>(&bytes), sizeof bytes};
      }
      if (header.flags < stream_count) job.in_flight[header.flags] -= std::min(bytes, job.in_flight[header.flags]);
      if (header.flags == stream_tty && job.proxy) job.proxy->typed.erase(job.proxy->typed.begin(), job.proxy->typed.begin() + std::min<size_t>(bytes, job.proxy->typed.size()));
      return to_proxy(job, header, payload);
    }
    case frame_data:
      if (header.flags == stream_in) return input_came_back(job, payload);
      [[fallthrough]];
    case frame_close:
    case frame_notice:
      return to_proxy(job, header, payload);
  }
}

/// A proxy cannot see these itself, or only when it goes on.
void Home::proxy_signalled(uint64_t number, KernelProxies::Event event) {
  const auto found = jobs_.find(number);
  if (found == jobs_.end() || found->second->ended || !found->second->proxy) return;
  Job& job = *found->second;
  if (event == KernelProxies::Event::kill) return proxy_gone(*job.proxy);
  job.proxy_stopped = event == KernelProxies::Event::stop;
  if (!job.proxy_stopped && !continued_by_kernel(job)) return;
  const uint8_t payload[2] = {static_cast<uint8_t>(job.proxy_stopped ? SIGSTOP : SIGCONT), 0};
  if (hold(job, frame_signal, 0, payload)) return;
  if (job.link) job.link->send(frame_signal, 0, job.number, {payload});
}

void Home::to_proxy(Job& job, const Header& header, Bytes payload) {
  if (job.proxy) return job.proxy->send(header.type, header.flags, payload);
  if (job.detached) {
    const uint32_t bytes = header.length;
    if (header.type == frame_data && job.link) job.link->send(frame_credit, header.flags, job.number, {{reinterpret_cast<const uint8_t*>(&bytes), sizeof bytes}});
    return;
  }
  if (!job.awaits_proxy) return;
  // Bounded by the windows: without a proxy nobody gives new credit.
  if (header.type != frame_data && header.type != frame_termios && header.type != frame_close && header.type != frame_exit && header.type != frame_lost) return;
  append_frame(job.waiting, header.type, header.flags, payload);
}

/// Of one pipeline's programs the one that reads the terminal key by key gets it; the others' proxies leave it alone meanwhile.
void Home::yield_terminal(Job& reader) {
  const uint8_t yield = reader.reads_terminal && !reader.ended;
  for (auto& [number, job] : jobs_) {
    if (job.get() == &reader || job->ended || !job->proxy || job->process_group != reader.process_group || job->uid != reader.uid) continue;
    job->proxy->send(frame_yield, 0, {&yield, 1});
  }
}

void Home::set_state(Job& job, const std::string& state) {
  if (job.state == state) return;
  job.state = state;
  emit_({{"event", "job-state"}, {"job", job.id}, {"state", state}});
}

void Home::refused(Job& job, Bytes payload) {
  Reader in(payload.data(), payload.size());
  const bool elsewhere = in.u8() != 0;
  const uint8_t status = in.u8();
  const std::string code(in.text(64)), message(in.text(4096));
  log(Priority::info, "job '%s': %s (%s)", job.id.c_str(), message.c_str(), code.c_str());
  if (job.counted) placer_.ended(job.node);
  job.counted = false;
  job.link = nullptr;
  if (job.proxy && elsewhere && job.wanted.empty()) {
    if (job.in_flight[stream_in] == 0 && place(job)) return;
    // Input is on its way already; only the proxy itself still has it.
    return give_up(job, code, message, true, status);
  }
  if (code == "XOS_SESSION_UNKNOWN" && await_session(job)) return;
  give_up(job, code, message, false, status);
}

/// Puts what was typed ahead of the job's end back into the terminal, where the shell reads it next. TIOCSTI is the superuser's, so the relay does it,
/// and only on a terminal that belongs to the session's user: on another one (su) it would type for somebody else.
void Home::give_back_typed(Proxy& proxy) {
  if (!proxy.typed.empty()) {
    const std::string path = "/proc/" + std::to_string(proxy.pid()) + "/fd/" + std::to_string(proxy.terminal);
    const unique_fd terminal(open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    struct stat info;
    // And only while the proxy's group has it: nobody else can be reading it then.
    if (terminal && fstat(terminal.get(), &info) == 0 && info.st_uid == proxy.uid() && has_terminal(proxy.pid(), info.st_rdev)) {
      uint8_t later[4096];  // typed since the proxy reads no more: behind what it had read
      const ssize_t got = read(terminal.get(), later, sizeof later);
      if (got > 0) proxy.typed.insert(proxy.typed.end(), later, later + got);
      for (const uint8_t byte : proxy.typed)
        if (ioctl(terminal.get(), TIOCSTI, &byte) < 0) break;
    }
  }
  proxy.send(frame_exit, 0, proxy.end);
  proxy.end.clear();
  proxy.finish();
}

/// The job is over, the proxy not yet: what it had read from the terminal before it heard of that is still the shell's.
void Home::take_last_typed(Proxy& proxy, const Header& header, Bytes payload) {
  if (header.type == frame_unread) return give_back_typed(proxy);
  if (header.type != frame_data || header.flags != stream_tty) return;
  if (proxy.typed.size() + payload.size() > 2 * window_bytes) return proxy_gone(proxy);
  proxy.typed.insert(proxy.typed.end(), payload.begin(), payload.end());
}

void Home::tell_end(Job& job, Bytes exit) {
  Proxy& proxy = *job.proxy;
  proxy.job = nullptr;
  job.proxy = nullptr;
  if (proxy.terminal >= 0) {
    proxy.end.assign(exit.begin(), exit.end());
    return proxy.send(frame_unread, 0, {});
  }
  proxy.send(frame_exit, 0, exit);
  proxy.finish();
}

void Home::ended(Job& job, Bytes payload) {
  Reader in(payload.data(), payload.size());
  in.raw(&job.exit, sizeof job.exit);
  job.exit.consumed += job.input_base;  // a restored job's far end counts from its restore
  payload = {reinterpret_cast<const uint8_t*>(&job.exit), sizeof job.exit};
  if (job.proxy) {
    // Before it is told to end: who waits for it sees what the job has used.
    kernel_.use(job.number, {job.exit.cpu_us - std::min(job.exit.cpu_us, job.exit.system_us), job.exit.system_us, 0}, job.exit.memory_kb_max);
    tell_end(job, payload);
  } else {
    to_proxy(job, {static_cast<uint32_t>(payload.size()), frame_exit, 0, 0}, payload);
  }
  end(job, "ended");
}

void Home::end(Job& job, const std::string& state) {
  kernel_.remove(job.number);
  job.ended = true;
  job.state = state;
  job.ended_ms = Loop::clock_ms();
  if (job.counted) placer_.ended(job.node);
  job.counted = false;
  job.link = nullptr;
  job.order = {};
  job.unbegun = {};
  if (!job.awaits_proxy) job.waiting = {};
  if (job.reads_terminal) yield_terminal(job);
  job.move = nullptr;
  job.held = {};
  if (job.control) {
    const auto answer = std::move(job.control);
    job.control = nullptr;
    answer({{"ok", false}, {"error", {{"code", "XOS_JOB_ENDED"}, {"message", "cannot " + job.control_op + " job '" + job.id + "': it has ended"}}}});
  }
  if (state == "ended") {
    json event{{"event", "job-ended"}, {"job", job.id}, {"cpu_seconds", job.exit.cpu_us / 1e6}};
    if (job.exit.signal) event["exit_signal"] = job.exit.signal;
    else event["exit_code"] = job.exit.code;
    emit_(event);
  }
  ended_.push_back(job.number);
  while (ended_.size() > ended_jobs_max) {
    jobs_.erase(ended_.front());
    ended_.pop_front();
  }
}

void Home::link_up(Link& link) { emit_({{"event", "peer-up"}, {"node", link.node()}}); }

void Home::link_down(Link& link, const std::string& reason, bool began) {
  if (began) emit_({{"event", "peer-down"}, {"node", link.node()}, {"reason", reason}});
  std::vector<Job*> affected;
  for (auto& [number, job] : jobs_)
    if ((job->link == &link || (job->move && job->move->fitting == &link)) && !job->ended) affected.push_back(job.get());
  for (Job* job : affected) {
    if (move_cut(*job, link, reason)) continue;
    if (!began && job->control && job->control_op == "restore") {
      control_over(*job, failure("XOS_NODE_UNREACHABLE", "node '" + job->node + "' cannot be reached: " + reason));
      continue;
    }
    if (began) {
      lost(*job, link, reason);
      continue;
    }
    if (job->counted) placer_.ended(job->node);
    job->counted = false;
    job->link = nullptr;
    // It cannot have begun: the connection was never open.
    if (!job->wanted.empty() || job->in_flight[stream_in] || !place(*job))
      give_up(*job, "XOS_NODE_UNREACHABLE", "cannot run '" + job->name + "' on node '" + job->node + "': it cannot be reached: " + reason, job->wanted.empty(), 125);
  }
}

void Home::proxy_gone(Proxy& proxy) {
  if (proxy.gone_) return;
  proxy.gone_ = true;
  loop_.unwatch(proxy.fd());
  if (Job* job = proxy.job) {
    proxy.job = nullptr;
    job->proxy = nullptr;
    kernel_.remove(job->number);
    job->proxy_stopped = false;
    // A checkpointed job has no link: it stays, and may be restored with another proxy. One that waits to go on elsewhere had this one.
    if (recovering(*job)) end_waiting(*job, SIGKILL);
    else if (job->link) job->link->send(frame_kill, 0, job->number, {});
  }
  const auto found = proxies_.find(&proxy);
  if (found != proxies_.end()) {
    graves_.push_back(std::move(found->second));
    proxies_.erase(found);
  }
  loop_.later([this] { graves_.clear(); });
}

void Home::attach(Proxy& proxy, Bytes payload) {
  Reader in(payload.data(), payload.size());
  Prelude prelude;
  const bool readable = read_prelude(in, prelude);
  const std::string id(in.text(128));
  WindowSize window;
  in.raw(&window, sizeof window);
  if (!readable || !in.ok()) return refuse(proxy, false, 125, "XOS_MALFORMED", "cannot attach: the request is malformed");
  if (!sessions_.prove(prelude.session, prelude.secret, proxy.uid(), Loop::clock_ms()))
    return refuse(proxy, false, 125, "XOS_SESSION_UNKNOWN", "cannot attach to job '" + id + "': the session is over; log in again");
  Job* job = find(id);
  if (!job || (job->ended && !job->awaits_proxy) || job->uid != proxy.uid()) return refuse(proxy, false, 125, "XOS_JOB_UNKNOWN", "cannot attach to job '" + id + "': there is no such job of yours on this node; see 'xps'");
  if (job->proxy) return refuse(proxy, false, 125, "XOS_JOB_ATTACHED", "cannot attach to job '" + id + "': it has its proxy, process " + std::to_string(job->proxy_pid));
  Buffer buffer;
  Writer out(buffer);
  for (const uint8_t kind : job->kinds) out.u8(kind);
  out.text(std::string_view(job->name).substr(0, 255));
  proxy.send(frame_ready, 0, bytes_of(buffer));
  proxy.send_raw(job->waiting);
  job->waiting = {};
  job->awaits_proxy = false;
  if (job->ended) return proxy.finish();
  proxy.job = job;
  job->proxy = &proxy;
  job->proxy_pid = proxy.pid();
  kernel_.add(job->number, proxy.fd(), proxy.pid());
  job->process_group = prelude.process_group;
  proxy.terminal = prelude.terminal;
  if (job->link && window.rows) job->link->send(frame_winsize, 0, job->number, {{reinterpret_cast<const uint8_t*>(&window), sizeof window}});
}

void Home::end_session(const std::string& session) {
  for (auto& [number, job] : jobs_) {
    if (job->session != session || job->ended) continue;
    if (recovering(*job)) end_waiting(*job, SIGKILL);
    else if (job->link) job->link->send(frame_kill, 0, job->number, {});
  }
}

void Home::tick() {
  kernel_.open();
  place_awaiting();
  move_tick();
  for (const auto& [number, job] : jobs_)
    if (job->state == "recovering" && !job->link && Loop::now_ms() >= job->fenced_until_ms) recover(*job);
  const int64_t now = Loop::clock_ms();
  while (!ended_.empty()) {
    const auto found = jobs_.find(ended_.front());
    if (found != jobs_.end() && now - found->second->ended_ms < ended_ms_max) break;
    if (found != jobs_.end()) jobs_.erase(found);
    ended_.pop_front();
  }
}

json Home::describe(const Job& job) const {
  json entry{{"job", job.id}, {"name", job.name}, {"argv", job.arguments}, {"node", job.node}, {"state", job.state}, {"session", job.session}, {"uid", job.uid},
             {"user", job.user}, {"vo", job.vo}, {"proxy_pid", job.proxy_pid}, {"started_ms", job.started_ms}};
  if (job.protect > protect_no) entry["protect_s"] = job.protect == protect_auto ? 0 : job.protect;
  if (!job.kept.directory.empty()) {
    entry["checkpoint"] = job.kept.directory;
    entry["checkpoint_ms"] = job.kept.made_ms;
  }
  return entry;
}

json Home::jobs() const {
  json list = json::array();
  for (const auto& [number, job] : jobs_) {
    json entry = describe(*job);
    if (job->ended) {
      entry["ended_ms"] = job->ended_ms;
      entry["cpu_seconds"] = job->exit.cpu_us / 1e6;
      if (job->exit.signal) entry["exit_signal"] = job->exit.signal;
      else entry["exit_code"] = job->exit.code;
    }
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace xos::relay
