// spawner PROGRAM: for each line `N` it reads, starts PROGRAM N times one after the other and prints the nanoseconds that took.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  char line[32], *child_argv[] = {argv[1], NULL}, *environment[] = {NULL};
  while (fgets(line, sizeof line, stdin)) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int left = atoi(line); left > 0; left--) {
      pid_t child;
      int status;
      if (posix_spawn(&child, argv[1], NULL, NULL, child_argv, environment) != 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec);
    fflush(stdout);
  }
  return 0;
}
