#include "cell.h"

#include "confine.h"
#include "leader.h"
#include "log.h"
#include "usage.h"
#include "world.h"

#include <cerrno>
#include <csignal>
#include <ctime>
#include <fstream>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

namespace xos::cell {
namespace {

constexpr int leftover_ms = 2000;
constexpr int usage_ms = 1000;

int64_t now_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

template <typename T> std::span<const uint8_t> bytes_of(const T& value) { return {reinterpret_cast<const uint8_t*>(&value), sizeof value}; }

/// Whether the process would do nothing else than stop.
bool default_action(pid_t pid, int number) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  unsigned long handled = 0;
  while (std::getline(status, line))
    if (line.starts_with("SigIgn:") || line.starts_with("SigCgt:")) handled |= strtoul(line.c_str() + 7, nullptr, 16);
  return !(handled >> (number - 1) & 1);
}

/// The signal that stopped a process which is no child of ours; SIGSTOP when nobody can tell. It stays stopped (ptrace(2), "Group-stop").
int stop_signal_of(pid_t pid) {
  int status = 0;
  if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) < 0) return SIGSTOP;
  ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr);  // so that it says something also if it has just been continued
  const bool known = waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_STOP;
  ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  return known && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : SIGSTOP;
}

}  // namespace

void Cell::run() {
  for (;;) {
    pollfd polls[2] = {{socket_, POLLIN, 0}, {signals_, POLLIN, 0}};
    int wait_ms = -1;
    if (kill_at_ms_ >= 0) wait_ms = static_cast<int>(std::max<int64_t>(0, kill_at_ms_ - now_ms()));
    else if (running_) wait_ms = static_cast<int>(std::max<int64_t>(0, tell_usage_at_ms_ - now_ms()));
    if (poll(polls, 2, wait_ms) < 0 && errno != EINTR) _exit(1);
    if (polls[1].revents) {
      signalfd_siginfo info;
      if (read(signals_, &info, sizeof info) < 0) { /* another look at the children does no harm */ }
      reap();
    }
    if (kill_at_ms_ >= 0 && now_ms() >= kill_at_ms_) {
      kill(-1, SIGKILL);
      kill_at_ms_ = now_ms() + leftover_ms;
    }
    if (running_ && now_ms() >= tell_usage_at_ms_) tell_usage();
    if (polls[0].revents) take_frame();
  }
}

void Cell::tell_usage() {
  send(relay::frame_usage, bytes_of(measure_usage(counters_)));
  tell_usage_at_ms_ = now_ms() + usage_ms;
}

bool Cell::send(uint16_t type, std::span<const uint8_t> payload, std::span<const int> fds) {
  if (!send_frame(socket_, type, id_, payload, fds)) _exit(0);  // the relay is gone, and with pid 1 all of the cell goes
  return true;
}

void Cell::say(uint16_t type, const nlohmann::json& value, std::span<const int> fds) {
  const std::string text = json_text(value);
  send(type, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, fds);
}

void Cell::take_frame() {
  relay::Header header;
  std::vector<uint8_t> payload;
  std::vector<int> fds;
  if (!receive_frame(socket_, header, payload, fds)) _exit(0);
  relay::Reader in(payload.data(), payload.size());
  switch (header.type) {
    case relay::frame_spawn:
      id_ = header.id;
      spawn(in, fds);
      break;
    case relay::frame_signal: {
      const int number = in.u8();
      const bool from_terminal = in.u8() != 0;
      if (running_ && header.id == id_) signal_job(number, from_terminal);
      break;
    }
    case relay::frame_foreground: {
      const bool foreground = in.u8() != 0;
      if (running_ && header.id == id_) give_terminal(foreground);
      break;
    }
    case relay::frame_control:
      id_ = header.id;
      control(parse_json(payload));
      break;
    case relay::frame_confine:
      make_narrower(parse_json(payload));
      break;
    case relay::frame_leaf:
      group_.reset(fds.empty() ? -1 : fds[0]);
      if (!fds.empty()) fds.erase(fds.begin());
      break;
  }
  for (const int fd : fds) close(fd);
}

int64_t job_clock_ms() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

void Cell::make_narrower(const nlohmann::json& request) {
  Confinement wanted;
  if (!read_confinement(request, wanted)) unfit_ = "its confinement is malformed";
  else unfit_ = confine(wanted);
  if (unfit_.empty() && wanted.untrusted) filter_ = untrusted_filter(unfit_);
  if (!unfit_.empty()) log(Priority::error, "a cell of VO '%s' was not made as its policy wants it: %s", wanted.vo.c_str(), unfit_.c_str());
}

