// xos-container: what the personal grid needs of the kernel and a script cannot do. Internal to xgrid; see run.cc, enter.cc, terminal.cc.
#include <cstdio>
#include <cstring>
#include <exception>

#include "commands.h"

int main(int argc, char** argv) {
  using namespace xos::container;
  struct Command { const char* name; int (*run)(const Options&); };
  for (const Command& command : {Command{"hold", hold}, {"run", run}, {"enter", enter}, {"terminal", terminal}}) {
    if (argc < 2 || strcmp(argv[1], command.name) != 0) continue;
    try {
      return command.run(Options::parse(argc, argv, 2));
    } catch (const std::exception& error) {
      fprintf(stderr, "xgrid: %s\n", error.what());
      return 1;
    }
  }
  fprintf(stderr, "usage: xos-container hold|run|enter|terminal [--option value]… [-- command…]; use xgrid instead\n");
  return 2;
}
