// SPDX-License-Identifier: GPL-2.0
/* The generic netlink family. uapi/xos_cred.h is the manual. */
#include <linux/module.h>
#include <net/genetlink.h>

#include "internal.h"

static struct genl_family family;

static const struct nla_policy policy[XOS_CRED_A_MAX + 1] = {
	[XOS_CRED_A_UID] = { .type = NLA_U32 },
	[XOS_CRED_A_SERIAL] = { .type = NLA_BINARY, .len = XOS_CRED_SERIAL_MAX },
};

static struct sk_buff *answer(struct genl_info *info, u8 command, void **head)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);

	if (!skb)
		return NULL;
	*head = genlmsg_put_reply(skb, info, &family, 0, command);
	if (*head)
		return skb;
	nlmsg_free(skb);
	return NULL;
}

static bool is_of_list(const struct xos_cred *cred, const void *what)
{
	const struct genl_info *info = what;
	const struct nlattr *attribute;
	int left;

	if (!cred->size)	/* nothing to wipe */
		return false;
	nlmsg_for_each_attr(attribute, (struct nlmsghdr *)info->nlhdr, GENL_HDRLEN, left) {
		switch (nla_type(attribute)) {
		case XOS_CRED_A_UID:
			if (nla_get_u32(attribute) == cred->uid)
				return true;
			break;
		case XOS_CRED_A_SERIAL:
			if (nla_len(attribute) == cred->serial_size && !memcmp(nla_data(attribute), cred->serial, cred->serial_size))
				return true;
			break;
		}
	}
	return false;
}

/* The family's policy has checked each attribute's length; that there are some, not too many, and none empty, is checked here. */
static int check_list(struct genl_info *info)
{
	const struct nlattr *attribute;
	int left, count = 0;

	nlmsg_for_each_attr(attribute, (struct nlmsghdr *)info->nlhdr, GENL_HDRLEN, left) {
		bool known = nla_type(attribute) == XOS_CRED_A_UID || nla_type(attribute) == XOS_CRED_A_SERIAL;

		if (!known || !nla_len(attribute)) {
			NL_SET_ERR_MSG_ATTR(info->extack, attribute, "only uids and serial numbers can be revoked");
			return -EINVAL;
		}
		if (++count > XOS_CRED_REVOKE_MAX) {
			NL_SET_ERR_MSG_ATTR(info->extack, attribute, "too many at once");
			return -E2BIG;
		}
	}
	if (!count) {
		NL_SET_ERR_MSG(info->extack, "nothing to revoke");
		return -EINVAL;
	}
	return 0;
}

static int cmd_revoke(struct sk_buff *skb, struct genl_info *info)
{
	const struct xos_cred_match match = { .fits = is_of_list, .what = info };
	struct sk_buff *reply;
	void *head;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = check_list(info);
	if (err)
		return err;
	/* The answer first: who is told ENOMEM must not have revoked half. */
	reply = answer(info, XOS_CRED_CMD_REVOKE, &head);
	if (!reply)
		return -ENOMEM;
	if (nla_put_u32(reply, XOS_CRED_A_COUNT, xos_live_revoke(&match))) {
		nlmsg_free(reply);
		return -EMSGSIZE;
	}
	genlmsg_end(reply, head);
	return genlmsg_reply(reply, info);
}

static int cmd_status(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *reply;
	void *head;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	reply = answer(info, XOS_CRED_CMD_STATUS, &head);
	if (!reply)
		return -ENOMEM;
	if (nla_put_u32(reply, XOS_CRED_A_LIVE, xos_live_count()) ||
	    nla_put_u64_64bit(reply, XOS_CRED_A_REVOKED, xos_live_revoked(), XOS_CRED_A_PAD)) {
		nlmsg_free(reply);
		return -EMSGSIZE;
	}
	genlmsg_end(reply, head);
	return genlmsg_reply(reply, info);
}

static const struct genl_small_ops ops[] = {
	{ .cmd = XOS_CRED_CMD_REVOKE, .flags = GENL_ADMIN_PERM, .doit = cmd_revoke },
	{ .cmd = XOS_CRED_CMD_STATUS, .flags = GENL_ADMIN_PERM, .doit = cmd_status },
};

static struct genl_family family __ro_after_init = {
	.name = XOS_CRED_GENL,
	.version = XOS_CRED_GENL_VERSION,
	.maxattr = XOS_CRED_A_MAX,
	.policy = policy,
	.module = THIS_MODULE,
	.small_ops = ops,
	.n_small_ops = ARRAY_SIZE(ops),
	.resv_start_op = XOS_CRED_CMD_STATUS + 1,
};

int __init xos_netlink_init(void)
{
	return genl_register_family(&family);
}

void xos_netlink_exit(void)
{
	genl_unregister_family(&family);
}
