/* SPDX-License-Identifier: GPL-2.0 */
/* A generic netlink client that can also send what no client should. */
#ifndef SELFTEST_GENL_H
#define SELFTEST_GENL_H
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct message {
	char data[1 << 17];
	size_t size;
};

struct genl {
	int fd;
	uint16_t family;
};

static char answer[1 << 17];

static inline void message_begin(struct message *message, const struct genl *genl, uint8_t command, uint16_t flags)
{
	struct nlmsghdr *head = (struct nlmsghdr *)message->data;
	struct genlmsghdr *inner = NLMSG_DATA(head);

	memset(message->data, 0, NLMSG_HDRLEN + GENL_HDRLEN);
	head->nlmsg_type = genl->family;
	head->nlmsg_flags = NLM_F_REQUEST | flags;
	head->nlmsg_seq = 1;
	inner->cmd = command;
	inner->version = 1;
	message->size = NLMSG_HDRLEN + GENL_HDRLEN;
}

static inline void message_put(struct message *message, uint16_t type, const void *data, size_t size)
{
	struct nlattr *attribute = (struct nlattr *)(message->data + message->size);

	attribute->nla_len = NLA_HDRLEN + size;
	attribute->nla_type = type;
	if (size)
		memcpy((char *)attribute + NLA_HDRLEN, data, size);
	memset((char *)attribute + NLA_HDRLEN + size, 0, NLA_ALIGN(size) - size);
	message->size += NLA_HDRLEN + NLA_ALIGN(size);
}

static inline size_t message_nest(struct message *message, uint16_t type)
{
	size_t at = message->size;

	message_put(message, type | NLA_F_NESTED, NULL, 0);
	return at;
}

static inline void message_nest_end(struct message *message, size_t at)
{
	((struct nlattr *)(message->data + at))->nla_len = message->size - at;
}

static inline ssize_t transmit(const struct genl *genl, struct message *message)
{
	ssize_t size;

	((struct nlmsghdr *)message->data)->nlmsg_len = message->size;
	size = send(genl->fd, message->data, message->size, 0);
	return size < 0 ? -errno : 0;
}

/* Sends it and waits for the kernel's word: 0, or -errno as the kernel says it. */
static inline int message_send(const struct genl *genl, struct message *message)
{
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
	ssize_t size;

	((struct nlmsghdr *)message->data)->nlmsg_flags |= NLM_F_ACK;
	size = transmit(genl, message);
	if (size < 0)
		return size;
	for (;;) {
		size = recv(genl->fd, answer, sizeof(answer), 0);
		if (size < 0)
			return -errno;
		if ((size_t)size >= NLMSG_HDRLEN + sizeof(int) && head->nlmsg_type == NLMSG_ERROR)
			return *(const int *)NLMSG_DATA(head);
	}
}

/* Sends a dump and gives `each` every answer's attributes. 0 or -errno. */
static inline int message_dump(const struct genl *genl, struct message *message, void (*each)(const char *, size_t, void *), void *data)
{
	ssize_t size;

	((struct nlmsghdr *)message->data)->nlmsg_flags |= NLM_F_DUMP;
	size = transmit(genl, message);
	if (size < 0)
		return size;
	for (;;) {
		const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
		int left;

		size = recv(genl->fd, answer, sizeof(answer), 0);
		if (size < 0)
			return -errno;
		for (left = size; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) {
			if (head->nlmsg_type == NLMSG_DONE)
				return 0;
			if (head->nlmsg_type == NLMSG_ERROR)
				return *(const int *)NLMSG_DATA(head);
			each((const char *)NLMSG_DATA(head) + GENL_HDRLEN, NLMSG_PAYLOAD(head, GENL_HDRLEN), data);
		}
	}
}

/* NULL when the attribute is not there. */
static inline const void *attribute_find(const char *attributes, size_t size, uint16_t type, size_t *length)
{
	while (size >= NLA_HDRLEN) {
		const struct nlattr *attribute = (const struct nlattr *)attributes;

		if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > size)
			return NULL;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type) {
			if (length)
				*length = attribute->nla_len - NLA_HDRLEN;
			return attributes + NLA_HDRLEN;
		}
		if ((size_t)NLA_ALIGN(attribute->nla_len) >= size)
			return NULL;
		size -= NLA_ALIGN(attribute->nla_len);
		attributes += NLA_ALIGN(attribute->nla_len);
	}
	return NULL;
}

static inline void take_family(const char *attributes, size_t size, void *data)
{
	const char *wanted = ((const char **)data)[0];
	struct genl *genl = ((void **)data)[1];
	const char *name = attribute_find(attributes, size, CTRL_ATTR_FAMILY_NAME, NULL);
	const uint16_t *number = attribute_find(attributes, size, CTRL_ATTR_FAMILY_ID, NULL);

	if (name && number && !strcmp(name, wanted))
		genl->family = *number;
}

static inline void genl_close(struct genl *genl)
{
	close(genl->fd);
	genl->fd = -1;
}

/* The socket, and the number of the family; -errno, and -ENOENT when there is no such family. */
static inline int genl_open(struct genl *genl, const char *family)
{
	const struct timeval limit = {.tv_sec = 10};
	static struct message message;
	void *data[2] = {(void *)family, genl};
	int err;

	genl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (genl->fd < 0)
		return -errno;
	setsockopt(genl->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	genl->family = GENL_ID_CTRL;
	message_begin(&message, genl, CTRL_CMD_GETFAMILY, 0);
	genl->family = 0;
	err = message_dump(genl, &message, take_family, data);
	if (!err && !genl->family)
		err = -ENOENT;
	if (err)
		genl_close(genl);
	return err;
}
#endif
