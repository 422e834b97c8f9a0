#include "paths.h"
#include "fd.h"
#include <algorithm>
#include <cstdlib>
#include <dirent.h>
#include <memory>
#include <set>
#include <sstream>

namespace xos::checkpoint {
namespace {

bool isHex(const std::string& text) { return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string::npos; }

/// "/d/name.cr.1f.ghost" is how CRIU names a deleted file while it brings it back.
std::string withoutGhost(const std::string& path) {
  constexpr const char* tail = ".ghost";
  if (!path.ends_with(tail)) return path;
  std::string rest = path.substr(0, path.size() - 6);
  size_t mark = rest.rfind(".cr.");
  return mark != std::string::npos && isHex(rest.substr(mark + 4)) ? rest.substr(0, mark) : path;
}

}  // namespace

std::string comparablePath(const std::string& link) {
  static const std::vector<std::string> no_files = {"/memfd:", "/dev/zero", "/SYSV", "/[aio]", "/anon_hugepage", "/secretmem", "/dev/pts/", "/dev/ptmx"};
  if (link.empty() || link[0] != '/') return "";
  if (std::any_of(no_files.begin(), no_files.end(), [&](const std::string& prefix) { return link.starts_with(prefix); })) return "";
  constexpr const char* deleted = " (deleted)";
  const bool gone = link.ends_with(deleted);
  std::string path = gone ? link.substr(0, link.size() - 10) : link;
  path = withoutGhost(path);
  // Another link of a deleted file, made by CRIU at the dump beside it: which of the directory's deleted files it was does not matter.
  size_t slash = path.rfind('/');
  // So is the name that CRIU opens it by where another file has taken its own ("name.cr_link").
  if (path.compare(slash + 1, 11, "link_remap.") == 0 || (gone && path.ends_with(".cr_link"))) return path.substr(0, slash + 1) + "?";
  return path;
}

std::vector<std::string> pathsOf(pid_t pid) {
  std::set<std::string> paths;
  auto add = [&](const std::string& link) {
    std::string path = comparablePath(link);
    if (path.empty()) return;
    if (link.ends_with(" (deleted)")) paths.insert(path.substr(0, path.rfind('/') + 1) + "?");
    paths.insert(std::move(path));
  };
  std::string base = "/proc/" + std::to_string(pid);
  for (const char* name : {"/exe", "/cwd", "/root"}) add(readLink(base + name));
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir((base + "/fd").c_str()), closedir);
  while (dirent* entry = directory ? readdir(directory.get()) : nullptr)
    if (entry->d_name[0] != '.') add(readLink(base + "/fd/" + entry->d_name));
  std::istringstream lines(readFile(base + "/maps", 64u << 20));
  for (std::string line; std::getline(lines, line);)
    if (size_t at = line.find('/', 50); at != std::string::npos && line.find('[', 50) > at) add(line.substr(at));
  return {paths.begin(), paths.end()};
}

}  // namespace xos::checkpoint
