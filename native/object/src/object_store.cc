#include "object_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <vector>

namespace xos::fs {

namespace {

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

template <typename Call>
auto retry(Call call) {
  decltype(call()) r;
  do r = call();
  while (r < 0 && errno == EINTR);
  return r;
}

int make_parents(const std::string& path) {
  for (size_t i = path.find('/', 1); i != std::string::npos; i = path.find('/', i + 1)) {
    if (mkdir(path.substr(0, i).c_str(), 0700) != 0 && errno != EEXIST) return -errno;
  }
  return 0;
}

int sync_directory(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? 0 : -errno;
  int r = fsync(fd) == 0 ? 0 : -errno;
  close(fd);
  return r;
}

constexpr size_t fds_per_file_max = 8;
constexpr size_t spares_max = 4096;

}  // namespace

struct ObjectStore::File {
  explicit File(uint64_t id) : id(id) {}
  ~File() {
    for (auto& [stripe, fd] : fds) close(fd);
  }
  const uint64_t id;
  std::shared_mutex mutex;      // readers shared; writers alone, so that append and truncate see a fixed end
  std::mutex fds_mutex;         // guards fds only (readers open lazily)
  std::map<uint64_t, int> fds;
  bool loaded = false;
  bool entries_dirty = true;    // unknown after loading: the first sync covers what earlier runs left
  bool all_dirty = true;
  std::set<uint64_t> dirty;
  Extent extent;
  uint64_t reserved_end = 0;
  std::atomic<uint32_t> epoch{0};
};

ObjectStore::ObjectStore(std::string directory, size_t files_max) : directory_(std::move(directory)), files_max_(files_max) {
  if (int r = make_parents(directory_ + "/objects/"); r != 0)
    throw std::runtime_error("cannot make object directory '" + directory_ + "/objects': " + strerror(-r));
  if (mkdir((directory_ + "/free").c_str(), 0700) != 0 && errno != EEXIST)
    throw std::runtime_error("cannot make object directory '" + directory_ + "/free': " + strerror(errno));
  objects_ = count_objects();
  load_spares();
}

ObjectStore::~ObjectStore() = default;

uint64_t ObjectStore::count_objects() const {
  uint64_t n = 0;
  std::error_code ignored;
  for (std::filesystem::recursive_directory_iterator it(directory_ + "/objects", ignored), end; it != end; it.increment(ignored))
    if (it->is_regular_file(ignored)) ++n;
  return n;
}

void ObjectStore::load_spares() {
  DIR* d = opendir((directory_ + "/free").c_str());
  if (!d) return;
  while (dirent* entry = readdir(d)) {
    if (entry->d_name[0] == '.') continue;
    spares_.push_back(directory_ + "/free/" + entry->d_name);
    next_spare_ = std::max<uint64_t>(next_spare_, strtoull(entry->d_name, nullptr, 16) + 1);
  }
  closedir(d);
}

/// Takes an object away: emptied and kept for later, or deleted when there are enough of those. 0 or -errno.
int ObjectStore::discard(const std::string& path) {
  std::string spare;
  {
    std::lock_guard lock(spares_mutex_);
    if (spares_.size() < spares_max) {
      char name[32];
      snprintf(name, sizeof name, "/free/%lx", next_spare_++);
      spare = directory_ + name;
    }
  }
  // Emptied first: whoever gets it must never see what was in it.
  if (spare.empty() || ::truncate(path.c_str(), 0) != 0 || rename(path.c_str(), spare.c_str()) != 0)
    return unlink(path.c_str()) == 0 ? 0 : -errno;
  std::lock_guard lock(spares_mutex_);
  spares_.push_back(spare);
  return 0;
}

bool ObjectStore::take_spare(const std::string& path) {
  std::string spare;
  {
    std::lock_guard lock(spares_mutex_);
    if (spares_.empty()) return false;
    spare = std::move(spares_.back());
    spares_.pop_back();
  }
  if (rename(spare.c_str(), path.c_str()) == 0) return true;
  std::lock_guard lock(spares_mutex_);
  spares_.push_back(std::move(spare));  // most likely the directory is not there yet
  return false;
}

std::string ObjectStore::base_path(uint64_t file) const {
  char name[64];
  snprintf(name, sizeof name, "/objects/%02lx/%04lx/%016lx", file >> 24, (file >> 8) & 0xffff, file);
  return directory_ + name;
}

std::string ObjectStore::object_path(uint64_t file, uint64_t stripe) const {
  if (stripe == 0) return base_path(file);
  char name[32];
  snprintf(name, sizeof name, ".d/%lx", stripe);
  return base_path(file) + name;
}

ObjectStore::FilePtr ObjectStore::get(uint64_t file) {
  std::lock_guard lock(mutex_);
  auto it = files_.find(file);
  if (it != files_.end()) {
    recent_.splice(recent_.begin(), recent_, it->second.second);
    return it->second.first;
  }
  // Only what nobody holds may leave: two File states of one file would each believe in their own end.
  for (auto last = recent_.rbegin(); files_.size() >= files_max_ && last != recent_.rend();) {
    auto old = files_.find(*last);
    ++last;
    if (old->second.first.use_count() > 1) continue;
    last = std::make_reverse_iterator(recent_.erase(old->second.second));
    files_.erase(old);
  }
  recent_.push_front(file);
  auto f = std::make_shared<File>(file);
  files_.emplace(file, std::pair{f, recent_.begin()});
  return f;
}

bool ObjectStore::admit_epoch(uint64_t file, uint32_t epoch) {
  FilePtr f = get(file);
  uint32_t seen = f->epoch.load();
  while (epoch > seen && !f->epoch.compare_exchange_weak(seen, epoch)) {}
  return epoch >= seen;
}

/// Finds the end of the file on disk. Caller holds f.mutex exclusively.
int ObjectStore::load(File& f) {
  if (f.loaded) return 0;
  Extent e;
  struct stat st;
  std::string base = base_path(f.id);
  if (stat(base.c_str(), &st) == 0) {
    e = {1, static_cast<uint32_t>(st.st_size), st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec, static_cast<uint64_t>(st.st_blocks) * 512};
  } else if (errno != ENOENT) {
    return -errno;
  }
  if (DIR* d = opendir((base + ".d").c_str())) {
    while (dirent* entry = readdir(d)) {
      if (entry->d_name[0] == '.') continue;
      if (fstatat(dirfd(d), entry->d_name, &st, 0) != 0) continue;
      uint64_t stripe = strtoull(entry->d_name, nullptr, 16);
      e.mtime_ns = std::max<int64_t>(e.mtime_ns, st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec);
      e.disk_bytes += static_cast<uint64_t>(st.st_blocks) * 512;
      if (stripe + 1 > e.stripe_end) {
        e.stripe_end = stripe + 1;
        e.last_bytes = static_cast<uint32_t>(st.st_size);
      }
    }
    closedir(d);
  } else if (errno != ENOENT) {
    return -errno;
  }
  f.extent = e;
  f.loaded = true;
  return 0;
}

/// Bytes of an object that is not kept open: a reader may not close what another reader of the file uses.
static int64_t read_once(const std::string& path, uint32_t offset, void* data, uint32_t bytes) {
  int fd = retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
  if (fd < 0) return errno == ENOENT ? 0 : -errno;
  int64_t n = retry([&] { return pread(fd, data, bytes, offset); });
  if (n < 0) n = -errno;
  close(fd);
  return n;
}

/// Lets the disk begin; errors are left to the sync that follows.
static void start_writing(const std::string& path) {
  int fd = retry([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); });
  if (fd < 0) return;
  sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  close(fd);
}

