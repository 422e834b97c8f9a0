/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of xos_exec have in common. */
#ifndef XOS_EXEC_INTERNAL_H
#define XOS_EXEC_INTERNAL_H

#include <linux/atomic.h>
#include <linux/binfmts.h>
#include <linux/jump_label.h>
#include <linux/rcupdate.h>
#include <linux/types.h>
#include <linux/uidgid.h>

#include "uapi/xos_exec.h"

struct xos_rule {
	u32 offset;	/* of the pattern in the table's text */
	u16 length;
	u16 literal;	/* leading bytes without wildcard: most rules fail here */
	u8 action;
	u8 cost;
	bool owned, owned_by_caller;
	kuid_t owner;
};

/* A table is written once, published by RCU and freed as a whole. Counters go over to its successor, less what is counted at that moment. */
struct xos_table {
	struct rcu_head rcu;
	u32 vo;
	u8 fallback, leave;
	u32 rules;
	char name[64];
	atomic64_t sent, kept, unable;
	char *text;	/* patterns, NUL-terminated, behind the rules */
	struct xos_rule rule[] __counted_by(rules);
};

/* main.c's order is also that of the calls */
int xos_netlink_init(void);
void xos_netlink_exit(void);
void xos_handler_init(void);
void xos_handler_exit(void);

/* table.c: on while any VO has a table */
DECLARE_STATIC_KEY_FALSE(xos_tables_there);
/* NULL, or a table that is good until rcu_read_unlock() */
struct xos_table *xos_table_of(kuid_t uid);
struct xos_table *xos_table_get(u32 vo);
struct xos_table *xos_table_alloc(u32 rules, size_t text);
void xos_table_free(struct xos_table *table);
void xos_table_publish(struct xos_table *table);
int xos_table_remove(u32 vo);
void xos_tables_remove(void);
void xos_tables_exit(void);

/* session.c: whether the caller's session keyring proves a session. May sleep. */
bool xos_session_valid(void);

/* place.c */
struct xos_candidate {
	struct linux_binprm *bprm;
	char *buffer[2];	/* PATH_MAX each, of __getname() */
	const char *typed;	/* path as the caller gave it, made absolute */
	const char *real;	/* path without symbolic links */
	u8 place;		/* what the attribute says: enum xos_exec_action */
	u8 cost;		/* what the attribute says: enum xos_exec_cost */
};

/* Paths and attribute. May sleep. Negative: the program has no path that another program could open. Drop it in any case. */
int xos_candidate_fill(struct xos_candidate *candidate, struct linux_binprm *bprm);
void xos_candidate_drop(struct xos_candidate *candidate);
/* XOS_EXEC_LOCAL or XOS_EXEC_GRID. Under rcu_read_lock(), does not sleep. */
int xos_place(const struct xos_table *table, const struct xos_candidate *candidate);

/* match.c: whether `path` fits. Each step takes one from `steps`; with none left: false. */
bool xos_match(const char *pattern, const char *path, int *steps);
size_t xos_literal_length(const char *pattern);

#endif
