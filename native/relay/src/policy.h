// Which programs go to the grid by name: the one policy format (README, "Policy"). No exceptions, no library: xexec uses it too.
#pragma once
#include <string_view>

namespace xos::relay {

enum class Placement : unsigned char { unspecified, local, grid };

/// `*` any text without '/', `**` any text, `?` one character but '/'. Bounded: at most 64 wildcards, else no match.
bool glob_matches(std::string_view pattern, std::string_view path);

/// Reads policy lines `PATH-GLOB  local|grid [key=value…]`; the last line that matches one of the two paths wins, and `before` stays when none does.
/// `node` gets the value of node= of that line, or is emptied. Lines that are no policy are skipped.
Placement apply_policy(std::string_view lines, std::string_view path, std::string_view real_path, Placement before, std::string_view& node);

}  // namespace xos::relay
