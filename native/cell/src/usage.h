// What the processes of a cell use now.
#pragma once
#include "protocol.h"
#include "unique_fd.h"

namespace xos::cell {

/// Where the kernel counts for a job's control group. Empty without one.
class GroupCounters {
 public:
  GroupCounters() = default;
  /// Of the group's directory; it need not stay open, nor be visible to the cell.
  explicit GroupCounters(int directory);
  /// False when there are none, or the group has gone.
  bool read(relay::Usage& usage) const;

 private:
  unique_fd cpu_, memory_;
};

/// What the kernel has counted for the job's group. Without one: all processes that pid 1 sees but itself, with those that they have waited for, CPU
/// time in steps of 10 ms and memory that several share once for each, as ps does; that costs pid 1 a look at every process, so a job
/// of many would take the time of others.
relay::Usage measure_usage(const GroupCounters& group);

}  // namespace xos::cell
