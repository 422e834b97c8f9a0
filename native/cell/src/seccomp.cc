#include "seccomp_filter.h"

#include <cerrno>
#include <csignal>
#include <linux/seccomp.h>
#include <memory>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace xos::cell {
namespace {

/// Answers EPERM unless noted. A list of what is denied and not of what is allowed, as a grid runs programs that nobody listed: chosen by what
/// reaches parts of the kernel that a computing job has no use for (Docker's and systemd's @-sets were compared). Root in a user namespace is the
/// usual way to such code, so it is closed too. A name that the architecture lacks is passed over.
constexpr const char* denied[] = {
    // Other people's kernel: modules, another kernel, its clock, its log, its name, accounting, quotas, swap, reboot.
    "init_module", "finit_module", "delete_module", "create_module", "query_module", "get_kernel_syms", "kexec_load", "kexec_file_load", "reboot",
    "settimeofday", "clock_settime", "clock_settime64", "clock_adjtime", "adjtimex", "stime", "syslog", "acct", "quotactl", "quotactl_fd", "swapon", "swapoff",
    "sethostname", "setdomainname", "ioperm", "iopl", "vhangup", "nfsservctl", "_sysctl", "sysfs", "ustat", "uselib", "vm86", "vm86old", "lookup_dcookie",
    // Mounts: a cell's view of the files is not its programs' to change, and the parsers of file systems trust their input.
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
    // Namespaces: a program that is root in one of its own reaches most of what is above and below (clone's flags: see below).
    "unshare", "setns",
    // Code that is loaded into the kernel, or that has been its way in more than once.
    "bpf", "perf_event_open", "userfaultfd", "io_uring_enter", "io_uring_register",
    // Keyrings are not namespaced; the credential of a session lives in one.
    "add_key", "request_key", "keyctl",
    // Files and memory by other names than paths and mappings: they pass by what mounts hide.
    "open_by_handle_at", "name_to_handle_at", "process_madvise", "kcmp", "pidfd_getfd",
    // Where memory lies is the scheduler's concern.
    "move_pages", "migrate_pages", "mbind", "set_mempolicy", "set_mempolicy_home_node",
    // Watching the whole file system.
    "fanotify_init", "fanotify_mark",
    // Raw personalities switch off address randomisation and old-ABI checks.
    "personality"};

/// Answered with ENOSYS, so that callers take their older way: io_uring for checkpoints, clone3 because a filter cannot look behind its pointer
/// (its flags would bring new namespaces), and glibc then uses clone.
constexpr const char* absent[] = {"io_uring_setup", "clone3"};

constexpr int allowed_families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

bool add_rules(scmp_filter_ctx context) {
  for (const char* name : denied) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) continue;
    const int done = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), number, 0);
    if (done < 0 && done != -EDOM) return false;
  }
  for (const char* name : absent)
    if (seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), seccomp_syscall_resolve_name(name), 0) < 0) return false;
  // clone(2) with any of these makes a namespace. CLONE_NEWTIME is not among them: its bit is part of clone's exit signal.
  for (const uint64_t flag : {uint64_t{CLONE_NEWUSER}, uint64_t{CLONE_NEWNS}, uint64_t{CLONE_NEWPID}, uint64_t{CLONE_NEWNET}, uint64_t{CLONE_NEWIPC}, uint64_t{CLONE_NEWUTS}, uint64_t{CLONE_NEWCGROUP}})
    if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, SCMP_A0_64(SCMP_CMP_MASKED_EQ, flag, flag)) < 0) return false;
  // Sockets of the families that programs use: the others are rarely tested kernel code, and vsock reaches the machine below this one.
  int highest = 0;
  for (const int family : allowed_families) highest = std::max(highest, family);
  for (int family = 0; family <= highest; family++) {
    bool allowed = false;
    for (const int one : allowed_families) allowed = allowed || one == family;
    if (!allowed && seccomp_rule_add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0_32(SCMP_CMP_EQ, family)) < 0) return false;
  }
  if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0_32(SCMP_CMP_GT, highest)) < 0) return false;
  // Netlink to the routing tables only, which getaddrinfo and getifaddrs read: the other protocols configure the kernel.
  if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 2, SCMP_A0_32(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2_32(SCMP_CMP_NE, 0)) < 0) return false;
  // Typing into a terminal for somebody else: TIOCSTI (0x5412), TIOCLINUX (0x541c).
  for (const uint32_t request : {0x5412u, 0x541cu})
    if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1, SCMP_A1_32(SCMP_CMP_EQ, request)) < 0) return false;
  return true;
}

}  // namespace

Filter untrusted_filter(std::string& error) {
  Filter filter;
  const auto failed = [&](const char* what) {
    error = std::string("cannot make the filter of system calls: ") + what;
    return Filter{};
  };
  const std::unique_ptr<void, void (*)(void*)> context(seccomp_init(SCMP_ACT_ALLOW), [](void* made) {
    if (made) seccomp_release(made);
  });
  if (!context) return failed("the library does not start");
  // A process that calls with another architecture's numbers (i386 on x86-64) would pass the list by: the default is to kill it, and that stays. A
  // binary search keeps the price of a call at a few comparisons.
  seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (!add_rules(context.get())) return failed("the library refused a rule");
  size_t bytes = 0;
  if (seccomp_export_bpf_mem(context.get(), nullptr, &bytes) < 0) return failed("its size is not known");
  filter.program.resize(bytes / sizeof(sock_filter));
  if (seccomp_export_bpf_mem(context.get(), filter.program.data(), &bytes) < 0) return failed("it cannot be compiled");
  return filter;
}

bool load_filter(const Filter& filter) {
  const sock_fprog program{static_cast<unsigned short>(filter.program.size()), const_cast<sock_filter*>(filter.program.data())};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

}  // namespace xos::cell
