// xos-policy: the kernel's policy by hand (xos-relayd does the same by itself). For root; see kmod/xos_exec/README.md.
#include "control.h"
#include "kernel_policy.h"
#include "xos_exec.h"

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

using namespace xos;
using namespace xos::relay;

namespace {

const char* const help =
    "usage: xos-policy check NAME FILE…        whether the lines of VO NAME in FILE… can go into the kernel\n"
    "       xos-policy set NUMBER NAME FILE…   puts them there, for VO NAME with that number, until the relay has others\n"
    "       xos-policy remove [NUMBER]         removes the table of a VO, or all\n"
    "       xos-policy show                    tables and how often they decided\n"
    "Exit status: 0; 1 when it cannot be done, 2 for a wrong call. The module xos_exec must be loaded, but for check.\n";

[[noreturn]] void fail(const std::string& what) {
  fprintf(stderr, "xos-policy: %s\n", what.c_str());
  exit(1);
}

std::string read_files(int argc, char** argv, int from) {
  std::ostringstream text;
  for (int i = from; i < argc; i++) {
    std::ifstream file(argv[i]);
    if (!file) fail(std::string("cannot read '") + argv[i] + "': " + strerror(errno));
    text << file.rdbuf() << "\n";
  }
  return text.str();
}

uint32_t number_of(const char* text) {
  char* end;
  const unsigned long number = strtoul(text, &end, 10);
  if (*end || number < 1 || number > XOS_EXEC_VO_MAX) fail(std::string("'") + text + "' is no number of a VO: 1 to " + std::to_string(XOS_EXEC_VO_MAX));
  return static_cast<uint32_t>(number);
}

Genetlink connect() {
  Genetlink kernel;
  const int error = kernel.open(XOS_EXEC_GENL);
  if (error) fail(std::string("cannot reach the kernel's policy: ") + (error == ENOENT ? "the module xos_exec is not loaded; 'modprobe xos_exec'" : strerror(error)));
  return kernel;
}

void must(int error, const std::string& what, const std::string& words = "") {
  if (error) fail("cannot " + what + ": " + strerror(error) + (words.empty() ? "" : ": " + words));
}

void show_one(std::string_view attributes) {
  uint32_t vo = 0, rules = 0;
  uint64_t sent = 0, kept = 0, unable = 0;
  uint8_t fallback = 0;
  std::string name;
  each_attribute(attributes, [&](uint16_t type, std::string_view value) {
    const auto read = [value](auto& into) {
      if (value.size() == sizeof into) memcpy(&into, value.data(), sizeof into);
    };
    if (type == XOS_EXEC_A_VO) read(vo);
    if (type == XOS_EXEC_A_COUNT) read(rules);
    if (type == XOS_EXEC_A_DEFAULT) read(fallback);
    if (type == XOS_EXEC_A_SENT) read(sent);
    if (type == XOS_EXEC_A_KEPT) read(kept);
    if (type == XOS_EXEC_A_UNABLE) read(unable);
    if (type == XOS_EXEC_A_NAME) name.assign(value.data(), strnlen(value.data(), value.size()));
  });
  printf("%4u %-20s default %-5s rules %4u  sent %" PRIu64 "  kept %" PRIu64 "  unable %" PRIu64 "\n", vo, name.c_str(), fallback == XOS_EXEC_GRID ? "grid" : "local", rules, sent, kept, unable);
}

int run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "--help") {
    printf("%s", help);
  } else if (command == "check" && argc > 3) {
    compile_policy(read_files(argc, argv, 3), 1, argv[2]);
  } else if (command == "set" && argc > 4) {
    const Attributes table = compile_policy(read_files(argc, argv, 4), number_of(argv[2]), argv[3]);
    std::string words;
    const int error = connect().request(XOS_EXEC_CMD_SET, table, &words);
    must(error, std::string("set the policy of VO '") + argv[3] + "'", words);
  } else if (command == "remove" && argc <= 3) {
    Attributes which;
    if (argc == 3) which.put32(XOS_EXEC_A_VO, number_of(argv[2]));
    must(connect().request(XOS_EXEC_CMD_DEL, which), argc == 3 ? std::string("remove the table of VO ") + argv[2] : "remove the tables");
  } else if (command == "show" && argc == 2) {
    must(connect().dump(XOS_EXEC_CMD_GET, show_one), "show the tables");
  } else {
    fprintf(stderr, "%s", help);
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fail(error.what());
  }
}
