// The command line that all native daemons have in common.
#pragma once
#include <cstdint>
#include <string>

namespace xos {

struct DaemonFlags {
  std::string node;         ///< --node n1
  std::string vo;           ///< --vo demo
  std::string credentials;  ///< --credentials DIR with key.pem, cert.pem, ca.pem
  std::string listen_address;
  uint16_t listen_port = 0;          ///< --listen ADDRESS:PORT
  std::string run = "/run/xos";      ///< --run DIR: sockets
  std::string state;                 ///< --state DIR: what outlives the process
  std::string mount;                 ///< --mount DIR (xos-mount only)
};

enum FlagNeeds : unsigned { needs_listen = 1, needs_state = 2, needs_mount = 4 };

/// Parses `--name value` and `--name=value`. On --help prints the flags and exits 0; on an unknown, repeated-without-value or missing flag
/// prints one line that says which and exits 2. `needs` says which of listen, state, mount must be there (node, vo, credentials always).
DaemonFlags parse_flags(int argc, char** argv, unsigned needs);

/// Splits "ADDRESS:PORT" or "[V6]:PORT". False when it is neither.
bool split_address(const std::string& text, std::string& address, uint16_t& port);

}  // namespace xos
