// SPDX-License-Identifier: GPL-2.0
/* The key type. Locking as the key service has it: instantiate, update, revoke with key->sem held for writing, read for reading, destroy alone. */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>

#include "internal.h"

static void wipe(struct xos_cred *cred)
{
	if (cred)
		kvfree_sensitive(cred, xos_cred_bytes(cred));
}

/* The number of the caller's session keyring; 0 without one. Our own credentials: nobody else changes them. */
static key_serial_t session_of_caller(void)
{
	const struct key *ring = current_cred()->session_keyring;

	return ring ? ring->serial : 0;
}

static int xos_cred_vet_description(const char *description)
{
	return strncmp(description, "xos:", 4) ? -EINVAL : 0;
}

static int check(const struct xos_cred_payload *head, size_t datalen)
{
	static const u8 zero[XOS_CRED_SERIAL_MAX];

	if (datalen < sizeof(*head) || head->magic != XOS_CRED_MAGIC || head->version != XOS_CRED_VERSION || head->reserved)
		return -EINVAL;
	if (head->size > XOS_CRED_SIZE_MAX || head->size != datalen - sizeof(*head))
		return -EINVAL;
	if (head->serial_size > XOS_CRED_SERIAL_MAX ||
	    memcmp(head->serial + head->serial_size, zero, XOS_CRED_SERIAL_MAX - head->serial_size))
		return -EINVAL;
	if (head->size ? !head->uid || head->uid == (u32)-1 : head->serial_size)
		return -EINVAL;
	if (head->expires <= ktime_get_real_seconds())
		return -EKEYEXPIRED;
	return 0;
}

static int xos_cred_preparse(struct key_preparsed_payload *prep)
{
	struct xos_cred_payload head;
	struct xos_cred *cred;
	int err;

	/* capable(), not ns_capable(): root of a session's user namespace is nobody here. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!prep->data || prep->datalen < sizeof(head))
		return -EINVAL;
	memcpy(&head, prep->data, sizeof(head));
	err = check(&head, prep->datalen);
	if (err)
		return err;
	cred = kvzalloc(struct_size(cred, credential, head.size), GFP_KERNEL);
	if (!cred)
		return -ENOMEM;
	INIT_LIST_HEAD(&cred->link);
	cred->session = session_of_caller();
	cred->uid = head.uid;
	cred->serial_size = head.serial_size;
	memcpy(cred->serial, head.serial, sizeof(cred->serial));
	cred->size = head.size;
	memcpy(cred->credential, prep->data + sizeof(head), head.size);
	prep->payload.data[0] = cred;
	prep->quotalen = prep->datalen;
	prep->expiry = head.expires;
	return 0;
}

static void xos_cred_free_preparse(struct key_preparsed_payload *prep)
{
	wipe(prep->payload.data[0]);
	prep->payload.data[0] = NULL;
}

static int xos_cred_instantiate(struct key *key, struct key_preparsed_payload *prep)
{
	struct xos_cred *cred = prep->payload.data[0];
	int err = key_payload_reserve(key, prep->quotalen);

	if (err)
		return err;
	prep->payload.data[0] = NULL;
	rcu_assign_keypointer(key, cred);
	xos_live_add(cred, key);
	return 0;
}

static int xos_cred_update(struct key *key, struct key_preparsed_payload *prep)
{
	struct xos_cred *old = dereference_key_locked(key), *cred = prep->payload.data[0];
	int err;

	/* Revoked between the look-up and here: revoke() will not be called again, so nothing may come in any more. */
	if (test_bit(KEY_FLAG_REVOKED, &key->flags) || test_bit(KEY_FLAG_INVALIDATED, &key->flags))
		return -EKEYREVOKED;
	err = key_payload_reserve(key, prep->quotalen);
	if (err)
		return err;
	/* xosd renews from outside: the key stays that of the session which it was made in. */
	if (old)
		cred->session = old->session;
	prep->payload.data[0] = NULL;
	if (old)
		xos_live_remove(old);
	rcu_assign_keypointer(key, cred);
	key->expiry = prep->expiry;
	xos_live_add(cred, key);
	wipe(old);
	return 0;
}

static void forget(struct key *key)
{
	struct xos_cred *cred = key->payload.data[0];

	if (!cred)
		return;
	xos_live_remove(cred);
	key->payload.data[0] = NULL;
	wipe(cred);
}

static void xos_cred_revoke(struct key *key)
{
	key_payload_reserve(key, 0);
	forget(key);
}

static void xos_cred_destroy(struct key *key)
{
	forget(key);
}

static void xos_cred_describe(const struct key *key, struct seq_file *m)
{
	seq_puts(m, key->description);
	if (key_is_positive(key))
		seq_printf(m, ": %u", key->datalen);
}

static long xos_cred_read(const struct key *key, char *buffer, size_t buflen)
{
	const struct xos_cred *cred = dereference_key_locked(key);

	if (!cred || !cred->size)
		return -ENODATA;
	if (!cred->session || cred->session != session_of_caller())
		return -EACCES;
	if (buffer && buflen > 0)
		memcpy(buffer, cred->credential, min_t(size_t, buflen, cred->size));
	return cred->size;
}

struct key_type xos_cred_key_type = {
	.name = XOS_CRED_TYPE,
	/* Collected as soon as it has expired, and not five minutes later. */
	.flags = KEY_TYPE_INSTANT_REAP,
	.vet_description = xos_cred_vet_description,
	.preparse = xos_cred_preparse,
	.free_preparse = xos_cred_free_preparse,
	.instantiate = xos_cred_instantiate,
	.update = xos_cred_update,
	.revoke = xos_cred_revoke,
	.destroy = xos_cred_destroy,
	.describe = xos_cred_describe,
	.read = xos_cred_read,
};
