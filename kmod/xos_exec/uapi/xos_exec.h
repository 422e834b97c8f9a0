/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * xos_exec: programs of a VO session go to the grid when they are started by name.
 *
 * What it does
 *   An execve(2) of a session of a virtual organisation is handed to XOS_EXEC_PROGRAM, which places the job, or is left to the kernel's own
 *   ELF loader: the module decides, by the VO's table, an extended attribute of the file and the mark in its header. XOS_EXEC_PROGRAM gets
 *	argv[0] = XOS_EXEC_ARGV0, argv[1] = path of the program, argv[2] = its argv[0], then its further arguments
 *   with AT_FLAGS_PRESERVE_ARGV0 in its auxiliary vector, which no argv can fake. The same as an interpreter of binfmt_misc with flag P gets,
 *   but for argv[0]: by that it knows that its own execve of argv[1] is not handed back to it.
 *
 * What is never handed over (the kernel goes on as if the module were not there)
 *   - callers whose real, effective or saved user id is not one number of a VO that has a table (see XOS_EXEC_UID_FIRST);
 *   - callers without a valid session: their session keyring holds, itself, a key described XOS_EXEC_KEY_SESSION and one described
 *     XOS_EXEC_KEY_CREDENTIAL, of whatever type, instantiated, not expired and not revoked. No credential at all is no session: one that expired or
 *     was revoked is collected by the kernel. Of several all must be valid, so that a key of the user's own does not replace a revoked one. Of a
 *     ring with more than XOS_EXEC_KEYS_MAX keys the first that the kernel names are looked at. Payloads are not read;
 *   - callers in another PID or user namespace than the node's first (cells, containers), or with another root directory than process 1;
 *   - callers with no_new_privs, callers that are traced, and XOS_EXEC_PROGRAM itself;
 *   - files that are no 64-bit little-endian executables of this machine, that carry the mark 'x' in e_ident[9], that are setuid, setgid or have
 *     file capabilities, that the caller may not read, or that have no path (memfd, execveat with a descriptor);
 *   - where XOS_EXEC_PROGRAM is missing, is not root's, or may be written by others; when the two arguments do not fit into the limit.
 *
 * How it decides (first that says "local" or "grid")
 *   1. The last rule of the VO's table that fits the file. Fitting: its pattern matches the path as the caller gave it (made absolute with its
 *      working directory) or the path without symbolic links, and its owner, if given, is the file's.
 *   2. When that rule says XOS_EXEC_AUTO or there is none: the extended attribute XOS_EXEC_XATTR, whose text is "local", "grid" or
 *      "cost=low|normal|high". Not asked for on FUSE, whose server may hang. To write it takes CAP_SYS_ADMIN, as for all of security.*; to read
 *      it nothing. Any other text counts as none.
 *   3. A cost class, of the rule or else of the attribute: grid when it is at least the table's XOS_EXEC_A_LEAVE, else local.
 *   4. The table's XOS_EXEC_A_DEFAULT.
 *   Patterns: '*' any text without '/', '**' any text, '?' one character but '/'; everything else is itself. Matching of one execve is given up
 *   after XOS_EXEC_STEPS_MAX steps, and then the program stays local.
 *
 * Interface
 *   Generic netlink family XOS_EXEC_GENL, version XOS_EXEC_GENL_VERSION, in the first network namespace. Every command takes CAP_NET_ADMIN in
 *   the first user namespace (EPERM otherwise). Attributes that are unknown, of the wrong length or twice nested wrongly: EINVAL, with an
 *   extended acknowledgement that names the attribute. A table is replaced as a whole; an execve sees the old or the new one, never a mixture.
 */
#ifndef _UAPI_XOS_EXEC_H
#define _UAPI_XOS_EXEC_H

#define XOS_EXEC_PROGRAM "/usr/lib/xos/bin/xexec"
#define XOS_EXEC_ARGV0 "xos_exec"
#define XOS_EXEC_KEY_SESSION "xos:session"
#define XOS_EXEC_KEY_CREDENTIAL "xos:credential"
#define XOS_EXEC_XATTR "security.xos.place"

#define XOS_EXEC_GENL "xos_exec"
#define XOS_EXEC_GENL_VERSION 1

