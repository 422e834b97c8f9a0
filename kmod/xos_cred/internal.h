/* SPDX-License-Identifier: GPL-2.0 */
#ifndef XOS_CRED_INTERNAL_H
#define XOS_CRED_INTERNAL_H

#include <linux/key.h>
#include <linux/key-type.h>
#include <linux/list.h>

#include "xos_cred.h"

/*
 * One payload. It belongs to its key: key->payload.data[0] points to it, guarded by key->sem as every payload is. `key` and `link` are set
 * while it is in the list of live payloads (live.c), whose lock guards them; uid and serial do not change.
 */
struct xos_cred {
	struct list_head link;
	struct key *key;
	key_serial_t session;		/* the session keyring in which the key was made */
	u32 uid;
	u16 serial_size;
	u8 serial[XOS_CRED_SERIAL_MAX];
	u32 size;
	u8 credential[];
};

static inline size_t xos_cred_bytes(const struct xos_cred *cred)
{
	return struct_size(cred, credential, cred->size);
}

/* key.c */
extern struct key_type xos_cred_key_type;

/* live.c */
struct xos_cred_match {
	bool (*fits)(const struct xos_cred *cred, const void *what);
	const void *what;
};

void xos_live_add(struct xos_cred *cred, struct key *key);
void xos_live_remove(struct xos_cred *cred);
u32 xos_live_count(void);
u64 xos_live_revoked(void);
/* Wipes and revokes the keys of all payloads that fit; returns how many. Sleeps. */
u32 xos_live_revoke(const struct xos_cred_match *match);

/* netlink.c */
int xos_netlink_init(void);
void xos_netlink_exit(void);

#endif
