// SPDX-License-Identifier: GPL-2.0
/* The live payloads, for whoever has to find them by uid or serial number. */
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "internal.h"

static LIST_HEAD(live);
static DEFINE_SPINLOCK(live_lock);	/* guards live, live_count, revoked, and link and key of each payload */
static u32 live_count;
static u64 revoked;

void xos_live_add(struct xos_cred *cred, struct key *key)
{
	spin_lock(&live_lock);
	cred->key = key;
	list_add_tail(&cred->link, &live);
	live_count++;
	spin_unlock(&live_lock);
}

void xos_live_remove(struct xos_cred *cred)
{
	spin_lock(&live_lock);
	list_del_init(&cred->link);
	live_count--;
	spin_unlock(&live_lock);
}

u32 xos_live_count(void)
{
	return READ_ONCE(live_count);
}

u64 xos_live_revoked(void)
{
	u64 count;

	spin_lock(&live_lock);
	count = revoked;
	spin_unlock(&live_lock);
	return count;
}

/*
 * A reference to the key of some payload that fits, or NULL. A key whose last reference is gone is about to be destroyed, which wipes it and
 * waits for our lock to leave the list: it is passed over.
 */
static struct key *next_fitting(const struct xos_cred_match *match)
{
	struct xos_cred *cred;
	struct key *key = NULL;

	spin_lock(&live_lock);
	list_for_each_entry(cred, &live, link) {
		if (match->fits(cred, match->what) && refcount_inc_not_zero(&cred->key->usage)) {
			key = cred->key;
			break;
		}
	}
	spin_unlock(&live_lock);
	return key;
}

u32 xos_live_revoke(const struct xos_cred_match *match)
{
	struct key *key;
	u32 count = 0;

	/* Each round takes one payload out of the list: key_revoke() calls our revoke, also for a key that is revoked already (then it is not in the list). */
	while ((key = next_fitting(match))) {
		key_revoke(key);
		key_put(key);
		count++;
		cond_resched();
	}
	spin_lock(&live_lock);
	revoked += count;
	spin_unlock(&live_lock);
	return count;
}
