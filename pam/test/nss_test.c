// The name service module, the library itself, with files that are right, wrong, unsafe, empty or away. Needs a /run of its own (private.py).
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum nss_status _nss_xos_getpwnam_r(const char *, struct passwd *, char *, size_t, int *);
enum nss_status _nss_xos_getpwuid_r(uid_t, struct passwd *, char *, size_t, int *);
enum nss_status _nss_xos_setpwent(int);
enum nss_status _nss_xos_getpwent_r(struct passwd *, char *, size_t, int *);
enum nss_status _nss_xos_endpwent(void);
enum nss_status _nss_xos_getgrnam_r(const char *, struct group *, char *, size_t, int *);
enum nss_status _nss_xos_getgrgid_r(gid_t, struct group *, char *, size_t, int *);
enum nss_status _nss_xos_setgrent(int);
enum nss_status _nss_xos_getgrent_r(struct group *, char *, size_t, int *);
enum nss_status _nss_xos_endgrent(void);
enum nss_status _nss_xos_initgroups_dyn(const char *, gid_t, long *, long *, gid_t **, long, int *);

#define PASSWD "/run/xos/passwd"
#define GROUP "/run/xos/group"

static char buffer[4096];
static struct passwd pw;
static struct group gr;
static int error;

static void put(const char *path, const char *text, mode_t mode) {
  unlink(path);
  FILE *file = fopen(path, "w");
  if (!file || fputs(text, file) < 0 || fclose(file) != 0 || chmod(path, mode) != 0) {
    perror(path);
    exit(1);
  }
}

static enum nss_status by_name(const char *name) { return _nss_xos_getpwnam_r(name, &pw, buffer, sizeof buffer, &error); }
static enum nss_status by_uid(uid_t uid) { return _nss_xos_getpwuid_r(uid, &pw, buffer, sizeof buffer, &error); }

static void good_records_are_found(void) {
  put(PASSWD, "alice@demo:secret:1879113729:1879113729:Alice, of Demo:/home/alice@demo:/bin/bash\n"
              "bob@demo:x:1879113730:1879113728::/home/bob:/bin/sh", 0644);  // no newline at the end
  CHECK(by_name("alice@demo") == NSS_STATUS_SUCCESS);
  CHECK(pw.pw_uid == 1879113729 && pw.pw_gid == 1879113729 && strcmp(pw.pw_name, "alice@demo") == 0 && strcmp(pw.pw_passwd, "*") == 0);
  CHECK(strcmp(pw.pw_gecos, "Alice, of Demo") == 0 && strcmp(pw.pw_dir, "/home/alice@demo") == 0 && strcmp(pw.pw_shell, "/bin/bash") == 0);
  CHECK(by_uid(1879113730) == NSS_STATUS_SUCCESS && strcmp(pw.pw_name, "bob@demo") == 0 && strcmp(pw.pw_gecos, "") == 0);
  CHECK(by_name("carol@demo") == NSS_STATUS_NOTFOUND && by_uid(1879113731) == NSS_STATUS_NOTFOUND);
}

static void odd_names_and_numbers_are_not_found(void) {
  static const char *const names[] = {"", "root", "alice", "@", "alice@", "@demo", "alice@demo:x", "alice@demo\n", "a@b@c", "../@x", "alice@demo "};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) CHECK(by_name(names[i]) == NSS_STATUS_NOTFOUND);
  char *longest = malloc(100001);
  memset(longest, '@', 100000);
  longest[100000] = '\0';
  CHECK(by_name(longest) == NSS_STATUS_NOTFOUND);
  free(longest);
  CHECK(by_uid(0) == NSS_STATUS_NOTFOUND && by_uid(1000) == NSS_STATUS_NOTFOUND && by_uid(1879048191) == NSS_STATUS_NOTFOUND);
  CHECK(by_uid((uid_t)-1) == NSS_STATUS_NOTFOUND && by_uid((uid_t)-2) == NSS_STATUS_NOTFOUND && by_uid(2147483648u) == NSS_STATUS_NOTFOUND);
}

