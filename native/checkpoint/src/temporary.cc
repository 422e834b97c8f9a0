#include "temporary.h"
#include "crc32c.h"
#include "images.h"
#include "json.h"
#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <linux/openat2.h>
#include <map>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace xos::checkpoint {
namespace {

constexpr const char* roots[] = {"/tmp", "/var/tmp", "/dev/shm"};
constexpr size_t files_max = 10'000;    // that go along
constexpr size_t looked_at_max = 100'000;
constexpr int depth_max = 64;

bool isText(const std::string& name) {
  try {
    return !nlohmann::json(name).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

/// One walk over the directories for temporary files.
class Search {
 public:
  explicit Search(const TemporaryScope& scope) : scope_(scope) {
    // A deleted file's directory must be there when CRIU brings the file back.
    for (auto& path : scope.held)
      if (path.ends_with("/?")) needed_.insert(path.substr(0, path.size() - 2));
  }

  Temporaries run() {
    for (const char* root : roots) {
      Fd directory(open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
      struct stat status;
      if (!directory || fstat(directory.get(), &status) < 0) continue;
      device_ = status.st_dev;
      look(directory.get(), root, false, 0);
    }
    fitIn();
    for (auto& path : scope_.held) noteForeign(path);
    return std::move(found_);
  }

 private:
  /// Whether something below it needs the directory `path`.
  bool look(int directory, const std::string& path, bool all, int depth) {
    bool needed = false;
    for (auto& name : filesIn(directory)) {
      const std::string inside = path + "/" + name;
      if (++looked_at_ > looked_at_max) return leave(inside, 0, "there are too many files to look at"), true;
      struct statx status;
      if (statx(directory, name.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &status) < 0 || status.stx_uid != scope_.uid) continue;
      // link_remap.N: CRIU's second name of a deleted file that has another link somewhere.
      const bool wanted = all || young(status) || scope_.held.count(inside) || name.starts_with("link_remap.");
      if (S_ISDIR(status.stx_mode)) needed = lookBelow(directory, name, inside, status, wanted, all, depth) || needed;
      else if (S_ISSOCK(status.stx_mode)) needed = true;
      else if (wanted) needed = take(inside, status) || needed;
    }
    return needed;
  }

  bool lookBelow(int parent, const std::string& name, const std::string& path, const struct statx& status, bool wanted, bool all, int depth) {
    Fd directory(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    struct stat opened;
    if (!directory || fstat(directory.get(), &opened) < 0 || opened.st_uid != scope_.uid || opened.st_dev != device_) return false;
    if (depth == depth_max) return wanted && leave(path, 0, "it lies too deep");
    const size_t at = found_.taken.size();
    const bool all_below = all || scope_.held.count(path);
    const bool needed = look(directory.get(), path, all_below, depth + 1);
    if (!wanted && !needed && !needed_.count(path)) return false;
    // Before what is in it.
    TemporaryFile entry = entryOf(path, status);
    entry.kind = TemporaryFile::Kind::directory;
    entry.mode = status.stx_mode & 01777;
    entry.size = 0;
    if (!isText(path)) return leave(path, 0, "its name is no text");
    found_.taken.insert(found_.taken.begin() + static_cast<long>(at), std::move(entry));
    return true;
  }

  bool take(const std::string& path, const struct statx& status) {
    TemporaryFile entry = entryOf(path, status);
    // As much as is stored of it: holes are free.
    stored_[path] = S_ISREG(status.stx_mode) ? std::min<uint64_t>(status.stx_size, status.stx_blocks * 512) : 0;
    if (!isText(path)) return leave(path, entry.size, "its name is no text");
    if (S_ISFIFO(status.stx_mode)) entry.kind = TemporaryFile::Kind::fifo, entry.size = 0;
    else if (S_ISLNK(status.stx_mode)) {
      entry.kind = TemporaryFile::Kind::link;
      entry.target = readLink(path);
      if (!isText(entry.target)) return leave(path, 0, "where it leads to is no text");
    } else if (!S_ISREG(status.stx_mode)) return leave(path, 0, "it is a device");
    else if (status.stx_mode & (S_ISUID | S_ISGID)) return leave(path, entry.size, "it runs with the rights of its owner or group");
    if (S_ISREG(status.stx_mode) && status.stx_nlink > 1) noteName(entry, status);
    found_.taken.push_back(std::move(entry));
    return true;
  }

  /// One of several names: glibc makes a semaphore under a name of its own and links it, so that CRIU sees a deleted file with another link.
  void noteName(TemporaryFile& entry, const struct statx& status) {
    const auto [first, is_new] = names_.try_emplace({status.stx_ino, status.stx_dev_major << 12 | status.stx_dev_minor}, entry.path);
    if (is_new) return;
    entry.kind = TemporaryFile::Kind::same;
    entry.target = first->second;
    entry.size = stored_[entry.path] = 0;
    for (auto& file : found_.taken)
      if (file.path == entry.target) entry.held = file.held = file.held || entry.held;
  }

  TemporaryFile entryOf(const std::string& path, const struct statx& status) const {
    return {.path = path, .mode = status.stx_mode & 0777u, .modified_ns = status.stx_mtime.tv_sec * 1'000'000'000 + status.stx_mtime.tv_nsec, .size = status.stx_size,
            .held = scope_.held.count(path) > 0 || path.find("/link_remap.") != path.npos, .extents = {}, .target = ""};
  }

  /// Came into being since the job began. A file system that does not tell says when it was changed last: never too early.
  bool young(const struct statx& status) const {
    const auto& born = status.stx_mask & STATX_BTIME ? status.stx_btime : status.stx_ctime;
    return scope_.began_ms != 0 && born.tv_sec * 1000 + born.tv_nsec / 1'000'000 >= scope_.began_ms;
  }

  /// First what the processes have, then the others, as long as there is room.
  void fitIn() {
    uint64_t room = scope_.bytes_max;
    size_t count = 0;
    std::set<std::string> refused;
    for (bool held : {true, false})
      for (auto& file : found_.taken) {
        if (file.held != held) continue;
        const uint64_t bytes = stored_[file.path];
        if (file.kind == TemporaryFile::Kind::directory) continue;
        if (bytes > room || ++count > files_max) refused.insert(file.path);
        else room -= bytes;
      }
    std::erase_if(found_.taken, [&](auto& file) {
      const bool same = file.kind == TemporaryFile::Kind::same && refused.count(file.target);
      if (!same && !refused.count(file.path)) return false;
      leave(file.path, file.size, "no more than " + mebibytes(scope_.bytes_max) + " and " + std::to_string(files_max) + " temporary files go along");
      return true;
    });
  }

  /// A file in such a directory that the processes have, and that is not theirs to take.
  void noteForeign(const std::string& path) {
    const std::string root = temporaryRoot(path);
    struct stat status;
    if (root.empty() || path == root || lstat(path.c_str(), &status) < 0 || S_ISSOCK(status.st_mode)) return;
    auto is = [&](auto& file) { return file.path == path; };
    if (std::any_of(found_.taken.begin(), found_.taken.end(), is) || std::any_of(found_.left.begin(), found_.left.end(), is)) return;
    leave(path, S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0, "it is not the user's own");
  }

  bool leave(const std::string& path, uint64_t size, const std::string& why) {
    found_.left.push_back({.path = path, .why = why, .size = size, .held = scope_.held.count(path) > 0});
    return false;
  }

  const TemporaryScope& scope_;
  std::set<std::string> needed_;
  std::map<std::string, uint64_t> stored_;
  std::map<std::pair<uint64_t, uint32_t>, std::string> names_;  // inode and device of a file with several names: its first one
  Temporaries found_;
  dev_t device_ = 0;
  size_t looked_at_ = 0;
};

/// The file of an entry, if it still is what was found: never another one that has been put in its place.
Fd openAgain(const TemporaryFile& file, uid_t uid) {
  const std::string root = temporaryRoot(file.path);
  Fd directory(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  open_how how{.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW, .mode = 0, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
  Fd opened(static_cast<int>(syscall(SYS_openat2, directory.get(), file.path.c_str() + root.size() + 1, &how, sizeof how)));
  struct stat status;
  if (!opened || fstat(opened.get(), &status) < 0 || !S_ISREG(status.st_mode) || status.st_uid != uid) return Fd();
  return opened;
}

/// Appends what is no hole of `in` to `out`. 1: done, 0: cannot be read, -1: cannot be stored (errno).
int copyData(int in, uint64_t size, int out, TemporaryFile& file, ImageFile& sum, std::vector<char>& block) {
  for (off_t at = 0; at < static_cast<off_t>(size);) {
    const off_t from = lseek(in, at, SEEK_DATA);
    if (from < 0) return errno == ENXIO;
    off_t to = lseek(in, from, SEEK_HOLE);
    if (to < 0) return 0;
    to = std::min(to, static_cast<off_t>(size));
    file.extents.emplace_back(from, 0);
    for (at = from; at < to;) {
      const ssize_t got = pread(in, block.data(), std::min<size_t>(block.size(), static_cast<size_t>(to - at)), at);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return 0;
      if (got == 0) return 1;  // another job's, and shorter by now
      if (!writeAll(out, block.data(), static_cast<size_t>(got))) return -1;
      sum.crc32c = crc32c(sum.crc32c, block.data(), static_cast<size_t>(got));
      sum.size += static_cast<uint64_t>(got);
      file.extents.back().second += static_cast<uint64_t>(got);
      at += got;
    }
  }
  return 1;
}

}  // namespace

std::string temporaryRoot(const std::string& path) {
  for (const char* root : roots)
    if (path.starts_with(std::string(root) + "/")) return root;
  return "";
}

Temporaries findTemporaries(const TemporaryScope& scope) {
  if (scope.uid == 0) return {};
  return Search(scope).run();
}

bool storeTemporaries(Temporaries& temporaries, int directory_fd, uid_t uid, gid_t gid, bool sync, std::vector<ImageFile>& files) {
  ImageFile sum{.name = temporary_name};
  std::vector<char> block(block_bytes);
  std::vector<TemporaryFile> kept;
  Fd out;
  for (auto& file : temporaries.taken) {
    const bool has_content = file.kind == TemporaryFile::Kind::file && file.size > 0;
    if (has_content && !out) out.reset(openat(directory_fd, temporary_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (has_content && !out) return false;
    int done = 1;
    if (has_content) {
      errno = 0;
      Fd in = openAgain(file, uid);
      if (!in && errno == ENOENT && !file.held) continue;  // another job's, and gone
      done = in ? copyData(in.get(), file.size, out.get(), file, sum, block) : 0;
    }
    if (done < 0) return false;
    // What was read of it stays in the file of contents, and so must its place there.
    if (done == 0) temporaries.left.push_back({.path = file.path, .why = "it could not be read", .size = file.size, .held = file.held});
    if (done == 0 && file.extents.empty()) continue;
    kept.push_back(std::move(file));
  }
  temporaries.taken = std::move(kept);
  if (!out) return true;
  if (fchown(out.get(), uid, gid) < 0 || (sync && fsync(out.get()) < 0) || close(out.release()) < 0) return false;
  files.push_back(sum);
  return true;
}

}  // namespace xos::checkpoint
