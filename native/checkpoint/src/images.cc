#include "images.h"
#include "crc32c.h"
#include "fd.h"
#include "signature.h"
#include <algorithm>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <functional>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <system_error>
#include <utility>

namespace xos::checkpoint {
namespace {

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

bool isMemoryImage(const std::string& name) { return name.starts_with("pages-") && name.ends_with(".img"); }

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

MemoryImages::MemoryImages(int scratch_fd, int directory_fd, int count) : directory_fd_(directory_fd) {
  auto must = [](bool ok, const char* what) {
    if (!ok) throw std::system_error(errno, std::generic_category(), what);
  };
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  must(wake_.valid(), "eventfd");
  for (int i = 1; i <= count; ++i) {
    Image image{.name = "pages-" + std::to_string(i) + ".img"};
    must(mkfifoat(scratch_fd, image.name.c_str(), 0600) == 0, "mkfifo");
    image.fifo.reset(openat(scratch_fd, image.name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    must(image.fifo.valid(), "open a FIFO");
    images_.push_back(std::move(image));
  }
  reader_ = std::thread([this] { follow(); });
  writer_ = std::thread([this] { storeAll(); });
}

MemoryImages::~MemoryImages() {
  dropping_ = true;
  stopReading();
  stopStoring();
}

void MemoryImages::stopReading() {
  if (!reader_.joinable()) return;
  stop_ = true;
  uint64_t one = 1;
  writeAll(wake_.get(), &one, sizeof one);
  reader_.join();
}

void MemoryImages::stopStoring() {
  if (!writer_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    no_more_ = true;
  }
  changed_.notify_all();
  writer_.join();
}

void MemoryImages::follow() {
  std::vector<pollfd> polls;
  for (auto& image : images_) polls.push_back({.fd = image.fifo.get(), .events = POLLIN});
  polls.push_back({.fd = wake_.get(), .events = POLLIN});
  while (!stop_) {
    if (poll(polls.data(), polls.size(), 1000) < 0 && errno != EINTR) break;
    for (size_t i = 0; i < images_.size(); ++i) {
      if (polls[i].revents & POLLIN) drain(images_[i]);
      // CRIU has closed it; it makes each image once. What is left comes with finish().
      else if (polls[i].revents & POLLHUP) polls[i].fd = -1;
    }
  }
}

/// Reads what is in the FIFO now.
void MemoryImages::drain(Image& image) {
  for (;;) {
    int there = 0;
    if (!image.block && (ioctl(image.fifo.get(), FIONREAD, &there) < 0 || there == 0)) return;
    // As many pages as one read takes; only for those that are used: it is locked memory.
    if (!std::exchange(image.widened, true)) fcntl(image.fifo.get(), F_SETPIPE_SZ, static_cast<int>(block_bytes));
    if (!image.block) image.block = freshBlock();
    ssize_t got = read(image.fifo.get(), image.block.get() + image.filled, block_bytes - image.filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    image.filled += static_cast<size_t>(got);
    bytes_seen_ += static_cast<uint64_t>(got);
    if (image.filled == block_bytes) handOn(image);
  }
}

/// One that was stored, whose pages are there already, or a new one.
std::unique_ptr<char[]> MemoryImages::freshBlock() {
  std::lock_guard lock(mutex_);
  if (spare_.empty()) return std::make_unique_for_overwrite<char[]>(block_bytes);
  auto block = std::move(spare_.back());
  spare_.pop_back();
  return block;
}

/// Gives the block to the writer, who may have to make room first.
void MemoryImages::handOn(Image& image) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.size() < waiting_bytes_max / block_bytes; });
  waiting_.push_back({&image, std::move(image.block), std::exchange(image.filled, 0)});
  changed_.notify_all();
}

void MemoryImages::storeAll() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !waiting_.empty() || no_more_; });
    if (waiting_.empty()) return;
    Block block = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    changed_.notify_all();
    store(block);
    lock.lock();
    spare_.push_back(std::move(block.bytes));
  }
}

/// Sums and writes the block. After an error what comes is dropped, so that CRIU never waits for us; finish() tells of it.
void MemoryImages::store(Block& block) {
  if (error_ || dropping_) return;
  Image& image = *block.image;
  if (!image.file) image.file.reset(openat(directory_fd_, image.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  image.crc = crc32c(image.crc, block.bytes.get(), block.filled);
  image.size += block.filled;
  if (image.file && writeAll(image.file.get(), block.bytes.get(), block.filled)) return;
  error_ = errno;
  failed_name_ = image.name;
}

void MemoryImages::collect() {
  stopReading();
  for (auto& image : images_) {
    drain(image);
    image.fifo.reset();
    if (image.filled > 0) handOn(image);
  }
}

bool MemoryImages::finish(uid_t uid, gid_t gid, bool sync, std::vector<ImageFile>& files, std::string& failed_name, const std::atomic<bool>& abort) {
  {
    std::unique_lock lock(mutex_);
    while (!waiting_.empty() && !abort) changed_.wait_for(lock, std::chrono::milliseconds(20));
  }
  if (abort) dropping_ = true;
  stopStoring();
  if (dropping_) return errno = ECANCELED, false;
  for (auto& image : images_) {
    if (error_ || !image.file) continue;
    bool kept = fchown(image.file.get(), uid, gid) == 0 && (!sync || fsync(image.file.get()) == 0);
    // close() reports what a network file system could not store (close(2), "Dealing with error returns").
    if (!kept || close(image.file.release()) < 0) {
      error_ = errno;
      failed_name_ = image.name;
    }
    files.push_back({image.name, image.size, image.crc});
  }
  failed_name = failed_name_;
  return error_ ? (errno = error_, false) : true;
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
    if (S_ISFIFO(status.st_mode) || name == "stats-dump") continue;
    if (!S_ISREG(status.st_mode)) return errno = EINVAL, false;
    if (isMemoryImage(name)) return errno = EMFILE, false;  // more memory images than there are FIFOs: would be lost here
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

std::string readPack(int directory_fd, const Pack& pack, std::string& bytes) {
  Fd in(openat(directory_fd, pack_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  bytes = in ? readFile("/proc/self/fd/" + std::to_string(in.get()), pack.size + 1) : "";
  std::string file = std::string("its file '") + pack_name + "' ";
  if (bytes.size() != pack.size) return file + "cannot be read whole";
  if (sha256Hex(bytes) != pack.sha256) return file + "was changed (checksum is wrong)";
  size_t left = bytes.size();
  for (auto& [name, size] : pack.entries) {
    if (size > left) return file + "is shorter than its entries";
    left -= size;
  }
  return "";
}

bool splitPack(const std::string& bytes, const Pack& pack, int directory_fd) {
  size_t at = 0;
  for (auto& [name, size] : pack.entries) {
    Fd out(openat(directory_fd, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!out || !writeAll(out.get(), bytes.data() + at, size) || close(out.release()) < 0) return false;
    at += size;
  }
  return true;
}

std::string unpackImages(int directory_fd, const Pack& pack, int scratch_fd) {
  std::string bytes, why = readPack(directory_fd, pack, bytes);
  if (why.empty() && !splitPack(bytes, pack, scratch_fd)) why = std::string("its file '") + pack_name + "' cannot be unpacked: " + std::strerror(errno);
  return why;
}

void removeImages(int directory_fd, int parent_fd, const std::string& name) {
  unlinkat(directory_fd, manifest_name, 0);
  for (auto& file : filesIn(directory_fd)) unlinkat(directory_fd, file.c_str(), 0);
  unlinkat(parent_fd, name.c_str(), AT_REMOVEDIR);
}

}  // namespace xos::checkpoint
