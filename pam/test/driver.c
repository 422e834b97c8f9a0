// driver CONFDIR SERVICE USER PASSWORD STEP…: takes PAM's steps as a login would and prints what came of each, one a line.
//
// Steps: auth account setcred refresh delete expired putenv:NAME=VALUE open quiet-open close password env keys namespace thread exec:PATH. Messages of the conversation are printed as `say …`.
#include <errno.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *password;

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data) {
  (void)data;
  struct pam_response *all = calloc((size_t)count, sizeof *all);
  for (int i = 0; i < count; i++) {
    switch (messages[i]->msg_style) {
      case PAM_PROMPT_ECHO_OFF:
        all[i].resp = strdup(strstr(messages[i]->msg, "ew ") ? "changed" : password);  // "New password: ", "Retype new password: "
        break;
      case PAM_PROMPT_ECHO_ON: all[i].resp = strdup("alice@demo"); break;
      default: printf("say %s\n", messages[i]->msg);
    }
  }
  *responses = all;
  return PAM_SUCCESS;
}

/// In the place of the wait after a failure (PAM_FAIL_DELAY): says what was asked for.
static void delayed(int status, unsigned microseconds, void *data) {
  (void)data;
  if (status != PAM_SUCCESS && microseconds > 0) printf("delay %.3f\n", microseconds / 1e6);
}

static void print_env(pam_handle_t *pamh) {
  char **list = pam_getenvlist(pamh);
  for (char **one = list; *one; one++) {
    printf("env %s\n", *one);
    free(*one);
  }
  free(list);
}

static void print_key(const char *name) {
  char text[256] = "", payload[4096] = "";
  long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", name, 0);
  if (key < 0) {
    printf("key %s none\n", name);
    return;
  }
  syscall(SYS_keyctl, KEYCTL_DESCRIBE, key, text, sizeof text - 1);
  syscall(SYS_keyctl, KEYCTL_READ, key, payload, sizeof payload - 1);
  printf("key %ld %s %zu %.65s\n", key, text, strlen(payload), payload);
}

static void print_namespace(void) {
  char text[64] = "";
  if (readlink("/proc/self/ns/user", text, sizeof text - 1) > 0) printf("namespace %s\n", text);
}

static void start(const char *path) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    execl(path, path, "a b", (char *)NULL);
    printf("exec errno %d\n", errno);
    fflush(stdout);
    _exit(99);
  }
  int status;
  waitpid(child, &status, 0);
  printf("exec %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

static void *idle(void *data) {
  (void)data;
  for (;;) pause();
  return NULL;
}

static int step(pam_handle_t *pamh, const char *name) {
  if (strcmp(name, "auth") == 0) return pam_authenticate(pamh, 0);
  if (strcmp(name, "account") == 0) return pam_acct_mgmt(pamh, 0);
  if (strcmp(name, "setcred") == 0) return pam_setcred(pamh, PAM_ESTABLISH_CRED);
  if (strcmp(name, "refresh") == 0) return pam_setcred(pamh, PAM_REFRESH_CRED);
  if (strcmp(name, "delete") == 0) return pam_setcred(pamh, PAM_DELETE_CRED);
  if (strncmp(name, "putenv:", 7) == 0) return pam_putenv(pamh, name + 7);
  if (strcmp(name, "expired") == 0) return pam_chauthtok(pamh, PAM_CHANGE_EXPIRED_AUTHTOK);
  if (strcmp(name, "open") == 0) return pam_open_session(pamh, 0);
  if (strcmp(name, "quiet-open") == 0) return pam_open_session(pamh, PAM_SILENT);
  if (strcmp(name, "close") == 0) return pam_close_session(pamh, 0);
  if (strcmp(name, "password") == 0) return pam_chauthtok(pamh, 0);
  if (strcmp(name, "env") == 0) print_env(pamh);
  else if (strcmp(name, "keys") == 0) print_key("xos:session"), print_key("xos:credential");
  else if (strcmp(name, "namespace") == 0) print_namespace();
  else if (strcmp(name, "thread") == 0) pthread_create(&(pthread_t){0}, NULL, idle, NULL);
  else if (strncmp(name, "exec:", 5) == 0) start(name + 5);
  else return PAM_SYSTEM_ERR;
  return -1;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  password = argv[4];
  struct pam_conv conversation = {converse, NULL};
  pam_handle_t *pamh = NULL;
  int result = pam_start_confdir(argv[2], *argv[3] ? argv[3] : NULL, &conversation, argv[1], &pamh);
  if (result != PAM_SUCCESS) return 3;
  void (*delay)(int, unsigned, void *) = delayed;
  pam_set_item(pamh, PAM_FAIL_DELAY, *(const void **)&delay);
  for (int i = 5; i < argc; i++) {
    int got = step(pamh, argv[i]);
    if (got >= 0) printf("%s %d\n", argv[i], result = got);
  }
  pam_end(pamh, result);
  printf("end\n");
  return 0;
}
