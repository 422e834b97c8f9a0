#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

namespace xos::container {

void fail(const std::string& what) { throw Failure(what + ": " + strerror(errno)); }
void refuse(const std::string& message) { throw Failure(message); }

void Fd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) fail("cannot make a pipe");
  return {Fd(ends[0]), Fd(ends[1])};
}

Options Options::parse(int argc, char** argv, int first) {
  Options options;
  for (int i = first; i < argc; i++) {
    std::string word = argv[i];
    if (word == "--") {
      options.command.assign(argv + i + 1, argv + argc);
      break;
    }
    if (word.rfind("--", 0) != 0 || i + 1 >= argc) refuse("unexpected word '" + word + "': options are --name value, the command follows --");
    options.values.emplace_back(word.substr(2), argv[++i]);
  }
  return options;
}

std::string Options::get(std::string_view name, std::string fallback) const {
  for (const auto& [key, value] : values)
    if (key == name) return value;
  return fallback;
}

std::string Options::need(std::string_view name) const {
  std::string value = get(name);
  if (value.empty()) refuse("option --" + std::string(name) + " is missing");
  return value;
}

std::vector<std::string> Options::all(std::string_view name) const {
  std::vector<std::string> found;
  for (const auto& [key, value] : values)
    if (key == name) found.push_back(value);
  return found;
}

std::string read_file(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail("cannot read '" + path + "'");
  std::string data;
  char buffer[4096];
  for (;;) {
    ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot read '" + path + "'");
    if (got == 0) return data;
    data.append(buffer, got);
  }
}

void write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t put = write(fd, data.data(), data.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("cannot write");
    data.remove_prefix(put);
  }
}

std::uint64_t start_time(pid_t pid) try {
  std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  // The name in parentheses may hold anything: count the fields behind the last parenthesis.
  size_t end = stat.rfind(')');
  if (end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(end + 2));
  std::string field;
  for (int i = 3; i <= 22; i++) fields >> field;
  return std::stoull(field);
} catch (const std::exception&) {
  return 0;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) fail("cannot wait for process " + std::to_string(pid));
  return status;
}

int shell_status(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

std::vector<char*> exec_arguments(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  return arguments;
}

void new_session_keyring() { syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr); }

void close_on_exec_from(unsigned first) { syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC); }

}  // namespace xos::container
