// SPDX-License-Identifier: GPL-2.0
/* Where a program belongs: its paths and attribute against the table of its VO. */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/magic.h>
#include <linux/path.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/xattr.h>

#include "internal.h"

static void read_attribute(struct xos_candidate *candidate)
{
	struct dentry *dentry = file_dentry(candidate->bprm->file);
	struct inode *inode = d_inode(dentry);
	char text[16];
	ssize_t size;

	/* Its server may be slow, or hang: that must not hold up an execve more than opening the file did. */
	if (inode->i_sb->s_magic == FUSE_SUPER_MAGIC)
		return;
	size = __vfs_getxattr(dentry, inode, XOS_EXEC_XATTR, text, sizeof(text) - 1);
	if (size <= 0)
		return;
	text[size] = '\0';
	if (!strcmp(text, "local"))
		candidate->place = XOS_EXEC_LOCAL;
	else if (!strcmp(text, "grid"))
		candidate->place = XOS_EXEC_GRID;
	else if (!strcmp(text, "cost=low"))
		candidate->cost = XOS_EXEC_COST_LOW;
	else if (!strcmp(text, "cost=normal"))
		candidate->cost = XOS_EXEC_COST_NORMAL;
	else if (!strcmp(text, "cost=high"))
		candidate->cost = XOS_EXEC_COST_HIGH;
}

/* bprm->interp, which for a script is what its first line names, made absolute with the working directory. */
static int typed_path(struct xos_candidate *candidate)
{
	const char *given = candidate->bprm->interp;
	char *buffer = candidate->buffer[1];
	struct path here;
	char *text;
	int length;

	if (given[0] == '/') {
		candidate->typed = given;
		return 0;
	}
	get_fs_pwd(current->fs, &here);
	text = d_path(&here, buffer, PATH_MAX);
	path_put(&here);
	if (IS_ERR(text) || text[0] != '/')
		return -ENOENT;
	length = strlen(text);
	memmove(buffer, text, length);
	if (length == 1)
		length = 0;	/* "/" */
	if (length + 1 + strlen(given) >= PATH_MAX)
		return -ENAMETOOLONG;
	buffer[length] = '/';
	strscpy(buffer + length + 1, given, PATH_MAX - length - 1);
	candidate->typed = buffer;
	return 0;
}

int xos_candidate_fill(struct xos_candidate *candidate, struct linux_binprm *bprm)
{
	char *real;
	int i;

	*candidate = (struct xos_candidate){ .bprm = bprm };
	for (i = 0; i < ARRAY_SIZE(candidate->buffer); i++) {
		candidate->buffer[i] = __getname();
		if (!candidate->buffer[i])
			return -ENOMEM;
	}
	if (d_unlinked(bprm->file->f_path.dentry))
		return -ENOENT;
	real = d_path(&bprm->file->f_path, candidate->buffer[0], PATH_MAX);
	if (IS_ERR(real) || real[0] != '/')	/* "(unreachable)/…" */
		return -ENOENT;
	candidate->real = real;
	read_attribute(candidate);
	return typed_path(candidate);
}

void xos_candidate_drop(struct xos_candidate *candidate)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(candidate->buffer); i++)
		if (candidate->buffer[i])
			__putname(candidate->buffer[i]);
}

static bool fits(const struct xos_table *table, const struct xos_rule *rule, const char *path, size_t length, int *steps)
{
	const char *pattern = table->text + rule->offset;

	if (length < rule->literal || memcmp(pattern, path, rule->literal))
		return false;
	return xos_match(pattern + rule->literal, path + rule->literal, steps);
}

static bool owner_fits(const struct xos_rule *rule, kuid_t owner)
{
	if (rule->owned)
		return uid_eq(rule->owner, owner);
	return !rule->owned_by_caller || uid_eq(current_uid(), owner);
}

int xos_place(const struct xos_table *table, const struct xos_candidate *candidate)
{
	size_t typed_length = strlen(candidate->typed), real_length = strlen(candidate->real);
	kuid_t owner = file_inode(candidate->bprm->file)->i_uid;
	int place = XOS_EXEC_AUTO, cost = XOS_EXEC_COST_UNKNOWN, steps = XOS_EXEC_STEPS_MAX;
	u32 i;

	for (i = table->rules; i-- > 0;) {	/* the last that fits wins: so the first from behind */
		const struct xos_rule *rule = &table->rule[i];

		if (!owner_fits(rule, owner))
			continue;
		if (!fits(table, rule, candidate->typed, typed_length, &steps) &&
		    !fits(table, rule, candidate->real, real_length, &steps))
			continue;
		place = rule->action;
		cost = rule->cost;
		break;
	}
	if (steps < 0)
		return XOS_EXEC_LOCAL;
	if (place != XOS_EXEC_AUTO)
		return place;
	if (candidate->place != XOS_EXEC_AUTO)
		return candidate->place;
	if (cost == XOS_EXEC_COST_UNKNOWN)
		cost = candidate->cost;
	if (cost != XOS_EXEC_COST_UNKNOWN)
		return cost >= table->leave ? XOS_EXEC_GRID : XOS_EXEC_LOCAL;
	return table->fallback;
}
