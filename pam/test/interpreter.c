// Stands where xexec stands, to show what the kernel hands over: the path, the name and the arguments, one a line.
#include <stdio.h>
#include <sys/auxv.h>

int main(int argc, char **argv) {
  printf("handed over, flags %lu\n", getauxval(AT_FLAGS));
  for (int i = 1; i < argc; i++) printf("<%s>\n", argv[i]);
  return 42;
}
