// The settings of a terminal between the kernel's form and the one that is sent.
#pragma once
#include "protocol.h"

#include <cstring>
#include <termios.h>

namespace xos::relay {

inline Termios settings_of(const struct termios& terminal) {
  Termios out;
  out.iflag = terminal.c_iflag;
  out.oflag = terminal.c_oflag;
  out.cflag = terminal.c_cflag;
  out.lflag = terminal.c_lflag;
  memcpy(out.cc, terminal.c_cc, sizeof out.cc);
  return out;
}

/// Speeds and control modes of `terminal` stay. On a master it sets the slave's (TCSETS). A terminal that has gone is left alone.
inline void set_settings(int terminal, const Termios& settings) {
  struct termios now;
  if (tcgetattr(terminal, &now) < 0) return;
  now.c_iflag = settings.iflag;
  now.c_oflag = settings.oflag;
  now.c_lflag = settings.lflag;
  memcpy(now.c_cc, settings.cc, sizeof settings.cc);
  tcsetattr(terminal, TCSANOW, &now);
}

}  // namespace xos::relay