/* uid = XOS_EXEC_UID_FIRST + 65536 * VO + user; VO 1..XOS_EXEC_VO_MAX. */
#define XOS_EXEC_UID_FIRST 1879048192U
#define XOS_EXEC_VO_MAX 4095U

#define XOS_EXEC_RULES_MAX 1024		/* of one table: E2BIG */
#define XOS_EXEC_PATTERN_MAX 255	/* bytes of a pattern: EINVAL */
#define XOS_EXEC_KEYS_MAX 32
#define XOS_EXEC_STEPS_MAX 400000

enum xos_exec_action {
	XOS_EXEC_AUTO = 0,	/* rules only: by attribute, cost class, default */
	XOS_EXEC_LOCAL = 1,
	XOS_EXEC_GRID = 2,
};

enum xos_exec_cost {
	XOS_EXEC_COST_UNKNOWN = 0,
	XOS_EXEC_COST_LOW = 1,		/* not worth a way to another node */
	XOS_EXEC_COST_NORMAL = 2,
	XOS_EXEC_COST_HIGH = 3,
};

enum xos_exec_command {
	XOS_EXEC_CMD_UNSPEC,
	/*
	 * Sets or replaces the table of a VO. VO, DEFAULT; optional NAME, LEAVE (XOS_EXEC_COST_NORMAL), RULES.
	 * ERANGE: a number out of range; EINVAL: attributes missing, pattern too long or not beginning with '/'; E2BIG: too many rules; ENOMEM.
	 */
	XOS_EXEC_CMD_SET,
	/* Removes the table of VO, or of all VOs when it is not given. ENOENT: the VO has none. */
	XOS_EXEC_CMD_DEL,
	/*
	 * Dump (NLM_F_DUMP) of all tables: VO, NAME, DEFAULT, LEAVE, COUNT and the statistics. Rules are not given back.
	 */
	XOS_EXEC_CMD_GET,
	__XOS_EXEC_CMD_MAX
};
#define XOS_EXEC_CMD_MAX (__XOS_EXEC_CMD_MAX - 1)

enum xos_exec_attribute {
	XOS_EXEC_A_UNSPEC,
	XOS_EXEC_A_VO,		/* u32: number of the VO */
	XOS_EXEC_A_NAME,	/* string of at most 63 bytes: for people */
	XOS_EXEC_A_DEFAULT,	/* u8: XOS_EXEC_LOCAL or XOS_EXEC_GRID */
	XOS_EXEC_A_LEAVE,	/* u8: enum xos_exec_cost, from LOW */
	XOS_EXEC_A_RULES,	/* nested: XOS_EXEC_A_RULE, in their order */
	XOS_EXEC_A_RULE,	/* nested: enum xos_exec_rule_attribute */
	XOS_EXEC_A_COUNT,	/* u32: rules in the table */
	XOS_EXEC_A_SENT,	/* u64: handed to XOS_EXEC_PROGRAM */
	XOS_EXEC_A_KEPT,	/* u64: kept by table, attribute or cost */
	XOS_EXEC_A_UNABLE,	/* u64: meant for the grid, but XOS_EXEC_PROGRAM could not be used, or not read the file */
	XOS_EXEC_A_PAD,
	__XOS_EXEC_A_MAX
};
#define XOS_EXEC_A_MAX (__XOS_EXEC_A_MAX - 1)

enum xos_exec_rule_attribute {
	XOS_EXEC_R_UNSPEC,
	XOS_EXEC_R_PATTERN,	/* string of 1 to XOS_EXEC_PATTERN_MAX bytes that begins with '/' */
	XOS_EXEC_R_ACTION,	/* u8: enum xos_exec_action */
	XOS_EXEC_R_COST,	/* u8: enum xos_exec_cost; optional */
	XOS_EXEC_R_OWNER,	/* u32: user id of the file's owner; optional */
	XOS_EXEC_R_OWNER_SELF,	/* flag: the file's owner is the caller; optional */
	__XOS_EXEC_R_MAX
};
#define XOS_EXEC_R_MAX (__XOS_EXEC_R_MAX - 1)

#endif
