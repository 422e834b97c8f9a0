#include "node_files.h"

#include "log.h"
#include "unique_fd.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/mount.h>
#include <sys/stat.h>
#include <vector>

namespace xos::relay {

void make_local_directory(const std::string& run) {
  const std::string path = run + "/local";
  if ((mkdir(path.c_str(), 0755) < 0 && errno != EEXIST) || chmod(path.c_str(), 01777) < 0)
    log(Priority::warning, "cannot make '%s': %s; programs that stay local start slower", path.c_str(), strerror(errno));
}

const std::string& merge_policies(const std::string& directory, const std::string& target) {
  static std::string last;
  std::error_code ignored;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
    if (entry.path().extension() == ".policy") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::ostringstream merged;
  for (const auto& file : files) merged << std::ifstream(file).rdbuf() << "\n";
  const std::string text = merged.str();
  if (text == last && access(target.c_str(), F_OK) == 0) return last;
  const std::string fresh = target + ".new";
  unique_fd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || rename(fresh.c_str(), target.c_str()) < 0)
    log(Priority::warning, "cannot write the policy table '%s': %s", target.c_str(), strerror(errno));
  else
    last = text;
  return last;
}

void share_mounts() {
  if (mount(nullptr, "/", nullptr, MS_SHARED | MS_REC, nullptr) < 0) log(Priority::warning, "cannot share the node's mounts with cells: %s", strerror(errno));
}

}  // namespace xos::relay
