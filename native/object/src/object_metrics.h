// What an OSD counts of its requests. One for the process: its connections' threads count without knowing each other.
#pragma once
#include <array>
#include <string>

#include "metrics.h"
#include "object_protocol.h"

namespace xos::fs {

class CapabilityVerifier;
class ObjectStore;
class Scrubber;

struct ObjectMetrics {
  /// By the low five bits of the type, in which the object service's requests differ.
  std::array<metrics::Histogram, 32> requests;
  metrics::Counter read_bytes, written_bytes, refused, lent;
  metrics::Histogram& of(uint16_t type) { return requests[type & 31]; }
  static ObjectMetrics& instance();
};

/// The metrics of a whole OSD, in Prometheus' text format.
std::string describe_osd(const ObjectStore& store, const Scrubber& scrubber, const CapabilityVerifier& verifier);

}  // namespace xos::fs