static void every_short_buffer_is_told(void) {
  // "alice@demo" "*" "Alice, of Demo" "/home/alice@demo" "/bin/bash" with their NULs
  const size_t need = 11 + 2 + 15 + 17 + 10;
  for (size_t size = 0; size <= need; size++) {
    char *exact = malloc(size ? size : 1);
    enum nss_status status = _nss_xos_getpwnam_r("alice@demo", &pw, exact, size, &error);
    CHECK(size < need ? status == NSS_STATUS_TRYAGAIN && error == ERANGE : status == NSS_STATUS_SUCCESS);
    free(exact);
  }
}

static int count_users(void) {
  int count = 0;
  _nss_xos_setpwent(0);
  while (_nss_xos_getpwent_r(&pw, buffer, sizeof buffer, &error) == NSS_STATUS_SUCCESS) count++;
  _nss_xos_endpwent();
  return count;
}

static void records_that_lie_are_dropped(void) {
  put(PASSWD,
      "root@demo:x:0:1879113729::/root:/bin/bash\n" "low@demo:x:1000:1879113729::/h:/bin/bash\n" "gid@demo:x:1879113740:0::/h:/bin/bash\n"
      "below@demo:x:1879048191:1879113729::/h:/bin/bash\n" "high@demo:x:4294967295:1879113729::/h:/bin/bash\n" "over@demo:x:2147483648:1879113729::/h:/bin/bash\n"
      "wrap@demo:x:6174015488:1879113729::/h:/bin/bash\n" "minus@demo:x:-1:1879113729::/h:/bin/bash\n" "sign@demo:x:+1879113741:1879113729::/h:/bin/bash\n"
      "space@demo:x: 1879113741:1879113729::/h:/bin/bash\n" "hex@demo:x:0x70010001:1879113729::/h:/bin/bash\n" "empty@demo:x::1879113729::/h:/bin/bash\n"
      "root:x:1879113742:1879113729::/root:/bin/bash\n" "daemon:x:1:1::/:/bin/sh\n" "few@demo:x:1879113743:1879113729::/h\n"
      "many@demo:x:1879113743:1879113729::/h:/bin/bash:more\n" "home@demo:x:1879113743:1879113729::h:/bin/bash\n" "shell@demo:x:1879113743:1879113729::/h:sh\n"
      "\n:\n::::::\n#alice@demo:x:1879113743:1879113729::/h:/bin/bash\n+::::::\n"
      "good@demo:x:1879113744:1879113729::/h:/bin/bash\n", 0644);
  CHECK(count_users() == 1);
  CHECK(by_name("good@demo") == NSS_STATUS_SUCCESS);
  CHECK(by_name("root@demo") == NSS_STATUS_NOTFOUND && by_name("many@demo") == NSS_STATUS_NOTFOUND && by_name("gid@demo") == NSS_STATUS_NOTFOUND);
  CHECK(by_uid(1879113742) == NSS_STATUS_NOTFOUND && by_uid(1879113743) == NSS_STATUS_NOTFOUND && by_uid(1879113740) == NSS_STATUS_NOTFOUND);
  FILE *file = fopen(PASSWD, "w");  // a NUL inside of a line must not cut it into a good one
  fwrite("nul@demo:x:1879113745:1879113729::/h:/bin/bash\0\nok@demo:x:1879113746:1879113729::/h:/bin/bash\n", 1, 95, file);
  fclose(file);
  CHECK(by_name("nul@demo") == NSS_STATUS_NOTFOUND && by_name("ok@demo") == NSS_STATUS_SUCCESS);
}

static void a_file_that_others_can_write_is_refused(void) {
  static const char text[] = "alice@demo:x:1879113729:1879113729::/h:/bin/bash\n";
  static const mode_t bad[] = {0646, 0664, 0666};
  for (size_t i = 0; i < 3; i++) {
    put(PASSWD, text, bad[i]);
    CHECK(by_name("alice@demo") == NSS_STATUS_UNAVAIL && error == EPERM);
    CHECK(count_users() == 0);
  }
  put(PASSWD, text, 0644);
  CHECK(by_name("alice@demo") == NSS_STATUS_SUCCESS);
  CHECK(chown(PASSWD, 1000, 0) == 0);
  CHECK(by_name("alice@demo") == NSS_STATUS_UNAVAIL);
  unlink(PASSWD);
  CHECK(by_name("alice@demo") == NSS_STATUS_UNAVAIL && error == ENOENT);
  put("/run/xos/other", text, 0644);
  CHECK(symlink("/run/xos/other", PASSWD) == 0);
  CHECK(by_name("alice@demo") == NSS_STATUS_UNAVAIL);
  unlink(PASSWD);
  CHECK(mkfifo(PASSWD, 0600) == 0);
  CHECK(by_name("alice@demo") == NSS_STATUS_UNAVAIL);
  unlink(PASSWD);
  CHECK(mkdir(PASSWD, 0755) == 0);
  CHECK(by_name("alice@demo") == NSS_STATUS_UNAVAIL);
  rmdir(PASSWD);
  put(PASSWD, "", 0644);
  CHECK(by_name("alice@demo") == NSS_STATUS_NOTFOUND && count_users() == 0);
}

