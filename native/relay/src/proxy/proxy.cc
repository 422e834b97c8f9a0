#include "proxy.h"

#include "streams.h"
#include "terminal.h"

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

extern char** environ;

namespace xos::relay {
namespace {

constexpr int tty_check_ms = 250;

/// A stop signal that the terminal's driver sends, and not to an orphaned process group (termios(4), "job control").
bool of_job_control(int number) { return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU; }

struct SignalState { uint64_t ignored = 0, blocked = 0; };

SignalState signal_state() {
  SignalState state;
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, nullptr, &blocked);
  for (int number = 1; number < 65; number++) {
    struct sigaction action;
    if (number != SIGKILL && number != SIGSTOP && sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) state.ignored |= 1ull << (number - 1);
    if (sigismember(&blocked, number) == 1) state.blocked |= 1ull << (number - 1);
  }
  return state;
}

class Proxy {
 public:
  Proxy(Program& program, const char* session, const char* secret) : program_(program), session_(session), secret_(secret) {}

  NotStarted spawn() {
    streams_.inspect();
    const SignalState signals = signal_state();
    if (!connect_relay()) return NotStarted::no_relay;
    prepare(streams_.kinds);
    queue_spawn(signals);
    return run();
  }

  NotStarted attach(const char* job) {
    streams_.inspect();
    if (!connect_relay()) return NotStarted::no_relay;
    attached_ = true;
    const StreamKind none[3] = {kind_closed, kind_closed, kind_closed};
    prepare(none);  // frame_ready tells which streams the job has
    Writer payload(payload_);
    write_prelude(payload, {session_, secret_, {}, getpgrp(), terminal_.fd()});
    payload.text(job);
    const WindowSize window = terminal_.window();
    payload.raw(&window, sizeof window);
    append_frame(out_, frame_attach, 0, payload_.data(), payload_.size());
    return run();
  }

 private:
  Program& program_;
  const char* session_;
  const char* secret_;
  Streams streams_;
  Terminal terminal_;
  Input input_;
  Output outputs_[stream_count];
  Buffer out_, in_, payload_;
  int relay_ = -1, signals_ = -1;
  uint32_t tty_sent_ = 0;
  bool tty_input_open_ = true, attached_ = false, foreground_ = true;
  bool ended_ = false, frozen_ = false, began_ = false, run_here_ = false;
  Exit exit_;

  bool connect_relay() {
    relay_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const char* path = "/run/xos/relay.sock";
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (relay_ < 0 || connect(relay_, reinterpret_cast<sockaddr*>(&address), offsetof(sockaddr_un, sun_path) + strlen(path) + 1) < 0) {
      if (relay_ >= 0) close(relay_);
      relay_ = -1;
      return false;
    }
    fcntl(relay_, F_SETFL, O_NONBLOCK);
    return true;
  }

