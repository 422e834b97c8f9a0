// SPDX-License-Identifier: GPL-2.0
/* The tables of the VOs: found without a lock, replaced as a whole. */
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "internal.h"

DEFINE_STATIC_KEY_FALSE(xos_tables_there);

static DEFINE_MUTEX(tables_lock);
static struct xos_table __rcu *tables[XOS_EXEC_VO_MAX + 1];
static unsigned int tables_count;

struct xos_table *xos_table_of(kuid_t uid)
{
	u32 index = (__kuid_val(uid) - XOS_EXEC_UID_FIRST) >> 16;

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "table without RCU");
	return index <= XOS_EXEC_VO_MAX ? rcu_dereference(tables[index]) : NULL;
}

struct xos_table *xos_table_get(u32 vo)
{
	return vo <= XOS_EXEC_VO_MAX ? rcu_dereference(tables[vo]) : NULL;
}

struct xos_table *xos_table_alloc(u32 rules, size_t text)
{
	struct xos_table *table;
	size_t head = struct_size(table, rule, rules);

	table = kvzalloc(head + text, GFP_KERNEL_ACCOUNT);
	if (!table)
		return NULL;
	table->rules = rules;
	table->text = (char *)table + head;
	return table;
}

void xos_table_free(struct xos_table *table)
{
	kvfree(table);
}

static struct xos_table *replace(u32 vo, struct xos_table *fresh)
{
	struct xos_table *old = rcu_replace_pointer(tables[vo], fresh, lockdep_is_held(&tables_lock));

	lockdep_assert_held(&tables_lock);
	if (!old && fresh && tables_count++ == 0)
		static_branch_enable(&xos_tables_there);
	if (old && !fresh && --tables_count == 0)
		static_branch_disable(&xos_tables_there);
	return old;
}

void xos_table_publish(struct xos_table *table)
{
	struct xos_table *old;

	mutex_lock(&tables_lock);
	old = rcu_dereference_protected(tables[table->vo], lockdep_is_held(&tables_lock));
	if (old) {
		atomic64_set(&table->sent, atomic64_read(&old->sent));
		atomic64_set(&table->kept, atomic64_read(&old->kept));
		atomic64_set(&table->unable, atomic64_read(&old->unable));
	}
	replace(table->vo, table);
	mutex_unlock(&tables_lock);
	if (old)
		kvfree_rcu(old, rcu);
}

int xos_table_remove(u32 vo)
{
	struct xos_table *old;

	mutex_lock(&tables_lock);
	old = replace(vo, NULL);
	mutex_unlock(&tables_lock);
	if (!old)
		return -ENOENT;
	kvfree_rcu(old, rcu);
	return 0;
}

void xos_tables_remove(void)
{
	u32 vo;

	for (vo = 0; vo <= XOS_EXEC_VO_MAX; vo++)
		if (rcu_access_pointer(tables[vo]))
			xos_table_remove(vo);
}

/* Last of all: nobody can look up or set a table any more. */
void xos_tables_exit(void)
{
	xos_tables_remove();
}
