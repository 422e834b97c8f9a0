// Self-test of xos_cred, run as root in a guest that has loaded it: `test` takes all steps and ends with 0, or says which one failed.
// `test hold` keeps one credential for a look at the machine's memory, `test churn N` makes and loses N of them, each in a few ways.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "xos_cred.h"

#define UID 1879113729u
#define OTHER 1000
#define TEXT "-----BEGIN CERTIFICATE-----"

static int failed;
static const char *step = "";

#define EXPECT(condition) \
	do { \
		int error_ = errno; \
		if (!(condition)) { \
			printf("failed: %s: line %d: %s (%s)\n", step, __LINE__, #condition, strerror(error_)); \
			failed++; \
		} \
	} while (0)

#define REFUSED(call, number) \
	do { \
		errno = 0; \
		long result_ = (call); \
		if (result_ >= 0 || errno != (number)) { \
			printf("failed: %s: line %d: %s gives %ld, %s, not %s\n", step, __LINE__, #call, result_, strerror(errno), #number); \
			failed++; \
		} \
	} while (0)

/* ---- keys ---- */

static long keyctl(int operation, long a, long b, long c) { return syscall(SYS_keyctl, operation, a, b, c, 0L); }

static long join(void) { return keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0); }

union payload {
	struct xos_cred_payload head;
	char bytes[sizeof(struct xos_cred_payload) + XOS_CRED_SIZE_MAX + 1];
};

static size_t make(union payload *p, uint32_t uid, uint8_t serial, const char *text, int64_t seconds)
{
	memset(p, 0, sizeof p->head);
	p->head.magic = XOS_CRED_MAGIC;
	p->head.version = XOS_CRED_VERSION;
	p->head.uid = uid;
	p->head.size = (uint32_t)strlen(text);
	p->head.expires = time(NULL) + seconds;
	if (p->head.size) {
		p->head.serial_size = 2;
		p->head.serial[0] = 0x42;
		p->head.serial[1] = serial;
	}
	memcpy(p->head.credential, text, p->head.size);
	return sizeof p->head + p->head.size;
}

static long add_raw(const char *description, const void *data, size_t size)
{
	return syscall(SYS_add_key, XOS_CRED_TYPE, description, data, size, (long)KEY_SPEC_SESSION_KEYRING);
}

static long add(uint32_t uid, uint8_t serial, const char *text, int64_t seconds)
{
	union payload p;
	return add_raw("xos:credential", &p, make(&p, uid, serial, text, seconds));
}

static long read_key(long key, char *buffer, size_t size) { return keyctl(KEYCTL_READ, key, (long)buffer, (long)size); }

static int holds(long key, const char *text)
{
	char buffer[256] = "";
	long size = read_key(key, buffer, sizeof buffer);
	return size == (long)strlen(text) && memcmp(buffer, text, strlen(text)) == 0;
}

/* ---- generic netlink ---- */

struct message {
	struct nlmsghdr nl;
	struct genlmsghdr genl;
	char data[65536];
};

static void attribute(struct message *m, uint16_t type, const void *value, uint16_t size)
{
	struct nlattr head = {.nla_len = (uint16_t)(NLA_HDRLEN + size), .nla_type = type};
	char *at = (char *)m + NLMSG_ALIGN(m->nl.nlmsg_len);
	memset(at, 0, NLA_ALIGN(head.nla_len));
	memcpy(at, &head, sizeof head);
	memcpy(at + NLA_HDRLEN, value, size);
	m->nl.nlmsg_len = NLMSG_ALIGN(m->nl.nlmsg_len) + NLA_ALIGN(head.nla_len);
}

static void begin(struct message *m, uint16_t family, uint8_t command)
{
	memset(m, 0, sizeof m->nl + sizeof m->genl);
	m->nl.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	m->nl.nlmsg_type = family;
	m->nl.nlmsg_flags = NLM_F_REQUEST;
	m->genl.cmd = command;
	m->genl.version = 1;
}

/* Sends it and finds the attribute `want` of `size` bytes in the answer. Returns 0 or -errno, as the kernel says. */
static int ask(struct message *m, uint16_t want, void *value, size_t size)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC), result = -EIO;
	if (fd < 0) return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 20}, sizeof(struct timeval));
	if (sendto(fd, m, m->nl.nlmsg_len, 0, (struct sockaddr *)&(struct sockaddr_nl){.nl_family = AF_NETLINK}, sizeof(struct sockaddr_nl)) < 0) result = -errno;
	else if (recv(fd, m, sizeof *m, 0) < 0) result = -errno;
	else if (m->nl.nlmsg_type == NLMSG_ERROR) result = ((struct nlmsgerr *)((char *)m + NLMSG_HDRLEN))->error;
	else {
		char *at = (char *)m + NLMSG_HDRLEN + GENL_HDRLEN, *end = (char *)m + m->nl.nlmsg_len;
		for (struct nlattr head; at + NLA_HDRLEN <= end; at += NLA_ALIGN(head.nla_len)) {
			memcpy(&head, at, sizeof head);
			if (head.nla_len < NLA_HDRLEN) break;
			if (head.nla_type != want || head.nla_len < NLA_HDRLEN + size) continue;
			memcpy(value, at + NLA_HDRLEN, size);
			result = 0;
		}
	}
	close(fd);
	return result;
}

