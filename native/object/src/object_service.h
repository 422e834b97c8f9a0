// The object service on one connection: decodes requests, checks the capability, works on the store.
#pragma once
#include <string>

#include "capability.h"
#include "object_store.h"
#include "wire.h"

namespace xos::fs {

class ObjectService {
 public:
  ObjectService(ObjectStore& store, CapabilityVerifier& verifier) : store_(store), verifier_(verifier) {}
  /// Until the peer leaves. Throws wire::Error; Malformed when a frame is not understood (the connection must then be closed).
  void serve(wire::Connection& connection);

 private:
  ObjectStore& store_;
  CapabilityVerifier& verifier_;
};

}  // namespace xos::fs
