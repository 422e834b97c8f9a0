// A cell made narrower, as its VO's and its node's policies want it. Done once, before the cell's first job.
#pragma once
#include "json.h"
#include "seccomp_filter.h"

#include <string>

namespace xos::cell {

/// From the relay (frame_confine).
struct Confinement {
  std::string vo, home;         ///< home: directory of the user in /home; empty: none
  uid_t uid = 0;
  bool isolated = false;        ///< sees nothing of other users and VOs
  bool untrusted = false;       ///< filtered system calls, no_new_privs, few devices
  bool own_network = false;     ///< a network namespace of its own, with loopback only
  bool few_devices = false;     ///< a /dev of null, zero, full, random, urandom, tty and the terminals
};

/// False when the request is malformed.
bool read_confinement(const nlohmann::json& request, Confinement& wanted);

/// Narrows the calling process (pid 1 of a cell, root) and all that it starts. Returns what could not be done, empty when all was: then
/// nothing may run in the cell.
std::string confine(const Confinement& wanted);

}  // namespace xos::cell
