// The agent's client against peers that are away, slow, silent, wrong or hostile. Each peer is a thread that takes one connection.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../common/agent.h"
#include "check.h"

static char path[64];
static char asked[XOS_AGENT_REQUEST_MAX + 1];

struct peer {
  const char *reply;
  size_t size;
  int silent;        ///< keeps the connection open afterwards until the client goes
  int drip_us;       ///< sends byte by byte with this pause
  int deaf;          ///< does not read the question
};

static int listen_at(int backlog) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  unlink(path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, backlog) != 0) {
    perror(path);
    exit(1);
  }
  return fd;
}

struct work {
  int fd;
  struct peer peer;
};

static void *serve(void *data) {
  struct work *work = data;
  int client = accept(work->fd, NULL, NULL);
  size_t used = 0;
  while (!work->peer.deaf && used < sizeof asked - 1) {
    ssize_t got = read(client, asked + used, sizeof asked - 1 - used);
    if (got <= 0) break;
    used += (size_t)got;
    if (used >= 2 && memcmp(asked + used - 2, "\n\n", 2) == 0) break;
  }
  asked[used] = '\0';
  for (size_t sent = 0; sent < work->peer.size;) {
    size_t part = work->peer.drip_us ? 1 : work->peer.size - sent;
    ssize_t done = send(client, work->peer.reply + sent, part, MSG_NOSIGNAL);
    if (done <= 0) break;
    sent += (size_t)done;
    if (work->peer.drip_us) nanosleep(&(struct timespec){.tv_nsec = work->peer.drip_us * 1000L}, NULL);
  }
  char byte;
  if (work->peer.silent)
    while (read(client, &byte, 1) > 0) {}
  close(client);
  return NULL;
}

static struct xos_answer *ask_peer(struct peer peer, int timeout_ms, const struct xos_field *request) {
  struct work work = {listen_at(4), peer};
  pthread_t thread;
  pthread_create(&thread, NULL, serve, &work);
  struct xos_answer *answer = xos_agent_ask(path, timeout_ms, request);
  pthread_join(thread, NULL);
  close(work.fd);
  CHECK(answer != NULL);
  return answer;
}

static const struct xos_field account[] = {{"op", "account"}, {"user", "alice@demo"}, {NULL, NULL}};
#define REPLY(text) ((struct peer){.reply = text, .size = sizeof(text) - 1})

/// True when the reply is taken for none; what had come of it is not kept.
static int refused(struct peer peer) {
  struct xos_answer *answer = ask_peer(peer, 300, account);
  int result = answer->status == XOS_STATUS_UNAVAILABLE && answer->count == 0 && answer->why[0];
  xos_answer_free(answer);
  return result;
}

static void a_good_answer_is_read(void) {
  struct xos_answer *answer = ask_peer(REPLY("status=ok\nuser=alice@demo\nenv.A=1%0A2\nempty=\n\ntrailing"), 5000,
                                       (struct xos_field[]){{"op", "x"}, {"a", "1\n2=%"}, {"left", NULL}, {NULL, NULL}});
  CHECK(answer->status == XOS_STATUS_OK && answer->count == 3);
  CHECK(strcmp(asked, "op=x\na=1%0A2%3D%25\n\n") == 0);
  CHECK(strcmp(xos_answer_get(answer, "env.A"), "1\n2") == 0);
  CHECK(strcmp(xos_answer_get(answer, "empty"), "") == 0);
  CHECK(!xos_answer_get(answer, "left") && !xos_answer_get(answer, "status") && !xos_answer_get(answer, "trailing"));
  xos_answer_free(answer);
  answer = ask_peer((struct peer){.reply = "status=expired\n\n", .size = 16, .drip_us = 500}, 5000, account);
  CHECK(answer->status == XOS_STATUS_EXPIRED && answer->count == 0);
  xos_answer_free(answer);
}

