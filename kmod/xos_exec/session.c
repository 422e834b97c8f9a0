// SPDX-License-Identifier: GPL-2.0
/* Whether the caller is in a session: by the keys of its session keyring, of whatever type (a plain "user" key today, or one of xos_cred). */
#include <linux/cred.h>
#include <linux/key.h>
#include <linux/key-type.h>
#include <linux/string.h>

#include "internal.h"

/*
 * keyring_search() wants to know the type and assoc_array_iterate() is not exported, so: the numbers of the keys by the keyring's own read
 * operation, then each by its number. Permissions are not asked: nothing of a key is used but its name and whether it is valid.
 */
static int key_numbers(struct key *ring, key_serial_t *numbers, int max)
{
	long size;

	down_read(&ring->sem);
	size = key_validate(ring);
	if (!size)
		size = ring->type->read(ring, (char *)numbers, max * sizeof(*numbers));
	up_read(&ring->sem);
	return size < 0 ? 0 : min_t(long, size / sizeof(*numbers), max);
}

/* A positive answer is no proof to anybody: XOS_EXEC_PROGRAM shows the key's secret to the relay, which knows what it must be. */
bool xos_session_valid(void)
{
	struct key *ring = current_cred()->session_keyring;	/* our own credentials: nobody else changes them */
	key_serial_t numbers[XOS_EXEC_KEYS_MAX];
	bool session = false, credential = false, withdrawn = false;
	int count, i;

	if (!ring || ring->type != &key_type_keyring)
		return false;
	count = key_numbers(ring, numbers, ARRAY_SIZE(numbers));
	for (i = 0; i < count; i++) {
		/* Partial: a key that is still being made must not hold up an execve. */
		key_ref_t ref = lookup_user_key(numbers[i], KEY_LOOKUP_PARTIAL, KEY_DEFER_PERM_CHECK);
		struct key *key;
		bool valid;

		if (IS_ERR(ref))
			continue;
		key = key_ref_to_ptr(ref);
		valid = !key_validate(key) && key_is_positive(key);
		if (!strcmp(key->description, XOS_EXEC_KEY_SESSION))
			session = session || valid;
		else if (!strcmp(key->description, XOS_EXEC_KEY_CREDENTIAL) && valid)
			credential = true;
		else if (!strcmp(key->description, XOS_EXEC_KEY_CREDENTIAL))
			withdrawn = true;
		key_ref_put(ref);
	}
	/* None at all: it expired or was revoked, and the kernel has collected it. (A session that never had one is not known to the grid either.) */
	return session && credential && !withdrawn;
}
