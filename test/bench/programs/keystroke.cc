// Times the echo of one key by a command on a terminal: write one byte to the master, read it back.
//
//   keystroke [--count N] [--wait MS] [--local] [--set K=V]... [--unset K]... -- COMMAND [ARG]...
//
// COMMAND (an ssh -tt, or a name that the grid starts elsewhere) is to end up in `cat` behind a terminal of its own. The local terminal
// must have been put into raw mode by then, else the echo would be the local kernel's: waited for (--wait, 10 s) and checked, so that a
// measurement without a remote echo fails. Every 32 keys a line is ended and cat's copy of it is read, which proves that cat is there.
// `--local` skips that check: the echo of the local terminal itself, as a floor.

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "common.h"

namespace {

pid_t child = -1;

[[noreturn]] void fail(const std::string& text)
{
  if (child > 0) kill(child, SIGKILL);
  fprintf(stderr, "%s\n", text.c_str());
  exit(1);
}

/// Reads until `want` has arrived (it may come in parts), at most 10 s.
void expect(int master, const std::string& want)
{
  std::string got;
  double until = bench::now_ms() + 10'000;
  while (got.size() < want.size()) {
    pollfd p{master, POLLIN, 0};
    int left = static_cast<int>(until - bench::now_ms());
    if (left <= 0 || poll(&p, 1, left) == 0) fail("no echo within 10 s: got '" + got + "', want '" + want + "'");
    char buffer[4096];
    ssize_t n = read(master, buffer, sizeof buffer);
    if (n <= 0) fail("the command ended before it echoed; its output: '" + got + "'");
    got.append(buffer, n);
  }
  if (got != want) fail("strange echo '" + got + "', want '" + want + "'");
}

void send(int master, const char* bytes, size_t size)
{
  if (write(master, bytes, size) != static_cast<ssize_t>(size)) fail("cannot write to the terminal");
}

/// Until the local terminal no longer echoes: then the far end does.
void await_raw(int master, long wait_ms)
{
  for (double until = bench::now_ms() + wait_ms; bench::now_ms() < until; usleep(2'000)) {
    termios modes;
    if (tcgetattr(master, &modes) == 0 && (modes.c_lflag & (ECHO | ICANON)) == 0) return;
    if (waitpid(child, nullptr, WNOHANG) == child) { child = -1; fail("the command ended at once"); }
  }
  fail("the command has not put its terminal into raw mode: is it remote?");
}

/// Forgets what came before the first key (banners), until 300 ms of silence.
void drain(int master)
{
  pollfd p{master, POLLIN, 0};
  char buffer[4096];
  while (poll(&p, 1, 300) > 0)
    if (read(master, buffer, sizeof buffer) <= 0) fail("the command ended before the first key");
}

std::vector<double> measure(int master, long count)
{
  std::vector<double> samples;
  std::string line;
  for (long i = 0; i < count; i++) {
    char key = static_cast<char>('a' + i % 26);
    double began = bench::now_ms();
    send(master, &key, 1);
    expect(master, std::string(1, key));
    samples.push_back(bench::now_ms() - began);
    line += key;
    if (line.size() == 32) {
      send(master, "\r", 1);
      expect(master, "\r\n" + line + "\r\n");
      line.clear();
    }
    usleep(3'000);  // a typist pauses; back-to-back keys would keep every process awake
  }
  return samples;
}

}  // namespace

int main(int argc, char** argv)
{
  long count = 200, wait_ms = 10'000;
  bool local = false;
  int at = 1;
  for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
    std::string name = argv[at];
    if (name == "--local") { local = true; continue; }
    if (++at >= argc) break;
    if (name == "--count") count = bench::number(argv[at], "--count");
    else if (name == "--wait") wait_ms = bench::number(argv[at], "--wait");
    else if (name == "--set") putenv(argv[at]);
    else if (name == "--unset") unsetenv(argv[at]);
    else { fprintf(stderr, "unknown option '%s'\n", name.c_str()); return 2; }
  }
  if (at + 1 >= argc) {
    fprintf(stderr, "usage: keystroke [--count N] [--wait MS] [--local] [--set K=V] [--unset K] -- COMMAND [ARG]...\n");
    return 2;
  }
  int master;
  winsize size{24, 80, 0, 0};
  child = forkpty(&master, nullptr, nullptr, &size);
  if (child < 0) bench::die("make a terminal for", argv[at + 1]);
  if (child == 0) {
    execvp(argv[at + 1], argv + at + 1);
    _exit(127);
  }
  if (!local) await_raw(master, wait_ms);
  drain(master);
  std::vector<double> samples = measure(master, count);
  send(master, "\r\x04", 2);  // end of file on an empty line ends cat
  double until = bench::now_ms() + 3'000;
  bool ended = false;
  for (char buffer[4096]; !ended && bench::now_ms() < until; ended = waitpid(child, nullptr, WNOHANG) == child) {
    pollfd p{master, POLLIN, 0};
    if (poll(&p, 1, 20) > 0 && read(master, buffer, sizeof buffer) <= 0) usleep(5'000);
  }
  if (!ended) { kill(child, SIGKILL); waitpid(child, nullptr, 0); }
  printf("{\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"min_ms\":%.4f,\"count\":%ld}\n", bench::quantile(samples, 0.5),
    bench::quantile(samples, 0.9), bench::quantile(samples, 0), count);
}