static void garbage_is_no_answer(void) {
  CHECK(refused(REPLY("")));
  CHECK(refused(REPLY("status=ok\n")));                       // closes early
  CHECK(refused(REPLY("status=ok\nuser=alice")));
  CHECK(refused(REPLY("\n\n")));
  CHECK(refused(REPLY("user=alice\nstatus=ok\n\n")));         // status is first or it is none
  CHECK(refused(REPLY("status=ok\nstatus=denied\n\n")));
  CHECK(refused(REPLY("status=ok\na=1\na=2\n\n")));
  CHECK(refused(REPLY("status=yes\n\n")));
  CHECK(refused(REPLY("status=\n\n")));
  CHECK(refused(REPLY("status=ok\nno equals sign\n\n")));
  CHECK(refused(REPLY("status=ok\n=1\n\n")));
  CHECK(refused(REPLY("status=ok\na b=1\n\n")));
  CHECK(refused(REPLY("status=ok\na=%zz\n\n")));
  CHECK(refused(REPLY("status=ok\na=x%00y\n\n")));
  CHECK(refused(REPLY("status=ok\na=%n %s\n\n")));
  CHECK(refused(REPLY("status=ok\na=1\0b\n\n")));
  CHECK(refused(REPLY("status=ok\0\n\n")));
  CHECK(refused(REPLY("status=ok\r\na=1\r\n\r\n")));
  CHECK(refused(REPLY("HTTP/1.1 200 OK\n\n")));
  CHECK(refused(REPLY("\xff\xfe\x00\x01\n\n")));
}

static void size_has_a_limit(void) {
  static char big[XOS_AGENT_ANSWER_MAX + 16];
  const char head[] = "status=ok\na=";
  for (int over = 0; over <= 1; over++) {
    size_t size = XOS_AGENT_ANSWER_MAX + (size_t)over;
    memset(big, 'x', sizeof big);
    memcpy(big, head, sizeof head - 1);
    memcpy(big + size - 2, "\n\n", 2);
    struct xos_answer *answer = ask_peer((struct peer){.reply = big, .size = size}, 5000, account);
    CHECK(answer->status == (over ? XOS_STATUS_UNAVAILABLE : XOS_STATUS_OK));
    if (!over) CHECK(strlen(xos_answer_get(answer, "a")) == size - (sizeof head - 1) - 2);
    xos_answer_free(answer);
  }
  memset(big, 'x', sizeof big);  // one line without an end
  CHECK(refused((struct peer){.reply = big, .size = sizeof big}));
  for (int fields = XOS_AGENT_FIELDS_MAX; fields <= XOS_AGENT_FIELDS_MAX + 1; fields++) {
    char *at = big + sprintf(big, "status=ok\n");
    for (int i = 0; i < fields; i++) at += sprintf(at, "f%d=%d\n", i, i);
    *at++ = '\n';
    struct xos_answer *answer = ask_peer((struct peer){.reply = big, .size = (size_t)(at - big)}, 5000, account);
    CHECK(answer->status == (fields > XOS_AGENT_FIELDS_MAX ? XOS_STATUS_UNAVAILABLE : XOS_STATUS_OK));
    xos_answer_free(answer);
  }
  static char question[XOS_AGENT_REQUEST_MAX];
  memset(question, ' ', sizeof question - 1);
  struct xos_answer *answer = xos_agent_ask(path, 300, (struct xos_field[]){{"op", question}, {NULL, NULL}});
  CHECK(answer->status == XOS_STATUS_UNAVAILABLE && strstr(answer->why, "longer"));
  xos_answer_free(answer);
}

/// Answers with some bytes changed: whatever comes of them, it is read within its bounds (the sanitizers see to that) and has one of the forms.
static void changed_answers_do_no_harm(void) {
  static const char good[] = "status=ok\nuser=alice@demo\nsession=00112233445566778899aabbccddeeff\nenv.XOS_A=1%202%0A\n\n";
  for (int i = 0; i < 2000; i++) {
    char text[sizeof good + 8];
    size_t size = sizeof good - 1;
    memcpy(text, good, size);
    for (int changes = 1 + rand() % 4; changes > 0; changes--) text[(size_t)rand() % size] = (char)(rand() % 3 ? "=%\n0aZ.\0"[rand() % 8] : rand());
    struct xos_answer *answer = ask_peer((struct peer){.reply = text, .size = (size_t)rand() % (size + 1)}, 5000, account);
    CHECK(answer->status <= XOS_STATUS_UNAVAILABLE && answer->count <= XOS_AGENT_FIELDS_MAX);
    for (size_t field = 0; field < answer->count; field++)
      CHECK(strlen(answer->fields[field].key) > 0 && strlen(answer->fields[field].value) < sizeof text);
    xos_answer_free(answer);
  }
}

