// SPDX-License-Identifier: GPL-2.0
/*
 * STOP, CONT and KILL of watched processes, by the tracepoint signal_generate: it is passed under the receiver's siglock when a signal is sent,
 * so nothing goes by and nothing is held up. Source: __send_signal_locked() in kernel/signal.c, include/trace/events/signal.h of Linux 6.12.
 */
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/signal.h>

#include "internal.h"

static DEFINE_MUTEX(watch_lock);
static unsigned int watchers;
static struct tracepoint *generate;

static void tell(struct xos_member *member, u32 event)
{
	struct xos_watcher *watcher = member->watcher;
	unsigned long flags;

	spin_lock_irqsave(&watcher->ready_lock, flags);
	if (!member->removed) {
		if (event != XOS_PROXY_KILL)
			member->events &= ~(XOS_PROXY_STOP | XOS_PROXY_CONT);
		member->events |= event;
		if (list_empty(&member->ready))
			list_add_tail(&member->ready, &watcher->ready);
		wake_up_poll(&watcher->wait, EPOLLIN | EPOLLRDNORM);
	}
	spin_unlock_irqrestore(&watcher->ready_lock, flags);
}

static void on_signal(void *data, int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)
{
	struct xos_member *member;
	u32 event;

	switch (sig) {
	case SIGSTOP:
		event = XOS_PROXY_STOP;
		break;
	case SIGCONT:
		event = XOS_PROXY_CONT;	/* also when it is ignored: it wakes what is stopped */
		break;
	case SIGKILL:
		event = XOS_PROXY_KILL;
		break;
	default:
		return;
	}
	rcu_read_lock();
	member = xos_member_of(task->signal);
	if (member)
		tell(member, event);
	rcu_read_unlock();
}

static void find_tracepoint(struct tracepoint *tracepoint, void *unused)
{
	if (!strcmp(tracepoint->name, "signal_generate"))
		generate = tracepoint;
}

int xos_signals_watch(void)
{
	int err = 0;

	mutex_lock(&watch_lock);
	if (!generate)
		for_each_kernel_tracepoint(find_tracepoint, NULL);
	if (!generate)
		err = -ENODEV;
	else if (watchers == 0)
		err = tracepoint_probe_register(generate, on_signal, NULL);
	if (!err)
		watchers++;
	mutex_unlock(&watch_lock);
	return err;
}

void xos_signals_unwatch(void)
{
	mutex_lock(&watch_lock);
	if (--watchers == 0) {
		tracepoint_probe_unregister(generate, on_signal, NULL);
		tracepoint_synchronize_unregister();	/* nobody is in on_signal() any more */
	}
	mutex_unlock(&watch_lock);
}
