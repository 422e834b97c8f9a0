// Times posix_spawn + waitpid of one command, one after the other.
//
//   spawn [--count N] [--warmup N] [--set K=V]... [--unset K]... -- COMMAND [ARG]...
//
// The command's standard streams are /dev/null. Prints {"p50_ms","p90_ms","min_ms","mean_ms","count"}; a command that does not end with
// status 0 ends the measurement with status 1. posix_spawn (CLONE_VFORK in glibc) keeps the cost of the parent's address space out.

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

extern char** environ;

namespace {

struct Options {
  long count = 200;
  long warmup = 5;
  char** command = nullptr;
};

Options parse(int argc, char** argv)
{
  Options options;
  int at = 1;
  for (; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
    std::string name = argv[at];
    char* value = argv[at + 1];
    if (name == "--count") options.count = bench::number(value, "--count");
    else if (name == "--warmup") options.warmup = bench::number(value, "--warmup");
    else if (name == "--set") putenv(value);
    else if (name == "--unset") unsetenv(value);
    else { fprintf(stderr, "unknown option '%s'\n", argv[at]); exit(2); }
  }
  if (at + 1 >= argc || strcmp(argv[at], "--") != 0) {
    fprintf(stderr, "usage: spawn [--count N] [--warmup N] [--set K=V] [--unset K] -- COMMAND [ARG]...\n");
    exit(2);
  }
  options.command = argv + at + 1;
  return options;
}

double once(char** command, const posix_spawn_file_actions_t* actions)
{
  double began = bench::now_ms();
  pid_t pid;
  errno = posix_spawnp(&pid, command[0], actions, nullptr, command, environ);
  if (errno != 0) bench::die("start", command[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) bench::die("wait for", command[0]);
  double took = bench::now_ms() - began;
  if (status != 0) {
    fprintf(stderr, "'%s' ended with wait status 0x%x\n", command[0], status);
    exit(1);
  }
  return took;
}

}  // namespace

int main(int argc, char** argv)
{
  Options options = parse(argc, argv);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  for (long i = 0; i < options.warmup; i++) once(options.command, &actions);
  std::vector<double> samples;
  double sum = 0;
  for (long i = 0; i < options.count; i++) {
    samples.push_back(once(options.command, &actions));
    sum += samples.back();
  }
  posix_spawn_file_actions_destroy(&actions);
  printf("{\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"min_ms\":%.4f,\"mean_ms\":%.4f,\"count\":%ld}\n", bench::quantile(samples, 0.5),
    bench::quantile(samples, 0.9), bench::quantile(samples, 0), sum / std::max(1L, options.count), options.count);
}
