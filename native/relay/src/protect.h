// How a protection is written: `no`, `auto`, or a time such as 90s, 5m, 2h (a number alone: seconds). In xrun, XOS_PROTECT and the VO's policy alike.
#pragma once
#include "protocol.h"

#include <cstring>

namespace xos::relay {

inline constexpr uint16_t protect_seconds_min = 10, protect_seconds_max = 0xfffe;  // some 18 hours

/// False when `text` says nothing that is understood, or a time out of the bounds.
inline bool read_protect(const char* text, uint16_t& protect) {
  if (!strcmp(text, "auto") || !strcmp(text, "yes") || !strcmp(text, "1")) return protect = protect_auto, true;
  if (!strcmp(text, "no") || !strcmp(text, "0")) return protect = protect_no, true;
  uint32_t seconds = 0;
  const char* at = text;
  for (; *at >= '0' && *at <= '9' && seconds <= protect_seconds_max; at++) seconds = seconds * 10 + static_cast<uint32_t>(*at - '0');
  if (at == text) return false;
  const uint32_t unit = !strcmp(at, "") || !strcmp(at, "s") ? 1 : !strcmp(at, "m") ? 60 : !strcmp(at, "h") ? 3600 : 0;
  if (!unit || seconds > protect_seconds_max / unit || seconds * unit < protect_seconds_min) return false;
  protect = static_cast<uint16_t>(seconds * unit);
  return true;
}

}  // namespace xos::relay
