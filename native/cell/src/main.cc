// xos-cell: pid 1 of a cell. Started by xos-relayd in fresh namespaces with its socket as descriptor 3; nobody else has a use for it.
#include "cell.h"
#include "log.h"
#include "world.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc != 2 || strcmp(argv[1], "--channel=3") != 0 || getpid() != 1) {
    fprintf(stderr, "xos-cell: started by xos-relayd as pid 1 of a cell only\n");
    return 2;
  }
  close_range(xos::cell::channel_fd + 1, ~0u, 0);
  fcntl(xos::cell::channel_fd, F_SETFD, FD_CLOEXEC);
  if (const char* what = xos::cell::make_world()) {
    xos::log(xos::Priority::error, "cannot make a cell: cannot %s: %s", what, strerror(errno));
    return 1;
  }
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0 || !xos::cell::send_frame(xos::cell::channel_fd, xos::relay::frame_cell_ready, 0, {})) return 1;
  xos::cell::Cell cell(xos::cell::channel_fd, signals);
  cell.run();
}
