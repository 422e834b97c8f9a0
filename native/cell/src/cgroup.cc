#include "cgroup.h"

#include "log.h"

#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

namespace xos::cell {
namespace {

/// False: errno. One write(2), as the files of cgroup v2 want it.
bool write_file(const std::string& path, const std::string& text) {
  const unique_fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return false;
  ssize_t wrote;
  while ((wrote = write(file.get(), text.data(), text.size())) < 0 && errno == EINTR) {}
  return wrote == static_cast<ssize_t>(text.size());
}

/// Files that take a setting for each device take one of them at a time. Goes on after a failure; false: errno of the last one.
bool write_lines(const std::string& path, const std::string& text) {
  std::istringstream lines(text);
  int failed = 0;
  for (std::string line; std::getline(lines, line);)
    if (!write_file(path, line)) failed = errno;
  errno = failed;
  return failed == 0;
}

bool make_directory(const std::string& path) { return mkdir(path.c_str(), 0755) == 0 || errno == EEXIST; }

/// Lets the children of a group have the controllers that the group has. One at a time: a missing one must not keep the others away.
void pass_controllers_on(const std::string& directory) {
  std::ifstream there(directory + "/cgroup.controllers");
  for (std::string name; there >> name;)
    if (name == "cpu" || name == "memory" || name == "pids" || name == "io") write_file(directory + "/cgroup.subtree_control", "+" + name);
}

std::vector<std::string> subdirectories(const std::string& path, const char* prefix) {
  std::vector<std::string> list;
  DIR* directory = opendir(path.c_str());
  if (!directory) return list;
  while (const dirent* entry = readdir(directory))
    if (entry->d_type == DT_DIR && strncmp(entry->d_name, prefix, strlen(prefix)) == 0) list.push_back(path + "/" + entry->d_name);
  closedir(directory);
  return list;
}

uint64_t value_of(const std::string& path, const std::string& wanted) {
  std::ifstream file(path);
  std::string name;
  for (uint64_t value; file >> name >> value;)
    if (name == wanted) return value;
  return 0;
}

/// Names come from xosd's documents and from job ids; nothing of them may climb.
bool plain(const std::string& name) { return !name.empty() && name.find('/') == name.npos && name[0] != '.'; }

}  // namespace

void Groups::sweep(const std::string& directory, std::vector<Leaving>& leaving) {
  for (const std::string& user : subdirectories(directory, "user-"))
    for (const std::string& leaf : subdirectories(user, "job-")) {
      log(Priority::notice, "control group '%s' of a relay before this one is removed", leaf.c_str());
      leaving.push_back({leaf, 0});
    }
}

std::string Groups::set(const std::string& vo, const GroupLimits& limits) {
  const bool fresh = !vos_.contains(vo) || vos_[vo].directory != limits.directory;
  vos_[vo] = limits;
  if (limits.directory.empty()) return {};
  std::string failed;
  const auto fail = [&](const std::string& what) { failed += (failed.empty() ? "" : "; ") + what + ": " + strerror(errno); };
  // From the fence down: each step is ours to make, and hands on the controllers of the one above.
  if (!limits.fence.empty() && limits.directory.starts_with(limits.fence + "/")) {
    std::string at = limits.fence;
    std::istringstream rest(limits.directory.substr(limits.fence.size() + 1));
    for (std::string part; std::getline(rest, part, '/');) {
      if (!plain(part)) return "cannot use '" + limits.directory + "' as a control group: it is no plain path";
      pass_controllers_on(at);
      at += "/" + part;
      if (!make_directory(at)) fail("cannot make the control group '" + at + "'");
    }
  }
  if (fresh) sweep(limits.directory, leaving_);
  pass_controllers_on(limits.directory);
  for (const auto& [file, value] : limits.settings) {
    if (!plain(file)) return "cannot set '" + file + "': it is no file of a control group";
    if (!write_lines(limits.directory + "/" + file, value)) fail("cannot set '" + file + "' of VO '" + vo + "' to '" + value + "'");
  }
  return failed;
}

unique_fd Groups::make_leaf(const std::string& vo, uid_t uid, const std::string& job, std::string& path, std::string& error) {
  const auto found = vos_.find(vo);
  if (found == vos_.end() || found->second.directory.empty() || !plain(job)) return {};
  const std::string user = found->second.directory + "/user-" + std::to_string(uid);
  if (access(user.c_str(), F_OK) != 0) {
    if (!make_directory(user)) {
      error = "cannot make the control group '" + user + "': " + strerror(errno);
      return {};
    }
    pass_controllers_on(user);
  }
  path = user + "/job-" + job;
  std::erase_if(leaving_, [&](const Leaving& leaf) { return leaf.path == path; });  // restored here again before its last leaf was gone
  unique_fd leaf;
  if (make_directory(path)) leaf.reset(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!leaf) error = "cannot make the control group '" + path + "': " + strerror(errno);
  return leaf;
}

GroupEvents Groups::events(const std::string& path) {
  if (path.empty()) return {};
  return {value_of(path + "/memory.events", "oom_kill"), value_of(path + "/pids.events", "max")};
}

void Groups::remove_leaf(const std::string& path, int64_t now_ms, int64_t patience_ms) {
  if (path.empty() || rmdir(path.c_str()) == 0 || errno == ENOENT) return;
  leaving_.push_back({path, now_ms + patience_ms});
}

void Groups::tick(int64_t now_ms) {
  std::erase_if(leaving_, [&](Leaving& leaf) {
    if (rmdir(leaf.path.c_str()) == 0 || errno != EBUSY) return true;
    if (now_ms >= leaf.kill_at_ms) {
      write_file(leaf.path + "/cgroup.kill", "1");
      leaf.kill_at_ms = now_ms + 1000;
    }
    return false;
  });
}

}  // namespace xos::cell