// These end at all: without a bound they would hang, and CTest would end them.
static void waiting_has_a_bound(void) {
  CHECK(refused((struct peer){.silent = 1}));
  CHECK(refused((struct peer){.reply = "status=ok\n", .size = 10, .silent = 1}));
  CHECK(refused((struct peer){.silent = 1, .deaf = 1}));
  static char slow[XOS_AGENT_ANSWER_MAX];
  memset(slow, 'x', sizeof slow);
  CHECK(refused((struct peer){.reply = slow, .size = sizeof slow, .drip_us = 20000}));  // always something, never enough
}

static void an_absent_agent_is_told_at_once(void) {
  unlink(path);
  struct xos_answer *answer = xos_agent_ask(path, 600000, account);
  CHECK(answer->status == XOS_STATUS_UNAVAILABLE && strstr(answer->why, path));
  xos_answer_free(answer);
  close(listen_at(1));  // a socket that nobody listens to
  answer = xos_agent_ask(path, 600000, account);
  CHECK(answer->status == XOS_STATUS_UNAVAILABLE);
  xos_answer_free(answer);
  int fd = listen_at(0), waiting[64], count = 0;  // a full backlog: stopped, or hung
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  for (; count < 64; count++) {
    waiting[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(waiting[count], (struct sockaddr *)&address, sizeof address) != 0) break;
  }
  CHECK(count < 64);
  answer = xos_agent_ask(path, 600000, account);
  CHECK(answer->status == XOS_STATUS_UNAVAILABLE);
  xos_answer_free(answer);
  for (int i = 0; i <= count && i < 64; i++) close(waiting[i]);
  close(fd);
  char deep[300];
  memset(deep, 'a', sizeof deep);
  deep[0] = '/';
  deep[sizeof deep - 1] = '\0';
  answer = xos_agent_ask(deep, 300, account);
  CHECK(answer->status == XOS_STATUS_UNAVAILABLE);
  xos_answer_free(answer);
}

/// A user who gets hold of the path (an attacker before xosd starts) is no agent. The peer of a listening socket is who called listen().
static void only_root_is_an_agent(void) {
  if (geteuid() != 0) {
    printf("skipped: needs root: only_root_is_an_agent\n");
    return;
  }
  unlink(path);
  int ready[2];
  if (pipe(ready) != 0) return;
  pid_t child = fork();
  if (child == 0) {
    if (setuid(65534) != 0) _exit(1);
    int fd = listen_at(4);
    if (write(ready[1], "", 1) != 1) _exit(1);
    char buffer[512];
    int client = accept(fd, NULL, NULL);
    _exit(read(client, buffer, sizeof buffer) > 0 ? 7 : 0);  // 7: it was told something
  }
  char byte;
  CHECK(read(ready[0], &byte, 1) == 1);
  struct xos_answer *answer = xos_agent_ask(path, 1000, account);
  CHECK(answer->status == XOS_STATUS_UNAVAILABLE && strstr(answer->why, "not root"));
  xos_answer_free(answer);
  int status;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  close(ready[0]);
  close(ready[1]);
}

int main(void) {
  char folder[] = "/tmp/xos-agent-test-XXXXXX";
  if (!mkdtemp(folder)) return 1;
  chmod(folder, 01777);
  snprintf(path, sizeof path, "%s/agent.sock", folder);
  a_good_answer_is_read();
  garbage_is_no_answer();
  size_has_a_limit();
  unsigned seed = (unsigned)time(NULL);
  printf("seed %u\n", seed);
  srand(seed);
  changed_answers_do_no_harm();
  waiting_has_a_bound();
  an_absent_agent_is_told_at_once();
  only_root_is_an_agent();
  xos_answer_free(NULL);
  unlink(path);
  rmdir(folder);
  return finish("agent");
}
