#include "files.h"
#include "crc32c.h"
#include "fd.h"
#include "images.h"
#include "session.h"
#include "signature.h"
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>

namespace xos::checkpoint {
namespace {

/// One operation: its words, its counter, its end.
class Work {
 public:
  Work(const FilesRequest& request, std::string what) : request_(request), what_(std::move(what)) {}

  Failure refuse(const std::string& code, const std::string& why) const { return {code, "cannot " + what_ + ": " + why, ""}; }
  Failure damaged(const std::string& why) const { return refuse("XOS_CHECKPOINT_DAMAGED", why + "; take the checkpoint again"); }
  Failure cannotStore(const std::string& path) const {
    if (errno == ENOSPC || errno == EDQUOT) return refuse("XOS_CHECKPOINT_NO_ROOM", "no room for '" + path + "'; remove something and try again");
    return refuse("XOS_CHECKPOINT_STORE", "'" + path + "': " + std::strerror(errno));
  }

  /// The manifest in `directory`, believed as far as `authority` says.
  std::variant<Manifest, Failure> admit(const std::string& directory) {
    auto read = readManifest(directory);
    if (auto* manifest = std::get_if<Manifest>(&read)) {
      for (auto& file : manifest->files) bytes_total_ += file.size;
      std::string why = request_.authority.empty() ? ""
                                                   : verifySignature(request_.authority, manifest->facts.vo, manifest->certificate, manifest->signature,
                                                                     manifest->signed_text, manifest->created_ms);
      if (!why.empty()) return refuse("XOS_CHECKPOINT_SIGNATURE", why + "; only what a node of this VO has made can be restarted here");
    }
    return read;
  }

