// xos-guest-agent: runs shell lines in a test guest for the harness (test/system/support/agent.ts) over a virtio-serial port. Static, one
// thread, one poll loop; whatever a test does to the guest's libraries, network or login path, this goes on.
//
// A frame is {u32 length, u32 id, u8 type, u8[3] zero} little-endian and `length` bytes. `id` is chosen by the host for each command.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT "/dev/virtio-ports/org.xtreemos.agent"

enum type {
  RUN = 1,     ///< host: a line for /bin/sh -c
  STDIN = 2,   ///< host: bytes for its standard input; none: end of it
  SIGNAL = 3,  ///< host: u32 signal for its process group
  HELLO = 4,   ///< host: i64 nanoseconds of the wall clock, 64 random bytes; answered by HELLO. A restored guest knows neither time nor chance.
  STDOUT = 11,
  STDERR = 12,
  EXIT = 13,  ///< guest: i32 status as a shell has it; what it wrote before went ahead
};
enum { COMMANDS_MAX = 64, CHUNK = 65536, FRAME_MAX = 1 << 20, HEAD = 12 };

struct command {
  uint32_t id;
  pid_t pid;  ///< 0: this place is free
  int in, out, err;
  char *waiting;  ///< input that the command has not read yet: from waiting_at on
  size_t waiting_at, waiting_size;
  int waiting_end;
};

static struct command commands[COMMANDS_MAX];
static int port = -1;
static int child_ended[2];
static char frame[HEAD + FRAME_MAX];
static size_t frame_size;

static void on_child(int number) {
  (void)number;
  int error = errno;
  if (write(child_ended[1], "", 1) < 0) {}
  errno = error;
}

static void open_port(void) {
  while ((port = open(PORT, O_RDWR | O_CLOEXEC)) < 0) usleep(100000);
}

/// The host reads all the time, so a write that blocks ends; while no host is there it is waited for.
static void write_port(const void *data, size_t size) {
  const char *at = data;
  while (size > 0) {
    ssize_t written = write(port, at, size);
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (written <= 0) {
      usleep(50000);
      continue;
    }
    at += written;
    size -= (size_t)written;
  }
}

static void tell(uint32_t id, enum type type, const void *data, uint32_t size) {
  unsigned char head[HEAD] = {0};
  memcpy(head, &size, 4);
  memcpy(head + 4, &id, 4);
  head[8] = (unsigned char)type;
  write_port(head, sizeof head);
  if (size > 0) write_port(data, size);
}

