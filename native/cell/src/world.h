// What a cell's inside looks like: mounts, first pid, system calls that a checkpoint could not follow.
#pragma once

namespace xos::cell {

/// Turns fresh namespaces (pid, mount, ipc, uts) into a cell. Called once by pid 1. Null, or what could not be done (errno says why).
const char* make_world();

/// Takes io_uring away from the calling process (root still) and what it starts. For a job's first process, never for pid 1: CRIU runs below
/// pid 1, and the kernel lets only a process without filters read those of others (PTRACE_SECCOMP_GET_FILTER) or suspend them. False: errno.
bool hide_io_uring();

/// The next process of the cell gets the pid after `pid`, if it is free.
bool set_last_pid(int pid);

/// Whether programs left System V objects behind in the cell's ipc namespace.
bool ipc_left_behind();

}  // namespace xos::cell
