// What an MRC counts of its requests, and its metrics in Prometheus' text format.
#pragma once
#include <array>
#include <string>

#include "metrics.h"
#include "protocol.h"

namespace xos::fs::metadata {

struct Mrc;

struct MetadataMetrics {
  /// By the low six bits of the type, in which requests differ.
  std::array<metrics::Histogram, 64> requests;
  metrics::Counter invalidations, lock_retries, waits;
  metrics::Histogram& of(uint16_t type) { return requests[type & 63]; }
  static MetadataMetrics& instance();
};

std::string describe_mrc(Mrc& mrc);

}  // namespace xos::fs::metadata
