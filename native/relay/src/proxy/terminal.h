// The user's terminal while a job runs elsewhere: the far pty edits and echoes, this one only carries bytes and turns ^C ^Z ^\ into signals.
#pragma once
#include "protocol.h"

#include <termios.h>

namespace xos::relay {

class Terminal {
 public:
  /// `fd` is a descriptor of our controlling terminal (not owned), or -1 for none.
  void start(int fd, bool input_is_terminal);
  bool there() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  bool holds() const { return holding_; }  ///< we set the terminal's mode now and read it
  bool echoes_signals() const;
  /// Whether our process group may read the terminal.
  bool foreground() const;
  /// Settings as the job should find them.
  Termios settings() const;
  WindowSize window() const;
  void far_settings(const Termios& far);
  /// Once, when a job that was begun in the background has the terminal for the first time: its settings are the ones that the shell gives it now.
  bool gives_settings();
  /// Another program of the pipeline reads the terminal.
  void yield(bool others_read) { others_read_ = others_read; }
  /// Takes or gives back the terminal as the foreground process group and the far side's mode demand. Cheap; called often.
  void check();
  void give_back();
  /// Whether "\r\n" of the far pty must lose its "\r" because the terminal here adds one again.
  bool strips_returns();

 private:
  int fd_ = -1;
  bool input_is_terminal_ = false, holding_ = false, others_read_ = false, far_known_ = false;
  bool begun_behind_ = false, gives_ = false;
  termios saved_{};
  Termios far_{};
  void apply();
};

}  // namespace xos::relay