  /// Reads the memory images to their ends and, with `to_fd`, copies them to that directory.
  std::optional<Failure> takeMemory(int from_fd, const Manifest& manifest, int to_fd) {
    for (auto& file : manifest.files) {
      Fd in(openat(from_fd, file.name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      if (!in) return damaged("its file '" + file.name + "' cannot be read: " + std::strerror(errno));
      Fd out(to_fd < 0 ? -1 : openat(to_fd, file.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
      if (to_fd >= 0 && !out) return cannotStore(file.name);
      if (auto failure = take(in.get(), file, out)) return failure;
    }
    return std::nullopt;
  }

 private:
  std::optional<Failure> take(int in, const ImageFile& file, Fd& out) {
    ImageFile seen;
    for (;;) {
      if (request_.abort && *request_.abort) return refuse("XOS_CHECKPOINT_ABORTED", "it was given up");
      const ssize_t got = read(in, block_.data(), block_.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return damaged("its file '" + file.name + "' cannot be read: " + std::strerror(errno));
      if (got == 0) break;
      seen.crc32c = crc32c(seen.crc32c, block_.data(), static_cast<size_t>(got));
      seen.size += static_cast<uint64_t>(got);
      if (out && !writeAll(out.get(), block_.data(), static_cast<size_t>(got))) return cannotStore(file.name);
      count(static_cast<uint64_t>(got));
    }
    // close() reports what a network file system could not store (close(2)).
    if (out && close(out.release()) < 0) return cannotStore(file.name);
    if (seen.size == file.size && seen.crc32c == file.crc32c) return std::nullopt;
    return damaged("its file '" + file.name + "' was changed (size or checksum is wrong)");
  }

  void count(uint64_t bytes) {
    bytes_ += bytes;
    if (!request_.progress || since_report_.elapsedMs() < 100) return;
    since_report_ = Stopwatch();
    request_.progress(bytes_, bytes_total_);
  }

  const FilesRequest& request_;
  std::string what_;
  std::vector<char> block_ = std::vector<char>(block_bytes);
  Stopwatch since_report_;
  uint64_t bytes_ = 0, bytes_total_ = 0;
};

/// A directory that comes into being whole: filled under another name beside its place, then renamed. Else removed.
class NewDirectory {
 public:
  explicit NewDirectory(const std::string& path) : path_(path) {
    const size_t slash = path.rfind('/');
    parent_.reset(open(path.substr(0, slash + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::string name = path.substr(0, slash + 1) + "." + path.substr(slash + 1) + ".XXXXXX";
    if (!parent_ || !mkdtemp(name.data())) return;
    name_ = name.substr(slash + 1);
    directory_.reset(openat(parent_.get(), name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  }
  ~NewDirectory() {
    if (!name_.empty()) removeImages(directory_.get(), parent_.get(), name_);
  }
  NewDirectory(const NewDirectory&) = delete;
  int fd() const { return directory_.get(); }
  /// False with errno set: ENOTEMPTY or EEXIST when there is something in its place already.
  bool finish() {
    if (syncfs(directory_.get()) < 0 || renameat(parent_.get(), name_.c_str(), AT_FDCWD, path_.c_str()) < 0) return false;
    name_.clear();
    fsync(parent_.get());
    return true;
  }

 private:
  std::string path_, name_;
  Fd parent_, directory_;
};

/// Whether there is nothing at `path`, or an empty directory.
bool isFree(const std::string& path) {
  Fd there(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  return there ? filesIn(there.get()).empty() : errno == ENOENT;
}

Fd openDirectory(const std::string& path) { return Fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

/// The pack again, of the files that it was split into. What is wrong, or "".
std::string joinPack(int from_fd, const Pack& pack, std::string& bytes) {
  for (auto& [name, size] : pack.entries) {
    Fd in(openat(from_fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    std::string content = in ? readFile("/proc/self/fd/" + std::to_string(in.get()), size + 1) : "";
    if (content.size() != size) return "its file '" + name + "' cannot be read whole";
    bytes += content;
  }
  return sha256Hex(bytes) == pack.sha256 ? "" : "one of its files beside the memory was changed (checksum is wrong)";
}

bool storePack(int directory_fd, const std::string& bytes) {
  Fd out(openat(directory_fd, pack_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  return out && writeAll(out.get(), bytes.data(), bytes.size()) && close(out.release()) == 0;
}

bool keepManifest(int directory_fd, const Manifest& manifest) {
  return writeManifest(directory_fd, frameManifest(manifest.signed_text, manifest.signature), geteuid(), getegid());
}

}  // namespace

std::variant<Manifest, Failure> verifyCheckpoint(const FilesRequest& request) {
  Work work(request, "verify checkpoint '" + request.directory + "'");
  auto admitted = work.admit(request.directory);
  auto* manifest = std::get_if<Manifest>(&admitted);
  if (!manifest) return admitted;
  Fd directory = openDirectory(request.directory);
  std::string pack, why = verifySizes(directory.get(), *manifest);
  if (why.empty()) why = readPack(directory.get(), manifest->pack, pack);
  if (!why.empty()) return work.damaged(why);
  if (auto failure = work.takeMemory(directory.get(), *manifest, -1)) return *failure;
  return admitted;
}

std::variant<Manifest, Failure> exportCheckpoint(const FilesRequest& request, const std::string& to) {
  Work work(request, "export checkpoint '" + request.directory + "' to '" + to + "'");
  auto admitted = work.admit(request.directory);
  auto* manifest = std::get_if<Manifest>(&admitted);
  if (!manifest) return admitted;
  if (!isFree(to)) return work.refuse("XOS_CHECKPOINT_EXISTS", "there is something of that name; take a name that is not there yet");
  Fd directory = openDirectory(request.directory);
  NewDirectory made(to);
  if (made.fd() < 0) return work.cannotStore(to);
  std::string pack, why = verifySizes(directory.get(), *manifest);
  if (why.empty()) why = readPack(directory.get(), manifest->pack, pack);
  if (!why.empty()) return work.damaged(why);
  if (!splitPack(pack, manifest->pack, made.fd())) return work.cannotStore(to);
  if (auto failure = work.takeMemory(directory.get(), *manifest, made.fd())) return *failure;
  if (!keepManifest(made.fd(), *manifest) || !made.finish()) return work.cannotStore(to);
  return admitted;
}

std::variant<Manifest, Failure> importCheckpoint(const FilesRequest& request, const std::string& from) {
  Work work(request, "import '" + from + "' as checkpoint '" + request.directory + "'");
  if (access((from + "/" + manifest_name).c_str(), F_OK) < 0 && access((from + "/inventory.img").c_str(), F_OK) == 0)
    return work.refuse("XOS_CHECKPOINT_FOREIGN", "these are images of CRIU without the manifest that a node signed; only what 'xcheckpoint export' made can be imported, "
                                                 "or use 'criu restore' with it");
  auto admitted = work.admit(from);
  auto* manifest = std::get_if<Manifest>(&admitted);
  if (!manifest) return admitted;
  if (geteuid() != 0 && manifest->facts.uid != geteuid())
    return work.refuse("XOS_CHECKPOINT_OWNER", "it belongs to '" + manifest->facts.user + "', and nobody else can restart it");
  if (!isFree(request.directory)) return work.refuse("XOS_CHECKPOINT_EXISTS", "there is one of that name; take another name, or remove it with 'xcheckpoint rm'");
  Fd images = openDirectory(from);
  NewDirectory made(request.directory);
  if (made.fd() < 0) return work.cannotStore(request.directory);
  std::string pack, why = joinPack(images.get(), manifest->pack, pack);
  if (!why.empty()) return work.damaged(why);
  if (!storePack(made.fd(), pack)) return work.cannotStore(pack_name);
  if (auto failure = work.takeMemory(images.get(), *manifest, made.fd())) return *failure;
  if (!keepManifest(made.fd(), *manifest) || !made.finish()) return work.cannotStore(request.directory);
  return admitted;
}

std::vector<std::string> restoreCommand(const Manifest& manifest, const std::string& to) {
  std::vector<std::string> words{"criu", "restore", "--images-dir", to, "--ext-unix-sk", "--file-locks", "--manage-cgroups=ignore"};
  if (manifest.tcp_established) words.push_back("--tcp-established");
  for (auto& stream : manifest.streams) {
    if (!stream.held || stream.given.target_fds.empty()) continue;
    if (stream.given.kind == StreamKind::pty) words.push_back("--shell-job");
    else if (stream.given.kind != StreamKind::closed)
      words.insert(words.end(), {"--inherit-fd", "fd[" + std::to_string(stream.given.target_fds[0]) + "]:pipe:[" + std::to_string(stream.given.inode) + "]"});
  }
  return words;
}

}  // namespace xos::checkpoint
