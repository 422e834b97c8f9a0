#include "terminal.h"

#include "terminal_settings.h"

#include <csignal>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

namespace xos::relay {

void Terminal::start(int fd, bool input_is_terminal) {
  if (fd < 0 || tcgetattr(fd, &saved_) < 0) return;
  fd_ = fd;
  input_is_terminal_ = input_is_terminal;
  far_ = settings();
  begun_behind_ = !foreground();
}

Termios Terminal::settings() const { return settings_of(saved_); }

WindowSize Terminal::window() const {
  winsize size{};
  if (fd_ >= 0) ioctl(fd_, TIOCGWINSZ, &size);
  return {size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel};
}

bool Terminal::foreground() const { return tcgetpgrp(fd_) == getpgrp(); }

bool Terminal::echoes_signals() const { return holding_ && (far_.lflag & ECHO) && (far_.lflag & ECHOCTL); }

void Terminal::far_settings(const Termios& far) {
  far_ = far;
  far_known_ = true;
  if (holding_) apply();
  check();
}

void Terminal::apply() {
  termios now = saved_;
  now.c_lflag &= ~(ICANON | ECHO | ECHONL | IEXTEN | ISIG);
  now.c_lflag |= far_.lflag & ISIG;
  now.c_iflag &= ~(ICRNL | INLCR | IGNCR | IXON | IXOFF | ISTRIP | BRKINT | INPCK);
  if (!(far_.oflag & OPOST)) now.c_oflag &= ~OPOST;
  for (const int special : {VINTR, VQUIT, VSUSP}) now.c_cc[special] = far_.cc[special];
  now.c_cc[VMIN] = 1;
  now.c_cc[VTIME] = 0;
  // A process of the background that sets the terminal would be stopped (SIGTTOU is blocked here, so it would simply be done): check() decides before.
  tcsetattr(fd_, TCSANOW, &now);
}

void Terminal::check() {
  if (fd_ < 0) return;
  const bool foreground = this->foreground();
  const bool raw_far = far_known_ && !(far_.lflag & ICANON);
  const bool wanted = foreground && (raw_far || (input_is_terminal_ && !others_read_));
  if (wanted && !holding_) {
    termios now;
    if (tcgetattr(fd_, &now) < 0) return;
    saved_ = now;  // the shell may have changed it while we were in the background
    if (begun_behind_) {
      begun_behind_ = false;
      gives_ = true;
      far_ = settings();
    }
    holding_ = true;
    apply();
  } else if (!wanted && holding_) {
    if (foreground) give_back();
    else holding_ = false;  // the shell has put its own settings back
  }
}

bool Terminal::gives_settings() { return std::exchange(gives_, false); }

void Terminal::give_back() {
  if (!holding_) return;
  holding_ = false;
  if (foreground()) tcsetattr(fd_, TCSANOW, &saved_);
}

bool Terminal::strips_returns() {
  if (!(far_.oflag & OPOST) || !(far_.oflag & ONLCR)) return false;
  termios now;
  return tcgetattr(fd_, &now) == 0 && (now.c_oflag & OPOST) && (now.c_oflag & ONLCR);
}

}  // namespace xos::relay
