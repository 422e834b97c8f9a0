/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of xos_proxy have in common. */
#ifndef XOS_PROXY_INTERNAL_H
#define XOS_PROXY_INTERNAL_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "uapi/xos_proxy.h"

struct mm_struct;
struct signal_struct;
struct task_struct;

/* One open file. */
struct xos_watcher {
	struct mutex lock;		/* members and what is charged */
	struct xarray members;		/* cookie: struct xos_member */
	u32 count;
	spinlock_t ready_lock;		/* ready, and events, removed of its members; inside of a siglock */
	struct list_head ready;
	wait_queue_head_t wait;
	struct rcu_head rcu;
};

/* One proxy. Found by signals under RCU; everything it holds goes with it after a grace period. */
struct xos_member {
	struct hlist_node node;
	struct list_head ready;		/* in the watcher's list while there are events */
	struct rcu_head rcu;
	struct xos_watcher *watcher;
	struct task_struct *task;	/* held: its signal_struct stays */
	struct signal_struct *signal;
	struct mm_struct *mm;		/* held, not its pages */
	u64 cookie;
	u32 events;
	bool removed;
	u64 user_ns, system_ns;		/* last totals */
	spinlock_t shown_lock;		/* of what follows; also taken when memory runs out */
	long shown;			/* pages added to the mm */
	bool shows, skips;		/* may add any; its MMF_OOM_SKIP is ours */
};

/* member.c: the table of all members */
int xos_member_add(struct xos_watcher *watcher, const struct xos_proxy_watch *watch);
void xos_member_remove(struct xos_watcher *watcher, struct xos_member *member);
/* Under RCU; NULL when no watcher has that process. */
struct xos_member *xos_member_of(const struct signal_struct *signal);
/* Calls `each` with all of them, under RCU. */
void xos_member_each(void (*each)(struct xos_member *member));

/* charge.c */
int xos_charge(struct xos_member *member, const struct xos_proxy_usage *usage);
void xos_charge_withdraw(struct xos_member *member);
int xos_charge_init(void);
void xos_charge_exit(void);

/* signals.c: looks at signals while there is a watcher */
int xos_signals_watch(void);
void xos_signals_unwatch(void);

/* device.c */
int xos_device_init(void);
void xos_device_exit(void);

#endif