void Cell::spawn(relay::Reader& in, std::vector<int>& fds) {
  Order order;
  const bool readable = read_order(in, order);
  Started started;
  order.group = group_.get();
  order.filter = filter_.empty() ? nullptr : &filter_;
  if (!unfit_.empty()) {
    started.error = "cannot start job '" + order.job + "' on node '" + order.node + "' as its VO's policy wants it: " + unfit_;
    used_up_ = true;
  } else if (!readable || running_ || used_up_) started.error = readable ? "cannot start a job: the cell is in use" : "cannot start a job: its description is malformed";
  else {
    began_ms_ = job_clock_ms();
    started = start(order, fds);
  }
  counters_ = group_ ? GroupCounters(group_.get()) : GroupCounters();
  group_.reset();
  if (!started.error.empty()) {
    relay::Buffer buffer;
    relay::Writer out(buffer);
    out.u8(started.elsewhere);
    out.u8(started.status);
    out.text(started.status == 127 ? "XOS_PROGRAM_NOT_FOUND" : "XOS_JOB_NOT_STARTED");
    out.text(started.error);
    send(relay::frame_refused, {buffer.data(), buffer.size()});
    return;
  }
  job_ = std::move(started);
  running_ = true;
  tell_usage_at_ms_ = now_ms() + usage_ms;
  stopped_ = false;
  identity_ = order.identity;
  job_name_ = order.job;
  node_ = order.node;
  path_ = order.spec.path;
  cwd_ = order.spec.cwd;
  arguments_.clear();
  const char* at = order.spec.arguments.block;
  for (uint32_t i = 0; i < order.spec.arguments.count; i++, at += strlen(at) + 1) arguments_.emplace_back(at);
  if (job_.master) {
    const uint32_t index = job_.pty_index;
    const int master = job_.master.get();
    send(relay::frame_cell_pty, bytes_of(index), {&master, 1});
  }
}

void Cell::to_group(int number) { kill(-job_.program, number); }

void Cell::signal_job(int number, bool from_terminal) {
  if (number < 1 || number > 64) return;
  if (number == SIGCONT) return continue_job();
  // By the way that SIGCONT takes: a ^Z after it would else come before it, and be undone. Of the two the kernel keeps the later one pending.
  if (number == SIGTSTP && from_terminal && job_.root != job_.program) {
    kill(job_.root, SIGTSTP);
    return;
  }
  pid_t foreground = 0;
  if (job_.master && (from_terminal || number == SIGHUP) && ioctl(job_.master.get(), TIOCGPGRP, &foreground) == 0 && foreground > 1) kill(-foreground, number);
  if (foreground == job_.root && job_.root != job_.program) foreground = 0;  // the leader holds the terminal for a job of the background
  const bool told = foreground > 1;
  if (told && (number != SIGHUP || foreground == job_.program)) return;
  const bool stops = number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
  // The group of a job without terminal is orphaned: the kernel would drop a stop signal that nobody handles.
  if (stops && !job_.master && default_action(job_.program, number)) number = SIGSTOP;
  // What ends or stops things is meant for all of a job, as a shell sends it; anything else for the program that asked for it.
  const bool for_all = number == SIGHUP || number == SIGINT || number == SIGQUIT || number == SIGTERM || number == SIGKILL || number == SIGSTOP || stops;
  if (for_all) to_group(number);
  else kill(job_.program, number);
}

void Cell::continue_job() {
  // A leader continues what it leads when it has done what it was told about the terminal before.
  if (job_.root == job_.program) to_group(SIGCONT);
  kill(job_.root, SIGCONT);
  if (!stopped_) return;
  stopped_ = false;
  say_state(relay::state_running, 0);
}

void Cell::give_terminal(bool to_job) {
  if (job_.root == job_.program) return;
  kill(job_.root, to_job ? leader_gives_terminal : leader_takes_terminal);
  if (to_job && stopped_ && wants_terminal_) continue_job();
}

void Cell::say_state(relay::JobState state, int signal) {
  const uint8_t payload[2] = {state, static_cast<uint8_t>(signal)};
  send(relay::frame_state, payload);
}

void Cell::reap() {
  for (;;) {
    int status;
    rusage usage;
    const pid_t pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage);
    if (pid == 0) return;
    if (pid < 0) {
      if (errno == EINTR) continue;
      if (kill_at_ms_ >= 0) say_empty();
      return;
    }
    if (!running_ || pid != job_.root) continue;
    if (WIFSTOPPED(status)) {
      if (stopped_) continue;
      stopped_ = true;
      const int number = job_.root == job_.program ? WSTOPSIG(status) : stop_signal_of(job_.program);
      wants_terminal_ = number == SIGTTIN || number == SIGTTOU;
      say_state(relay::state_stopped, number);
      continue;
    }
    root_ended(status, usage);
  }
}

void Cell::root_ended(int status, const rusage& usage) {
  running_ = stopped_ = false;
  relay::Exit end;
  if (WIFSIGNALED(status)) end.signal = static_cast<uint8_t>(WTERMSIG(status));
  else end.code = static_cast<uint8_t>(WEXITSTATUS(status));
  end.cpu_us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000ull + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
  end.system_us = usage.ru_stime.tv_sec * 1000000ull + usage.ru_stime.tv_usec;
  end.memory_kb_max = static_cast<uint64_t>(usage.ru_maxrss);
  int ignored;
  pid_t left;
  while ((left = waitpid(-1, &ignored, WNOHANG)) > 0 || (left < 0 && errno == EINTR)) {}
  const bool empty = left < 0;
  if (empty && ipc_left_behind()) used_up_ = true;
  end.reusable = empty && !used_up_;
  job_.master.reset();
  send(relay::frame_exit, bytes_of(end));
  if (empty && !used_up_) return;
  if (empty) return say_empty();
  // What the job left running is asked to go, then made to.
  kill(-1, SIGHUP);
  kill(-1, SIGCONT);
  kill_at_ms_ = now_ms() + leftover_ms;
}

void Cell::say_empty() {
  kill_at_ms_ = -1;
  if (ipc_left_behind()) used_up_ = true;
  const uint8_t reusable = !used_up_;
  send(relay::frame_cell_empty, {&reusable, 1});
}

}  // namespace xos::cell
