// SPDX-License-Identifier: GPL-2.0
/* xos_exec: see uapi/xos_exec.h for what it does and README.md for how. */
#include <linux/module.h>
#include <net/genetlink.h>

#include "internal.h"

static int __init xos_exec_init(void)
{
	int err = xos_netlink_init();

	if (err)
		return err;
	xos_handler_init();
	return 0;
}

static void __exit xos_exec_exit(void)
{
	xos_handler_exit();
	xos_netlink_exit();
	xos_tables_exit();
}

module_init(xos_exec_init);
module_exit(xos_exec_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Programs of VO sessions go to the grid when started by name");
MODULE_ALIAS_GENL_FAMILY(XOS_EXEC_GENL);
