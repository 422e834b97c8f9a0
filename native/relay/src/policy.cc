#include "policy.h"

namespace xos::relay {
namespace {

bool match(std::string_view pattern, std::string_view path, int wildcards_left, long& steps_left) {
  while (!pattern.empty()) {
    if (--steps_left < 0) return false;  // a hostile pattern of many stars must not hold up an exec
    if (pattern[0] == '*') {
      const bool deep = pattern.size() > 1 && pattern[1] == '*';
      const std::string_view rest = pattern.substr(deep ? 2 : 1);
      if (wildcards_left == 0) return false;
      for (size_t taken = 0;; taken++) {
        if (match(rest, path.substr(taken), wildcards_left - 1, steps_left)) return true;
        if (taken == path.size() || (!deep && path[taken] == '/')) return false;
      }
    }
    if (path.empty() || (pattern[0] == '?' ? path[0] == '/' : pattern[0] != path[0])) return false;
    pattern.remove_prefix(1);
    path.remove_prefix(1);
  }
  return path.empty();
}

std::string_view next_word(std::string_view& line) {
  size_t start = 0;
  while (start < line.size() && (line[start] == ' ' || line[start] == '\t' || line[start] == '\r')) start++;
  size_t end = start;
  while (end < line.size() && line[end] != ' ' && line[end] != '\t' && line[end] != '\r') end++;
  const std::string_view word = line.substr(start, end - start);
  line.remove_prefix(end);
  return word;
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view path) {
  long steps = 100000;
  return match(pattern, path, 64, steps);
}

Placement apply_policy(std::string_view lines, std::string_view path, std::string_view real_path, Placement before, std::string_view& node) {
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end == lines.npos ? lines.size() : end + 1);
    const std::string_view glob = next_word(line), what = next_word(line);
    if (glob.empty() || glob[0] != '/') continue;  // comments too
    const Placement placement = what == "local" ? Placement::local : what == "grid" ? Placement::grid : Placement::unspecified;
    if (placement == Placement::unspecified) continue;
    if (!glob_matches(glob, path) && !glob_matches(glob, real_path)) continue;
    before = placement;
    node = {};
    for (std::string_view option = next_word(line); !option.empty() && option[0] != '#'; option = next_word(line))
      if (option.substr(0, 5) == "node=") node = option.substr(5);
  }
  return before;
}

}  // namespace xos::relay
