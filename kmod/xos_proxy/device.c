// SPDX-License-Identifier: GPL-2.0
/* /dev/xos_proxy: uapi/xos_proxy.h is the manual. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"

static int open_watcher(struct inode *inode, struct file *file)
{
	struct xos_watcher *watcher;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	watcher = kzalloc(sizeof(*watcher), GFP_KERNEL_ACCOUNT);
	if (!watcher)
		return -ENOMEM;
	mutex_init(&watcher->lock);
	xa_init(&watcher->members);
	spin_lock_init(&watcher->ready_lock);
	INIT_LIST_HEAD(&watcher->ready);
	init_waitqueue_head(&watcher->wait);
	err = xos_signals_watch();
	if (err) {
		kfree(watcher);
		return err;
	}
	file->private_data = watcher;
	return nonseekable_open(inode, file);
}

static int release_watcher(struct inode *inode, struct file *file)
{
	struct xos_watcher *watcher = file->private_data;
	struct xos_member *member;
	unsigned long cookie;

	mutex_lock(&watcher->lock);
	xa_for_each(&watcher->members, cookie, member)
		xos_member_remove(watcher, member);
	mutex_unlock(&watcher->lock);
	xos_signals_unwatch();
	xa_destroy(&watcher->members);
	kfree_rcu(watcher, rcu);	/* a signal may be about to say something to it */
	return 0;
}

/* The first event and its member, off the list. */
static bool take_event(struct xos_watcher *watcher, struct xos_proxy_event *event)
{
	struct xos_member *member;

	spin_lock_irq(&watcher->ready_lock);
	member = list_first_entry_or_null(&watcher->ready, struct xos_member, ready);
	if (member) {
		*event = (struct xos_proxy_event){ .cookie = member->cookie, .events = member->events };
		member->events = 0;
		list_del_init(&member->ready);
	}
	spin_unlock_irq(&watcher->ready_lock);
	return member;
}

static bool has_event(struct xos_watcher *watcher)
{
	return !list_empty_careful(&watcher->ready);
}

static ssize_t read_events(struct file *file, char __user *buffer, size_t size, loff_t *unused)
{
	struct xos_watcher *watcher = file->private_data;
	struct xos_proxy_event event;
	size_t done = 0;

	if (size < sizeof(event))
		return -EINVAL;
	while (size - done >= sizeof(event)) {
		if (!take_event(watcher, &event)) {
			int err;

			if (done)
				break;
			if (file->f_flags & O_NONBLOCK)
				return -EAGAIN;
			err = wait_event_interruptible(watcher->wait, has_event(watcher));
			if (err)
				return err;
			continue;
		}
		/* A reader who gives no memory to write to has had its event. */
		if (copy_to_user(buffer + done, &event, sizeof(event)))
			return done ?: -EFAULT;
		done += sizeof(event);
	}
	return done;
}

static __poll_t poll_events(struct file *file, poll_table *table)
{
	struct xos_watcher *watcher = file->private_data;

	poll_wait(file, &watcher->wait, table);
	return has_event(watcher) ? EPOLLIN | EPOLLRDNORM : 0;
}

static long add_member(struct xos_watcher *watcher, const void __user *from)
{
	struct xos_proxy_watch watch;
	int err;

	if (copy_from_user(&watch, from, sizeof(watch)))
		return -EFAULT;
	mutex_lock(&watcher->lock);
	err = xos_member_add(watcher, &watch);
	mutex_unlock(&watcher->lock);
	return err;
}

static long take_usage(struct xos_watcher *watcher, const void __user *from)
{
	struct xos_proxy_usage usage;
	struct xos_member *member;
	int err;

	if (copy_from_user(&usage, from, sizeof(usage)))
		return -EFAULT;
	mutex_lock(&watcher->lock);
	member = xa_load(&watcher->members, usage.cookie);
	err = member ? xos_charge(member, &usage) : -ENOENT;
	mutex_unlock(&watcher->lock);
	return err;
}

static long remove_member(struct xos_watcher *watcher, const void __user *from)
{
	struct xos_member *member;
	u64 cookie;

	if (copy_from_user(&cookie, from, sizeof(cookie)))
		return -EFAULT;
	mutex_lock(&watcher->lock);
	member = xa_load(&watcher->members, cookie);
	if (member)
		xos_member_remove(watcher, member);
	mutex_unlock(&watcher->lock);
	return member ? 0 : -ENOENT;
}

static long control(struct file *file, unsigned int command, unsigned long argument)
{
	struct xos_watcher *watcher = file->private_data;
	const void __user *from = (const void __user *)argument;

	switch (command) {
	case XOS_PROXY_ADD:
		return add_member(watcher, from);
	case XOS_PROXY_USAGE:
		return take_usage(watcher, from);
	case XOS_PROXY_REMOVE:
		return remove_member(watcher, from);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = open_watcher,
	.release = release_watcher,
	.read = read_events,
	.poll = poll_events,
	.unlocked_ioctl = control,
	.compat_ioctl = compat_ptr_ioctl,	/* the structures are the same */
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "xos_proxy",
	.mode = 0600,
	.fops = &operations,
};

int xos_device_init(void)
{
	return misc_register(&device);
}

void xos_device_exit(void)
{
	misc_deregister(&device);
}
