#include "far.h"

#include "log.h"
#include "terminal_settings.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace xos::relay {

using nlohmann::json;

namespace {

constexpr uint32_t credit_step = 16 << 10;

bool wants_pipe(uint8_t kind) { return kind == kind_pipe || kind == kind_file || kind == kind_stream; }

template <typename T> Bytes bytes_of(const T& value) { return {reinterpret_cast<const uint8_t*>(&value), sizeof value}; }

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

uint8_t scratch[data_bytes_max];  // of the loop's one thread

}  // namespace

void FarJob::send(uint16_t type, uint16_t flags, Bytes payload) { home_.send(type, flags, number_, {payload}); }

FarJob::~FarJob() {
  drop_lease();
  // Closing does not end the watch of a descriptor that has a copy elsewhere, and the cell keeps one of the terminal's master.
  for (const Source& source : sources_)
    if (source.fd) far_.loop_.unwatch(source.fd.get());
  if (input_) far_.loop_.unwatch(input_.get());
  // What the job left behind has two seconds in its cell (native/cell), and one more here.
  far_.groups_.remove_leaf(group_, Loop::now_ms(), 3000);
}

/// Makes the job's control group and hands it to the cell, where its first process is born in it. A node without cgroup v2 does without.
bool FarJob::enter_group(const Session& owner) {
  vo_ = owner.vo;
  std::string error;
  unique_fd leaf = far_.groups_.make_leaf(owner.vo, uid, job, group_, error);
  if (!error.empty()) {
    log(Priority::error, "cannot start job '%s': %s", job.c_str(), error.c_str());
    far_.cells_.release(cell_, true);
    cell_ = nullptr;
    return false;
  }
  if (!leaf) return true;
  std::vector<unique_fd> fds;
  fds.push_back(std::move(leaf));
  cell_->send(frame_leaf, number_, {}, std::move(fds));
  return true;
}

/// The cell of a job that its home may start a second time ends with the time that it has from there.
void FarJob::take_lease() {
  if (home_.answered_ms() == INT64_MAX) return;  // its home is here
  lease_ = far_.guard_.add(cell_->process(), home_.answered_ms() + silent_home_ms);
}

void FarJob::drop_lease() {
  far_.guard_.remove(lease_);
  lease_ = -1;
}

