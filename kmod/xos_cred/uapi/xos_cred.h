/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * xos_cred: keys that hold the credential of a VO session.
 *
 * A key of type "xos_cred" is what a key of type "user" is, with these differences:
 *
 *  - It is made (add_key) and renewed (KEYCTL_UPDATE) by CAP_SYS_ADMIN of the first user namespace only: EPERM for everybody else. What is in it has been
 *    verified by whoever put it in (pam_xos, xosd); the kernel keeps it.
 *  - Its payload is a struct xos_cred_payload. Anything else is EINVAL; one that has expired is EKEYEXPIRED.
 *  - The key expires with the credential: from then on it is not found (EKEYEXPIRED), and its memory is wiped within seconds.
 *  - KEYCTL_READ gives the credential alone, without the head. Besides the key's permissions it asks that the caller's session keyring is
 *    the one in which the key was made: EACCES otherwise, for root as for anybody, also where the key has been linked to.
 *  - Revocation by uid or serial number (below), KEYCTL_REVOKE and KEYCTL_INVALIDATE wipe the payload; the first two before they return.
 *  - Its description begins with "xos:" (EINVAL).
 *
 * Quota: head and credential count on the key's owner, as with every type (EDQUOT).
 */
#ifndef _UAPI_XOS_CRED_H
#define _UAPI_XOS_CRED_H

#include <linux/types.h>

#define XOS_CRED_TYPE "xos_cred"
#define XOS_CRED_MAGIC 0x43534f58	/* "XOSC" in memory */
#define XOS_CRED_VERSION 1
#define XOS_CRED_SERIAL_MAX 20		/* RFC 5280, 4.1.2.2 */
#define XOS_CRED_SIZE_MAX 32768

/*
 * All fields in the byte order of the machine. size 0: a place for a credential that is not there yet (or no more); then serial_size is 0,
 * and KEYCTL_READ gives ENODATA. What is behind serial_size bytes of serial, and reserved, is zero.
 */
struct xos_cred_payload {
	__u32 magic;
	__u16 version;
	__u16 serial_size;
	__u32 uid;		/* the grid user's, as in the first user namespace; never 0 with a credential */
	__u32 size;		/* of credential: what is left of the payload, exactly */
	__s64 expires;		/* seconds since 1970 */
	__u8 serial[XOS_CRED_SERIAL_MAX];
	__u32 reserved;
	__u8 credential[];
};

/*
 * Generic netlink, first network namespace. Both commands need CAP_NET_ADMIN there and CAP_SYS_ADMIN in the first user namespace (EPERM).
 *
 * REVOKE   any number of XOS_CRED_A_UID and XOS_CRED_A_SERIAL, at least one (EINVAL). Every live key of one of the uids or with one of the
 *          serial numbers is wiped and revoked when the call returns. Answer: XOS_CRED_A_COUNT keys.
 *          At most XOS_CRED_REVOKE_MAX attributes a message (E2BIG): revoke longer lists in parts.
 * STATUS   Answer: XOS_CRED_A_LIVE payloads in memory now; XOS_CRED_A_REVOKED keys revoked by REVOKE since the module was loaded.
 */
#define XOS_CRED_GENL "xos_cred"
#define XOS_CRED_GENL_VERSION 1
#define XOS_CRED_REVOKE_MAX 1024

enum xos_cred_command {
	XOS_CRED_CMD_UNSPEC,
	XOS_CRED_CMD_REVOKE,
	XOS_CRED_CMD_STATUS,
};

enum xos_cred_attribute {
	XOS_CRED_A_UNSPEC,
	XOS_CRED_A_UID,		/* u32 */
	XOS_CRED_A_SERIAL,	/* 1 to XOS_CRED_SERIAL_MAX bytes */
	XOS_CRED_A_COUNT,	/* u32 */
	XOS_CRED_A_LIVE,	/* u32 */
	XOS_CRED_A_REVOKED,	/* u64 */
	XOS_CRED_A_PAD,
	__XOS_CRED_A_MAX,
};
#define XOS_CRED_A_MAX (__XOS_CRED_A_MAX - 1)

#endif
