// What the proxy knows of the program it stands for, and the ways to run it here after all.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace xos::relay {

struct Program {
  const char* path = nullptr;       ///< as given to execve
  char** arguments = nullptr;       ///< from argv[0], ends with null
  bool typed = false;               ///< by name (binfmt_misc or the kernel module), not with xrun
  bool by_module = false;           ///< handed over by xos_exec: its table has decided, and what we execute is not handed back
  uint32_t owner = 0;               ///< of the file
  char absolute[4096] = {};         ///< path joined with the working directory
  char real[4096] = {};             ///< path without symbolic links
  char cwd[4096] = {};
  char node[64] = {};               ///< wanted node; empty: any
  uint16_t protect = 0;             ///< as SpecHead has it
  const char* name() const;         ///< last part of the path
};

/// Session and secret of the session keyring: 32 hexadecimal digits each. False when this is no session of a VO.
bool read_session_key(char session[33], char secret[33]);

/// Fills absolute, real and cwd. False when the working directory or the program cannot be named.
bool resolve(Program& program);

/// Whether the rules say that the program has to stay here (README, "What stays local"). Fills program.node from XOS_NODE or the policy.
bool must_stay_local(Program& program);

/// Runs the program in this process, on this node. Does not return: exits with 126 or 127 and a line on stderr when it cannot.
[[noreturn]] void run_here(const Program& program);

/// Makes ps and /proc show the program instead of xexec. Best effort.
void wear_name_of(const Program& program);

/// "xos: …\n" on stderr in one write.
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace xos::relay
