// SPDX-License-Identifier: GPL-2.0
/* xos_proxy: see uapi/xos_proxy.h for what it does and README.md for how. */
#include <linux/module.h>

#include "internal.h"

static int __init xos_proxy_init(void)
{
	int err = xos_charge_init();

	if (err)
		return err;
	err = xos_device_init();
	if (err)
		goto err_device;
	return 0;

err_device:
	xos_charge_exit();
	return err;
}

/* An open file holds the module, so there are no watchers any more; what they let go of may still be on its way. */
static void __exit xos_proxy_exit(void)
{
	xos_device_exit();
	xos_charge_exit();
	rcu_barrier();
}

module_init(xos_proxy_init);
module_exit(xos_proxy_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Processes that stand for jobs elsewhere show their usage and tell their signals");
