#include "flags.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace xos {
namespace {

[[noreturn]] void usage_error(const char* program, const std::string& what) {
  fprintf(stderr, "%s: %s; see '%s --help'\n", program, what.c_str(), program);
  exit(2);
}

void print_help(const char* program, unsigned needs) {
  printf("usage: %s --node NODE --vo VO --credentials DIR%s --run DIR%s%s\n", program, needs & needs_listen ? " --listen ADDRESS:PORT" : "",
         needs & needs_state ? " --state DIR" : "", needs & needs_mount ? " --mount DIR" : "");
  puts("  --node         id of this node in its VO\n"
       "  --vo           name of the VO\n"
       "  --credentials  directory of key.pem, cert.pem and ca.pem\n"
       "  --listen       address and port for other nodes\n"
       "  --run          directory of the sockets (default /run/xos)\n"
       "  --state        directory of what outlives the process\n"
       "  --mount        where the volumes appear");
}

}  // namespace

bool split_address(const std::string& text, std::string& address, uint16_t& port) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) return false;
  std::string host = text.substr(0, colon);
  if (host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return false;
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    return false;
  }
  unsigned long number = 0;
  for (size_t i = colon + 1; i < text.size(); i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    number = number * 10 + (text[i] - '0');
    if (number > 65535) return false;
  }
  address = host;
  port = static_cast<uint16_t>(number);
  return true;
}

DaemonFlags parse_flags(int argc, char** argv, unsigned needs) {
  const char* slash = strrchr(argv[0], '/');
  const char* program = slash ? slash + 1 : argv[0];
  DaemonFlags flags;
  std::string listen;
  const struct { const char* name; std::string* value; } known[] = {
      {"--node", &flags.node}, {"--vo", &flags.vo},       {"--credentials", &flags.credentials}, {"--listen", &listen},
      {"--run", &flags.run},   {"--state", &flags.state}, {"--mount", &flags.mount},
  };
  for (int i = 1; i < argc; i++) {
    const std::string argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      print_help(program, needs);
      exit(0);
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    std::string* target = nullptr;
    for (const auto& flag : known)
      if (name == flag.name) target = flag.value;
    if (!target) usage_error(program, "unknown flag '" + argument + "'");
    if (equals != std::string::npos) *target = argument.substr(equals + 1);
    else if (i + 1 < argc) *target = argv[++i];
    else usage_error(program, "flag '" + name + "' wants a value");
    if (target->empty()) usage_error(program, "flag '" + name + "' wants a value that is not empty");
  }
  if (flags.node.empty()) usage_error(program, "--node is missing");
  if (flags.vo.empty()) usage_error(program, "--vo is missing");
  if (flags.credentials.empty()) usage_error(program, "--credentials is missing");
  if ((needs & needs_listen) && listen.empty()) usage_error(program, "--listen is missing");
  if (!listen.empty() && !split_address(listen, flags.listen_address, flags.listen_port))
    usage_error(program, "--listen '" + listen + "' is not ADDRESS:PORT");
  if ((needs & needs_state) && flags.state.empty()) usage_error(program, "--state is missing");
  if ((needs & needs_mount) && flags.mount.empty()) usage_error(program, "--mount is missing");
  return flags;
}

}  // namespace xos