  void prepare(const StreamKind (&kinds)[3]) {
    sigset_t all;
    sigfillset(&all);
    for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGCHLD}) sigdelset(&all, number);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    signals_ = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    terminal_.start(streams_.terminal, streams_.kinds[0] == kind_tty);
    take_streams(kinds);
  }

  void take_streams(const StreamKind (&kinds)[3]) {
    if (streams_.kinds[0] != kind_tty) input_.start(kinds[0] == kind_closed || kinds[0] == kind_null || kinds[0] == kind_tty ? kind_closed : streams_.kinds[0]);
    outputs_[stream_out].start(1, stream_out);
    outputs_[stream_err].start(2, stream_err);
    outputs_[stream_tty].start(streams_.terminal, stream_tty);
  }

  void queue_spawn(const SignalState& signals) {
    Writer payload(payload_);
    write_prelude(payload, {session_, secret_, program_.node, getpgrp(), terminal_.fd()});
    SpecHead head;
    for (int fd = 0; fd < 3; fd++) head.streams[fd] = streams_.kinds[fd];
    head.has_terminal = terminal_.there();
    const mode_t mask = umask(0);
    umask(mask);
    head.umask = mask;
    head.protect = program_.protect;
    head.nice = getpriority(PRIO_PROCESS, 0);
    head.ignored = signals.ignored;
    head.blocked = signals.blocked;
    for (int kind = 0; kind < 16; kind++) {
      rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
      getrlimit(static_cast<__rlimit_resource>(kind), &limit);
      head.limits[kind][0] = limit.rlim_cur;
      head.limits[kind][1] = limit.rlim_max;
    }
    if (terminal_.there()) {
      head.window = terminal_.window();
      head.termios = terminal_.settings();
      foreground_ = terminal_.foreground();
      head.background = !foreground_;
    }
    payload.raw(&head, sizeof head);
    payload.text(program_.cwd);
    payload.text(program_.absolute);
    payload.strings(program_.arguments, count(program_.arguments));
    payload.strings(environ, count(environ));
    append_frame(out_, frame_spawn, 0, payload_.data(), payload_.size());
  }

  static uint32_t count(char** list) {
    uint32_t n = 0;
    while (list[n]) n++;
    return n;
  }

  NotStarted run() {
    flush_relay();
    if (!attached_) wear_name_of(program_);
    check_terminal();
    while (!run_here_) {
      if (ended_ && !anything_waiting()) finish();
      wait();
    }
    terminal_.give_back();
    close(relay_);
    close(signals_);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    return NotStarted::run_here;
  }

  bool anything_waiting() const {
    for (const uint16_t stream : {stream_out, stream_err, stream_tty})
      if (outputs_[stream].waiting()) return true;
    return false;
  }

  void wait() {
    enum { slot_relay, slot_signals, slot_input, slot_tty, slot_out, slot_err, slot_tty_out, slots };
    const bool read_tty = terminal_.holds() && tty_input_open_ && tty_sent_ < window_bytes && !ended_ && !frozen_;
    pollfd polls[slots];
    polls[slot_relay] = {relay_, static_cast<short>(POLLIN | (out_.size() ? POLLOUT : 0)), 0};
    polls[slot_signals] = {signals_, POLLIN, 0};
    polls[slot_input] = {input_.wants() && !ended_ && !frozen_ ? 0 : -1, POLLIN, 0};
    polls[slot_tty] = {read_tty ? terminal_.fd() : -1, POLLIN, 0};
    for (const uint16_t stream : {stream_out, stream_err, stream_tty}) {
      const Output& output = outputs_[stream];
      const bool watch = output.waiting() || (stream != stream_tty && !output.broken() && streams_.kinds[stream] == kind_pipe);
      polls[slot_out + stream - 1] = {watch ? output.fd() : -1, static_cast<short>(output.waiting() ? POLLOUT : 0), 0};
    }
    if (ended_) polls[slot_relay].fd = -1;
    if (poll(polls, slots, terminal_.there() ? tty_check_ms : -1) < 0 && errno != EINTR) lost("cannot wait for the job");
    check_terminal();  // before the signals: a job that is continued has its terminal first
    if (polls[slot_signals].revents) take_signals();
    if (polls[slot_relay].revents & (POLLIN | POLLHUP | POLLERR)) take_relay();
    if (polls[slot_input].revents && !ended_) input_.read_some(out_);
    if (polls[slot_tty].revents && tty_input_open_ && !ended_) take_tty();  // not after take_relay() has closed it
    for (const uint16_t stream : {stream_out, stream_err, stream_tty}) {
      const short events = polls[slot_out + stream - 1].revents;
      if ((events & (POLLERR | POLLNVAL)) && !(events & POLLOUT)) outputs_[stream].broke(out_);
      else if (events) outputs_[stream].flush(out_);
    }
    flush_relay();
  }

  /// As our process group has the terminal or not, so the job's has its own: one of the background that reads is stopped there (SIGTTIN).
  void check_terminal() {
    terminal_.check();
    if (terminal_.gives_settings()) {
      const Termios settings = terminal_.settings();
      append_frame(out_, frame_termios, 0, reinterpret_cast<const uint8_t*>(&settings), sizeof settings);
    }
    if (terminal_.there() && terminal_.foreground() != foreground_) tell_foreground();
  }

  void tell_foreground() {
    if (!terminal_.there()) return;
    foreground_ = terminal_.foreground();
    const uint8_t payload = foreground_;
    append_frame(out_, frame_foreground, 0, &payload, 1);
  }

  /// A line about the job, which goes on. Its program may be in the middle of a line, on a terminal that is in its hands and adds no carriage returns.
  void notice(const uint8_t* text, uint32_t bytes) {
    const bool amid = terminal_.holds() && isatty(STDERR_FILENO);
    if (amid && write(STDERR_FILENO, "\r\n", 2) < 0) return;
    say("%.*s%s", static_cast<int>(bytes), reinterpret_cast<const char*>(text), amid ? "\r" : "");
  }

  void tell_window() {
    if (!terminal_.there()) return;
    const WindowSize window = terminal_.window();
    append_frame(out_, frame_winsize, 0, &window, sizeof window);
  }

  void flush_relay() {
    while (out_.size() && !ended_) {
      const ssize_t sent = send(relay_, out_.data(), out_.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN) out_.clear();  // reading will tell why
        return;
      }
      if (static_cast<size_t>(sent) == out_.size()) out_.clear();
      else out_.consume(sent);
    }
  }

  void take_tty() {
    uint8_t bytes[4096];
    const ssize_t got = read(terminal_.fd(), bytes, sizeof bytes);
    if (got > 0) {
      append_frame(out_, frame_data, stream_tty, bytes, got);
      tty_sent_ += static_cast<uint32_t>(got);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      tty_input_open_ = false;  // the terminal has hung up; SIGHUP follows
    }
  }

  void take_relay() {
    for (;;) {
      uint8_t* space = in_.reserve(128 << 10);
      const ssize_t got = recv(relay_, space, 128 << 10, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) return lost("the relay of this node ended, and");
      in_.grow(got);
      if (got < (128 << 10)) break;
    }
    size_t at = 0;
    while (!ended_ && !run_here_ && in_.size() - at >= sizeof(Header)) {
      Header header;
      memcpy(&header, in_.data() + at, sizeof header);
      if (header.length > frame_bytes_max) return lost("the relay spoke nonsense, and");
      if (in_.size() - at < sizeof header + header.length) break;
      take_frame(header, in_.data() + at + sizeof header);
      at += sizeof header + header.length;
    }
    in_.consume(at);
  }

  void take_frame(const Header& header, const uint8_t* payload) {
    Reader in(payload, header.length);
    switch (header.type) {
      case frame_data:
        if (header.flags == stream_in || header.flags >= stream_count) return;
        began_ = true;
        outputs_[header.flags].add(payload, header.length, header.flags == stream_tty && terminal_.strips_returns());
        return outputs_[header.flags].flush(out_);
      case frame_credit: {
        const uint32_t bytes = in.u32();
        if (header.flags == stream_in) input_.credit(bytes);
        else if (header.flags == stream_tty) tty_sent_ -= bytes < tty_sent_ ? bytes : tty_sent_;
        return;
      }
      case frame_close:
        if (header.flags == stream_in) input_.stop();
        return;
      case frame_termios: {
        Termios far;
        if (in.raw(&far, sizeof far)) terminal_.far_settings(far);
        return;
      }
      case frame_unread:
        // The relay gives the terminal back what the job did not read, also of what we have read; we must not read it again, and not echo it twice.
        tty_input_open_ = false;
        append_frame(out_, frame_unread, 0, nullptr, 0);
        return;
      case frame_notice:
        flush_outputs();
        return notice(payload, header.length);
      case frame_yield:
        terminal_.yield(in.u8() != 0);
        return check_terminal();
      case frame_state:
        return take_state(in);
      case frame_ready:
        return take_ready(in);
      case frame_exit:
        in.raw(&exit_, sizeof exit_);
        input_.settle(exit_.consumed);
        ended_ = true;
        return;
      case frame_refused:
        return take_refusal(in);
      case frame_lost: {
        const std::string_view text = in.text(1024);
        terminal_.give_back();
        say("%.*s", static_cast<int>(text.size()), text.data());
        exit_.code = 137;
        ended_ = true;
        return;
      }
    }
  }

  void take_ready(Reader& in) {
    StreamKind kinds[3];
    for (auto& kind : kinds) kind = static_cast<StreamKind>(in.u8());
    const std::string_view name = in.text(255);
    char text[256];
    memcpy(text, name.data(), name.size());
    text[name.size()] = 0;
    if (in.ok()) {
      prctl(PR_SET_NAME, text);
      take_streams(kinds);
      tell_foreground();
      // A job that was begun with something to read, attached to where there is nothing: it is at the end of its input.
      const bool reads = kinds[0] == kind_pipe || kinds[0] == kind_stream || kinds[0] == kind_file;
      if (attached_ && reads && !input_.open()) append_frame(out_, frame_close, stream_in, nullptr, 0);
    }
  }

  void take_refusal(Reader& in) {
    const bool here = in.u8() != 0;
    const uint8_t status = in.u8();
    in.text(64);
    const std::string_view message = in.text(1024);
    if (here && !attached_ && !began_) {
      run_here_ = true;
      return;
    }
    terminal_.give_back();
    say("%.*s", static_cast<int>(message.size()), message.data());
    exit_.code = status;
    ended_ = true;
  }

  void take_state(Reader& in) {
    const uint8_t state = in.u8();
    const uint8_t signal = in.u8();
    if (state == state_stopped) {
      stop(signal);
    } else if (state == state_checkpointed) {
      frozen_ = true;
      const bool foreground = terminal_.there() && terminal_.foreground();
      terminal_.give_back();
      if (foreground) {
        const std::string_view text = in.text(512);
        if (in.ok()) say("%.*s", static_cast<int>(text.size()), text.data());
        kill(getpid(), SIGSTOP);
      }
    } else if (state == state_restored) {
      frozen_ = false;
      terminal_.check();
      tell_foreground();
      tell_window();  // it may have changed meanwhile
    }
  }

  /// The job has stopped: so do we, and by the same signal, for the shell says which it was. Then somebody says SIGCONT; take_signals() passes it on.
  void stop(int number) {
    flush_outputs();
    const bool wants_terminal = number == SIGTTIN || number == SIGTTOU;
    if (wants_terminal && terminal_.there() && terminal_.foreground()) return tell_foreground();  // it has it meanwhile, and goes on
    terminal_.give_back();
    if (!of_job_control(number) || !stopped_by(number)) {
      // Nobody could continue a process group without a shell. The kernel gives such a reader an error; this job stands already, so it is hung up.
      if (wants_terminal) return hang_up();
      kill(getpid(), SIGSTOP);
    }
    check_terminal();
  }

  /// False when the signal did nothing, for our process group is orphaned.
  static bool stopped_by(int number) {
    sigset_t one, waiting;
    sigemptyset(&one);
    sigaddset(&one, number);
    signal(number, SIG_DFL);
    kill(getpid(), number);
    sigprocmask(SIG_UNBLOCK, &one, nullptr);
    sigprocmask(SIG_BLOCK, &one, nullptr);
    return sigpending(&waiting) == 0 && sigismember(&waiting, SIGCONT) == 1;
  }

  void hang_up() {
    for (const uint8_t number : {SIGHUP, SIGCONT}) {
      const uint8_t payload[2] = {number, 0};
      append_frame(out_, frame_signal, 0, payload, sizeof payload);
    }
  }

  void flush_outputs() {
    for (const uint16_t stream : {stream_out, stream_err, stream_tty}) outputs_[stream].flush(out_);
  }

  void take_signals() {
    signalfd_siginfo info;
    while (read(signals_, &info, sizeof info) == sizeof info) {
      const int number = static_cast<int>(info.ssi_signo);
      if (number == SIGPIPE || number == SIGTTIN || number == SIGTTOU) continue;
      if (number == SIGWINCH) {
        tell_window();
        continue;
      }
      if (info.ssi_code == SI_KERNEL && terminal_.echoes_signals()) echo_signal(number);
      const uint8_t payload[2] = {static_cast<uint8_t>(number), info.ssi_code == SI_KERNEL};  // typed at the terminal: for its foreground group
      append_frame(out_, frame_signal, 0, payload, sizeof payload);
    }
  }

  /// The terminal does not echo while we hold it, so ^C would not be seen.
  void echo_signal(int number) {
    const char* text = number == SIGINT ? "^C" : number == SIGQUIT ? "^\\" : number == SIGTSTP ? "^Z" : nullptr;
    if (text && write(terminal_.fd(), text, 2) < 0) { /* cosmetic */ }
  }

  void lost(const char* what) {
    if (ended_) return;
    terminal_.give_back();
    say("%s '%s' was lost", what, attached_ ? "the job" : program_.name());
    exit_ = {};
    exit_.code = 137;
    ended_ = true;
  }

  [[noreturn]] void finish() {
    terminal_.give_back();
    if (exit_.signal) {
      // Die as the job died, but leave no core of ours.
      const rlimit none{0, 0};
      setrlimit(RLIMIT_CORE, &none);
      prctl(PR_SET_DUMPABLE, 0);
      const int number = exit_.signal;
      signal(number, SIG_DFL);
      sigset_t one;
      sigemptyset(&one);
      sigaddset(&one, number);
      kill(getpid(), number);
      sigprocmask(SIG_UNBLOCK, &one, nullptr);
      _exit(128 + number);
    }
    _exit(exit_.code);
  }
};

}  // namespace

NotStarted run_there(Program& program, const char* session, const char* secret) {
  static Proxy proxy(program, session, secret);
  return proxy.spawn();
}

NotStarted attach(const char* job, Program& program, const char* session, const char* secret) {
  static Proxy proxy(program, session, secret);
  return proxy.attach(job);
}

}  // namespace xos::relay
