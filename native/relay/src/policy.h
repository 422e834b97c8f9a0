// Which programs go to the grid by name: the one policy format (README, "Policy"). No exceptions, no library: xexec uses it too.
#pragma once
#include <cstdint>
#include <string_view>

namespace xos::relay {

/// Values are those of the kernel module's interface (enum xos_exec_action), but for unspecified: no line, or one that says auto.
enum class Placement : unsigned char { unspecified = 0, local = 1, grid = 2 };
/// Values of enum xos_exec_cost.
enum class Cost : unsigned char { unknown = 0, low = 1, normal = 2, high = 3 };
enum class Owner : unsigned char { any, number, self };

/// `*` any text without '/', `**` any text, `?` one character but '/'. Bounded: at most 64 wildcards, else no match.
bool glob_matches(std::string_view pattern, std::string_view path);

/// One line of a policy; texts point into it.
struct PolicyLine {
  enum class Kind : unsigned char { rule, fallback } kind = Kind::rule;
  std::string_view glob, node;
  Placement placement = Placement::unspecified;
  Cost cost = Cost::unknown;             ///< of a rule: the programs' class; of the fallback: the class from which they leave
  Owner owner = Owner::any;
  uint32_t owner_uid = 0;
};

/// Takes lines off `lines` until one says something for VO `vo`. `section` keeps whose lines these are: start with an empty one.
/// Lines that are no policy are skipped. False at the end.
bool next_policy_line(std::string_view& lines, std::string_view vo, std::string_view& section, PolicyLine& line);

/// What a program is, as far as policies ask.
struct Subject {
  std::string_view path, real_path, vo;
  uint32_t owner = 0, caller = 0;        ///< of the file; who runs it
};

/// What the lines read so far say; starts as a node without any.
struct Policy {
  Placement placement = Placement::unspecified, fallback = Placement::grid;
  Cost cost = Cost::unknown, leave = Cost::normal;
  std::string_view node;
  bool matched = false;
};

/// Reads policy lines; the last that fits the subject wins, and `policy` stays when none does.
void apply_policy(std::string_view lines, const Subject& subject, Policy& policy);

/// What the attribute security.xos.place of a file says.
struct Attribute {
  Placement placement = Placement::unspecified;
  Cost cost = Cost::unknown;
};
Attribute read_attribute(std::string_view text);

/// local or grid: the rule, else the attribute, else the cost class, else the fallback.
Placement decide(const Policy& policy, const Attribute& attribute);

}  // namespace xos::relay