/// A program that was killed for its VO's limit would otherwise just be "Killed".
void FarJob::tell_what_befell() {
  const cell::GroupEvents events = cell::Groups::events(group_);
  if (!events.oom_kills) return;
  const uint64_t limit = far_.memory_max_[vo_];
  char size[32];
  if (limit >= 1ull << 30) snprintf(size, sizeof size, "%.3g GiB", static_cast<double>(limit) / (1ull << 30));
  else snprintf(size, sizeof size, "%.3g MiB", static_cast<double>(limit) / (1ull << 20));
  const std::string count = events.oom_kills == 1 ? "a process of job '" : std::to_string(events.oom_kills) + " processes of job '";
  const std::string why = limit ? "memory limit of VO '" + vo_ + "' (" + size + ")" : "no memory left";
  const std::string text = count + job + "' killed: " + why + " on node '" + far_.node_ + "'";
  log(Priority::notice, "%s", text.c_str());
  send(frame_notice, 0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

bool FarJob::start(const Session& owner, const std::string& name, Bytes spec_bytes, const Spec& spec) {
  job = name;
  session = owner.id;
  uid = owner.uid;
  std::vector<unique_fd> theirs;
  for (uint16_t fd = 0; fd < 3; fd++) {
    if (!wants_pipe(spec.head.streams[fd])) continue;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
      log(Priority::error, "cannot start job '%s': pipe: %s", job.c_str(), strerror(errno));
      return false;
    }
    // The user's, as a pipe of the shell is: /dev/stdin, /dev/stdout and /dev/stderr open it anew.
    if (fchown(ends[0], owner.uid, owner.gid) < 0) { /* they only work by their descriptors then */ }
    theirs.emplace_back(ends[fd == 0 ? 0 : 1]);
    set_nonblocking(ends[fd == 0 ? 1 : 0]);
    if (fd == 0) input_.reset(ends[1]);
    else sources_[fd].fd.reset(ends[0]);
  }
  if (input_ && spec.head.streams[0] == kind_pipe) {
    // One page: it is empty, and polls writable, exactly when the job has read what we gave it.
    input_careful_ = fcntl(input_.get(), F_SETPIPE_SZ, 4096) >= 0;
  }
  cell_ = far_.cells_.acquire(uid, owner.vo, owner.home, this);
  if (!cell_ || !enter_group(owner)) return false;
  if (spec.head.protect > protect_no) take_lease();
  Buffer buffer;
  Writer out(buffer);
  const Identity identity{owner.uid, owner.gid, static_cast<uint32_t>(owner.groups.size())};
  out.raw(&identity, sizeof identity);
  out.raw(owner.groups.data(), owner.groups.size() * sizeof(gid_t));
  out.text(job);
  out.text(far_.node_);
  cell_->send(frame_spawn, number_, {{buffer.data(), buffer.size()}, spec_bytes}, std::move(theirs));
  for (const uint16_t stream : {stream_out, stream_err}) set_watch(stream, true);
  return true;
}

bool FarJob::restore(const Session& owner, const std::string& name, const json& request) {
  job = name;
  session = owner.id;
  uid = owner.uid;
  restoring_ = true;
  fitting_ = request.value("op", "") == "fit";
  typed_ = request.value("typed", std::vector<uint8_t>());
  cell_ = far_.cells_.acquire(uid, owner.vo, owner.home, this, true);
  if (!cell_ || !enter_group(owner)) return false;
  take_lease();
  json order = request;
  order.erase("typed");
  order["uid"] = uid;
  order["node"] = far_.node_;
  const std::string text = order.dump();
  cell_->send(frame_control, number_, {{reinterpret_cast<const uint8_t*>(text.data()), text.size()}});
  return true;
}

void FarJob::set_watch(uint16_t stream, bool on) {
  Source& source = sources_[stream];
  if (stream == stream_tty) {
    if (source.fd && source.watched != on) {
      source.watched = on;
      watch_terminal();
    }
    return;
  }
  on = on && source.fd.valid();
  if (source.watched == on) return;
  source.watched = on;
  if (on) far_.loop_.watch(*this, source.fd.get(), EPOLLIN, stream);
  else if (source.fd) far_.loop_.unwatch(source.fd.get());
}

void FarJob::watch_terminal() {
  Source& source = sources_[stream_tty];
  const uint32_t events = (source.watched ? static_cast<uint32_t>(EPOLLIN) : 0u) | (terminal_watched_out_ ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  far_.loop_.unwatch(source.fd.get());
  if (events) far_.loop_.watch(*this, source.fd.get(), events, stream_tty);
}

void FarJob::take(const Header& header, Bytes payload) {
  Reader in(payload.data(), payload.size());
  switch (header.type) {
    case frame_data:
      if (header.flags == stream_in) return queue_input(payload);
      if (header.flags == stream_tty) {
        terminal_queue_.insert(terminal_queue_.end(), payload.begin(), payload.end());
        return write_terminal();
      }
      return;
    case frame_close:
      if (header.flags == stream_in) {
        input_closing_ = true;
        return write_input();
      }
      if (header.flags == stream_out || header.flags == stream_err) {
        set_watch(header.flags, false);
        sources_[header.flags].fd.reset();  // the job's next write gets its SIGPIPE
        finish_if_drained();
      }
      return;
    case frame_credit:
      if (header.flags == stream_in || header.flags >= stream_count) return;
      sources_[header.flags].credit += in.u32();
      if (!paused_) set_watch(header.flags, true);
      if (ended_) pump(header.flags, EPOLLIN), finish_if_drained();
      return;
    case frame_signal:
      if (!cell_ || payload.size() != 2) return;
      // A signal that is typed discards what was typed before it (unless NOFLSH), as the terminal's driver does at home.
      if (payload[1] && sources_[stream_tty].fd && !(termios_.lflag & NOFLSH)) {
        terminal_credit_ += static_cast<uint32_t>(terminal_queue_.size());
        terminal_queue_.clear();
        ioctl(sources_[stream_tty].fd.get(), TCFLSH, TCOFLUSH);
      }
      cell_->send(frame_signal, number_, {payload});
      return;
    case frame_winsize: {
      WindowSize window;
      if (!in.raw(&window, sizeof window) || !sources_[stream_tty].fd) return;
      const winsize size{window.rows, window.columns, window.x, window.y};
      ioctl(sources_[stream_tty].fd.get(), TIOCSWINSZ, &size);
      return;
    }
    case frame_termios: {
      Termios settings;
      if (in.raw(&settings, sizeof settings) && sources_[stream_tty].fd) set_settings(sources_[stream_tty].fd.get(), settings);
      return;
    }
    case frame_foreground:
      if (cell_ && payload.size() == 1) cell_->send(frame_foreground, number_, {payload});
      return;
    case frame_kill:
      return cell_gone();
    case frame_control: {
      if (!cell_ || ended_ || checkpointing_ || restoring_) {
        std::vector<int> none;
        return control_result({{"ok", false}, {"error", {{"code", "XOS_JOB_BUSY"}, {"message", "job '" + job + "' ends, or is being checkpointed or restored already"}}}}, none);
      }
      const json request = parse_json(payload);
      if (request.is_object() && request.value("op", "") == "checkpoint") {
        checkpointing_ = true;
        leave_running_ = request.value("leave_running", false);
        moving_ = request.value("move", false);
        // What is in the job's pipes belongs to the checkpoint: nothing may be fetched until it is written.
        paused_ = true;
        for (const uint16_t stream : {stream_out, stream_err, stream_tty}) set_watch(stream, false);
        // Nor may anything be written into them; and their end with the tree is not the job's closing of its stdin.
        if (input_watched_) far_.loop_.unwatch(input_.get());
        input_watched_ = false;
      }
      return cell_->send(frame_control, number_, {payload});
    }
  }
}

void FarJob::queue_input(Bytes data) {
  if (input_broken_ || !input_) return;
  input_queue_.insert(input_queue_.end(), data.begin(), data.end());
  write_input();
}

void FarJob::credit_input(uint32_t bytes) {
  taken_ += bytes;
  input_credit_ += bytes;
  if (!input_careful_ && input_credit_ < credit_step && !input_queue_.empty()) return;
  send(frame_credit, stream_in, bytes_of(input_credit_));
  input_credit_ = 0;
}

void FarJob::write_input() {
  if (!input_ || checkpointing_) return;
  while (!input_queue_.empty()) {
    const ssize_t sent = write(input_.get(), input_queue_.data(), input_queue_.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) {  // nobody reads any more
      input_broken_ = true;
      input_queue_.clear();
      send(frame_close, stream_in, {});
      break;
    }
    written_ += sent;
    input_queue_.erase(input_queue_.begin(), input_queue_.begin() + sent);
    if (!input_careful_) credit_input(static_cast<uint32_t>(sent));
  }
  const bool closing = input_closing_ && input_queue_.empty();
  const bool unread = input_careful_ && written_ > taken_;
  const bool wait = !input_broken_ && !closing && (!input_queue_.empty() || unread);
  if (wait != input_watched_) {
    input_watched_ = wait;
    if (wait) far_.loop_.watch(*this, input_.get(), EPOLLOUT, stream_in);
    else far_.loop_.unwatch(input_.get());
  }
  if (!closing) return;
  // A closed pipe keeps what is in it for its reader. How much of it the job will have read shows at a reading end of our own, opened anew through
  // /proc; as no writer is left, it changes nothing for anybody.
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", input_.get());
  input_rest_.reset(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  input_.reset();
}

void FarJob::write_terminal() {
  Source& terminal = sources_[stream_tty];
  while (terminal.fd && !terminal_queue_.empty()) {
    const ssize_t sent = write(terminal.fd.get(), terminal_queue_.data(), terminal_queue_.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) break;
    terminal_queue_.erase(terminal_queue_.begin(), terminal_queue_.begin() + sent);
    terminal_credit_ += static_cast<uint32_t>(sent);
  }
  if (terminal_credit_ >= credit_step) {
    send(frame_credit, stream_tty, bytes_of(terminal_credit_));
    terminal_credit_ = 0;
  }
  const bool wait = terminal.fd && !terminal_queue_.empty();
  if (wait != terminal_watched_out_) {
    terminal_watched_out_ = wait;
    if (terminal.fd) watch_terminal();
  }
}

void FarJob::ready(uint32_t events) {
  const uint16_t tag = far_.loop_.tag();
  if (tag == stream_in) {
    if (!input_) return;
    int left = 0;
    if (events & EPOLLERR) {
      input_broken_ = true;
      input_queue_.clear();
      far_.loop_.unwatch(input_.get());
      input_watched_ = false;
      return send(frame_close, stream_in, {});
    }
    if (input_careful_ && ioctl(input_.get(), FIONREAD, &left) == 0 && left == 0 && written_ > taken_) {
      credit_input(static_cast<uint32_t>(written_ - taken_));
      if (taken_ >= careful_bytes) {
        input_careful_ = false;
        fcntl(input_.get(), F_SETPIPE_SZ, 64 << 10);
      }
    }
    return write_input();
  }
  if (tag == stream_tty && (events & EPOLLOUT)) write_terminal();
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) pump(tag, events);
}

void FarJob::check_termios() {
  struct termios now;
  if (tcgetattr(sources_[stream_tty].fd.get(), &now) < 0) return;
  const Termios seen = settings_of(now);
  if (termios_known_ && memcmp(&seen, &termios_, sizeof seen) == 0) return;
  termios_ = seen;
  termios_known_ = true;
  send(frame_termios, 0, bytes_of(seen));
}

/// Reads at most `room` bytes; 0 at the end, negative when there is nothing now.
ssize_t FarJob::fetch(uint16_t stream, size_t room) {
  ssize_t got;
  while ((got = read(sources_[stream].fd.get(), scratch, room)) < 0 && errno == EINTR) {}
  return got;
}

void FarJob::pump(uint16_t stream, uint32_t) {
  Source& source = sources_[stream];
  if (!source.fd || paused_) return;
  if (stream == stream_tty) check_termios();
  if (source.credit == 0 || home_.congested()) return set_watch(stream, false);
  size_t room = std::min<size_t>(sizeof scratch, source.credit);
  if (source.final_left >= 0 && stream != stream_tty) room = std::min<size_t>(room, source.final_left);
  if (room == 0) return set_watch(stream, false);
  const ssize_t got = fetch(stream, room);
  if (got > 0) {
    source.credit -= static_cast<uint32_t>(got);
    if (source.final_left > 0) source.final_left = std::max<int64_t>(0, source.final_left - got);
    send(frame_data, stream, {scratch, static_cast<size_t>(got)});
    return;
  }
  if (got < 0 && errno == EAGAIN) return;
  set_watch(stream, false);
  if (stream == stream_tty) {  // EIO: nobody has the terminal open just now; tick() looks again
    terminal_broken_ = true;
    return;
  }
  source.fd.reset();
  if (!ended_) send(frame_close, stream, {});
}

void FarJob::link_drained() {
  if (paused_) return;
  for (const uint16_t stream : {stream_out, stream_err, stream_tty})
    if (sources_[stream].credit) set_watch(stream, true);
  if (ended_) finish_if_drained();
}

void FarJob::tick() {
  if (lease_ >= 0) far_.guard_.renew(lease_, home_.answered_ms() + silent_home_ms);
  Source& terminal = sources_[stream_tty];
  if (!terminal.fd || ended_ || paused_) return;
  check_termios();
  if (terminal_broken_) {
    pollfd look{terminal.fd.get(), POLLIN, 0};
    if (poll(&look, 1, 0) == 0 || !(look.revents & POLLHUP)) {
      terminal_broken_ = false;
      if (terminal.credit) set_watch(stream_tty, true);
    }
  }
}

void FarJob::finish_if_drained() {
  if (!ended_ || reported_) return;
  bool waiting = false;
  for (const uint16_t stream : {stream_out, stream_err}) {
    Source& source = sources_[stream];
    while (source.fd && source.final_left > 0 && source.credit && !home_.congested()) {
      const int64_t before = source.final_left;
      pump(stream, EPOLLIN);
      if (source.fd && source.final_left == before) break;
    }
    waiting = waiting || (source.fd && source.final_left > 0);
  }
  Source& terminal = sources_[stream_tty];
  while (terminal.fd) {
    pollfd look{terminal.fd.get(), POLLIN, 0};  // poll makes the kernel pass on what the slave has written last
    if (poll(&look, 1, 0) != 1 || !(look.revents & POLLIN)) break;
    if (terminal.credit == 0 || home_.congested()) {
      waiting = true;
      break;
    }
    const uint32_t before = terminal.credit;
    pump(stream_tty, EPOLLIN);
    if (terminal.credit == before) break;
  }
  if (waiting) {
    for (const uint16_t stream : {stream_out, stream_err, stream_tty})
      if (sources_[stream].credit == 0) set_watch(stream, false);
    return;
  }
  report();
}

/// Sends home what was typed and not read: the shell there would have read it next. What has not come as far as the terminal home knows by the credit.
void FarJob::return_typed() {
  if (terminal_credit_) send(frame_credit, stream_tty, bytes_of(terminal_credit_));
  terminal_credit_ = 0;
  const int master = sources_[stream_tty].fd.get();
  if (master < 0) return;
  struct termios now;
  const unique_fd slave(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!slave || tcgetattr(slave.get(), &now) < 0) return;
  now.c_lflag &= ~(ICANON | ECHO);  // a line without its end is readable then
  now.c_cc[VMIN] = 1;
  tcsetattr(slave.get(), TCSANOW, &now);
  ssize_t got = read(slave.get(), scratch, sizeof scratch);
  if (got < 0) got = 0;
  if (got) send(frame_unread, 0, {scratch, static_cast<size_t>(got)});
}

void FarJob::report() {
  reported_ = true;
  return_typed();
  int unread = 0;
  const int look = input_ ? input_.get() : input_rest_.get();
  if (look >= 0 && ioctl(look, FIONREAD, &unread) == 0) taken_ = written_ - std::min<uint64_t>(written_, static_cast<uint64_t>(unread));
  exit_.consumed = taken_;
  send(frame_exit, 0, bytes_of(exit_));
  gone();
}

void FarJob::gone() {
  for (const uint16_t stream : {stream_out, stream_err, stream_tty}) set_watch(stream, false);
  far_.forget(*this);
}

void FarJob::adopt(uint16_t stream, int fd) {
  set_nonblocking(fd);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (stream == stream_in) input_.reset(fd);
  else sources_[stream].fd.reset(fd);
}

void FarJob::cell_frame(const Header& header, std::span<const uint8_t> payload, std::vector<int>& fds) {
  Reader in(payload.data(), payload.size());
  switch (header.type) {
    case frame_cell_pty:
      if (fds.size() != 1) return;
      adopt(stream_tty, fds[0]);
      fds[0] = -1;
      set_watch(stream_tty, true);
      return write_terminal();
    case frame_usage:
      return send(frame_usage, 0, payload);
    case frame_exit:
      in.raw(&exit_, sizeof exit_);
      tell_what_befell();
      drop_lease();  // the cell may serve another job
      far_.cells_.release(cell_, exit_.reusable);
      cell_ = nullptr;
      ended_ = true;
      for (const uint16_t stream : {stream_out, stream_err}) {
        int left = 0;
        if (sources_[stream].fd && ioctl(sources_[stream].fd.get(), FIONREAD, &left) == 0) sources_[stream].final_left = left;
      }
      return finish_if_drained();
    case frame_refused:
      send(frame_refused, 0, payload);
      drop_lease();
      far_.cells_.release(cell_, true);
      cell_ = nullptr;
      return gone();
    case frame_state:
    case frame_progress:
      return send(header.type, 0, payload);
    case frame_result:
      return control_result(parse_json(payload), fds);
  }
}

void FarJob::control_result(json result, std::vector<int>& fds) {
  const bool good = result.is_object() && result.value("ok", false);
  const bool restored = restoring_, checkpointed = checkpointing_;
  if (result.is_object() && result.contains("log_tail")) {
    log(Priority::warning, "checkpoint engine, job '%s': %s", job.c_str(), result["log_tail"].get<std::string>().c_str());
    result.erase("log_tail");
  }
  if (restored) {
    restoring_ = false;
    if (good && !fitting_) adopt_restored(result, fds);
  }
  if (checkpointed) {
    checkpointing_ = paused_ = false;
    if (good) result["input_taken_in"] = written_;  // what home would have to send again after it
    // stdin that has not reached the job's pipe is not in the checkpoint: it goes home and comes back with the restore.
    if (good && !leave_running_ && !input_queue_.empty()) send(frame_data, stream_in, {input_queue_.data(), input_queue_.size()});
    if (good && !leave_running_ && sources_[stream_tty].fd) {
      ended_ = true;  // the terminal's last output is in no checkpoint either
      sources_[stream_out].fd.reset();
      sources_[stream_err].fd.reset();
      reported_ = true;
      while (sources_[stream_tty].credit) {
        const uint32_t before = sources_[stream_tty].credit;
        pump(stream_tty, EPOLLIN);
        if (before == sources_[stream_tty].credit) break;
      }
    }
  }
  if (checkpointed && good && moving_) return_typed();  // it is typed again where the job goes on
  const std::string text = json_text(result);
  send(frame_result, 0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  if ((restored && (!good || fitting_)) || (checkpointed && good && !leave_running_)) {
    kill_cell();
    return gone();
  }
  for (const uint16_t stream : {stream_out, stream_err, stream_tty})
    if (sources_[stream].credit) set_watch(stream, true);
  if (checkpointed) write_input();
}

void FarJob::adopt_restored(const json& result, std::vector<int>& fds) {
  size_t next = 0;
  for (const json& stream : result.value("streams", json::array())) {
    if (!stream.value("attached", false) || next >= fds.size()) continue;
    const std::string kind = stream.value("kind", "");
    const std::vector<int> targets = stream.value("target_fds", std::vector<int>());
    const uint16_t which = kind == "pty" ? stream_tty : kind == "pipe_in" ? stream_in : !targets.empty() && targets[0] == 2 ? stream_err : stream_out;
    adopt(which, fds[next]);
    fds[next++] = -1;
  }
  termios_known_ = false;
  type_again();
}

/// Without an echo: it was shown when it was typed, on the terminal that the job had before it was moved.
void FarJob::type_again() {
  const int master = sources_[stream_tty].fd.get();
  if (master < 0 || typed_.empty()) return;
  struct termios now;
  const unique_fd slave(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!slave || tcgetattr(slave.get(), &now) < 0) return;
  const bool echoes = now.c_lflag & ECHO;
  now.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (echoes) tcsetattr(slave.get(), TCSANOW, &now);
  // What is written to the master is taken in (and shown) later, by a thread of the kernel; this is taken in at once.
  for (const uint8_t byte : typed_)
    if (ioctl(slave.get(), TIOCSTI, &byte) < 0) break;
  if (echoes && tcgetattr(slave.get(), &now) == 0) {
    now.c_lflag |= ECHO;
    tcsetattr(slave.get(), TCSANOW, &now);
  }
  typed_.clear();
}

void FarJob::kill_cell() {
  drop_lease();
  if (cell_) far_.cells_.drop(cell_);
  cell_ = nullptr;
}

void FarJob::cell_gone() {
  kill_cell();
  if (reported_) return;
  if (restoring_ || checkpointing_) {
    const std::string text = json{{"ok", false}, {"error", {{"code", "XOS_JOB_ENDED"}, {"message", "the cell of job '" + job + "' ended meanwhile"}}}}.dump();
    send(frame_result, 0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    if (restoring_) return gone();  // nothing of the job has run here: its home says what becomes of it
  }
  exit_ = {};
  exit_.signal = SIGKILL;
  report();
}

}  // namespace xos::relay