static uint16_t family(void)
{
	static uint16_t id;
	static struct message m;
	if (id) return id;
	begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	attribute(&m, CTRL_ATTR_FAMILY_NAME, XOS_CRED_GENL, sizeof XOS_CRED_GENL);
	if (ask(&m, CTRL_ATTR_FAMILY_ID, &id, sizeof id) < 0) id = 0;
	return id;
}

static long live(void)
{
	static struct message m;
	uint32_t count = 0;
	begin(&m, family(), XOS_CRED_CMD_STATUS);
	int error = ask(&m, XOS_CRED_A_LIVE, &count, sizeof count);
	return error < 0 ? error : (long)count;
}

/* Collecting a key is the kernel's own thread's work: soon, not at once. */
static int live_becomes(long wanted)
{
	for (int i = 0; i < 300 && live() != wanted; i++) usleep(100000);
	return live() == wanted;
}

static long revoke_list(uint16_t type, const void *value, uint16_t size)
{
	static struct message m;
	uint32_t count = 0;
	begin(&m, family(), XOS_CRED_CMD_REVOKE);
	if (value) attribute(&m, type, value, size);
	int error = ask(&m, XOS_CRED_A_COUNT, &count, sizeof count);
	return error < 0 ? error : (long)count;
}

static long revoke_uid(uint32_t uid) { return revoke_list(XOS_CRED_A_UID, &uid, sizeof uid); }

/* ---- others ---- */

/* Runs `body` in a child as another user or in another session, and counts its failures. */
static void other(void (*body)(long), long argument)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		failed = 0;
		body(argument);
		fflush(stdout);
		_exit(failed ? 1 : 0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	EXPECT(status == 0);
}

static void become_other(void)
{
	EXPECT(setresgid(OTHER, OTHER, OTHER) == 0);
	EXPECT(setresuid(OTHER, OTHER, OTHER) == 0);
}

static void child_of_session(long key) { EXPECT(holds(key, TEXT)); }

static void same_user_other_session(long key)
{
	char buffer[64];
	EXPECT(join() >= 0);
	REFUSED(read_key(key, buffer, sizeof buffer), EACCES);
}

static void other_user(long key)
{
	char buffer[64];
	EXPECT(join() >= 0);
	become_other();
	REFUSED(read_key(key, buffer, sizeof buffer), EACCES);
	REFUSED(keyctl(KEYCTL_REVOKE, key, 0, 0), EACCES);
	REFUSED(keyctl(KEYCTL_INVALIDATE, key, 0, 0), EACCES);
	REFUSED(add(UID, 1, TEXT, 60), EPERM);
	EXPECT(revoke_uid(UID) == -EPERM);
	EXPECT(live() == -EPERM);
}

