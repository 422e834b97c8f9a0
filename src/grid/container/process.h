// Small parts that every command of xos-container uses: errors, descriptors, processes known by pid and start time.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace xos::container {

/// What was attempted and errno's reason; main prints it and ends with 1.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void fail(const std::string& what);       // with errno
[[noreturn]] void refuse(const std::string& message);  // without

/// An owned descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) { reset(); fd_ = std::exchange(other.fd_, -1); }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd read, write;
};
Pipe make_pipe();  // both ends close on exec

/// Options of a command line: --name value (repeatable), then what follows "--".
struct Options {
  std::vector<std::pair<std::string, std::string>> values;
  std::vector<std::string> command;
  static Options parse(int argc, char** argv, int first);
  std::string get(std::string_view name, std::string fallback = "") const;
  std::string need(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
};

/// Start time in clock ticks since boot (field 22 of proc_pid_stat(5)), 0 when there is no such process.
std::uint64_t start_time(pid_t pid);

std::string read_file(const std::string& path);
void write_all(int fd, std::string_view data);
/// waitpid that retries EINTR; returns the raw status.
int wait_for(pid_t pid);
/// The status as a shell has it: the code, or 128 + the signal.
int shell_status(int status);
/// argv for exec; the strings must outlive it.
std::vector<char*> exec_arguments(const std::vector<std::string>& words);
/// A session keyring of its own, so that nothing of the caller's leaks in, nor the other way.
void new_session_keyring();
/// Marks every descriptor from `first` close-on-exec.
void close_on_exec_from(unsigned first);

}  // namespace xos::container
