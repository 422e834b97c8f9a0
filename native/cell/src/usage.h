// What the processes of a cell use now.
#pragma once
#include "protocol.h"

namespace xos::cell {

/// Adds up all processes that pid 1 sees but itself, with those that they have waited for. CPU time in steps of 10 ms; memory counts pages that
/// several share once for each, as ps does.
relay::Usage measure_usage();

}  // namespace xos::cell
