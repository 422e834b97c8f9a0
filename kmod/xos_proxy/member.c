// SPDX-License-Identifier: GPL-2.0
/* The watched processes: by cookie in their watcher, by signal_struct for signals. */
#include <linux/hashtable.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "internal.h"

static DEFINE_HASHTABLE(by_signal, 12);
static DEFINE_SPINLOCK(by_signal_lock);

struct xos_member *xos_member_of(const struct signal_struct *signal)
{
	struct xos_member *member;

	hash_for_each_possible_rcu(by_signal, member, node, (unsigned long)signal)
		if (member->signal == signal)
			return member;
	return NULL;
}

void xos_member_each(void (*each)(struct xos_member *member))
{
	struct xos_member *member;
	int bucket;

	rcu_read_lock();
	hash_for_each_rcu(by_signal, bucket, member, node)
		each(member);
	rcu_read_unlock();
}

static int publish(struct xos_member *member)
{
	int err = 0;

	spin_lock(&by_signal_lock);
	rcu_read_lock();
	if (xos_member_of(member->signal))
		err = -EBUSY;
	else
		hash_add_rcu(by_signal, &member->node, (unsigned long)member->signal);
	rcu_read_unlock();
	spin_unlock(&by_signal_lock);
	return err;
}

static void free_member_rcu(struct rcu_head *head)
{
	struct xos_member *member = container_of(head, struct xos_member, rcu);

	put_task_struct(member->task);
	kfree(member);
}

/* The leader of the thread group, held. */
static struct task_struct *task_of(pid_t number)
{
	struct task_struct *task;
	struct pid *pid;

	if (number <= 0)
		return ERR_PTR(-EINVAL);
	pid = find_get_pid(number);
	if (!pid)
		return ERR_PTR(-ESRCH);
	task = get_pid_task(pid, PIDTYPE_TGID);
	put_pid(pid);
	if (!task)
		return ERR_PTR(-ESRCH);
	if ((task->flags & PF_KTHREAD) || is_global_init(task)) {
		put_task_struct(task);
		return ERR_PTR(-EINVAL);
	}
	return task;
}

static struct xos_member *make_member(struct xos_watcher *watcher, const struct xos_proxy_watch *watch)
{
	struct xos_member *member = kzalloc(sizeof(*member), GFP_KERNEL_ACCOUNT);
	struct mm_struct *mm;

	if (!member)
		return ERR_PTR(-ENOMEM);
	member->task = task_of(watch->pid);
	if (IS_ERR(member->task)) {
		void *err = member->task;

		kfree(member);
		return err;
	}
	mm = get_task_mm(member->task);
	if (!mm) {	/* it ends */
		put_task_struct(member->task);
		kfree(member);
		return ERR_PTR(-ESRCH);
	}
	mmgrab(mm);
	mmput(mm);
	member->mm = mm;
	member->signal = member->task->signal;
	member->watcher = watcher;
	member->cookie = watch->cookie;
	member->shows = true;
	INIT_LIST_HEAD(&member->ready);
	spin_lock_init(&member->shown_lock);
	return member;
}

int xos_member_add(struct xos_watcher *watcher, const struct xos_proxy_watch *watch)
{
	struct xos_member *member;
	int err;

	lockdep_assert_held(&watcher->lock);
	if (watch->flags)
		return -EINVAL;
	if (watcher->count >= XOS_PROXY_MAX)
		return -ENOSPC;
	member = make_member(watcher, watch);
	if (IS_ERR(member))
		return PTR_ERR(member);
	err = xa_insert(&watcher->members, watch->cookie, member, GFP_KERNEL_ACCOUNT);
	if (err)
		goto err_insert;
	err = publish(member);
	if (err)
		goto err_publish;
	watcher->count++;
	return 0;

err_publish:
	xa_erase(&watcher->members, watch->cookie);
err_insert:
	mmdrop(member->mm);
	free_member_rcu(&member->rcu);	/* nobody has seen it */
	return err;
}

void xos_member_remove(struct xos_watcher *watcher, struct xos_member *member)
{
	unsigned long flags;

	lockdep_assert_held(&watcher->lock);
	xa_erase(&watcher->members, member->cookie);
	watcher->count--;
	spin_lock(&by_signal_lock);
	hash_del_rcu(&member->node);
	spin_unlock(&by_signal_lock);
	/* A signal that found it before may come to its watcher's list only now. */
	spin_lock_irqsave(&watcher->ready_lock, flags);
	member->removed = true;
	list_del_init(&member->ready);
	spin_unlock_irqrestore(&watcher->ready_lock, flags);
	xos_charge_withdraw(member);
	/* Here and not behind the grace period: that ends in a softirq, and the last to drop an mm takes pgd_lock, which the rest of the kernel takes with those on. */
	mmdrop(member->mm);
	call_rcu(&member->rcu, free_member_rcu);
}
