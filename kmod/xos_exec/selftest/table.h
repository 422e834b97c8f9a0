/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTEST_TABLE_H
#define SELFTEST_TABLE_H
#include <stdint.h>
#include <string.h>

#include "genl.h"
#include "run.h"

struct rule {
	const char *pattern;
	uint8_t action, cost;
	int64_t owner;	/* -1: the caller; -2: any */
};
#define ANY (-2)
#define SELF (-1)

struct statistics {
	uint32_t count;
	uint64_t sent, kept, unable;
	int tables;
};

#define table_set(fallback, ...) ({ const struct rule list[] = {__VA_ARGS__}; table_set_of(VO, fallback, 0, list, sizeof(list) / sizeof(*list)); })

static struct message table_message;

static inline void put_rule(const struct rule *rule)
{
	size_t at = message_nest(&table_message, XOS_EXEC_A_RULE);
	uint32_t owner = (uint32_t)rule->owner;

	message_put(&table_message, XOS_EXEC_R_PATTERN, rule->pattern, strlen(rule->pattern) + 1);
	message_put(&table_message, XOS_EXEC_R_ACTION, &rule->action, 1);
	if (rule->cost)
		message_put(&table_message, XOS_EXEC_R_COST, &rule->cost, 1);
	if (rule->owner >= 0)
		message_put(&table_message, XOS_EXEC_R_OWNER, &owner, 4);
	if (rule->owner == SELF)
		message_put(&table_message, XOS_EXEC_R_OWNER_SELF, NULL, 0);
	message_nest_end(&table_message, at);
}

/* All as the kernel answers: 0 or -errno. */
static inline int table_set_of(uint32_t vo, uint8_t fallback, uint8_t leave, const struct rule *rules, int count)
{
	struct genl genl = {.fd = -1};
	size_t at;
	int err = genl_open(&genl, XOS_EXEC_GENL), i;

	if (err)
		return err;
	message_begin(&table_message, &genl, XOS_EXEC_CMD_SET, 0);
	message_put(&table_message, XOS_EXEC_A_VO, &vo, 4);
	message_put(&table_message, XOS_EXEC_A_NAME, "test", 5);
	message_put(&table_message, XOS_EXEC_A_DEFAULT, &fallback, 1);
	if (leave)
		message_put(&table_message, XOS_EXEC_A_LEAVE, &leave, 1);
	at = message_nest(&table_message, XOS_EXEC_A_RULES);
	for (i = 0; i < count; i++)
		put_rule(&rules[i]);
	message_nest_end(&table_message, at);
	err = message_send(&genl, &table_message);
	genl_close(&genl);
	return err;
}

static inline int table_remove(uint32_t vo)
{
	struct genl genl = {.fd = -1};
	int err = genl_open(&genl, XOS_EXEC_GENL);

	if (err)
		return err;
	message_begin(&table_message, &genl, XOS_EXEC_CMD_DEL, 0);
	if (vo)
		message_put(&table_message, XOS_EXEC_A_VO, &vo, 4);
	err = message_send(&genl, &table_message);
	genl_close(&genl);
	return err;
}

struct wanted {
	uint32_t vo;
	struct statistics *statistics;
};

static inline void take(const char *attributes, size_t size, void *data)
{
	const struct wanted *wanted = data;
	const uint32_t *vo = attribute_find(attributes, size, XOS_EXEC_A_VO, NULL);

	wanted->statistics->tables++;
	if (!vo || *vo != wanted->vo)
		return;
	memcpy(&wanted->statistics->count, attribute_find(attributes, size, XOS_EXEC_A_COUNT, NULL), 4);
	memcpy(&wanted->statistics->sent, attribute_find(attributes, size, XOS_EXEC_A_SENT, NULL), 8);
	memcpy(&wanted->statistics->kept, attribute_find(attributes, size, XOS_EXEC_A_KEPT, NULL), 8);
	memcpy(&wanted->statistics->unable, attribute_find(attributes, size, XOS_EXEC_A_UNABLE, NULL), 8);
}

static inline int table_statistics(uint32_t vo, struct statistics *statistics)
{
	struct wanted wanted = {vo, statistics};
	struct genl genl = {.fd = -1};
	int err = genl_open(&genl, XOS_EXEC_GENL);

	if (err)
		return err;
	memset(statistics, 0, sizeof(*statistics));
	message_begin(&table_message, &genl, XOS_EXEC_CMD_GET, 0);
	err = message_dump(&genl, &table_message, take, &wanted);
	genl_close(&genl);
	return err;
}
#endif
