// What TCP sockets of a tree had not sent when it was dumped, sent when it is restored and does not run yet (shim/unsent.cc keeps it).
#pragma once
#include "fd.h"
#include "tree.h"
#include <string>
#include <vector>

namespace xos::checkpoint {

class Unsent {
 public:
  /// `library` is preloaded into CRIU; empty or not there: CRIU does it alone, as it can. Throws std::system_error.
  explicit Unsent(const std::string& library);
  ~Unsent();
  Unsent(const Unsent&) = delete;
  /// For CRIU's environment, and the descriptors that it must inherit.
  std::vector<std::string> environment() const;
  std::vector<int> inherited() const { return memory_ ? std::vector<int>{memory_.get()} : std::vector<int>(); }
  /// Sends it, from the sockets of `tree`. What is wrong, or "".
  std::string deliver(const std::vector<Process>& tree) const;

 private:
  std::string library_;
  Fd memory_;
  void* area_ = nullptr;
};

}  // namespace xos::checkpoint