static void enumeration_gives_each_once_also_after_a_short_buffer(void) {
  put(PASSWD, "a@v:x:1879113729:1879113729::/h:/bin/sh\nb@v:x:1879113730:1879113730::/h:/bin/sh\n", 0644);
  _nss_xos_setpwent(0);
  CHECK(_nss_xos_getpwent_r(&pw, buffer, 3, &error) == NSS_STATUS_TRYAGAIN && error == ERANGE);
  CHECK(_nss_xos_getpwent_r(&pw, buffer, sizeof buffer, &error) == NSS_STATUS_SUCCESS && strcmp(pw.pw_name, "a@v") == 0);
  CHECK(_nss_xos_getpwent_r(&pw, buffer, sizeof buffer, &error) == NSS_STATUS_SUCCESS && strcmp(pw.pw_name, "b@v") == 0);
  CHECK(_nss_xos_getpwent_r(&pw, buffer, 0, &error) == NSS_STATUS_NOTFOUND);
  CHECK(_nss_xos_getpwent_r(&pw, buffer, 0, &error) == NSS_STATUS_NOTFOUND);
  _nss_xos_endpwent();
  _nss_xos_endpwent();
  CHECK(count_users() == 2);
}

static void groups_and_their_members_are_found(void) {
  put(GROUP, "members@demo:x:1879113728:alice@demo,bob@demo\nalice@demo:x:1879113729:\nroot@demo:x:0:alice@demo\nwheel:x:1879113999:alice@demo\n"
             "odd@demo:x:1879113800:,alice@demo,,\nlate@demo:x:1879113801:malice@demo,alice@demox,alice@demo\n", 0644);
  CHECK(_nss_xos_getgrnam_r("members@demo", &gr, buffer, sizeof buffer, &error) == NSS_STATUS_SUCCESS);
  CHECK(gr.gr_gid == 1879113728 && strcmp(gr.gr_mem[0], "alice@demo") == 0 && strcmp(gr.gr_mem[1], "bob@demo") == 0 && !gr.gr_mem[2]);
  CHECK(_nss_xos_getgrgid_r(1879113729, &gr, buffer, sizeof buffer, &error) == NSS_STATUS_SUCCESS && !gr.gr_mem[0]);
  CHECK(_nss_xos_getgrnam_r("odd@demo", &gr, buffer, sizeof buffer, &error) == NSS_STATUS_SUCCESS && strcmp(gr.gr_mem[0], "alice@demo") == 0 && !gr.gr_mem[1]);
  CHECK(_nss_xos_getgrgid_r(0, &gr, buffer, sizeof buffer, &error) == NSS_STATUS_NOTFOUND);
  CHECK(_nss_xos_getgrnam_r("wheel", &gr, buffer, sizeof buffer, &error) == NSS_STATUS_NOTFOUND);
  CHECK(_nss_xos_getgrgid_r(1879113999, &gr, buffer, sizeof buffer, &error) == NSS_STATUS_NOTFOUND);
  for (size_t size = 0; size < 120; size++) {  // at any alignment, and never past the end
    char *exact = malloc(size + 1);
    enum nss_status status = _nss_xos_getgrnam_r("members@demo", &gr, exact + 1, size, &error);
    CHECK(status == NSS_STATUS_SUCCESS || (status == NSS_STATUS_TRYAGAIN && error == ERANGE && size < 90));
    free(exact);
  }
  int count = 0;
  _nss_xos_setgrent(0);
  while (_nss_xos_getgrent_r(&gr, buffer, sizeof buffer, &error) == NSS_STATUS_SUCCESS) count++;
  _nss_xos_endgrent();
  CHECK(count == 4);
}

