// SPDX-License-Identifier: GPL-2.0
/* The binary format: what may be handed over, and the handing over itself. Source: fs/binfmt_misc.c, fs/exec.c of Linux 6.12. */
#include <linux/cred.h>
#include <linux/elf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/mount.h>
#include <linux/pid_namespace.h>
#include <linux/sched/task.h>
#include <linux/security.h>
#include <linux/user_namespace.h>
#include <linux/xattr.h>

#include "internal.h"

#define MARK_AT 9	/* in the padding of e_ident */
#define MARK 'x'

static bool is_program(const char *buf)
{
	const struct elf64_hdr *head = (const struct elf64_hdr *)buf;

	BUILD_BUG_ON(sizeof(*head) > BINPRM_BUF_SIZE);
	return !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_ident[EI_CLASS] == ELFCLASS64 &&
	       head->e_ident[EI_DATA] == ELFDATA2LSB && head->e_ident[EI_VERSION] == EV_CURRENT && !head->e_ident[MARK_AT] &&
	       (head->e_type == ET_EXEC || head->e_type == ET_DYN) && elf_check_arch(head);
}

static bool is_chrooted(void)
{
	struct task_struct *first = init_pid_ns.child_reaper;	/* process 1 does not end */
	const struct dentry *ours, *theirs = NULL;	/* compared, never looked into */

	spin_lock(&current->fs->lock);
	ours = current->fs->root.dentry;
	spin_unlock(&current->fs->lock);
	task_lock(first);
	if (first->fs) {
		spin_lock(&first->fs->lock);
		theirs = first->fs->root.dentry;
		spin_unlock(&first->fs->lock);
	}
	task_unlock(first);
	return ours != theirs;
}

/* By what the caller is; all of it without sleeping and without looking at the file. */
static bool caller_may_leave(const struct linux_binprm *bprm)
{
	const struct cred *cred = current_cred();

	return uid_eq(cred->uid, cred->euid) && uid_eq(cred->uid, cred->suid) && cred->user_ns == &init_user_ns &&
	       task_active_pid_ns(current) == &init_pid_ns && !task_no_new_privs(current) && !(bprm->unsafe & LSM_UNSAFE_PTRACE) &&
	       !is_chrooted();
}

static bool file_may_leave(const struct linux_binprm *bprm)
{
	const struct inode *inode = file_inode(bprm->file);

	if (bprm->fdpath || bprm->have_execfd || (bprm->interp_flags & BINPRM_FLAGS_PATH_INACCESSIBLE))
		return false;
	if (inode->i_mode & S_ISUID)
		return false;
	return (inode->i_mode & (S_ISGID | 0010)) != (S_ISGID | 0010);
}

/* File capabilities count on mounts that honour them only. */
static bool has_capabilities(struct file *file)
{
	struct dentry *dentry = file_dentry(file);

	return !(file->f_path.mnt->mnt_flags & MNT_NOSUID) && __vfs_getxattr(dentry, d_inode(dentry), XATTR_NAME_CAPS, NULL, 0) > 0;
}

static int decide(struct linux_binprm *bprm)
{
	struct xos_candidate candidate;
	struct xos_table *table;
	int place = XOS_EXEC_LOCAL;

	if (!xos_candidate_fill(&candidate, bprm)) {
		rcu_read_lock();
		table = xos_table_of(current_uid());
		if (table) {
			place = xos_place(table, &candidate);
			if (place != XOS_EXEC_GRID)
				atomic64_inc(&table->kept);
		}
		rcu_read_unlock();
	}
	xos_candidate_drop(&candidate);
	return place;
}

static void count(bool sent)
{
	struct xos_table *table;

	rcu_read_lock();
	table = xos_table_of(current_uid());
	if (table)
		atomic64_inc(sent ? &table->sent : &table->unable);
	rcu_read_unlock();
}

static void close_exec(struct file *file)
{
	exe_file_allow_write_access(file);
	fput(file);
}

/* As the caller sees the path. NULL when it is not there, or is another's: then the program runs as if we were not here. */
static struct file *open_interpreter(void)
{
	struct file *file = open_exec(XOS_EXEC_PROGRAM);
	const struct inode *inode;