/* A session's process is root of a user namespace of its own: that is nobody here. */
static void root_of_namespace(long key)
{
	char buffer[64];
	union payload p;
	size_t size = make(&p, UID, 9, "forged", 60);
	become_other();
	EXPECT(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
	REFUSED(add_raw("xos:credential", &p, size), EPERM);
	EXPECT(revoke_uid(UID) < 0);
	REFUSED(keyctl(KEYCTL_UPDATE, key, (long)&p, (long)size), EACCES);
	/* It possesses the key, being of the session: it may read, and that is all. */
	EXPECT(read_key(key, buffer, sizeof buffer) == (long)strlen(TEXT));
}

/* ---- steps ---- */

static long ring;
enum { SESSION_ONLY = 0x0b000000 | 0x00050000 };  /* possessor: view read search; owner: view write */

static long begin_step(const char *name)
{
	step = name;
	ring = join();
	EXPECT(ring >= 0);
	long key = add(UID, 1, TEXT, 3600);
	EXPECT(key >= 0);
	EXPECT(keyctl(KEYCTL_SETPERM, key, SESSION_ONLY, 0) == 0);
	return key;
}

static void end_step(void)
{
	keyctl(KEYCTL_REVOKE, ring, 0, 0);
	join();
	EXPECT(live_becomes(0));
	printf("ok: %s\n", step);
}

static void test_session(void)
{
	long key = begin_step("a credential is read in its session, by forked processes too, and nowhere else");
	EXPECT(live() == 1);
	EXPECT(holds(key, TEXT));
	EXPECT(keyctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, (long)XOS_CRED_TYPE, (long)"xos:credential") == key);
	char few[4] = "abc";
	EXPECT(read_key(key, few, 2) == (long)strlen(TEXT) && !memcmp(few, "abc", 4));	/* all or nothing, keyctl(2) */
	EXPECT(read_key(key, NULL, 0) == (long)strlen(TEXT));
	other(child_of_session, key);
	other(same_user_other_session, key);
	other(other_user, key);
	other(root_of_namespace, key);
	end_step();
}

static void linked(long key)
{
	char buffer[64];
	EXPECT(join() >= 0);
	EXPECT(keyctl(KEYCTL_LINK, KEY_SPEC_USER_KEYRING, KEY_SPEC_SESSION_KEYRING, 0) == 0);
	REFUSED(read_key(key, buffer, sizeof buffer), EACCES);
}

static void test_link(void)
{
	long key = begin_step("a link elsewhere, which only root can make possible, gives no reading there");
	union payload p;
	long open = add_raw("xos:linked", &p, make(&p, UID, 8, TEXT, 3600));
	/* As pam_xos leaves it, not even root may hand it on, or change that. */
	REFUSED(keyctl(KEYCTL_LINK, key, KEY_SPEC_USER_KEYRING, 0), EACCES);
	REFUSED(keyctl(KEYCTL_SETPERM, key, 0x3f3f0000, 0), EACCES);
	EXPECT(keyctl(KEYCTL_SETPERM, open, 0x3f3f0000, 0) == 0);
	EXPECT(keyctl(KEYCTL_LINK, open, KEY_SPEC_USER_KEYRING, 0) == 0);
	EXPECT(holds(open, TEXT));
	other(linked, open);
	EXPECT(keyctl(KEYCTL_UNLINK, open, KEY_SPEC_USER_KEYRING, 0) == 0);
	end_step();
}

static void test_expiry(void)
{
	long key = begin_step("an expired credential is not to be had, and its memory is freed");
	EXPECT(keyctl(KEYCTL_INVALIDATE, key, 0, 0) == 0);
	key = add(UID, 2, TEXT, 3);
	EXPECT(key >= 0 && holds(key, TEXT));
	char buffer[64];
	sleep(4);
	errno = 0;
	EXPECT(read_key(key, buffer, sizeof buffer) < 0 && (errno == EKEYEXPIRED || errno == ENOKEY));
	EXPECT(live_becomes(0));
	REFUSED(add(UID, 2, TEXT, 0), EKEYEXPIRED);
	REFUSED(add(UID, 2, TEXT, -86400), EKEYEXPIRED);
	end_step();
}