static void initgroups_finds_a_users_groups(void) {
  for (long limit = -1; limit <= 3; limit++) {
    if (limit == 0) continue;
    long count = 1, size = 1;
    gid_t *groups = malloc(sizeof *groups);
    groups[0] = 1879113729;
    CHECK(_nss_xos_initgroups_dyn("alice@demo", 1879113729, &count, &size, &groups, limit, &error) == NSS_STATUS_SUCCESS);
    CHECK(limit < 0 ? count == 4 : count == limit);
    if (limit < 0) CHECK(groups[1] == 1879113728 && groups[2] == 1879113800 && groups[3] == 1879113801);
    free(groups);
  }
  CHECK(_nss_xos_initgroups_dyn("root", 0, NULL, NULL, NULL, 0, &error) == NSS_STATUS_NOTFOUND);
}

static void *look_up_often(void *data) {
  int *failures = data;
  char own[1024];
  struct passwd record;
  int code;
  for (int i = 0; i < 300; i++) {
    if (_nss_xos_getpwnam_r("b@v", &record, own, sizeof own, &code) != NSS_STATUS_SUCCESS || record.pw_uid != 1879113730) ++*failures;
    enum nss_status status = _nss_xos_getpwent_r(&record, own, sizeof own, &code);
    if (status == NSS_STATUS_NOTFOUND) _nss_xos_setpwent(0);
    else if (status != NSS_STATUS_SUCCESS) ++*failures;
  }
  return NULL;
}

static void threads_do_not_disturb_each_other(void) {
  pthread_t threads[4];
  int failures[4] = {0};
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, look_up_often, &failures[i]);
  for (int i = 0; i < 200; i++) {  // replaced under them, as xosd does
    put("/run/xos/new", "a@v:x:1879113729:1879113729::/h:/bin/sh\nb@v:x:1879113730:1879113730::/h:/bin/sh\n", 0644);
    CHECK(rename("/run/xos/new", PASSWD) == 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    CHECK(failures[i] == 0);
  }
  _nss_xos_endpwent();
}

static void changed_files_do_no_harm(void) {
  static const char good[] = "a@v:x:1879113729:1879113729:g:/h:/bin/sh\nm@v:x:1879113728:a@v,b@v\nb@v:x:1879113730:1879113730:g:/h:/bin/sh\n";
  for (int i = 0; i < 3000; i++) {
    char text[sizeof good];
    size_t size = sizeof good - 1 - (size_t)(rand() % 8);
    memcpy(text, good, size);
    for (int changes = 1 + rand() % 5; changes > 0; changes--) text[(size_t)rand() % size] = (char)(rand() % 3 ? ":@,\n019\0"[rand() % 8] : rand());
    const char *const paths[] = {PASSWD, GROUP};
    for (int file = 0; file < 2; file++) {
      FILE *out = fopen(paths[file], "w");
      fwrite(text, 1, size, out);
      fclose(out);
    }
    count_users();
    if (by_uid(1879113730) == NSS_STATUS_SUCCESS) CHECK(pw.pw_uid == 1879113730);
    by_name("a@v");
    _nss_xos_getgrnam_r("m@v", &gr, buffer, sizeof buffer, &error);
    long count = 1, size_now = 1;
    gid_t *groups = calloc(1, sizeof *groups);
    _nss_xos_initgroups_dyn("a@v", 1879113729, &count, &size_now, &groups, -1, &error);
    for (long at = 1; at < count; at++) CHECK(groups[at] >= 1879048192 && groups[at] <= 2147483647);
    free(groups);
  }
}

int main(void) {
  if (mkdir("/run/xos", 0755) != 0 && errno != EEXIST) return 1;
  good_records_are_found();
  odd_names_and_numbers_are_not_found();
  every_short_buffer_is_told();
  records_that_lie_are_dropped();
  a_file_that_others_can_write_is_refused();
  enumeration_gives_each_once_also_after_a_short_buffer();
  groups_and_their_members_are_found();
  initgroups_finds_a_users_groups();
  threads_do_not_disturb_each_other();
  unsigned seed = (unsigned)time(NULL);
  printf("seed %u\n", seed);
  srand(seed);
  changed_files_do_no_harm();
  return finish("nss");
}
