// SPDX-License-Identifier: GPL-2.0
/* The generic netlink family: tables come in, statistics go out. uapi/xos_exec.h is the manual. */
#include <linux/module.h>
#include <linux/slab.h>
#include <net/genetlink.h>

#include "internal.h"

static const struct nla_policy rule_policy[XOS_EXEC_R_MAX + 1] = {
	[XOS_EXEC_R_PATTERN] = { .type = NLA_NUL_STRING, .len = XOS_EXEC_PATTERN_MAX },
	[XOS_EXEC_R_ACTION] = NLA_POLICY_MAX(NLA_U8, XOS_EXEC_GRID),
	[XOS_EXEC_R_COST] = NLA_POLICY_MAX(NLA_U8, XOS_EXEC_COST_HIGH),
	[XOS_EXEC_R_OWNER] = { .type = NLA_U32 },
	[XOS_EXEC_R_OWNER_SELF] = { .type = NLA_FLAG },
};

static const struct nla_policy set_policy[XOS_EXEC_A_MAX + 1] = {
	[XOS_EXEC_A_VO] = NLA_POLICY_RANGE(NLA_U32, 1, XOS_EXEC_VO_MAX),
	[XOS_EXEC_A_NAME] = { .type = NLA_NUL_STRING, .len = 63 },
	[XOS_EXEC_A_DEFAULT] = NLA_POLICY_RANGE(NLA_U8, XOS_EXEC_LOCAL, XOS_EXEC_GRID),
	[XOS_EXEC_A_LEAVE] = NLA_POLICY_RANGE(NLA_U8, XOS_EXEC_COST_LOW, XOS_EXEC_COST_HIGH),
	[XOS_EXEC_A_RULES] = { .type = NLA_NESTED },	/* its contents by rule_policy, below */
};

static const struct nla_policy del_policy[XOS_EXEC_A_VO + 1] = {
	[XOS_EXEC_A_VO] = NLA_POLICY_RANGE(NLA_U32, 1, XOS_EXEC_VO_MAX),
};

static int parse_rule(struct nlattr *attribute, struct nlattr **found, struct netlink_ext_ack *extack)
{
	int err;

	if (nla_type(attribute) != XOS_EXEC_A_RULE) {
		NL_SET_ERR_MSG_ATTR(extack, attribute, "rules consist of rules");
		return -EINVAL;
	}
	err = nla_parse_nested(found, XOS_EXEC_R_MAX, attribute, rule_policy, extack);
	if (err)
		return err;
	if (!found[XOS_EXEC_R_PATTERN] || !found[XOS_EXEC_R_ACTION]) {
		NL_SET_ERR_MSG_ATTR(extack, attribute, "a rule needs pattern and action");
		return -EINVAL;
	}
	if (*(const char *)nla_data(found[XOS_EXEC_R_PATTERN]) != '/') {
		NL_SET_ERR_MSG_ATTR(extack, found[XOS_EXEC_R_PATTERN], "a pattern begins with '/'");
		return -EINVAL;
	}
	if (found[XOS_EXEC_R_OWNER] && found[XOS_EXEC_R_OWNER_SELF]) {
		NL_SET_ERR_MSG_ATTR(extack, attribute, "a rule has one owner");
		return -EINVAL;
	}
	return 0;
}

/* First round: all of it is good, and how much there is. */
static int measure(struct nlattr *rules, u32 *count, size_t *text, struct netlink_ext_ack *extack)
{
	struct nlattr *found[XOS_EXEC_R_MAX + 1], *attribute;
	int left, err;

	nla_for_each_nested(attribute, rules, left) {
		err = parse_rule(attribute, found, extack);
		if (err)
			return err;
		if (++*count > XOS_EXEC_RULES_MAX) {
			NL_SET_ERR_MSG_ATTR(extack, attribute, "too many rules");
			return -E2BIG;
		}
		*text += strlen(nla_data(found[XOS_EXEC_R_PATTERN])) + 1;
	}
	if (left > 0) {
		NL_SET_ERR_MSG_ATTR(extack, rules, "something that is no attribute behind the last rule");
		return -EINVAL;
	}
	return 0;
}

/* Second round: the message is the same memory, so that nothing can be wrong any more but an owner who does not exist. */
static int fill(struct xos_table *table, struct nlattr *rules, struct netlink_ext_ack *extack)
{
	struct nlattr *found[XOS_EXEC_R_MAX + 1], *attribute;
	struct xos_rule *rule = table->rule;
	u32 offset = 0;
	int left, err;

	nla_for_each_nested(attribute, rules, left) {
		const char *pattern;

		err = parse_rule(attribute, found, extack);
		if (err)
			return err;
		pattern = nla_data(found[XOS_EXEC_R_PATTERN]);
		rule->offset = offset;
		rule->length = strlen(pattern);
		rule->literal = xos_literal_length(pattern);
		rule->action = nla_get_u8(found[XOS_EXEC_R_ACTION]);
		rule->cost = found[XOS_EXEC_R_COST] ? nla_get_u8(found[XOS_EXEC_R_COST]) : XOS_EXEC_COST_UNKNOWN;
		rule->owned_by_caller = found[XOS_EXEC_R_OWNER_SELF];
		rule->owned = found[XOS_EXEC_R_OWNER];
		if (rule->owned) {
			rule->owner = KUIDT_INIT(nla_get_u32(found[XOS_EXEC_R_OWNER]));
			if (!uid_valid(rule->owner)) {
				NL_SET_ERR_MSG_ATTR(extack, found[XOS_EXEC_R_OWNER], "no user has this number");
				return -EINVAL;
			}
		}
		memcpy(table->text + offset, pattern, rule->length + 1);
		offset += rule->length + 1;
		rule++;
	}
	return 0;
}