	if (IS_ERR(file))
		return NULL;
	inode = file_inode(file);
	if (uid_eq(inode->i_uid, GLOBAL_ROOT_UID) && !(inode->i_mode & (0022 | S_ISUID)))
		return file;
	close_exec(file);
	return NULL;
}

/* Whether the caller, or the program itself, is the interpreter: it decided for here, or never leaves. */
static bool is_interpreter(const struct linux_binprm *bprm, struct file *interpreter)
{
	struct mm_struct *mm = current->mm;	/* ours; its exe_file goes under RCU only */
	struct file *own;
	bool same = file_inode(bprm->file) == file_inode(interpreter);

	rcu_read_lock();
	own = mm ? rcu_dereference(mm->exe_file) : NULL;
	same = same || (own && file_inode(own) == file_inode(interpreter));
	rcu_read_unlock();
	return same;
}

/* What is pushed onto the new stack, less what is there already, fits: otherwise execve would fail where it did not before. */
static bool arguments_fit(const struct linux_binprm *bprm)
{
	unsigned long more = strlen(bprm->interp) + 1 + sizeof(XOS_EXEC_ARGV0) + 2 * sizeof(void *);

	return bprm->p > more && bprm->p - more >= bprm->argmin;
}

static int hand_over(struct linux_binprm *bprm, struct file *interpreter)
{
	int err = copy_string_kernel(bprm->interp, bprm);

	if (err < 0)
		return err;
	bprm->argc++;
	err = copy_string_kernel(XOS_EXEC_ARGV0, bprm);
	if (err < 0)
		return err;
	bprm->argc++;
	err = bprm_change_interp(XOS_EXEC_PROGRAM, bprm);
	if (err < 0)
		return err;
	bprm->interp_flags |= BINPRM_FLAGS_PRESERVE_ARGV0;
	bprm->interpreter = interpreter;	/* exec_binprm() closes it */
	return 0;
}

static int send_to_grid(struct linux_binprm *bprm)
{
	struct file *interpreter = open_interpreter();
	int err;

	if (!interpreter) {
		count(false);
		return -ENOEXEC;
	}
	if (is_interpreter(bprm, interpreter)) {
		close_exec(interpreter);
		return -ENOEXEC;
	}
	/* The interpreter has to read the file when it must run it here after all. */
	if (has_capabilities(bprm->file) || file_permission(bprm->file, MAY_READ) || !arguments_fit(bprm)) {
		count(false);
		close_exec(interpreter);
		return -ENOEXEC;
	}
	err = hand_over(bprm, interpreter);
	if (err) {
		close_exec(interpreter);
		return err == -ENOEXEC ? -ENOMEM : err;	/* half done: nobody else may take it up */
	}
	count(true);
	return 0;
}

static bool has_table(void)
{
	bool there;

	rcu_read_lock();
	there = xos_table_of(current_uid());
	rcu_read_unlock();
	return there;
}

/* Cheap questions first: what is no session's ends at the first or second of them. */
static int load_binary(struct linux_binprm *bprm)
{
	if (!static_branch_unlikely(&xos_tables_there))
		return -ENOEXEC;
	if (!has_table() || !is_program(bprm->buf) || !file_may_leave(bprm) || !caller_may_leave(bprm))
		return -ENOEXEC;
	/* Handed over once already. The mark of the interpreter says the same; without it every execve would end in ELOOP. */
	if (!strcmp(bprm->interp, XOS_EXEC_PROGRAM))
		return -ENOEXEC;
	if (!xos_session_valid() || decide(bprm) != XOS_EXEC_GRID)
		return -ENOEXEC;
	return send_to_grid(bprm);
}

static struct linux_binfmt format = {
	.module = THIS_MODULE,	/* the kernel holds it while load_binary() runs: unloading waits */
	.load_binary = load_binary,
};

void xos_handler_init(void)
{
	insert_binfmt(&format);	/* ahead of ELF, which would take everything */
}

void xos_handler_exit(void)
{
	unregister_binfmt(&format);
}
