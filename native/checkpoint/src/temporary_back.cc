#include "as_user.h"
#include "crc32c.h"
#include "images.h"
#include "temporary.h"
#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>

namespace xos::checkpoint {
namespace {

timespec timeOf(int64_t ns) { return {.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000}; }

/// The directory of `path` below its root and its name there. Each step is a directory of the user's own and no link.
/// Not valid with errno: EPERM for one of somebody else, EINVAL for a path that no checkpoint has.
Fd parentOf(const std::string& path, uid_t uid, std::string& name) {
  const std::string root = temporaryRoot(path);
  if (root.empty() || path.find('\0') != path.npos) return errno = EINVAL, Fd();
  Fd at(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  for (size_t from = root.size() + 1; at;) {
    const size_t to = path.find('/', from);
    name = path.substr(from, to == path.npos ? to : to - from);
    if (name.empty() || name == "." || name == "..") return errno = EINVAL, Fd();
    if (to == path.npos) break;
    Fd next(openat(at.get(), name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    struct stat status;
    if (next && (fstat(next.get(), &status) < 0 || status.st_uid != uid)) return errno = EPERM, Fd();
    at = std::move(next);
    from = to + 1;
  }
  return at;
}

/// A file without a name, and then with it: nobody ever sees a part of it.
bool giveName(int file, int parent, const std::string& name) {
  const std::string itself = "/proc/self/fd/" + std::to_string(file);
  return linkat(AT_FDCWD, itself.c_str(), parent, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

}  // namespace

TemporariesBack::~TemporariesBack() {
  if (made_.empty()) return;
  AsUser rights(manifest_.facts.uid, manifest_.facts.gid);
  // What is in a directory before it; one that others use by now stays.
  for (auto made = made_.rbegin(); made != made_.rend(); ++made) {
    std::string name;
    const Fd parent = parentOf((*made)->path, manifest_.facts.uid, name);
    if (parent) unlinkat(parent.get(), name.c_str(), (*made)->kind == TemporaryFile::Kind::directory ? AT_REMOVEDIR : 0);
  }
}

TemporariesBack::Trouble TemporariesBack::inTheWay(const std::string& path, const std::string& why) const {
  return {{"XOS_CHECKPOINT_FILE", "it needs '" + path + "', and on this node " + why + "; restart it on another node"}};
}

TemporariesBack::Trouble TemporariesBack::cannot(const std::string& path) const {
  if (errno == ENOSPC || errno == EDQUOT) return {{"XOS_CHECKPOINT_NO_ROOM", "no room for its temporary file '" + path + "'; remove something there or restart it on another node"}};
  if (errno == EINVAL) return {{"XOS_CHECKPOINT_DAMAGED", "its manifest names the temporary file '" + path + "', which cannot be; take the checkpoint again"}};
  if (errno == EPERM || errno == EACCES) return inTheWay(path, "that place belongs to somebody else");
  if (errno == ELOOP || errno == ENOTDIR) return inTheWay(path, "something that is no directory is in its way");
  return {{"XOS_CHECKPOINT_FILE", "its temporary file '" + path + "' cannot be put back: " + std::strerror(errno)}};
}

TemporariesBack::Trouble TemporariesBack::put() {
  auto& temporaries = manifest_.temporaries;
  if (temporaries.taken.empty() && temporaries.left.empty()) return std::nullopt;
  if (manifest_.facts.uid == 0) return {{"XOS_CHECKPOINT_DAMAGED", "it has temporary files of root; take the checkpoint again"}};
  const auto content = std::find_if(manifest_.files.begin(), manifest_.files.end(), [](auto& file) { return file.name == temporary_name; });
  if (content != manifest_.files.end()) {
    contents_.reset(openat(directory_fd_, temporary_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!contents_) return cannot(temporary_name);
    // Twice, for nothing of it may be seen by anybody before it is known to be right.
    std::atomic<uint64_t> read_bytes{0};
    const std::atomic<bool> abort{false};
    const std::string why = verifyImages(directory_fd_, {*content}, read_bytes, abort);
    if (!why.empty()) return {{"XOS_CHECKPOINT_DAMAGED", why + "; take the checkpoint again"}};
  }
  AsUser rights(manifest_.facts.uid, manifest_.facts.gid);
  if (auto trouble = checkLeft()) return trouble;
  for (auto& file : temporaries.taken)
    if (auto trouble = putOne(file)) return trouble;
  if (contents_ && crc_ != content->crc32c) return {{"XOS_CHECKPOINT_DAMAGED", std::string("its file '") + temporary_name + "' was changed (checksum is wrong); take the checkpoint again"}};
  return finishDirectories();
}

TemporariesBack::Trouble TemporariesBack::checkLeft() const {
  for (auto& file : manifest_.temporaries.left) {
    struct stat status;
    const bool there = lstat(file.path.c_str(), &status) == 0;
    if (there && (!file.held || !S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) == file.size)) continue;
    return {{"XOS_CHECKPOINT_FILE", "it needs '" + file.path + "' (" + mebibytes(file.size) + "), which " + (there ? "has been changed since" : "stayed on node '" + manifest_.facts.node + "'") +
                                        " and did not go along (" + file.why + "); " + (there ? "take the checkpoint again" : "restart it there")}};
  }
  return std::nullopt;
}

TemporariesBack::Trouble TemporariesBack::putOne(const TemporaryFile& file) {
  std::string name;
  Fd parent = parentOf(file.path, manifest_.facts.uid, name);
  if (!parent) return cannot(file.path);
  if (file.kind == TemporaryFile::Kind::directory) return putDirectory(file, parent.get(), name);
  if (file.kind == TemporaryFile::Kind::file) return putFile(file, parent.get(), name);
  if (file.kind == TemporaryFile::Kind::same) return putName(file, parent.get(), name);
  struct stat there;
  if (fstatat(parent.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0) {
    const bool same = file.kind == TemporaryFile::Kind::fifo && S_ISFIFO(there.st_mode) && there.st_uid == manifest_.facts.uid;
    if (!file.held || same) return std::nullopt;
    return inTheWay(file.path, "there is something else of that name");
  }
  const bool made = file.kind == TemporaryFile::Kind::fifo ? mknodat(parent.get(), name.c_str(), S_IFIFO | 0600, 0) == 0 : symlinkat(file.target.c_str(), parent.get(), name.c_str()) == 0;
  if (!made) return cannot(file.path);
  const bool fifo = file.kind == TemporaryFile::Kind::fifo;
  const int error = fifo && fchmodat(parent.get(), name.c_str(), file.mode & 0777, 0) < 0 ? errno : 0;
  made_.push_back(&file);
  return error ? (errno = error, cannot(file.path)) : std::nullopt;
}

TemporariesBack::Trouble TemporariesBack::putDirectory(const TemporaryFile& file, int parent, const std::string& name) {
  if (mkdirat(parent, name.c_str(), 0700) == 0) return made_.push_back(&file), std::nullopt;
  if (errno != EEXIST) return cannot(file.path);
  struct stat there;
  const bool own = fstatat(parent, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(there.st_mode) && there.st_uid == manifest_.facts.uid;
  return own ? std::nullopt : inTheWay(file.path, "there is something else of that name");
}

TemporariesBack::Trouble TemporariesBack::putFile(const TemporaryFile& file, int parent, const std::string& name) {
  struct stat there;
  const bool is_there = fstatat(parent, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
  const bool own = is_there && S_ISREG(there.st_mode) && there.st_uid == manifest_.facts.uid;
  if (file.held && is_there && !own) return inTheWay(file.path, "there is something else of that name");
  const bool same = own && static_cast<uint64_t>(there.st_size) == file.size && (there.st_mode & 07777) == file.mode &&
                    there.st_mtim.tv_sec * 1'000'000'000 + there.st_mtim.tv_nsec == file.modified_ns;
  const bool stays = is_there && (!file.held || same);
  Fd made;
  if (!stays) {
    made.reset(openat(parent, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
    if (!made || ftruncate(made.get(), static_cast<off_t>(file.size)) < 0) return cannot(file.path);
  }
  for (auto& [offset, length] : file.extents) {
    if (offset > file.size || length > file.size - offset) return errno = EINVAL, cannot(file.path);
    if (auto trouble = take(made.get(), offset, length)) return trouble;
  }
  if (stays) return std::nullopt;
  const timespec times[2] = {timeOf(file.modified_ns), timeOf(file.modified_ns)};
  if (fchmod(made.get(), file.mode & 0777) < 0 || futimens(made.get(), times) < 0) return cannot(file.path);
  if (is_there && unlinkat(parent, name.c_str(), 0) < 0) return cannot(file.path);
  if (!giveName(made.get(), parent, name)) return errno == EEXIST ? inTheWay(file.path, "something else took its name just now") : cannot(file.path);
  // What it had before another job or an earlier run changed it is nothing to go back to.
  if (!is_there) made_.push_back(&file);
  return std::nullopt;
}

TemporariesBack::Trouble TemporariesBack::putName(const TemporaryFile& file, int parent, const std::string& name) {
  std::string first_name;
  const Fd first_parent = parentOf(file.target, manifest_.facts.uid, first_name);
  struct stat first, there;
  if (!first_parent || fstatat(first_parent.get(), first_name.c_str(), &first, AT_SYMLINK_NOFOLLOW) < 0) return cannot(file.target);
  const bool is_there = fstatat(parent, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
  if (is_there && (!file.held || (there.st_ino == first.st_ino && there.st_dev == first.st_dev))) return std::nullopt;
  const bool own = is_there && S_ISREG(there.st_mode) && there.st_uid == manifest_.facts.uid;
  if (!S_ISREG(first.st_mode) || first.st_uid != manifest_.facts.uid || (is_there && !own)) return inTheWay(file.path, "there is something else of that name");
  if (is_there && unlinkat(parent, name.c_str(), 0) < 0) return cannot(file.path);
  if (linkat(first_parent.get(), first_name.c_str(), parent, name.c_str(), 0) < 0) return cannot(file.path);
  if (!is_there) made_.push_back(&file);
  return std::nullopt;
}

TemporariesBack::Trouble TemporariesBack::take(int out, uint64_t offset, uint64_t length) {
  block_.resize(block_bytes);
  while (length > 0) {
    const ssize_t got = read(contents_.get(), block_.data(), std::min<uint64_t>(block_.size(), length));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return {{"XOS_CHECKPOINT_DAMAGED", std::string("its file '") + temporary_name + "' is shorter than what should be in it; take the checkpoint again"}};
    const size_t bytes = static_cast<size_t>(got);
    crc_ = crc32c(crc_, block_.data(), bytes);
    for (size_t written = 0; out >= 0 && written < bytes;) {
      const ssize_t put = pwrite(out, block_.data() + written, bytes - written, static_cast<off_t>(offset + written));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return cannot(temporary_name);
      written += static_cast<size_t>(put);
    }
    offset += bytes;
    length -= bytes;
  }
  return std::nullopt;
}

/// Permissions of the directories that were made, last: without them nothing could be made inside.
TemporariesBack::Trouble TemporariesBack::finishDirectories() {
  for (auto made = made_.rbegin(); made != made_.rend(); ++made) {
    const TemporaryFile& file = **made;
    if (file.kind != TemporaryFile::Kind::directory) continue;
    std::string name;
    Fd parent = parentOf(file.path, manifest_.facts.uid, name);
    Fd directory(parent ? openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1);
    const timespec times[2] = {timeOf(file.modified_ns), timeOf(file.modified_ns)};
    if (!directory || fchmod(directory.get(), file.mode & 01777) < 0 || futimens(directory.get(), times) < 0) return cannot(file.path);
  }
  return std::nullopt;
}

}  // namespace xos::checkpoint