static void test_renewal(void)
{
	long key = begin_step("renewal replaces the credential and its expiry, garbage changes nothing");
	union payload p;
	size_t size = make(&p, UID, 3, "renewed", 2);
	p.head.magic ^= 1;
	REFUSED(keyctl(KEYCTL_UPDATE, key, (long)&p, (long)size), EINVAL);
	EXPECT(holds(key, TEXT));
	p.head.magic ^= 1;
	EXPECT(keyctl(KEYCTL_UPDATE, key, (long)&p, (long)size) == 0);
	EXPECT(holds(key, "renewed"));
	size = make(&p, UID, 3, "renewed twice", 3600);
	EXPECT(keyctl(KEYCTL_UPDATE, key, (long)&p, (long)size) == 0);
	sleep(4);
	EXPECT(holds(key, "renewed twice"));
	EXPECT(live() == 1);
	/* A place without a credential. */
	size = make(&p, 0, 0, "", 3600);
	EXPECT(keyctl(KEYCTL_UPDATE, key, (long)&p, (long)size) == 0);
	char buffer[64];
	REFUSED(read_key(key, buffer, sizeof buffer), ENODATA);
	end_step();
}

static void test_revocation(void)
{
	long key = begin_step("revocation wipes by uid and by serial number, at once");
	char buffer[64];
	uint8_t serial[] = {0x42, 7}, none[] = {0x42};
	union payload p;
	long second = add_raw("xos:second", &p, make(&p, UID + 1, 7, "second", 3600));
	EXPECT(second >= 0 && live() == 2);
	EXPECT(revoke_uid(UID + 2) == 0);
	EXPECT(revoke_list(XOS_CRED_A_SERIAL, none, sizeof none) == 0);
	EXPECT(live() == 2 && holds(key, TEXT));
	EXPECT(revoke_uid(UID) == 1);
	EXPECT(live() == 1);
	REFUSED(read_key(key, buffer, sizeof buffer), EKEYREVOKED);
	EXPECT(holds(second, "second"));
	EXPECT(revoke_list(XOS_CRED_A_SERIAL, serial, sizeof serial) == 1);
	EXPECT(live() == 0);
	REFUSED(keyctl(KEYCTL_UPDATE, second, (long)&p, (long)make(&p, UID, 7, "again", 60)), EKEYREVOKED);
	end_step();
}

static void test_netlink(void)
{
	begin_step("garbage over netlink is refused and revokes nothing");
	static struct message m;
	uint32_t uid = UID, count;
	EXPECT(revoke_list(0, NULL, 0) == -EINVAL);
	EXPECT(revoke_list(XOS_CRED_A_UID, "ab", 2) < 0);
	EXPECT(revoke_list(XOS_CRED_A_SERIAL, "", 0) < 0);
	EXPECT(revoke_list(XOS_CRED_A_SERIAL, "123456789012345678901", 21) < 0);
	EXPECT(revoke_list(XOS_CRED_A_COUNT, &uid, sizeof uid) < 0);
	EXPECT(revoke_list(77, &uid, sizeof uid) < 0);
	begin(&m, family(), XOS_CRED_CMD_REVOKE);
	for (int i = 0; i <= XOS_CRED_REVOKE_MAX; i++) attribute(&m, XOS_CRED_A_UID, &uid, sizeof uid);
	EXPECT(ask(&m, XOS_CRED_A_COUNT, &count, sizeof count) == -E2BIG);
	for (int i = 0; i < 3000; i++) {
		char noise[96];
		size_t size = (size_t)(random() % (long)sizeof noise);
		if (getrandom(noise, sizeof noise, 0) < 0) break;
		begin(&m, family(), (uint8_t)(random() % 6));
		memcpy((char *)&m + m.nl.nlmsg_len, noise, size);
		/* Of a known attribute's type sometimes, with a wrong length. */
		if (size > 4 && i % 2) *(uint16_t *)((char *)&m + m.nl.nlmsg_len + 2) = (uint16_t)(i % 8);
		m.nl.nlmsg_len += (uint32_t)size;
		m.nl.nlmsg_flags |= NLM_F_ACK;
		ask(&m, XOS_CRED_A_COUNT, &count, sizeof count);
	}
	EXPECT(live() == 1);
	end_step();
}

