// SPDX-License-Identifier: GPL-2.0
/* xos_cred: see uapi/xos_cred.h for what it does and README.md for how. */
#include <linux/module.h>
#include <linux/net.h>
#include <net/genetlink.h>

#include "internal.h"

static int __init xos_cred_init(void)
{
	int err = register_key_type(&xos_cred_key_type);

	if (err)
		return err;
	err = xos_netlink_init();
	if (err)
		goto err_key_type;
	return 0;

err_key_type:
	unregister_key_type(&xos_cred_key_type);
	return err;
}

static void __exit xos_cred_exit(void)
{
	xos_netlink_exit();
	/* Kills the keys that are still there: returns when the last payload is wiped. */
	unregister_key_type(&xos_cred_key_type);
	WARN_ON(xos_live_count());
}

module_init(xos_cred_init);
module_exit(xos_cred_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Keys that hold the credential of a VO session");
MODULE_ALIAS_GENL_FAMILY(XOS_CRED_GENL);
