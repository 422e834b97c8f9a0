#include "capture.h"
#include "../shim/record.h"
#include "session.h"
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>

namespace xos::checkpoint {
namespace {

constexpr uint32_t release_ms_max = 10'000;
constexpr uint32_t cure_ms_max = 2'000;

/// State and exit signal of a process (proc(5)); false when it is gone.
bool readEnd(pid_t pid, char& state, int& exit_signal) {
  std::string text = readFile("/proc/" + std::to_string(pid) + "/stat", 4096);
  const size_t close = text.rfind(')');
  if (close == std::string::npos) return false;
  // Fields 3 (state) and 38 (exit_signal).
  std::string fields = text.substr(close + 2);
  state = fields[0];
  size_t at = 0;
  for (int field = 3; field < 38 && at != std::string::npos; ++field) at = fields.find(' ', at + 1);
  return at != std::string::npos && std::sscanf(fields.c_str() + at, " %d", &exit_signal) == 1;
}

/// Whether the first thread blocks what CRIU's parasite does: everything, which no program can do by libc.
bool blocksAll(pid_t pid) {
  std::string status = readFile("/proc/" + std::to_string(pid) + "/status");
  const size_t at = status.find("\nSigBlk:\t");
  return at != std::string::npos && status.compare(at + 9, 11, "fffffffffff") == 0;
}

/// Whether a process that CRIU had no time to tell of is a clone: it has no exit signal and, as long as it lives, blocks all signals.
bool isSilentClone(pid_t pid) {
  char state;
  int exit_signal;
  if (!readEnd(pid, state, exit_signal) || exit_signal != 0) return false;
  return state == 'Z' || state == 'X' || blocksAll(pid);
}

bool isDead(pid_t pid) {
  char state;
  int exit_signal;
  return !readEnd(pid, state, exit_signal) || state == 'Z' || state == 'X';
}

}  // namespace

Capture::Capture(const std::string& shim) : shim_(shim), report_(memfd_create("capture", MFD_CLOEXEC)) {
  auto must = [](bool ok, const std::string& what) {
    if (!ok) throw std::system_error(errno, std::generic_category(), what);
  };
  must(access(shim.c_str(), R_OK) == 0, "'" + shim + "'");
  int ends[2];
  must(report_.valid() && pipe2(ends, O_CLOEXEC) == 0, "descriptors");
  hold_read_.reset(ends[0]);
  hold_write_.reset(ends[1]);
}

std::vector<std::string> Capture::environment() const {
  return {"LD_PRELOAD=" + shim_, "XOS_CAPTURE_REPORT=" + std::to_string(report_.get()), "XOS_CAPTURE_HOLD=" + std::to_string(hold_read_.get())};
}

bool Capture::readReport() {
  captured_.clear();
  std::vector<Record> records(512);
  for (off_t at = 0;;) {
    const ssize_t got = pread(report_.get(), records.data(), records.size() * sizeof(Record), at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    at += got;
    for (size_t i = 0; i < static_cast<size_t>(got) / sizeof(Record); ++i) {
      const Record& record = records[i];
      if (record.kind == RecordKind::clone) captured_[record.pid].clone = static_cast<pid_t>(record.first);
      if (record.kind == RecordKind::pages) captured_[record.pid].ranges.emplace_back(record.first, record.second);
      if (record.kind == RecordKind::refused)
        refusal_ = "process " + std::to_string(record.pid) + " could not be cloned: " + std::strerror(static_cast<int>(-static_cast<int64_t>(record.first)));
    }
  }
}

void Capture::reap(const std::vector<Process>& before) {
  const Stopwatch watch;
  readReport();  // also what a CRIU that was killed had time to tell
  // Its parasites go on for a moment when it was killed, one of them perhaps with the making of a clone.
  for (auto& process : before)
    while (!isDead(process.pid) && blocksAll(process.pid) && watch.elapsedMs() < cure_ms_max) std::this_thread::sleep_for(std::chrono::microseconds(200));
  std::vector<pid_t> left;
  for (auto& [pid, captured] : captured_) left.push_back(captured.clone);
  for (auto& process : processTree(getpid())) {  // those that it had not
    const bool was_there = std::any_of(before.begin(), before.end(), [&](auto& old) { return old.pid == process.pid; });
    const bool is_known = std::find(left.begin(), left.end(), process.pid) != left.end();
    if (was_there || is_known || process.parent == getpid() || !isSilentClone(process.pid)) continue;
    kill(process.pid, SIGKILL);
    left.push_back(process.pid);
  }
  for (pid_t clone : left) {
    while (!isDead(clone) && watch.elapsedMs() < release_ms_max) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    // Its process may have ended as well, and left it to the root process.
    const auto left_over = processTree(clone);
    if (left_over.empty() || left_over[0].parent == getpid()) waitpid(clone, nullptr, __WALL | WNOHANG);
    else reapIn(left_over[0].parent, clone);
  }
  captured_.clear();
}

}  // namespace xos::checkpoint
