#include "images.h"
#include "crc32c.h"
#include "fd.h"
#include "signature.h"
#include <algorithm>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <sys/stat.h>

namespace xos::checkpoint {
namespace {

constexpr size_t block_bytes = 1u << 20;

bool isMemory(const std::string& name) { return name.starts_with("pages-") && name.ends_with(".img"); }

/// Reads `fd` from `offset` to its end. False with errno set.
bool sumFrom(int fd, uint64_t& offset, uint32_t& crc, std::vector<char>& block, const std::function<bool(size_t)>& go_on) {
  block.resize(block_bytes);
  for (;;) {
    ssize_t got = pread(fd, block.data(), block.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) return true;
    crc = crc32c(crc, block.data(), static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
    if (!go_on(static_cast<size_t>(got))) return true;
  }
}

}  // namespace

std::vector<std::string> filesIn(int directory_fd) {
  std::vector<std::string> names;
  // An open file description of its own: readdir's position would otherwise be shared with other readers of directory_fd.
  int own = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::unique_ptr<DIR, int (*)(DIR*)> directory(own < 0 ? nullptr : fdopendir(own), closedir);
  while (directory) {
    dirent* entry = readdir(directory.get());
    if (!entry) break;
    if (std::strcmp(entry->d_name, ".") && std::strcmp(entry->d_name, "..")) names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

ImageSummer::ImageSummer(int directory_fd) : directory_fd_(directory_fd), thread_([this] { follow(); }) {}

ImageSummer::~ImageSummer() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void ImageSummer::follow() {
  std::vector<char> block(block_bytes);
  while (!stop_) {
    followOnce(block);
    for (int i = 0; i < 10 && !stop_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void ImageSummer::followOnce(std::vector<char>& block) {
  for (auto& name : filesIn(directory_fd_)) {
    if (!isMemory(name)) continue;
    struct stat status;
    if (fstatat(directory_fd_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) continue;
    auto& partial = partial_[name];
    auto whole = static_cast<uint64_t>(status.st_size) / block_bytes * block_bytes;
    if (whole <= partial.size) continue;
    Fd file(openat(directory_fd_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    while (file && !stop_ && partial.size < whole) {
      ssize_t got = pread(file.get(), block.data(), block_bytes, static_cast<off_t>(partial.size));
      if (got != static_cast<ssize_t>(block_bytes)) break;  // finish() will see the error again, if it is one
      partial.crc = crc32c(partial.crc, block.data(), block_bytes);
      partial.size += block_bytes;
      bytes_seen_ += block_bytes;
    }
  }
}

bool ImageSummer::finish(uid_t uid, gid_t gid, bool sync, std::vector<ImageFile>& files, std::string& failed_name) {
  stop_ = true;
  thread_.join();
  std::vector<char> block;
  for (auto& name : filesIn(directory_fd_)) {
    if (!isMemory(name)) continue;
    auto partial = partial_[name];
    failed_name = name;
    Fd file(openat(directory_fd_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file || !sumFrom(file.get(), partial.size, partial.crc, block, [](size_t) { return true; })) return false;
    if (fchown(file.get(), uid, gid) < 0) return false;
    if (sync && fsync(file.get()) < 0) return false;
    files.push_back({name, partial.size, partial.crc});
  }
  failed_name.clear();
  return true;
}

std::string verifySizes(int directory_fd, const Manifest& manifest) {
  std::vector<ImageFile> files = manifest.files;
  files.push_back({.name = pack_name, .size = manifest.pack.size});
  for (auto& file : files) {
    struct stat status;
    if (fstatat(directory_fd, file.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
      return "its file '" + file.name + "' cannot be read: " + std::strerror(errno);
    if (!S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) != file.size)
      return "its file '" + file.name + "' has " + std::to_string(status.st_size) + " bytes instead of " + std::to_string(file.size);
  }
  return "";
}

std::string verifyImages(int directory_fd, const std::vector<ImageFile>& files, std::atomic<uint64_t>& read_bytes,
                         const std::atomic<bool>& abort) {
  std::vector<char> block;
  auto count = [&](size_t bytes) {
    read_bytes += bytes;
    return !abort;
  };
  for (auto& file : files) {
    Fd fd(openat(directory_fd, file.name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    uint64_t size = 0;
    uint32_t crc = 0;
    if (!fd || !sumFrom(fd.get(), size, crc, block, count))
      return "its file '" + file.name + "' cannot be read: " + std::strerror(errno);
    if (abort) return "";
    if (size != file.size || crc != file.crc32c) return "its file '" + file.name + "' was changed (checksum is wrong)";
  }
  return "";
}

bool linkMemoryImages(int scratch_fd, int directory_fd, int count) {
  std::string base = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(directory_fd) + "/";
  for (int i = 1; i <= count; ++i) {
    std::string name = "pages-" + std::to_string(i) + ".img";
    if (symlinkat((base + name).c_str(), scratch_fd, name.c_str()) < 0) return false;
  }
  return true;
}

bool linkMemoryImages(int scratch_fd, int directory_fd, const std::vector<ImageFile>& files, std::vector<Fd>& open_files) {
  for (auto& file : files) {
    Fd fd(openat(directory_fd, file.name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return false;
    std::string target = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd.get());
    if (symlinkat(target.c_str(), scratch_fd, file.name.c_str()) < 0) return false;
    open_files.push_back(std::move(fd));
  }
  return true;
}

bool packImages(int scratch_fd, int directory_fd, uid_t uid, gid_t gid, bool sync, Pack& pack) {
  std::string bytes;
  std::vector<char> block;
  for (auto& name : filesIn(scratch_fd)) {
    struct stat status;
    if (fstatat(scratch_fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) return false;
    if (!S_ISREG(status.st_mode) || name == "stats-dump") continue;
    if (isMemory(name)) return errno = EMFILE, false;  // more memory images than were linked: would be lost here
    size_t before = bytes.size();
    bytes.resize(before + static_cast<size_t>(status.st_size));
    Fd file(openat(scratch_fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) return false;
    for (size_t at = before; at < bytes.size();) {
      ssize_t got = read(file.get(), bytes.data() + at, bytes.size() - at);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      at += static_cast<size_t>(got);
    }
    pack.entries.emplace_back(name, status.st_size);
  }
  pack.size = bytes.size();
  pack.sha256 = sha256Hex(bytes);
  Fd out(openat(directory_fd, pack_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  bool ok = out && writeAll(out.get(), bytes.data(), bytes.size()) && fchown(out.get(), uid, gid) == 0;
  ok = ok && (!sync || fsync(out.get()) == 0);
  return ok && close(out.release()) == 0;
}

std::string unpackImages(int directory_fd, const Pack& pack, int scratch_fd) {
  Fd in(openat(directory_fd, pack_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::string bytes = in ? readFile("/proc/self/fd/" + std::to_string(in.get()), pack.size + 1) : "";
  std::string file = std::string("its file '") + pack_name + "' ";
  if (bytes.size() != pack.size) return file + "cannot be read whole";
  if (sha256Hex(bytes) != pack.sha256) return file + "was changed (checksum is wrong)";
  size_t at = 0;
  for (auto& [name, size] : pack.entries) {
    if (size > bytes.size() - at) return file + "is shorter than its entries";
    Fd out(openat(scratch_fd, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!out || !writeAll(out.get(), bytes.data() + at, size)) return file + "cannot be unpacked: " + std::strerror(errno);
    at += size;
  }
  return "";
}

void removeImages(int directory_fd, int parent_fd, const std::string& name) {
  unlinkat(directory_fd, manifest_name, 0);
  for (auto& file : filesIn(directory_fd)) unlinkat(directory_fd, file.c_str(), 0);
  unlinkat(parent_fd, name.c_str(), AT_REMOVEDIR);
}

}  // namespace xos::checkpoint
