// ObjectStore: where objects lie, and the inodes that are kept for later.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "log.h"
#include "object_file.h"

namespace xos::fs {

namespace {

constexpr size_t spares_max = 4096;

/// Entries whose names are hexadecimal numbers from `from` on, sorted; none when there is no such directory.
std::vector<uint64_t> numbers_in(const std::string& path, uint64_t from) {
  std::vector<uint64_t> numbers;
  std::error_code ignored;
  for (std::filesystem::directory_iterator it(path, ignored), end; it != end; it.increment(ignored)) {
    const std::string name = it->path().filename();
    if (name.empty() || name.find_first_not_of("0123456789abcdef") != std::string::npos) continue;
    const uint64_t number = strtoull(name.c_str(), nullptr, 16);
    if (number >= from) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

bool is_object(const std::string& name) { return name.size() == 16 && name.find_first_not_of("0123456789abcdef") == std::string::npos; }

}  // namespace

int make_parents(const std::string& path) {
  for (size_t i = path.find('/', 1); i != std::string::npos; i = path.find('/', i + 1)) {
    if (mkdir(path.substr(0, i).c_str(), 0700) != 0 && errno != EEXIST) return -errno;
  }
  return 0;
}

ObjectStore::ObjectStore(std::string directory, size_t files_max) : directory_(std::move(directory)), files_max_(files_max) {
  if (int r = make_parents(directory_ + "/objects/"); r != 0)
    throw std::runtime_error("cannot make object directory '" + directory_ + "/objects': " + strerror(-r));
  if (mkdir((directory_ + "/free").c_str(), 0700) != 0 && errno != EEXIST)
    throw std::runtime_error("cannot make object directory '" + directory_ + "/free': " + strerror(errno));
  fences_ = std::make_unique<Fences>(directory_ + "/fences");
  objects_ = count_objects();
  load_spares();
}

ObjectStore::~ObjectStore() = default;

uint64_t ObjectStore::count_objects() {
  uint64_t n = 0;
  std::error_code ignored;
  for (std::filesystem::recursive_directory_iterator it(directory_ + "/objects", ignored), end; it != end; it.increment(ignored)) {
    std::string name = it->path().filename();
    if (is_object(name)) ++n;
    else if (name.ends_with(".d")) old_layout_ = true;
  }
  if (old_layout_)
    log(Priority::error, "files of several stripes below '%s' are of a version before 0.1.0 and are refused; copy them with that version", directory_.c_str());
  return n;
}

void ObjectStore::for_each_file(const std::function<bool(uint64_t)>& each) const {
  namespace stdfs = std::filesystem;
  std::error_code ignored;
  for (stdfs::directory_iterator high(directory_ + "/objects", ignored), end; high != end; high.increment(ignored))
    for (stdfs::directory_iterator low(high->path(), ignored); low != end; low.increment(ignored)) {
      // A whole directory at a time: what is made or removed meanwhile must not disturb the walk.
      std::vector<uint64_t> files;
      for (stdfs::directory_iterator it(low->path(), ignored); it != end; it.increment(ignored)) {
        std::string name = it->path().filename();
        if (is_object(name)) files.push_back(strtoull(name.c_str(), nullptr, 16));
      }
      for (uint64_t file : files)
        if (!each(file)) return;
    }
}

std::vector<ObjectStore::Listed> ObjectStore::list(uint64_t from, size_t max, bool& end) const {
  std::vector<Listed> listed;
  const int64_t now = realtime_now_ms();
  end = false;
  // Directories hold the higher digits of the numbers, so going through them by number gives the order.
  for (uint64_t high : numbers_in(directory_ + "/objects", from >> 24)) {
    char name[32];
    snprintf(name, sizeof name, "/objects/%02lx", high);
    const std::string directory = directory_ + name;
    for (uint64_t low : numbers_in(directory, high == from >> 24 ? (from >> 8) & 0xffff : 0)) {
      snprintf(name, sizeof name, "/%04lx/", low);
      for (uint64_t file : numbers_in(directory + name, std::max(from, high << 24 | low << 8))) {
        if (listed.size() == max) return listed;
        struct stat st;
        if (stat(base_path(file).c_str(), &st) != 0) continue;  // removed meanwhile
        auto ms = [](const timespec& t) { return t.tv_sec * 1000LL + t.tv_nsec / 1000000; };
        listed.push_back({file, static_cast<uint64_t>(st.st_blocks) * 512, now - std::max(ms(st.st_mtim), ms(st.st_ctim))});
      }
    }
  }
  end = true;
  return listed;
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

/// Takes an object away: emptied and kept for later when it may be and there are few of those, else deleted. 0 or -errno.
int ObjectStore::discard(const std::string& path, bool reuse) {
  std::string spare;
  if (reuse) {
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
