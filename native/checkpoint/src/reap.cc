// Reaping the clone of a process whose parent it is, by a wait4() that is put into its first thread.
#include "capture.h"
#include "session.h"
#include <cerrno>
#include <cstring>
#include <sstream>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <thread>

namespace xos::checkpoint {
namespace {

constexpr uint32_t stop_ms_max = 5'000;
constexpr uint64_t code_segment_64 = 0x33;  // of a thread that runs 64-bit code

/// Waits until the traced thread has stopped.
bool stopped(pid_t pid) {
  const Stopwatch watch;
  while (watch.elapsedMs() < stop_ms_max) {
    int status = 0;
    const pid_t got = waitpid(pid, &status, __WALL | WNOHANG);
    if (got == pid) return WIFSTOPPED(status);
    if (got < 0 && errno != EINTR) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return false;
}

/// Address of a `syscall` instruction that the process has anyway: that of the vDSO.
uint64_t systemCallInVdso(pid_t pid) {
  std::istringstream lines(readFile("/proc/" + std::to_string(pid) + "/maps", 64u << 20));
  for (std::string line; std::getline(lines, line);) {
    unsigned long start, end;
    if (!line.ends_with("[vdso]") || std::sscanf(line.c_str(), "%lx-%lx", &start, &end) != 2) continue;
    std::string code(end - start, '\0');
    iovec here{code.data(), code.size()}, there{reinterpret_cast<void*>(start), code.size()};
    if (process_vm_readv(pid, &here, 1, &there, 1, 0) != static_cast<ssize_t>(code.size())) return 0;
    const size_t at = code.find("\x0f\x05");
    return at == std::string::npos ? 0 : start + at;
  }
  return 0;
}

/// What a thread that was interrupted in a system call does next: the call again. Linux does it on the way back from that stop only.
user_regs_struct restarted(user_regs_struct registers) {
  const auto result = static_cast<int64_t>(registers.rax);
  const bool in_call = static_cast<int64_t>(registers.orig_rax) >= 0;
  constexpr int64_t first = -514, last = -512, with_block = -516;  // ERESTARTNOHAND … ERESTARTSYS, ERESTART_RESTARTBLOCK
  if (in_call && ((result >= first && result <= last) || result == with_block)) {
    registers.rip -= 2;
    registers.rax = result == with_block ? SYS_restart_syscall : registers.orig_rax;
  }
  registers.orig_rax = ~0ull;
  return registers;
}

bool toSystemCall(pid_t pid) { return ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr) == 0 && stopped(pid); }

/// In the stopped thread of `parent`: wait4(child, NULL, WNOHANG | __WALL).
bool waitInStopped(pid_t parent, pid_t child) {
  user_regs_struct before;
  uint64_t blocked, none = ~0ull;
  if (ptrace(PTRACE_GETREGS, parent, nullptr, &before) < 0 || before.cs != code_segment_64) return false;
  const uint64_t at = systemCallInVdso(parent);
  // No signal may come between: it would run the program's handler.
  if (!at || ptrace(PTRACE_GETSIGMASK, parent, sizeof blocked, &blocked) < 0 || ptrace(PTRACE_SETSIGMASK, parent, sizeof none, &none) < 0) return false;
  user_regs_struct call = before;
  call.rip = at;
  call.orig_rax = ~0ull;
  call.rax = SYS_wait4;
  call.rdi = static_cast<uint64_t>(child);
  call.rsi = call.r10 = 0;
  call.rdx = WNOHANG | __WALL;
  const bool called = ptrace(PTRACE_SETREGS, parent, nullptr, &call) == 0 && toSystemCall(parent) && toSystemCall(parent) &&
                      ptrace(PTRACE_GETREGS, parent, nullptr, &call) == 0;
  const user_regs_struct after = restarted(before);
  ptrace(PTRACE_SETREGS, parent, nullptr, &after);
  ptrace(PTRACE_SETSIGMASK, parent, sizeof blocked, &blocked);
  return called && call.rax == static_cast<uint64_t>(child);
}

}  // namespace

bool reapIn(pid_t parent, pid_t child) {
  bool reaped = false;
  // In a thread of its own: with its end the kernel lets the process go, even when it did not stop in time.
  std::thread([&] {
    // The program's own filter may know no wait4, and some kill for it.
    const bool filtered = readFile("/proc/" + std::to_string(parent) + "/status").find("\nSeccomp:\t0") == std::string::npos;
    if (ptrace(PTRACE_SEIZE, parent, nullptr, filtered ? PTRACE_O_SUSPEND_SECCOMP : 0) < 0) return;
    if (ptrace(PTRACE_INTERRUPT, parent, nullptr, nullptr) < 0 || !stopped(parent)) return;
    reaped = waitInStopped(parent, child);
    ptrace(PTRACE_DETACH, parent, nullptr, nullptr);
  }).join();
  return reaped;
}

}  // namespace xos::checkpoint
