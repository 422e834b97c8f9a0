// The object service on one connection: decodes requests, checks the capability, works on the store.
#pragma once
#include <string>
#include <unordered_map>

#include "capability.h"
#include "mirror.h"
#include "object_store.h"
#include "wire.h"

namespace xos::fs {

/// What one connection has verified already: the same capability comes with every request to a file.
class Verified {
 public:
  Verified(CapabilityVerifier& verifier, std::string node) : verifier_(verifier), node_(std::move(node)) {}
  /// Reads a capability. Null when refused (logged with the reason); `status` says how to answer. Throws Malformed.
  const Capability* check(Reader& r, int& status);

 private:
  CapabilityVerifier& verifier_;
  std::string node_;
  std::unordered_map<std::string, Capability> known_;
  uint64_t generation_ = 0;
};

/// Runs one request that is not a read or a lend, behind its capability; returns 0 or -errno and puts the result into `out`. Throws Malformed.
int perform(ObjectStore& store, Mirror& mirror, Verified& verified, uint16_t type, uint16_t flags, const Capability& c, Reader& r, Writer& out);

class ObjectService {
 public:
  ObjectService(ObjectStore& store, Mirror& mirror, CapabilityVerifier& verifier) : store_(store), mirror_(mirror), verifier_(verifier) {}
  /// Until the peer leaves. Throws wire::Error; Malformed when a frame is not understood (the connection must then be closed).
  void serve(wire::Connection& connection);

 private:
  ObjectStore& store_;
  Mirror& mirror_;
  CapabilityVerifier& verifier_;
};

}  // namespace xos::fs
