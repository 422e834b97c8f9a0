// Lends objects to the mount on the same machine: over a Unix socket that only root reaches, a request as on the wire (u32 length, capability,
// u8 write) is answered by i32 status (errno) and, when that is 0, a descriptor. So reads and writes need not pass through two processes.
#pragma once
#include <string>

#include "capability.h"
#include "object_store.h"

namespace xos::fs {

/// Serves until the process ends; `node` is the one capabilities must be given to. Throws std::runtime_error when the socket cannot be made.
[[noreturn]] void serve_local(const std::string& path, const std::string& node, ObjectStore& store, CapabilityVerifier& verifier);

/// The mount's side: 0 and a descriptor, or an errno. `socket` is kept open between calls (-1 at first) and closed when it breaks.
int borrow(const std::string& path, int& socket, const std::string& proof, bool write, int timeout_ms, int& fd);

}  // namespace xos::fs