/// The descriptor stays owned by `f`. 0 with fd -1 when the object does not exist and `create` is false.
int ObjectStore::open_object(File& f, uint64_t stripe, bool create, int& fd) {
  std::lock_guard lock(f.fds_mutex);
  if (auto it = f.fds.find(stripe); it != f.fds.end()) {
    fd = it->second;
    return 0;
  }
  std::string path = object_path(f.id, stripe);
  fd = retry([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); });
  if (fd < 0 && errno == ENOENT) {
    if (!create) return 0;
    take_spare(path);
    fd = retry([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); });
    if (fd < 0 && errno == ENOENT) {
      if (int r = make_parents(path); r != 0) return r;
      take_spare(path);
      fd = retry([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); });
    }
    if (fd >= 0) {
      ++objects_;
      f.entries_dirty = true;
    }
  }
  if (fd < 0) return -errno;
  f.fds.emplace(stripe, fd);
  return 0;
}

int64_t ObjectStore::read(uint64_t file, uint64_t stripe, uint32_t offset, void* data, uint32_t bytes) {
  FilePtr f = get(file);
  std::shared_lock lock(f->mutex);
  {
    std::unique_lock fds_lock(f->fds_mutex);
    if (f->fds.size() >= fds_per_file_max && !f->fds.contains(stripe)) {
      fds_lock.unlock();
      return read_once(object_path(file, stripe), offset, data, bytes);
    }
  }
  int fd;
  if (int r = open_object(*f, stripe, false, fd); r != 0) return r;
  if (fd < 0) return 0;
  uint32_t done = 0;
  while (done < bytes) {
    ssize_t n = retry([&] { return pread(fd, static_cast<char*>(data) + done, bytes - done, offset + done); });
    if (n < 0) return -errno;
    if (n == 0) break;
    done += static_cast<uint32_t>(n);
  }
  return done;
}

