// What programs of an untrusted VO may not ask of the kernel.
#pragma once
#include <cstdint>
#include <linux/filter.h>
#include <string>
#include <vector>

namespace xos::cell {

/// A filter ready to be loaded. Made once a cell by pid 1: what runs between clone and exec only loads it.
struct Filter {
  std::vector<sock_filter> program;
  bool empty() const { return program.empty(); }
};

/// The filter for untrusted programs (the list is in seccomp.cc, with reasons). Empty with `error` set when the library refused.
Filter untrusted_filter(std::string& error);

/// no_new_privs and the filter, for the calling process and what it starts. System calls only, after the change of user. False: errno.
bool load_filter(const Filter& filter);

}  // namespace xos::cell
