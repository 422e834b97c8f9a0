// SPDX-License-Identifier: GPL-2.0
/* What may not set a table, and what is no table: `netlink DIRECTORY`, as `test`. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "table.h"

static struct message message;

/* What `act` returned in a child that `become`s somebody. */
static int in_child(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(-act());
	waitpid(pid, &status, 0);
	return -WEXITSTATUS(status);
}

static int all_refused(void)
{
	struct statistics statistics;
	int set = table_set(XOS_EXEC_GRID), removed = table_remove(0), shown = table_statistics(VO, &statistics);

	return set == -EPERM && removed == -EPERM && shown == -EPERM ? -EPERM : -EDOM;
}

static int as_user(void)
{
	if (become(UID, SESSION))
		return -EFAULT;
	return all_refused();
}

/* Root of a user namespace has CAP_NET_ADMIN there, and not over the node. */
static int as_root_of_a_namespace(void)
{
	if (become(1000, 0) || unshare(CLONE_NEWUSER))
		return -EFAULT;
	return all_refused();
}

static int in_network_namespace(void)
{
	if (unshare(CLONE_NEWNET))
		return -EFAULT;
	return table_set(XOS_EXEC_GRID);	/* the family is the node's: it is not even seen here */
}

/* One SET with rules of `size` bytes of pattern. */
static int set_patterns(int count, size_t size, uint8_t action)
{
	static char pattern[70000];
	struct rule *rules = calloc(count, sizeof(*rules));
	int err, i;

	memset(pattern, 'p', sizeof(pattern));
	pattern[0] = '/';
	pattern[size] = '\0';
	for (i = 0; i < count; i++)
		rules[i] = (struct rule){pattern, action, 0, ANY};
	err = table_set_of(VO, XOS_EXEC_GRID, 0, rules, count);
	free(rules);
	return err;
}

static void test_sizes(void)
{
	struct rule rule = {"", XOS_EXEC_LOCAL, 0, ANY};

	CHECK(set_patterns(1, 255, XOS_EXEC_LOCAL) == 0);
	CHECK(set_patterns(1, 256, XOS_EXEC_LOCAL) == -EINVAL);
	CHECK(set_patterns(XOS_EXEC_RULES_MAX, 30, XOS_EXEC_LOCAL) == 0);
	CHECK(set_patterns(XOS_EXEC_RULES_MAX + 1, 30, XOS_EXEC_LOCAL) == -E2BIG);
	CHECK(set_patterns(1, 10, 3) == -ERANGE);
	CHECK(table_set_of(VO, XOS_EXEC_GRID, 0, &rule, 1) == -EINVAL);	/* an empty pattern */
	rule.pattern = "t/prog";
	CHECK(table_set_of(VO, XOS_EXEC_GRID, 0, &rule, 1) == -EINVAL);
	rule.pattern = "/x";
	rule.cost = 4;
	CHECK(table_set_of(VO, XOS_EXEC_GRID, 0, &rule, 1) == -ERANGE);
	rule.cost = 0;
	rule.owner = 0xffffffff;
	CHECK(table_set_of(VO, XOS_EXEC_GRID, 0, &rule, 1) == -EINVAL);
	CHECK(table_set_of(0, XOS_EXEC_GRID, 0, NULL, 0) == -ERANGE);
	CHECK(table_set_of(XOS_EXEC_VO_MAX, XOS_EXEC_GRID, 0, NULL, 0) == 0);
	CHECK(table_set_of(XOS_EXEC_VO_MAX + 1, XOS_EXEC_GRID, 0, NULL, 0) == -ERANGE);
	CHECK(table_set_of(VO, XOS_EXEC_AUTO, 0, NULL, 0) == -ERANGE);
	CHECK(table_set_of(VO, XOS_EXEC_GRID, 4, NULL, 0) == -ERANGE);
	CHECK(table_remove(XOS_EXEC_VO_MAX) == 0);
	CHECK(table_remove(XOS_EXEC_VO_MAX + 1) == -ERANGE);
}

