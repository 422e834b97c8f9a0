// SPDX-License-Identifier: GPL-2.0
/*
 * What a job used, as if its proxy had. Source: __exit_signal() and wait_task_zombie() in kernel/exit.c, thread_group_cputime() in
 * kernel/sched/cputime.c, oom_badness() in mm/oom_kill.c of Linux 6.12.
 */
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/percpu_counter.h>
#include <linux/sched/coredump.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "internal.h"

/* As __exit_signal() does for a thread that ended. The sum of both goes where the scheduler's own sum is: the shown times are scaled to it. */
static void charge_time(struct signal_struct *signal, u64 user_ns, u64 system_ns)
{
	unsigned long flags;

	write_seqlock_irqsave(&signal->stats_lock, flags);
	signal->utime += user_ns;
	signal->stime += system_ns;
	signal->sum_sched_runtime += user_ns + system_ns;
	write_sequnlock_irqrestore(&signal->stats_lock, flags);
}

/* Only do_exit() writes it too, and only upwards: the lower of both may win a race that lasts an instruction. */
static void raise_maximum(struct signal_struct *signal, u64 bytes)
{
	unsigned long pages = bytes >> PAGE_SHIFT;

	if (READ_ONCE(signal->maxrss) < pages)
		WRITE_ONCE(signal->maxrss, pages);
}

static void add_shown(struct xos_member *member, long pages)
{
	lockdep_assert_held(&member->shown_lock);
	percpu_counter_add(&member->mm->rss_stat[MM_SHMEMPAGES], pages - member->shown);
	member->shown = pages;
}

static void withdraw(struct xos_member *member)
{
	add_shown(member, 0);
	if (member->skips && !tsk_is_oom_victim(member->task))
		clear_bit(MMF_OOM_SKIP, &member->mm->flags);
	member->skips = false;
}

/* Its own memory, without what we added. Counters of this kind are off by some pages per CPU. */
static bool is_small(const struct xos_member *member)
{
	return (long)get_mm_rss(member->mm) - member->shown <= (long)(XOS_PROXY_OWN_MAX >> PAGE_SHIFT);
}

static bool runs_same_program(struct xos_member *member)
{
	bool same;

	task_lock(member->task);
	same = member->task->mm == member->mm;
	task_unlock(member->task);
	return same;
}

static void show_memory(struct xos_member *member, u64 bytes)
{
	bool same = runs_same_program(member);

	spin_lock(&member->shown_lock);
	if (member->shows && (!same || !is_small(member))) {
		member->shows = false;
		withdraw(member);
	}
	if (member->shows && bytes) {
		/* Memory that is not here frees none when its owner is killed. */
		if (!member->skips)
			member->skips = !test_and_set_bit(MMF_OOM_SKIP, &member->mm->flags);
		add_shown(member, bytes >> PAGE_SHIFT);
	} else if (member->shows) {
		withdraw(member);
	}
	spin_unlock(&member->shown_lock);
}

static u64 growth(u64 *last, u64 now)
{
	u64 more = now >= *last ? now - *last : now;

	*last = now;
	return more;
}

int xos_charge(struct xos_member *member, const struct xos_proxy_usage *usage)
{
	u64 user_ns, system_ns;

	lockdep_assert_held(&member->watcher->lock);
	if (usage->user_ns > XOS_PROXY_TIME_MAX || usage->system_ns > XOS_PROXY_TIME_MAX || usage->memory > XOS_PROXY_MEMORY_MAX ||
	    usage->memory_max > XOS_PROXY_MEMORY_MAX)
		return -EINVAL;
	user_ns = growth(&member->user_ns, usage->user_ns);
	system_ns = growth(&member->system_ns, usage->system_ns);
	charge_time(member->signal, user_ns, system_ns);
	raise_maximum(member->signal, usage->memory_max);
	show_memory(member, usage->memory);
	return 0;
}

void xos_charge_withdraw(struct xos_member *member)
{
	spin_lock(&member->shown_lock);
	member->shows = false;
	withdraw(member);
	spin_unlock(&member->shown_lock);
}

static void look_again(struct xos_member *member)
{
	spin_lock(&member->shown_lock);
	if (member->shown && !is_small(member)) {
		member->shows = false;
		withdraw(member);
	}
	spin_unlock(&member->shown_lock);
}

/* Memory is out, and the kernel is about to choose: whoever grew behind our back since the last usage is to be chosen as any other. */
static int on_out_of_memory(struct notifier_block *block, unsigned long unused, void *freed)
{
	xos_member_each(look_again);
	return NOTIFY_OK;
}

static struct notifier_block out_of_memory_block = { .notifier_call = on_out_of_memory };

int xos_charge_init(void)
{
	return register_oom_notifier(&out_of_memory_block);
}

void xos_charge_exit(void)
{
	unregister_oom_notifier(&out_of_memory_block);
}
