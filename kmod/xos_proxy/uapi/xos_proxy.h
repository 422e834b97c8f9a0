/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * xos_proxy: a process that stands for a job elsewhere shows what the job uses, and the signals that no process sees are told.
 *
 * Interface
 *   /dev/xos_proxy, mode 0600. Opening it takes CAP_SYS_ADMIN in the first user namespace (EPERM): it changes what other processes are charged.
 *   Each open file is one watcher with up to XOS_PROXY_MAX proxies, each under a cookie of the watcher's choice. Closing the last copy of the file
 *   lets go of all of them: charged time stays, shown memory goes. A process has one watcher at most.
 *
 *   ioctl(fd, XOS_PROXY_ADD, struct xos_proxy_watch *)
 *     Watches the process with that pid, as seen from the caller's PID namespace. To be sure that it is the one meant, hold a pidfd of it and see
 *     that it is alive after this call: its number cannot have been another's then.
 *     EINVAL: flags that are not 0, process 1, a kernel thread; ESRCH: no such process; EBUSY: watched already, or the cookie is in use;
 *     ENOSPC: XOS_PROXY_MAX reached.
 *   ioctl(fd, XOS_PROXY_USAGE, struct xos_proxy_usage *)
 *     What the job has used since it began. The growth since the last call is charged to the process as if a thread of it had used it and ended:
 *     wait4(2), times(2), getrusage(2) of it and of its parent later, /proc/PID/stat, ps and top count it. A total below the last one
 *     begins a new count (a job restored from a checkpoint). Also after the process ended, as long as its parent has not waited for it.
 *     memory_max raises ru_maxrss, and what was shown counts for it too. memory shows as RssShmem, thus in VmRSS, ps and top, while the process holds at most XOS_PROXY_OWN_MAX itself;
 *     it is not real here, so meanwhile the kernel does not choose the process when memory runs out. A process that takes more, or executes another
 *     program, shows its own memory only from then on, and is chosen as any other.
 *     ENOENT: no such cookie; EINVAL: more than XOS_PROXY_TIME_MAX at once or XOS_PROXY_MEMORY_MAX.
 *   ioctl(fd, XOS_PROXY_REMOVE, __u64 *cookie)
 *     ENOENT: no such cookie.
 *   read(fd, struct xos_proxy_event *, bytes), poll
 *     As many events as there are and fit; at least one, it waits for that unless O_NONBLOCK (EAGAIN). EINVAL: less than one fits. An event says what
 *     was sent to the process since the last: XOS_PROXY_STOP (SIGSTOP) or XOS_PROXY_CONT (SIGCONT), the later of them, and XOS_PROXY_KILL (SIGKILL).
 *     Nothing is ever lost or counted. Other signals the process sees itself.
 */
#ifndef _UAPI_XOS_PROXY_H
#define _UAPI_XOS_PROXY_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define XOS_PROXY_DEVICE "/dev/xos_proxy"
#define XOS_PROXY_MAX 65536
#define XOS_PROXY_TIME_MAX (1ULL << 56)		/* ns, some 2 years */
#define XOS_PROXY_MEMORY_MAX (1ULL << 46)	/* bytes */
#define XOS_PROXY_OWN_MAX (16ULL << 20)		/* bytes */

struct xos_proxy_watch {
	__u64 cookie;
	__s32 pid;
	__u32 flags;
};

struct xos_proxy_usage {
	__u64 cookie;
	__u64 user_ns, system_ns;
	__u64 memory;		/* bytes now */
	__u64 memory_max;	/* bytes at most so far */
};

enum xos_proxy_events {
	XOS_PROXY_STOP = 1,
	XOS_PROXY_CONT = 2,
	XOS_PROXY_KILL = 4,
};

struct xos_proxy_event {
	__u64 cookie;
	__u32 events;
	__u32 zero;
};

#define XOS_PROXY_ADD _IOW('x', 1, struct xos_proxy_watch)
#define XOS_PROXY_USAGE _IOW('x', 2, struct xos_proxy_usage)
#define XOS_PROXY_REMOVE _IOW('x', 3, __u64)

#endif
