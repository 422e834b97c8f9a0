// xexec: the program that stands for a job at home. Its roles:
//   interpreter of binfmt_misc (flags P): argv = xexec, path, argv[0], arguments…      xrun, xlocal: by these names
//   the same of the kernel module xos_exec, with XOS_EXEC_ARGV0 for argv[0]
//   xexec --attach JOB: the proxy of a job that runs already
#include "protect.h"
#include "proxy.h"
#include "where.h"
#include "xos_exec.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <linux/binfmts.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

extern char** environ;

using namespace xos::relay;

namespace {

const char* const xrun_help =
    "usage: xrun [--node NODE | --where QUERY] [--protect[=INTERVAL]] [--local] COMMAND [ARGUMENT…]\n"
    "Runs COMMAND on a node of the VO that has room, as if it ran here.\n"
    "  --node NODE   on this node, or not at all\n"
    "  --where QUERY on the best node that fits, or not at all: 'cores >= 8, free_cpus >= 2'\n"
    "  --protect     checkpoints are taken of it; when its node is lost it goes on elsewhere from the last one,\n"
    "                also when --node named that one. INTERVAL: auto, no, or a time such as 90s, 5m, 2h\n"
    "  --local       on this node, as xlocal does\n"
    "Exit status: the command's; 125 when xrun itself fails, 126 when the command cannot be run, 127 when it is not found, 137 when its node was lost.\n";
const char* const xlocal_help =
    "usage: xlocal COMMAND [ARGUMENT…]\n"
    "Runs COMMAND, and what it starts, on this node. The same as XOS_LOCAL=1 COMMAND.\n";

void print(const char* text) {
  if (write(STDOUT_FILENO, text, strlen(text)) < 0) { /* closed */ }
}

[[noreturn]] void run_local_by_name(char** arguments) {
  setenv("XOS_LOCAL", "1", 1);
  execvp(arguments[0], arguments);
  const int reason = errno;
  say("cannot run '%s': %s", arguments[0], strerror(reason));
  _exit(reason == ENOENT ? 127 : 126);
}

/// Finds `command` as a shell would. False and errno ENOENT or EACCES when there is none.
bool find_command(const char* command, char* path, size_t size) {
  if (strchr(command, '/')) {
    snprintf(path, size, "%s", command);
    return access(path, X_OK) == 0;
  }
  const char* list = getenv("PATH");
  if (!list || !*list) list = "/usr/local/bin:/usr/bin:/bin";
  int reason = ENOENT;
  while (list) {
    const char* end = strchrnul(list, ':');
    const int length = static_cast<int>(end - list);
    snprintf(path, size, "%.*s/%s", length ? length : 1, length ? list : ".", command);
    struct stat info;
    if (stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
      if (access(path, X_OK) == 0) return true;
      reason = EACCES;
    }
    list = *end ? end + 1 : nullptr;
  }
  errno = reason;
  return false;
}

/// XOS_PROTECT, as --protect has it; what it cannot mean is told and left out.
void read_protect_variable(Program& program) {
  const char* text = getenv("XOS_PROTECT");
  if (text && *text && !read_protect(text, program.protect)) say("XOS_PROTECT is '%s', which is none of auto, no, 90s, 5m, 2h (10s to 18h): left out", text);
}

[[noreturn]] void run_typed(char** argv) {
  static Program program;
  program.path = argv[1];
  program.arguments = argv + 2;
  program.typed = true;
  program.by_module = strcmp(argv[0], XOS_EXEC_ARGV0) == 0;
  char session[33], secret[33];
  if (read_session_key(session, secret) && resolve(program) && !must_stay_local(program)) {
    read_protect_variable(program);
    run_there(program, session, secret);
  }
  run_here(program);
}

[[noreturn]] void xrun(char** argv) {
  static Program program;
  const char* where = nullptr;
  bool protect_said = false;
  int at = 1;
  for (; argv[at] && argv[at][0] == '-'; at++) {
    if (strcmp(argv[at], "--") == 0) {
      at++;
      break;
    }
    if (strcmp(argv[at], "--help") == 0) {
      print(xrun_help);
      _exit(0);
    }
    if (strcmp(argv[at], "--local") == 0) {
      if (!argv[at + 1]) break;
      run_local_by_name(argv + at + 1);
    }
    if (strncmp(argv[at], "--where=", 8) == 0 || (strcmp(argv[at], "--where") == 0 && argv[at + 1])) {
      where = argv[at][7] == '=' ? argv[at] + 8 : argv[++at];
      continue;
    }
    if (strcmp(argv[at], "--protect") == 0 || strncmp(argv[at], "--protect=", 10) == 0) {
      protect_said = true;
      if (read_protect(argv[at][9] ? argv[at] + 10 : "auto", program.protect)) continue;
      say("xrun: '%s' is none of auto, no, or a time from 10s to 18h such as 90s, 5m, 2h", argv[at]);
      _exit(125);
    }
    const char* node = strncmp(argv[at], "--node=", 7) == 0 ? argv[at] + 7 : strcmp(argv[at], "--node") == 0 && argv[at + 1] ? argv[++at] : nullptr;
    if (!node || !*node || strlen(node) >= sizeof program.node) {
      say("xrun: '%s' is no option, or has no value; see 'xrun --help'", argv[at]);
      _exit(125);
    }
    strcpy(program.node, node);
  }
  if (!argv[at]) {
    say("xrun: no command given; see 'xrun --help'");
    _exit(125);
  }
  static char path[4096];
  if (!find_command(argv[at], path, sizeof path)) {
    const int reason = errno;
    say("xrun: cannot run '%s': %s", argv[at], strerror(reason));
    _exit(reason == ENOENT ? 127 : 126);
  }
  static char reason[1024];
  if (where && program.node[0]) {
    say("xrun: give --node or --where, not both");
    _exit(125);
  }
  if (where && !choose_node(where, program.node, sizeof program.node, reason, sizeof reason)) {
    say("xrun: cannot choose a node for '%s': %s", argv[at], reason);
    _exit(125);
  }
  program.path = path;
  program.arguments = argv + at;
  char session[33], secret[33];
  const char* why = "this is no session of a VO (log in as user@vo)";
  if (read_session_key(session, secret)) {
    why = "its working directory exists on this node only";
    const bool named = program.node[0];
    if (!protect_said) read_protect_variable(program);
    if (resolve(program) && !must_stay_local(program)) {
      why = run_there(program, session, secret) == NotStarted::no_relay ? "the grid's relay on this node cannot be reached" : nullptr;
    }
    if (named && why) {
      say("xrun: cannot run '%s' on node '%s': %s", argv[at], program.node, why);
      _exit(125);
    }
  } else if (program.node[0]) {
    say("xrun: cannot run '%s' on node '%s': %s", argv[at], program.node, why);
    _exit(125);
  }
  if (why) say("xrun: '%s' runs on this node: %s", argv[at], why);
  run_local_by_name(argv + at);
}

[[noreturn]] void attach_to(const char* job) {
  static Program program;
  program.path = job;
  char session[33], secret[33];
  if (!read_session_key(session, secret)) say("cannot attach to job '%s': this is no session of a VO (log in as user@vo)", job);
  else if (attach(job, program, session, secret) == NotStarted::no_relay) say("cannot attach to job '%s': the grid's relay on this node cannot be reached", job);
  _exit(125);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 1) return 125;
  const bool interpreter = getauxval(AT_FLAGS) & AT_FLAGS_PRESERVE_ARGV0;
  if (interpreter && argc >= 3) run_typed(argv);
  const char* slash = strrchr(argv[0], '/');
  const char* name = slash ? slash + 1 : argv[0];
  if (strcmp(name, "xrun") == 0) xrun(argv);
  if (strcmp(name, "xlocal") == 0) {
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
      print(xlocal_help);
      return argc < 2 ? 125 : 0;
    }
    run_local_by_name(argv + 1 + (strcmp(argv[1], "--") == 0 && argc > 2));
  }
  if (argc == 3 && strcmp(argv[1], "--attach") == 0) attach_to(argv[2]);
  say("%s is started by the kernel, or as xrun, xlocal or 'xexec --attach JOB'", name);
  return 125;
}
