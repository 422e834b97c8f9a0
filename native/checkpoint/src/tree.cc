#include "tree.h"
#include "fd.h"
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

namespace xos::checkpoint {
namespace {

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

/// Numeric entries of a directory.
std::vector<int> numbersIn(const std::string& path) {
  std::vector<int> numbers;
  Directory directory(opendir(path.c_str()), closedir);
  while (directory) {
    dirent* entry = readdir(directory.get());
    if (!entry) break;
    int number;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    auto [stop, error] = std::from_chars(entry->d_name, end, number);
    if (error == std::errc() && stop == end) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

struct Stat {
  Process process;
  int terminal = 0;
};

/// Parses /proc/<pid>/stat; the name may hold blanks and parentheses, so fields count from the last ')'.
bool readStat(pid_t pid, Stat& stat) {
  std::string text = readFile("/proc/" + std::to_string(pid) + "/stat", 4096);
  size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return false;
  stat.process.pid = pid;
  stat.process.program = text.substr(open + 1, close - open - 1);
  long pages = 0;
  int got = std::sscanf(text.c_str() + close + 1, " %c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %*u %*u %ld",
                        &stat.process.state, &stat.process.parent, &stat.terminal, &pages);
  stat.process.resident_bytes = static_cast<uint64_t>(std::max(pages, 0L)) * 4096;
  return got == 4;
}

}  // namespace

std::vector<Process> processTree(pid_t root_pid) {
  std::vector<Process> all, tree;
  Stat stat;
  for (int pid : numbersIn("/proc"))
    if (readStat(pid, stat)) all.push_back(stat.process);
  for (auto& process : all)
    if (process.pid == root_pid) tree.push_back(process);
  for (size_t i = 0; i < tree.size(); ++i)
    for (auto& process : all)
      if (process.parent == tree[i].pid && process.pid != tree[i].pid) tree.push_back(process);
  return tree;
}

bool numberAfter(const std::string& link, const std::string& prefix, uint64_t& number) {
  if (link.compare(0, prefix.size(), prefix) != 0) return false;
  return std::from_chars(link.data() + prefix.size(), link.data() + link.size(), number).ec == std::errc();
}

std::vector<HeldStream> heldStreams(const std::vector<Process>& tree, const std::vector<GivenStream>& streams) {
  std::vector<HeldStream> held(streams.size());
  auto mark = [&](uint64_t inode, bool pty, const std::string& path) {
    for (size_t i = 0; i < streams.size(); ++i) {
      bool same = streams[i].inode == inode && (streams[i].kind == StreamKind::pty) == pty;
      if (streams[i].kind == StreamKind::closed || !same) continue;
      held[i].held = true;
      if (held[i].path.empty()) held[i].path = path;
    }
  };
  for (auto& process : tree) {
    std::string directory = "/proc/" + std::to_string(process.pid) + "/fd";
    for (int fd : numbersIn(directory)) {
      std::string path = directory + "/" + std::to_string(fd), link = readLink(path);
      uint64_t number;
      bool pty = numberAfter(link, "/dev/pts/", number);
      if (pty || numberAfter(link, "pipe:[", number)) mark(number, pty, path);
    }
    Stat stat;
    bool known = readStat(process.pid, stat);
    if (known && major(stat.terminal) >= 136 && major(stat.terminal) < 144)  // UNIX98 pty slaves, devices.txt
      mark((major(stat.terminal) - 136) * 256 + minor(stat.terminal), true, "");
  }
  return held;
}

bool hasSystemVObjects() {
  for (const char* kind : {"shm", "sem", "msg"}) {
    const std::string list = readFile(std::string("/proc/sysvipc/") + kind);
    if (std::count(list.begin(), list.end(), '\n') > 1) return true;  // the first line is a title
  }
  return false;
}

std::string pendingInPipe(const std::string& path) {
  Fd pipe_end(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int waiting = 0;
  if (!pipe_end || ioctl(pipe_end.get(), FIONREAD, &waiting) < 0 || waiting <= 0) return "";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return "";
  Fd copy_out(ends[0]), copy_in(ends[1]);
  // As many slots as the original may have: tee() copies page references, not bytes.
  fcntl(copy_in.get(), F_SETPIPE_SZ, std::max(fcntl(pipe_end.get(), F_GETPIPE_SZ), 65536));
  ssize_t copied = tee(pipe_end.get(), copy_in.get(), static_cast<size_t>(waiting), SPLICE_F_NONBLOCK);
  std::string bytes(copied > 0 ? static_cast<size_t>(copied) : 0, '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    ssize_t got = read(copy_out.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

}  // namespace xos::checkpoint