int ObjectStore::write_locked(File& f, uint64_t stripe, uint32_t offset, const void* data, uint32_t bytes) {
  // Writers are alone here, so descriptors that no reader can be using may go.
  if (f.fds.size() >= fds_per_file_max) {
    std::lock_guard lock(f.fds_mutex);
    for (auto it = f.fds.begin(); it != f.fds.end();) {
      if (it->first == stripe) {
        ++it;
        continue;
      }
      close(it->second);
      it = f.fds.erase(it);
    }
  }
  int fd;
  if (int r = open_object(f, stripe, true, fd); r != 0) return r;
  f.dirty.insert(stripe);
  uint32_t done = 0;
  int error = 0;
  while (done < bytes) {
    ssize_t n = retry([&] { return pwrite(fd, static_cast<const char*>(data) + done, bytes - done, offset + done); });
    if (n < 0) {
      error = -errno;
      break;
    }
    done += static_cast<uint32_t>(n);
  }
  f.extent.mtime_ns = now_ns();
  if (done > 0 || error == 0) {
    uint32_t end = offset + done;
    if (stripe + 1 > f.extent.stripe_end) {
      f.extent.stripe_end = stripe + 1;
      f.extent.last_bytes = end;
    } else if (stripe + 1 == f.extent.stripe_end) {
      f.extent.last_bytes = std::max(f.extent.last_bytes, end);
    }
  } else {
    f.loaded = false;  // a full disk may have left an empty object behind: look again
  }
  return error;
}

int ObjectStore::write(uint64_t file, uint64_t stripe, uint32_t offset, const void* data, uint32_t bytes, Extent& extent) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  int r = write_locked(*f, stripe, offset, data, bytes);
  extent = f->extent;
  return r;
}

int ObjectStore::append(uint64_t file, uint32_t stripe_bytes, const void* data, uint32_t bytes, uint64_t& offset, Extent& extent) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  offset = f->extent.stripe_end == 0 ? 0 : (f->extent.stripe_end - 1) * stripe_bytes + f->extent.last_bytes;
  for (uint32_t done = 0; done < bytes;) {
    uint64_t at = offset + done;
    uint32_t within = static_cast<uint32_t>(at % stripe_bytes);
    uint32_t n = std::min(bytes - done, stripe_bytes - within);
    if (int r = write_locked(*f, at / stripe_bytes, within, static_cast<const char*>(data) + done, n); r != 0) return r;
    done += n;
  }
  extent = f->extent;
  return 0;
}

int ObjectStore::extent(uint64_t file, Extent& extent) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  extent = f->extent;
  return 0;
}