static void test_garbage(void)
{
	long key = begin_step("a payload is taken when it is one, and never else");
	union payload p;
	size_t size = make(&p, UID, 1, TEXT, 3600);
	static const char long_text[] = "x";
	REFUSED(add_raw("credential", &p, size), EINVAL);
	for (size_t cut = 1; cut < size; cut++) REFUSED(add_raw("xos:garbage", &p, cut), EINVAL);
	REFUSED(add_raw("xos:garbage", &p, size + 1), EINVAL);
	make(&p, UID, 1, long_text, 3600);
	p.head.size = XOS_CRED_SIZE_MAX;
	EXPECT(add_raw("xos:largest", &p, sizeof p.head + XOS_CRED_SIZE_MAX) >= 0);
	p.head.size++;
	REFUSED(add_raw("xos:larger", &p, sizeof p.head + XOS_CRED_SIZE_MAX + 1), EINVAL);
	size = make(&p, UID, 1, TEXT, 3600);
	p.head.uid = 0;
	REFUSED(add_raw("xos:root", &p, size), EINVAL);
	int taken = 0;
	for (int i = 0; i < 20000; i++) {
		size = make(&p, UID, 1, TEXT, 3600);
		for (int flips = 1 + (int)(random() % 3); flips > 0; flips--) p.bytes[random() % (long)size] ^= (char)(1 << random() % 8);
		int head_is_good = p.head.magic == XOS_CRED_MAGIC && p.head.version == XOS_CRED_VERSION && p.head.reserved == 0 && p.head.size == strlen(TEXT);
		long made = add_raw("xos:garbage", &p, size);
		if (made < 0) continue;
		taken++;
		EXPECT(head_is_good && p.head.serial_size <= XOS_CRED_SERIAL_MAX && p.head.expires > time(NULL));
	}
	EXPECT(taken > 0 && taken < 20000);
	EXPECT(holds(key, TEXT));
	end_step();
}

/* Logout, as pam_xos does it. */
static void test_logout(void)
{
	long key = begin_step("after logout nothing is left");
	EXPECT(keyctl(KEYCTL_INVALIDATE, key, 0, 0) == 0);
	EXPECT(live_becomes(0));
	char buffer[64];
	errno = 0;
	EXPECT(read_key(key, buffer, sizeof buffer) < 0);
	end_step();
}

static int all(void)
{
	if (!family()) return printf("failed: no generic netlink family '" XOS_CRED_GENL "': is the module loaded?\n"), 1;
	test_session();
	test_link();
	test_expiry();
	test_renewal();
	test_revocation();
	test_netlink();
	test_garbage();
	test_logout();
	return failed ? 1 : 0;
}

/* A credential of random letters; what is printed is each of them changed, so that the only copy in clear is the key's. Then waits for lines:
 * "revoke", "end". */
static int hold(void)
{
	char text[65] = "", line[32];
	union payload p;
	join();
	if (getrandom(text, 64, 0) != 64) return 1;
	for (int i = 0; i < 64; i++) text[i] = (char)('A' + ((unsigned char)text[i] % 26));
	size_t size = make(&p, UID, 1, text, 3600);
	if (add_raw("xos:credential", &p, size) < 0) return perror("add_key"), 1;
	explicit_bzero(&p, sizeof p);
	for (int i = 0; i < 64; i++) text[i] = (char)(text[i] ^ 0x15);
	printf("held ");
	for (int i = 0; i < 64; i++) printf("%02x", (unsigned char)text[i]);
	printf("\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin) && strcmp(line, "end\n") != 0)
		if (strcmp(line, "revoke\n") == 0) printf("revoked %ld\n", revoke_uid(UID)), fflush(stdout);
	return 0;
}

static int churn(long rounds)
{
	char buffer[256];
	for (long i = 0; i < rounds; i++) {
		join();
		long key = add(UID, (uint8_t)i, TEXT, i % 5 == 0 ? 1 : 3600);
		if (key < 0 && errno != ENODEV && errno != ENOKEY) perror("add_key");
		if (key < 0) continue;  /* the module is being unloaded */
		read_key(key, buffer, sizeof buffer);
		if (i % 4 == 1) keyctl(KEYCTL_REVOKE, key, 0, 0);
		if (i % 4 == 2) keyctl(KEYCTL_INVALIDATE, key, 0, 0);
		if (i % 4 == 3) revoke_uid(UID);
		read_key(key, buffer, sizeof buffer);
	}
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	srandom((unsigned)time(NULL));
	if (argc == 2 && !strcmp(argv[1], "hold")) return hold();
	if (argc == 3 && !strcmp(argv[1], "churn")) return churn(atol(argv[2]));
	return all();
}