static int set_table(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *rules = info->attrs[XOS_EXEC_A_RULES];
	struct xos_table *table;
	size_t text = 0;
	u32 count = 0;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, XOS_EXEC_A_VO) || GENL_REQ_ATTR_CHECK(info, XOS_EXEC_A_DEFAULT))
		return -EINVAL;
	if (rules) {
		err = measure(rules, &count, &text, info->extack);
		if (err)
			return err;
	}
	table = xos_table_alloc(count, text);
	if (!table)
		return -ENOMEM;
	table->vo = nla_get_u32(info->attrs[XOS_EXEC_A_VO]);
	table->fallback = nla_get_u8(info->attrs[XOS_EXEC_A_DEFAULT]);
	table->leave = info->attrs[XOS_EXEC_A_LEAVE] ? nla_get_u8(info->attrs[XOS_EXEC_A_LEAVE]) : XOS_EXEC_COST_NORMAL;
	if (info->attrs[XOS_EXEC_A_NAME])
		nla_strscpy(table->name, info->attrs[XOS_EXEC_A_NAME], sizeof(table->name));
	err = rules ? fill(table, rules, info->extack) : 0;
	if (err)
		xos_table_free(table);
	else
		xos_table_publish(table);
	return err;
}

static int remove_table(struct sk_buff *skb, struct genl_info *info)
{
	if (info->attrs[XOS_EXEC_A_VO])
		return xos_table_remove(nla_get_u32(info->attrs[XOS_EXEC_A_VO]));
	xos_tables_remove();
	return 0;
}

static int put_table(struct sk_buff *skb, const struct xos_table *table)
{
	return nla_put_u32(skb, XOS_EXEC_A_VO, table->vo) || nla_put_string(skb, XOS_EXEC_A_NAME, table->name) ||
	       nla_put_u8(skb, XOS_EXEC_A_DEFAULT, table->fallback) || nla_put_u8(skb, XOS_EXEC_A_LEAVE, table->leave) ||
	       nla_put_u32(skb, XOS_EXEC_A_COUNT, table->rules) ||
	       nla_put_u64_64bit(skb, XOS_EXEC_A_SENT, atomic64_read(&table->sent), XOS_EXEC_A_PAD) ||
	       nla_put_u64_64bit(skb, XOS_EXEC_A_KEPT, atomic64_read(&table->kept), XOS_EXEC_A_PAD) ||
	       nla_put_u64_64bit(skb, XOS_EXEC_A_UNABLE, atomic64_read(&table->unable), XOS_EXEC_A_PAD);
}

static struct genl_family family;

/* cb->args[0]: the VO to go on with. */
static int dump_tables(struct sk_buff *skb, struct netlink_callback *cb)
{
	u32 vo;

	rcu_read_lock();
	for (vo = cb->args[0]; vo <= XOS_EXEC_VO_MAX; vo++) {
		const struct xos_table *table = xos_table_get(vo);
		void *head;

		if (!table)
			continue;
		head = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &family, NLM_F_MULTI, XOS_EXEC_CMD_GET);
		if (!head)
			break;
		if (put_table(skb, table)) {
			genlmsg_cancel(skb, head);
			break;
		}
		genlmsg_end(skb, head);
	}
	rcu_read_unlock();
	cb->args[0] = vo;
	return skb->len;
}

static const struct genl_ops operations[] = {
	{
		.cmd = XOS_EXEC_CMD_SET,
		.flags = GENL_ADMIN_PERM,	/* CAP_NET_ADMIN in the first user namespace */
		.policy = set_policy,
		.maxattr = XOS_EXEC_A_MAX,
		.doit = set_table,
	}, {
		.cmd = XOS_EXEC_CMD_DEL,
		.flags = GENL_ADMIN_PERM,
		.policy = del_policy,
		.maxattr = XOS_EXEC_A_VO,
		.doit = remove_table,
	}, {
		.cmd = XOS_EXEC_CMD_GET,
		.flags = GENL_ADMIN_PERM,
		.maxattr = XOS_EXEC_A_UNSPEC,
		.dumpit = dump_tables,
	},
};

static struct genl_family family __ro_after_init = {
	.name = XOS_EXEC_GENL,
	.version = XOS_EXEC_GENL_VERSION,
	.module = THIS_MODULE,
	.ops = operations,
	.n_ops = ARRAY_SIZE(operations),
	.resv_start_op = XOS_EXEC_CMD_UNSPEC,
};

int xos_netlink_init(void)
{
	return genl_register_family(&family);
}

void xos_netlink_exit(void)
{
	genl_unregister_family(&family);
}
