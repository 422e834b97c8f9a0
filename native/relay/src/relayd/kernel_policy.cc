#include "kernel_policy.h"

#include "control.h"
#include "log.h"
#include "xos_exec.h"

#include <cerrno>
#include <cstring>

namespace xos::relay {

namespace {

void put_rule(Attributes& out, const PolicyLine& line) {
  if (line.glob.size() > XOS_EXEC_PATTERN_MAX)
    throw CodedError("XOS_POLICY_LARGE", "cannot put a policy into the kernel: its pattern '" + std::string(line.glob.substr(0, 80)) + "…' is longer than " + std::to_string(XOS_EXEC_PATTERN_MAX) + " bytes");
  const size_t at = out.begin_nest(XOS_EXEC_A_RULE);
  out.put_text(XOS_EXEC_R_PATTERN, line.glob);
  out.put8(XOS_EXEC_R_ACTION, static_cast<uint8_t>(line.placement));
  if (line.cost != Cost::unknown) out.put8(XOS_EXEC_R_COST, static_cast<uint8_t>(line.cost));
  if (line.owner == Owner::number) out.put32(XOS_EXEC_R_OWNER, line.owner_uid);
  if (line.owner == Owner::self) out.put(XOS_EXEC_R_OWNER_SELF, nullptr, 0);
  out.end_nest(at);
}

}  // namespace

uint32_t vo_of(uint32_t uid) {
  const uint32_t vo = (uid - XOS_EXEC_UID_FIRST) >> 16;
  return uid >= XOS_EXEC_UID_FIRST && vo <= XOS_EXEC_VO_MAX ? vo : 0;
}

Attributes compile_policy(std::string_view lines, uint32_t vo, std::string_view name) {
  Placement fallback = Placement::grid;
  Cost leave = Cost::normal;
  Attributes rules, out;
  size_t count = 0;
  std::string_view section;
  PolicyLine line;
  const size_t at = rules.begin_nest(XOS_EXEC_A_RULES);
  while (next_policy_line(lines, name, section, line)) {
    if (line.kind == PolicyLine::Kind::fallback) {
      fallback = line.placement;
      if (line.cost != Cost::unknown) leave = line.cost;
      continue;
    }
    put_rule(rules, line);
    count++;
  }
  if (!rules.end_nest(at) || count > XOS_EXEC_RULES_MAX)
    throw CodedError("XOS_POLICY_LARGE", "cannot put the policy of VO '" + std::string(name) + "' into the kernel: " + std::to_string(count) + " lines, at most " + std::to_string(XOS_EXEC_RULES_MAX) + " and 64 KiB go in; shorten /etc/xos/policy.d");
  out.put32(XOS_EXEC_A_VO, vo);
  out.put_text(XOS_EXEC_A_NAME, name.substr(0, 63));
  out.put8(XOS_EXEC_A_DEFAULT, static_cast<uint8_t>(fallback));
  out.put8(XOS_EXEC_A_LEAVE, static_cast<uint8_t>(leave));
  out.append(rules);
  return out;
}

KernelPolicy::KernelPolicy() {
  if (connect()) kernel_.request(XOS_EXEC_CMD_DEL, {});
}

KernelPolicy::~KernelPolicy() {
  if (kernel_.is_open()) kernel_.request(XOS_EXEC_CMD_DEL, {});
}

bool KernelPolicy::connect() {
  return kernel_.is_open() || kernel_.open(XOS_EXEC_GENL) == 0;
}

/// A module that was loaded again has another family number and no tables.
bool KernelPolicy::still_there() {
  size_t tables = 0;
  if (kernel_.dump(XOS_EXEC_CMD_GET, [&tables](std::string_view) { tables++; }) != 0) {
    kernel_.close();
    set_.clear();
    return connect();
  }
  if (tables < set_.size()) set_.clear();
  return true;
}

bool KernelPolicy::set(std::string_view lines, uint32_t vo, const std::string& name) {
  try {
    std::string words;
    const int error = kernel_.request(XOS_EXEC_CMD_SET, compile_policy(lines, vo, name), &words);
    if (error == 0) return true;
    throw CodedError("XOS_POLICY_REFUSED", "cannot put the policy of VO '" + name + "' into the kernel: " + strerror(error) + (words.empty() ? "" : ": " + words));
  } catch (const CodedError& error) {
    if (refused_ != lines) log(Priority::error, "%s (%s); the kernel goes on with the policy it has", error.what(), error.code.c_str());
    refused_ = lines;
    return false;
  }
}

void KernelPolicy::keep(std::string_view lines, const std::map<uint32_t, std::string>& vos) {
  if ((vos.empty() && set_.empty()) || !connect() || !still_there()) return;
  for (auto it = set_.begin(); it != set_.end();) {
    if (vos.contains(it->first)) {
      ++it;
      continue;
    }
    Attributes which;
    which.put32(XOS_EXEC_A_VO, it->first);
    kernel_.request(XOS_EXEC_CMD_DEL, which);
    it = set_.erase(it);
  }
  for (const auto& [vo, name] : vos) {
    const auto found = set_.find(vo);
    if (found != set_.end() && found->second == lines) continue;
    if (set(lines, vo, name)) set_[vo] = lines;
  }
}

}  // namespace xos::relay