static void shut(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static _Noreturn void become(const char *line, int in, int out, int err) {
  setsid();
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  close_range(3, ~0U, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int number = 1; number < 65; number++) signal(number, SIG_DFL);
  if (chdir("/root") < 0 && chdir("/") < 0) _exit(126);
  char *environment[] = {"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/bash", "LANG=C.UTF-8", "TERM=dumb",
                         "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  execle("/bin/bash", "bash", "-c", line, (char *)NULL, environment);
  _exit(127);
}

static void run(uint32_t id, const char *line) {
  struct command *command = NULL;
  for (int i = 0; i < COMMANDS_MAX && !command; i++)
    if (commands[i].pid == 0) command = &commands[i];
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
  int32_t status = 126;
  if (!command || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) goto refuse;
  pid_t pid;
  // A guest that a test has filled with processes: try for a while.
  for (int attempt = 0; (pid = fork()) < 0 && attempt < 50; attempt++) usleep(100000);
  if (pid < 0) goto refuse;
  if (pid == 0) become(line, in[0], out[1], err[1]);
  close(in[0]), close(out[1]), close(err[1]);
  for (int i = 0; i < 3; i++) {
    int fd = (int[]){in[1], out[0], err[0]}[i];
    fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  *command = (struct command){.id = id, .pid = pid, .in = in[1], .out = out[0], .err = err[0]};
  return;
refuse:
  for (int i = 0; i < 2; i++) shut(&in[i]), shut(&out[i]), shut(&err[i]);
  tell(id, STDERR, "xos-guest-agent: cannot start another command\n", 46);
  tell(id, EXIT, &status, sizeof status);
}

/// Gives the command what waits for it, as far as it takes it.
static void feed(struct command *command) {
  while (command->in >= 0 && command->waiting_size > 0) {
    ssize_t written = write(command->in, command->waiting + command->waiting_at, command->waiting_size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return;
    if (written < 0) {  // it reads no more
      command->waiting_size = 0;
      shut(&command->in);
      return;
    }
    command->waiting_size -= (size_t)written;
    command->waiting_at += (size_t)written;
  }
  free(command->waiting);
  command->waiting = NULL;
  command->waiting_at = 0;
  if (command->waiting_end) shut(&command->in);
}

/// Passes on what a command wrote. Returns whether more may come.
static int pass(struct command *command, int *fd, enum type type) {
  static char data[CHUNK];
  if (*fd < 0) return 0;
  ssize_t size = read(*fd, data, sizeof data);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
  if (size <= 0) {
    shut(fd);
    return 0;
  }
  tell(command->id, type, data, (uint32_t)size);
  return 1;
}

static void reap(void) {
  int how;
  pid_t pid;
  while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
    for (int i = 0; i < COMMANDS_MAX; i++) {
      struct command *command = &commands[i];
      if (command->pid != pid) continue;
      // What it wrote, but not what a daemon that it left behind may write some day.
      while (pass(command, &command->out, STDOUT)) {}
      while (pass(command, &command->err, STDERR)) {}
      int32_t status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
      tell(command->id, EXIT, &status, sizeof status);
      shut(&command->in), shut(&command->out), shut(&command->err);
      free(command->waiting);
      *command = (struct command){0};
    }
  }
}

static void hello(uint32_t id, const char *data, size_t size) {
  int64_t now;
  if (size != sizeof now + 64) return;
  memcpy(&now, data, sizeof now);
  clock_settime(CLOCK_REALTIME, &(struct timespec){.tv_sec = now / 1000000000, .tv_nsec = now % 1000000000});
  struct { struct rand_pool_info info; char bytes[64]; } pool = {.info = {.entropy_count = 512, .buf_size = 64}};
  memcpy(pool.bytes, data + sizeof now, 64);
  int random = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
  if (random >= 0) {
    ioctl(random, RNDADDENTROPY, &pool);
    ioctl(random, RNDRESEEDCRNG, 0);
    close(random);
  }
  tell(id, HELLO, NULL, 0);
}

static void take(uint32_t id, int type, char *data, size_t size) {
  if (type == HELLO) hello(id, data, size);
  if (type == RUN) {
    data[size] = '\0';
    run(id, data);
  }
  for (int i = 0; i < COMMANDS_MAX; i++) {
    struct command *command = &commands[i];
    if (command->pid == 0 || command->id != id) continue;
    if (type == SIGNAL && size == 4) {
      uint32_t number;
      memcpy(&number, data, 4);
      kill(-command->pid, (int)number);
    } else if (type == STDIN && size == 0) {
      command->waiting_end = 1;
      feed(command);
    } else if (type == STDIN) {
      char *more = realloc(command->waiting, command->waiting_at + command->waiting_size + size);
      if (!more) continue;
      memcpy(more + command->waiting_at + command->waiting_size, data, size);
      command->waiting = more;
      command->waiting_size += size;
      feed(command);
    }
  }
}

static void read_port(void) {
  ssize_t size = read(port, frame + frame_size, sizeof frame - 1 - frame_size);
  if (size == 0) {  // no host: a snapshot was taken, or its reader is not there yet; nothing half-read is of use to the next one
    frame_size = 0;
    usleep(20000);
  }
  if (size <= 0) return;
  frame_size += (size_t)size;
  size_t at = 0;
  while (frame_size - at >= HEAD) {
    uint32_t length, id;
    memcpy(&length, frame + at, 4);
    memcpy(&id, frame + at + 4, 4);
    if (length >= FRAME_MAX) {
      fprintf(stderr, "xos-guest-agent: a frame of %u bytes\n", length);
      exit(1);
    }
    if (frame_size - at < HEAD + length) break;
    char *data = frame + at + HEAD, kept = data[length];
    take(id, frame[at + 8], data, length);
    data[length] = kept;  // a line was ended there
    at += HEAD + length;
  }
  memmove(frame, frame + at, frame_size - at);
  frame_size -= at;
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  if (pipe2(child_ended, O_CLOEXEC | O_NONBLOCK) < 0) return 1;
  sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP}, NULL);
  open_port();
  for (;;) {
    struct pollfd polled[2 + 3 * COMMANDS_MAX] = {{.fd = port, .events = POLLIN}, {.fd = child_ended[0], .events = POLLIN}};
    for (int i = 0; i < COMMANDS_MAX; i++) {
      struct command *command = &commands[i];
      int used = command->pid != 0;
      polled[2 + 3 * i] = (struct pollfd){.fd = used && command->waiting_size > 0 ? command->in : -1, .events = POLLOUT};
      polled[3 + 3 * i] = (struct pollfd){.fd = used ? command->out : -1, .events = POLLIN};
      polled[4 + 3 * i] = (struct pollfd){.fd = used ? command->err : -1, .events = POLLIN};
    }
    if (poll(polled, 2 + 3 * COMMANDS_MAX, -1) < 0) continue;
    if (polled[0].revents & (POLLIN | POLLHUP)) {
      if (polled[0].revents & POLLIN) read_port();
      else usleep(20000);
    }
    for (int i = 0; i < COMMANDS_MAX; i++) {
      if (polled[2 + 3 * i].revents) feed(&commands[i]);
      if (polled[3 + 3 * i].revents) pass(&commands[i], &commands[i].out, STDOUT);
      if (polled[4 + 3 * i].revents) pass(&commands[i], &commands[i].err, STDERR);
    }
    if (polled[1].revents) {
      char rest[64];
      while (read(child_ended[0], rest, sizeof rest) > 0) {}
      reap();
    }
  }
}
