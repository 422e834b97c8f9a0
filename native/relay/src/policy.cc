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

namespace {

Placement placement_of(std::string_view word) {
  return word == "local" ? Placement::local : word == "grid" ? Placement::grid : Placement::unspecified;
}

Cost cost_of(std::string_view word) {
  return word == "low" ? Cost::low : word == "normal" ? Cost::normal : word == "high" ? Cost::high : Cost::unknown;
}

bool read_owner(std::string_view word, PolicyLine& line) {
  if (word == "self") {
    line.owner = Owner::self;
    return true;
  }
  uint64_t number = 0;
  if (word == "root") word = "0";
  if (word.empty() || word.size() > 10) return false;
  for (const char digit : word) {
    if (digit < '0' || digit > '9') return false;
    number = number * 10 + static_cast<uint64_t>(digit - '0');
  }
  if (number >= 0xffffffffu) return false;
  line.owner = Owner::number;
  line.owner_uid = static_cast<uint32_t>(number);
  return true;
}

/// The words behind the placement. False: one that would narrow the line cannot be read, so the line must not count.
bool read_options(std::string_view rest, PolicyLine& line) {
  for (std::string_view option = next_word(rest); !option.empty() && option[0] != '#'; option = next_word(rest)) {
    if (option.substr(0, 5) == "node=") line.node = option.substr(5);
    else if (option.substr(0, 5) == "cost=") line.cost = cost_of(option.substr(5));
    else if (option.substr(0, 6) == "leave=") line.cost = cost_of(option.substr(6));
    else if (option.substr(0, 6) == "owner=" && !read_owner(option.substr(6), line)) return false;
  }
  return true;
}

}  // namespace

bool next_policy_line(std::string_view& lines, std::string_view vo, std::string_view& section, PolicyLine& line) {
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    std::string_view text = lines.substr(0, end);
    lines.remove_prefix(end == lines.npos ? lines.size() : end + 1);
    line = {};
    const std::string_view first = next_word(text), second = next_word(text);
    if (first == "vo") {
      section = second == "*" ? std::string_view() : second;
      continue;
    }
    if (!section.empty() && section != vo) continue;
    line.placement = placement_of(second);
    if (first == "default" && line.placement != Placement::unspecified) {
      line.kind = PolicyLine::Kind::fallback;
      if (read_options(text, line)) return true;
    } else if (!first.empty() && first[0] == '/' && (line.placement != Placement::unspecified || second == "auto")) {
      line.glob = first;
      if (read_options(text, line)) return true;
    }
  }
  return false;
}

void apply_policy(std::string_view lines, const Subject& subject, Policy& policy) {
  std::string_view section;
  PolicyLine line;
  while (next_policy_line(lines, subject.vo, section, line)) {
    if (line.kind == PolicyLine::Kind::fallback) {
      policy.fallback = line.placement;
      if (line.cost != Cost::unknown) policy.leave = line.cost;
      continue;
    }
    if (line.owner == Owner::number && line.owner_uid != subject.owner) continue;
    if (line.owner == Owner::self && subject.caller != subject.owner) continue;
    if (!glob_matches(line.glob, subject.path) && !glob_matches(line.glob, subject.real_path)) continue;
    policy.placement = line.placement;
    policy.cost = line.cost;
    policy.node = line.node;
    policy.matched = true;
  }
}

Attribute read_attribute(std::string_view text) {
  Attribute attribute;
  if (text.substr(0, 5) == "cost=") attribute.cost = cost_of(text.substr(5));
  else attribute.placement = placement_of(text);
  return attribute;
}

Placement decide(const Policy& policy, const Attribute& attribute) {
  if (policy.placement != Placement::unspecified) return policy.placement;
  if (attribute.placement != Placement::unspecified) return attribute.placement;
  const Cost cost = policy.cost != Cost::unknown ? policy.cost : attribute.cost;
  if (cost != Cost::unknown) return cost >= policy.leave ? Placement::grid : Placement::local;
  return policy.fallback;
}

}  // namespace xos::relay