/// Unlinks the stripes from `first` on. Caller holds f.mutex exclusively and has loaded f.
int ObjectStore::drop_stripes(File& f, uint64_t first) {
  {
    std::lock_guard lock(f.fds_mutex);
    for (auto it = f.fds.lower_bound(first); it != f.fds.end(); it = f.fds.erase(it)) close(it->second);
  }
  f.dirty.erase(f.dirty.lower_bound(first), f.dirty.end());
  f.entries_dirty = true;
  std::string base = base_path(f.id);
  if (DIR* d = opendir((base + ".d").c_str())) {
    std::vector<std::string> names;
    while (dirent* entry = readdir(d))
      if (entry->d_name[0] != '.' && strtoull(entry->d_name, nullptr, 16) >= first) names.push_back(entry->d_name);
    for (auto& name : names) {
      if (unlinkat(dirfd(d), name.c_str(), 0) == 0) --objects_;
      else if (errno != ENOENT) {
        int e = errno;
        closedir(d);
        return -e;
      }
    }
    closedir(d);
    if (first <= 1 && rmdir((base + ".d").c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY) return -errno;
  } else if (errno != ENOENT) {
    return -errno;
  }
  if (first == 0) {
    int r = discard(base);
    if (r == 0) --objects_;
    else if (r != -ENOENT) return r;
  }
  return 0;
}

int ObjectStore::truncate(uint64_t file, uint32_t stripe_bytes, uint16_t width, uint16_t index, uint64_t size, Extent& extent) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  f->reserved_end = 0;
  uint64_t end = (size + stripe_bytes - 1) / stripe_bytes;
  if (f->extent.stripe_end > end)
    if (int r = drop_stripes(*f, end); r != 0) return r;
  if (end > 0 && (end - 1) % width == index) {
    // The owner of the last stripe makes it as long as the file says, so that the end of a sparse file is known here.
    int fd;
    if (int r = open_object(*f, end - 1, true, fd); r != 0) return r;
    if (retry([&] { return ftruncate(fd, static_cast<off_t>(size - (end - 1) * stripe_bytes)); }) != 0) {
      f->loaded = false;
      return -errno;
    }
    f->dirty.insert(end - 1);
  }
  f->loaded = false;
  if (int r = load(*f); r != 0) return r;
  f->extent.mtime_ns = now_ns();
  extent = f->extent;
  return 0;
}

int ObjectStore::allocate(uint64_t file, uint64_t stripe, uint32_t offset, uint32_t bytes, Extent& extent) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  int fd;
  if (int r = open_object(*f, stripe, true, fd); r != 0) return r;
  int e;
  do e = posix_fallocate(fd, offset, bytes);
  while (e == EINTR);
  f->dirty.insert(stripe);
  f->loaded = false;
  if (int r = load(*f); r != 0) return r;
  extent = f->extent;
  return -e;
}

int ObjectStore::remove(uint64_t file) {
  FilePtr f = get(file);
  int r;
  {
    std::unique_lock lock(f->mutex);
    if ((r = load(*f)) != 0) return r;
    r = drop_stripes(*f, 0);
    f->loaded = false;
    f->reserved_end = 0;
  }
  return r;
}

int ObjectStore::sync(uint64_t file) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  if (f->all_dirty) {
    if (f->extent.stripe_end > 0) f->dirty.insert(0);
    if (DIR* d = opendir((base_path(f->id) + ".d").c_str())) {
      while (dirent* entry = readdir(d))
        if (entry->d_name[0] != '.') f->dirty.insert(strtoull(entry->d_name, nullptr, 16));
      closedir(d);
    }
  }
  // All stripes are on their way to the disk before the first one is waited for.
  if (f->dirty.size() > 1)
    for (uint64_t stripe : f->dirty) start_writing(object_path(file, stripe));
  for (uint64_t stripe : f->dirty) {
    int fd;
    if (int r = open_object(*f, stripe, false, fd); r != 0) return r;
    if (fd >= 0 && retry([&] { return fdatasync(fd); }) != 0) return -errno;
    if (f->fds.size() > fds_per_file_max) {
      std::lock_guard fds_lock(f->fds_mutex);
      close(fd);
      f->fds.erase(stripe);
    }
  }
  if (f->entries_dirty) {
    std::string base = base_path(f->id);
    if (int r = sync_directory(base + ".d"); r != 0) return r;
    // Up to the root of the store: the directories themselves may be new.
    for (int level = 0; level < 4; ++level) {
      base.resize(base.rfind('/'));
      if (int r = sync_directory(base); r != 0) return r;
    }
  }
  f->dirty.clear();
  f->all_dirty = f->entries_dirty = false;
  return 0;
}

int ObjectStore::reserve(uint64_t file, uint64_t seen_size, uint32_t bytes, uint64_t& offset) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  offset = std::max(f->reserved_end, seen_size);
  f->reserved_end = offset + bytes;
  return 0;
}

Space ObjectStore::space() const {
  struct statvfs v;
  Space s;
  if (statvfs(directory_.c_str(), &v) == 0) {
    s.total_bytes = static_cast<uint64_t>(v.f_blocks) * v.f_frsize;
    s.free_bytes = static_cast<uint64_t>(v.f_bavail) * v.f_frsize;
  }
  s.objects = objects_;
  return s;
}

}  // namespace xos::fs