static void test_malformed(struct genl *genl)
{
	const uint32_t vo = VO;
	const uint8_t grid = XOS_EXEC_GRID;
	size_t at;

	message_begin(&message, genl, XOS_EXEC_CMD_SET, 0);
	CHECK(message_send(genl, &message) == -EINVAL);	/* nothing at all */
	message_begin(&message, genl, XOS_EXEC_CMD_SET, 0);
	message_put(&message, XOS_EXEC_A_VO, &vo, 2);
	message_put(&message, XOS_EXEC_A_DEFAULT, &grid, 1);
	CHECK(message_send(genl, &message) < 0);
	message_begin(&message, genl, XOS_EXEC_CMD_SET, 0);
	message_put(&message, XOS_EXEC_A_VO, &vo, 4);
	message_put(&message, XOS_EXEC_A_DEFAULT, &grid, 1);
	message_put(&message, XOS_EXEC_A_MAX + 5, &vo, 4);
	CHECK(message_send(genl, &message) == -EINVAL);
	message_begin(&message, genl, XOS_EXEC_CMD_SET, 0);
	message_put(&message, XOS_EXEC_A_VO, &vo, 4);
	message_put(&message, XOS_EXEC_A_DEFAULT, &grid, 1);
	at = message_nest(&message, XOS_EXEC_A_RULES);
	message_put(&message, XOS_EXEC_A_VO, &vo, 4);	/* no rule */
	message_nest_end(&message, at);
	CHECK(message_send(genl, &message) == -EINVAL);
	message_begin(&message, genl, XOS_EXEC_CMD_SET, 0);
	message_put(&message, XOS_EXEC_A_VO, &vo, 4);
	message_put(&message, XOS_EXEC_A_DEFAULT, &grid, 1);
	at = message_nest(&message, XOS_EXEC_A_RULES);
	message_put(&message, XOS_EXEC_A_RULE | NLA_F_NESTED, "\xff\xff\x01\x00", 4);	/* a length that reaches out of its nest */
	message_nest_end(&message, at);
	CHECK(message_send(genl, &message) < 0);
	message_begin(&message, genl, 77, 0);
	CHECK(message_send(genl, &message) == -EOPNOTSUPP);
}

/* Good messages with some bytes changed, and plain noise. Seeded, so a failure can be had again. */
static void test_noise(struct genl *genl)
{
	const uint32_t vo = VO;
	const uint8_t grid = XOS_EXEC_GRID, cost = 1;
	int taken = 0, round;

	srandom(20);
	for (round = 0; round < 20000; round++) {
		size_t outer, inner, i;
		int changes = 1 + random() % 6;

		message_begin(&message, genl, 1 + random() % 3, 0);
		message_put(&message, XOS_EXEC_A_VO, &vo, 4);
		message_put(&message, XOS_EXEC_A_DEFAULT, &grid, 1);
		outer = message_nest(&message, XOS_EXEC_A_RULES);
		for (i = random() % 4; i > 0; i--) {
			inner = message_nest(&message, XOS_EXEC_A_RULE);
			message_put(&message, XOS_EXEC_R_PATTERN, "/usr/**/x*", 11);
			message_put(&message, XOS_EXEC_R_ACTION, &grid, 1);
			message_put(&message, XOS_EXEC_R_COST, &cost, 1);
			message_nest_end(&message, inner);
		}
		message_nest_end(&message, outer);
		while (changes-- > 0)
			message.data[NLMSG_HDRLEN + 4 + random() % (message.size - NLMSG_HDRLEN - 4)] = random();
		if (round % 3 == 0)
			message.size = NLMSG_HDRLEN + 4 + random() % (message.size - NLMSG_HDRLEN - 4);
		taken += message_send(genl, &message) == 0;
	}
	CHECK(taken > 0 && taken < 20000);
}

int main(int argc, char **argv)
{
	struct genl genl = {.fd = -1};
	struct statistics statistics;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2 || geteuid() != 0) {
		printf("usage: netlink DIRECTORY, as root\n");
		return 2;
	}
	prepare(argv[1]);
	CHECK(in_child(as_user) == -EPERM);
	CHECK(in_child(as_root_of_a_namespace) == -EPERM);
	CHECK(in_child(in_network_namespace) == -ENOENT);
	test_sizes();
	if (CHECK(genl_open(&genl, XOS_EXEC_GENL) == 0)) {
		test_malformed(&genl);
		test_noise(&genl);
		genl_close(&genl);
	}
	CHECK(table_remove(0) == 0 && table_statistics(VO, &statistics) == 0 && statistics.tables == 0);
	CHECK(table_set(XOS_EXEC_GRID) == 0);
	CHECK(went_to_grid(&(struct call){"/t/prog", .session = SESSION}));
	table_remove(0);
	printf("%s: %d checks, %d failures\n", failures ? "not ok" : "ok", checks, failures);
	return failures != 0;
}
