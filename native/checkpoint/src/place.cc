#include "place.h"
#include "as_user.h"
#include "images.h"
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>

namespace xos::checkpoint {
namespace {

Failure refuse(const std::string& path, const std::string& why, const std::string& code = "XOS_CHECKPOINT_DIRECTORY") {
  return {code, "cannot store a checkpoint in '" + path + "': " + why, ""};
}

std::string reason() {
  if (errno == ENOSPC || errno == EDQUOT) return "no room on the volume; remove something ('xcheckpoint rm') or choose another volume";
  return std::string(std::strerror(errno));
}

/// mkdir -p without following links in what it makes. -1 with errno.
Fd makeParents(const std::string& path) {
  Fd at(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (size_t from = 1; at && from < path.size();) {
    size_t to = path.find('/', from);
    if (to == std::string::npos) to = path.size();
    std::string part = path.substr(from, to - from);
    from = to + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return errno = EINVAL, Fd();
    int next = openat(at.get(), part.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (next < 0 && errno == ENOENT) {
      if (mkdirat(at.get(), part.c_str(), 0700) < 0 && errno != EEXIST) return Fd();
      next = openat(at.get(), part.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    at.reset(next);
  }
  return at;
}

}  // namespace

void removeCheckpoint(const std::string& path, uid_t uid, gid_t gid) {
  const size_t slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || slash + 1 >= path.size()) return;
  AsUser rights(uid, gid);
  Fd parent(open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  Fd directory(openat(parent.get(), path.substr(slash + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (directory) removeImages(directory.get(), parent.get(), path.substr(slash + 1));
}

std::optional<Failure> makePlace(const std::string& path, const std::string& job, uid_t uid, gid_t gid, Place& place) {
  size_t slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || slash + 1 >= path.size()) return refuse(path, "it is no absolute path of a directory");
  place.name = place.final_name = path.substr(slash + 1);
  if (place.name == "." || place.name == ".." || place.name.size() > 200) return refuse(path, "it has no name of its own");
  {
    // Only who may write the parent may have a checkpoint there: root would be allowed everywhere.
    AsUser rights(uid, gid);
    place.parent = makeParents(path.substr(0, slash));
    if (!place.parent) return refuse(path, reason());
    int parent_fd = place.parent.get();
    if (faccessat(parent_fd, manifest_name, F_OK, 0) == 0) return refuse(path, "it would lie inside another checkpoint");
    if (faccessat(parent_fd, (place.name + "/" + manifest_name).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
      auto there = readManifest(path);
      auto* older = std::get_if<Manifest>(&there);
      if (!older || older->facts.job != job)
        return refuse(path, "there is a checkpoint of that name" + (older ? ", of job '" + older->facts.job + "'" : std::string()) +
                                "; remove it with 'xcheckpoint rm " + place.name + "' or take another name",
                      "XOS_CHECKPOINT_EXISTS");
      place.name = "." + place.name + ".new";
    }
    Fd left_over(openat(parent_fd, place.name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (left_over) removeImages(left_over.get(), parent_fd, place.name);
    if (mkdirat(parent_fd, place.name.c_str(), 0700) < 0) return refuse(path, reason());
  }
  place.directory.reset(openat(place.parent.get(), place.name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!place.directory || fchown(place.directory.get(), 0, 0) < 0) return refuse(path, reason());
  if (!filesIn(place.directory.get()).empty()) return refuse(path, "somebody else writes into it");
  return std::nullopt;
}

bool finishPlace(Place& place, uid_t uid, gid_t gid) {
  if (fchown(place.directory.get(), uid, gid) < 0) return false;
  if (place.name == place.final_name) return true;
  AsUser rights(uid, gid);
  int parent_fd = place.parent.get();
  Fd older(openat(parent_fd, place.final_name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  std::string aside = "." + place.final_name + ".old";
  Fd forgotten(openat(parent_fd, aside.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (forgotten) removeImages(forgotten.get(), parent_fd, aside);
  if (renameat(parent_fd, place.final_name.c_str(), parent_fd, aside.c_str()) < 0) return false;
  if (renameat(parent_fd, place.name.c_str(), parent_fd, place.final_name.c_str()) < 0) {
    int error = errno;
    renameat(parent_fd, aside.c_str(), parent_fd, place.final_name.c_str());
    return errno = error, false;
  }
  place.name = place.final_name;
  if (older) removeImages(older.get(), parent_fd, aside);
  return true;
}

}  // namespace xos::checkpoint
