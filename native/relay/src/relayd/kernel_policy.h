// The policy in the kernel: tables of the module xos_exec (kmod/xos_exec/uapi/xos_exec.h), compiled from the same lines that xexec reads.
#pragma once
#include "genetlink.h"
#include "policy.h"

#include <map>
#include <string>

namespace xos::relay {

/// The message that sets the table of a VO. Throws CodedError XOS_POLICY_LARGE when the lines do not fit one (1,024 rules, 64 KiB) or a
/// pattern is longer than 255 bytes.
Attributes compile_policy(std::string_view lines, uint32_t vo, std::string_view name);

/// Keeps the kernel's tables as they should be: one for each VO with sessions of this node. Does nothing where the module is not loaded.
class KernelPolicy {
 public:
  /// Removes what an earlier relay left behind.
  KernelPolicy();
  ~KernelPolicy();
  KernelPolicy(const KernelPolicy&) = delete;
  KernelPolicy& operator=(const KernelPolicy&) = delete;
  /// `lines`: all of the system's policy; `vos`: number and name of those with sessions. Cheap when nothing changed; also notices a module
  /// that was loaded or loaded again since.
  void keep(std::string_view lines, const std::map<uint32_t, std::string>& vos);

 private:
  Genetlink kernel_;
  std::map<uint32_t, std::string> set_;  ///< number: lines that its table was made from
  std::string refused_;                  ///< lines that the kernel or the compiler did not take: told once
  bool connect();
  bool still_there();
  bool set(std::string_view lines, uint32_t vo, const std::string& name);
};

/// Number of the VO that a grid user's id belongs to; 0 when it is none.
uint32_t vo_of(uint32_t uid);

}  // namespace xos::relay
