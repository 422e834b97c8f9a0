// Requests of the MRC itself to OSDs, by capabilities that it gives to itself.
#pragma once
#include "osd_table.h"
#include "service.h"

namespace xos::fs::metadata {

constexpr int rounds_ahead = 3;                   ///< that a file is copied while it is in use, before its writers have to wait
constexpr int call_ms = 10000;                    ///< that an OSD may take for one of them
constexpr int64_t fence_ms = 2LL * 3600 * 1000;  ///< that a fence stays: longer than any right lives (an hour)

/// Asks an OSD about one file; `arguments` are what follows the capability. 0 or an errno; EHOSTDOWN for an OSD that is not known.
int call_osd(OsdTable& osds, const Service& service, uint16_t osd, uint16_t type, uint64_t file, uint8_t rights, uint32_t epoch, const Writer& arguments,
             RpcClient::Answer& answer, int timeout_ms, int unreachable_ms = 1 << 30);

}  // namespace xos::fs::metadata
