#include "object_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "data_sums.h"
#include "log.h"
#include "object_file.h"

namespace xos::fs {

namespace {

int64_t mtime_of(const struct stat& st) { return st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec; }

int sync_directory(const std::string& path) {
  unique_fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno == ENOENT ? 0 : -errno;
  return fsync(fd.get()) == 0 ? 0 : -errno;
}

/// What a read of an object's descriptor found is trusted for so long after all of it was verified.
constexpr int64_t trusted_ms = 8LL * 24 * 3600 * 1000;

}  // namespace

int64_t now_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int64_t monotonic_now_ms() { return now_ns(CLOCK_MONOTONIC) / 1000000; }
bool open_elsewhere(int fd) {
  if (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return true;  // EAGAIN; or a file system without leases, where nobody knows
  fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

int64_t realtime_now_ms() { return now_ns(CLOCK_REALTIME) / 1000000; }

/// Nobody holds the file, so nothing is being written: whoever loads it again need not sum the last range afresh.
void ObjectStore::forget_intent(File& f) {
  SumSlot& slot = f.sums.slot;
  if (!f.loaded || !f.fd || slot.state != SumState::summed || slot.intent_count == 0) return;
  slot.intent_count = 0;
  f.sums.save();  // when that fails, it is summed
}

ObjectStore::FilePtr ObjectStore::get(uint64_t file) {
  std::lock_guard lock(mutex_);
  auto it = files_.find(file);
  if (it != files_.end()) {
    recent_.splice(recent_.begin(), recent_, it->second.second);
    return it->second.first;
  }
  // Only what nobody holds may leave: two File states of one file would each believe in their own sums.
  for (auto last = recent_.rbegin(); files_.size() >= files_max_ && last != recent_.rend();) {
    auto old = files_.find(*last);
    ++last;
    if (old->second.first.use_count() > 1) continue;
    forget_intent(*old->second.first);
    last = std::make_reverse_iterator(recent_.erase(old->second.second));
    files_.erase(old);
  }
  recent_.push_front(file);
  auto f = std::make_shared<File>(sums_, file, base_path(file));
  f->epoch = fences_->epoch_of(file);
  files_.emplace(file, std::pair{f, recent_.begin()});
  return f;
}

ObjectStore::Admission ObjectStore::admit(uint64_t file, uint32_t epoch) {
  FilePtr f = get(file);
  std::shared_lock lock(f->gate);
  uint32_t seen = f->epoch.load();
  while (epoch > seen && !f->epoch.compare_exchange_weak(seen, epoch)) {}
  if (epoch < seen) return {};
  return {f, std::move(lock)};
}

int ObjectStore::fence(uint64_t file, uint32_t epoch, int64_t until_ms, Fenced& fenced) {
  FilePtr f = get(file);
  if (epoch < f->epoch.load()) return -ESTALE;
  if (int r = fences_->put(file, epoch, until_ms); r != 0) return r;
  // First the epoch, so that nobody new comes by an old right; then those who are inside.
  uint32_t seen = f->epoch.load();
  while (epoch > seen && !f->epoch.compare_exchange_weak(seen, epoch)) {}
  std::unique_lock alone(f->gate);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  fenced.open_elsewhere = f->fd && open_elsewhere(f->fd.get());
  fenced.lent_to_write = fenced.open_elsewhere && !f->summed();  // lend() takes the sums away, and they are not back before it is at rest
  fenced.reserved_end = f->reserved_end;
  fill(*f, fenced.extent);
  return 0;
}

/// Looks at what is on the disk. Caller holds f.mutex alone.
int ObjectStore::load(File& f) {
  if (f.loaded) return 0;
  if (old_layout_ && access((f.path + ".d").c_str(), F_OK) == 0) {
    log(Priority::error, "cannot use '%s': it is of a version before 0.1.0", f.path.c_str());
    return -EIO;
  }
  int fd = retry([&] { return open(f.path.c_str(), O_RDWR | O_CLOEXEC); });
  if (fd < 0 && errno != ENOENT) return -errno;
  f.fd.reset(fd);
  bool damaged;
  if (int r = f.sums.load(damaged); r != 0) return r;
  if (damaged) log(Priority::error, "checksums of object '%s' (file %lx) are damaged, it will be summed afresh", f.path.c_str(), f.id);
  if (f.fd) recover(f);
  f.loaded = true;
  return 0;
}

/// Brings the sums in order after the end of an earlier process, or of the machine.
void ObjectStore::recover(File& f) {
  SumSlot& slot = f.sums.slot;
  struct stat st;
  if (fstat(f.fd.get(), &st) != 0) return;
  if (slot.state == SumState::none || (slot.state == SumState::summed && slot.era != boot_era() && slot.sealed_mtime_ns != mtime_of(st)))
    slot.state = SumState::loose;
  if (slot.state == SumState::loose) {
    changed(f);
    return;
  }
  // A write that was not finished; or was: the intent stays until the next one.
  if (slot.era == boot_era() && slot.intent_count > 0 && resum(f, slot.intent_first, slot.intent_count) != 0) slot.state = SumState::loose;
  if (slot.sealed_mtime_ns != mtime_of(st)) changed(f);
}

/// Caller holds f.mutex alone and has loaded f. Makes the object when there is none.
int ObjectStore::make(File& f) {
  if (f.fd) return 0;
  // A slot that was left behind by a removal which did not come to its end.
  if (f.sums.slot.state != SumState::none)
    if (int r = f.sums.remove(); r != 0) return r;
  take_spare(f.path);
  int fd = retry([&] { return open(f.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); });
  if (fd < 0 && errno == ENOENT) {
    if (int r = make_parents(f.path); r != 0) return r;
    take_spare(f.path);
    fd = retry([&] { return open(f.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); });
  }
  if (fd < 0) return -errno;
  f.fd.reset(fd);
  f.sums.slot.state = SumState::summed;
  f.sums.slot.verified_ms = realtime_now_ms();
  f.entries_dirty = true;
  ++objects_;
  return 0;
}

/// Loads f for a reader, who holds its lock shared.
int ObjectStore::ready(File& f, std::shared_lock<std::shared_mutex>& lock) {
  while (!f.loaded) {
    lock.unlock();
    {
      std::unique_lock alone(f.mutex);
      if (int r = load(f); r != 0) return r;
    }
    lock.lock();
  }
  return 0;
}

/// Says what is wrong with a block; always -EIO.
int ObjectStore::damaged(File& f, uint64_t block, const char* what) {
  bool fresh;
  {
    std::lock_guard lock(care_mutex_);
    fresh = corrupt_.insert({f.id, block}).second;
    corrupt_found_ += fresh;
  }
  log(fresh ? Priority::error : Priority::info, "object '%s' of file %lx is corrupt at bytes %lu to %lu: %s", f.path.c_str(), f.id, block * block_bytes,
      (block + 1) * block_bytes - 1, what);
  return -EIO;
}

/// Compares `bytes` of whole blocks from `first` on (a short one only where the object of `size` ends) with their sums.
int ObjectStore::verify(File& f, uint64_t first, const char* data, uint64_t bytes) {
  constexpr size_t batch = 256;
  uint32_t have[batch], want[batch];
  while (bytes > 0) {
    size_t whole = std::min<uint64_t>(bytes / block_bytes, batch);
    size_t count = whole;
    crc32c_blocks(data, whole, have);
    if (whole < batch && bytes % block_bytes != 0 && bytes < (whole + 1) * block_bytes) {
      have[count] = crc32c_padded(data + whole * block_bytes, bytes % block_bytes);
      ++count;
    }
    if (int r = f.sums.get(first, count, want); r != 0) return r;
    for (size_t i = 0; i < count; ++i)
      if (have[i] != want[i]) return damaged(f, first + i, "its checksum is wrong");
    uint64_t n = std::min<uint64_t>(bytes, count * block_bytes);
    first += count;
    data += n;
    bytes -= n;
  }
  return 0;
}

/// One block as it is, filled with zeros behind the end, after a look at its sum.
int ObjectStore::verified_block(File& f, uint64_t block, uint64_t size, char* data) {
  uint64_t at = block * block_bytes;
  std::memset(data, 0, block_bytes);
  if (at >= size) return 0;
  int64_t n = read_at(f.fd.get(), data, std::min<uint64_t>(block_bytes, size - at), at);
  if (n < 0) return n == -EIO ? damaged(f, block, "the disk cannot read it") : static_cast<int>(n);
  return f.summed() ? verify(f, block, data, static_cast<uint64_t>(n)) : 0;
}

/// A block was found corrupt: nobody gets the object lent until all of it was verified, also after a restart.
void ObjectStore::distrust(File& f) {
  std::unique_lock lock(f.mutex);
  if (!f.loaded || !f.fd || f.sums.slot.verified_ms == 0) return;
  f.sums.slot.verified_ms = 0;
  f.sums.slot.intent_count = 0;  // nothing is being written, and nobody shall sum it as it is now
  f.sums.save();
}

int64_t ObjectStore::read(uint64_t file, uint64_t offset, void* data, uint32_t bytes, std::vector<uint32_t>* sums) {
  if (sums) sums->clear();
  FilePtr f = get(file);
  int64_t n = read_shared(f, offset, data, bytes, sums);
  if (n == -EIO) distrust(*f);
  return n;
}

int64_t ObjectStore::read_shared(const FilePtr& f, uint64_t offset, void* data, uint32_t bytes, std::vector<uint32_t>* sums) {
  std::shared_lock lock(f->mutex);
  if (int r = ready(*f, lock); r != 0) return r;
  struct stat st;
  if (!f->fd) return 0;
  if (fstat(f->fd.get(), &st) != 0) return -errno;
  const auto size = static_cast<uint64_t>(st.st_size);
  if (offset >= size) return 0;
  bytes = static_cast<uint32_t>(std::min<uint64_t>(bytes, size - offset));
  auto* out = static_cast<char*>(data);
  int64_t n = read_at(f->fd.get(), out, bytes, offset);
  if (n == -EIO) return damaged(*f, offset / block_bytes, "the disk cannot read it");
  if (n < 0) return n;
  if (!f->summed()) {
    if (sums) sums_of(offset, {out, static_cast<size_t>(n)}, *sums);
    return n;
  }
  // Blocks of which only a part was asked for are looked at as a whole, and what was verified is what is given.
  const uint64_t end = offset + static_cast<uint64_t>(n);
  char block[block_bytes];
  uint64_t from = offset, to = end;
  if (offset % block_bytes != 0) {
    if (int r = verified_block(*f, offset / block_bytes, size, block); r != 0) return r;
    from = std::min(end, (offset / block_bytes + 1) * block_bytes);
    std::memcpy(out, block + offset % block_bytes, from - offset);
  }
  if (to > from && to % block_bytes != 0 && to < size) {
    uint64_t start = to - to % block_bytes;
    if (int r = verified_block(*f, to / block_bytes, size, block); r != 0) return r;
    std::memcpy(out + (start - offset), block, to - start);
    to = start;
  }
  if (to > from)
    if (int r = verify(*f, from / block_bytes, out + (from - offset), to - from); r != 0) return r;
  return sums ? given_sums(*f, offset, {out, static_cast<size_t>(n)}, *sums) : n;
}

/// The sums of data that were verified just now: of whole blocks those that are kept. Bytes, or -errno.
int64_t ObjectStore::given_sums(File& f, uint64_t offset, std::string_view data, std::vector<uint32_t>& sums) {
  const uint64_t end = offset + data.size();
  const uint64_t whole_from = (offset + block_bytes - 1) / block_bytes, whole_to = end / block_bytes;
  if (whole_from >= whole_to) {
    sums_of(offset, data, sums);
    return static_cast<int64_t>(data.size());
  }
  sums.resize(sums_count(offset, data.size()));
  const uint64_t first = offset / block_bytes;
  if (int r = f.sums.get(whole_from, whole_to - whole_from, sums.data() + (whole_from - first)); r != 0) return r;
  if (whole_from > first) sums.front() = crc32c(0, data.data(), whole_from * block_bytes - offset);
  if (end > whole_to * block_bytes) sums.back() = crc32c(0, data.data() + (whole_to * block_bytes - offset), end - whole_to * block_bytes);
  return static_cast<int64_t>(data.size());
}

/// Notes that data are newer than what is synced and sealed. Caller holds f.mutex alone.
void ObjectStore::changed(File& f) {
  ++f.changes;
  f.data_dirty = true;
  std::lock_guard lock(care_mutex_);
  unsealed_[f.id] = monotonic_now_ms();
}

/// Sums `count` blocks from `first` on as they are on the disk, and cuts the sums at the end. With `last` that ends the intent.
/// Caller holds f.mutex alone.
int ObjectStore::resum(File& f, uint64_t first, uint64_t count, bool last) {
  struct stat st;
  if (fstat(f.fd.get(), &st) != 0) return -errno;
  const uint64_t blocks = blocks_of(static_cast<uint64_t>(st.st_size));
  constexpr size_t piece = 64;
  std::vector<char> data(piece * block_bytes);
  uint32_t sums[piece];
  for (uint64_t b = first, end = std::min(first + count, blocks); b < end;) {
    size_t n = std::min<uint64_t>(piece, end - b);
    int64_t got = read_at(f.fd.get(), data.data(), n * block_bytes, b * block_bytes);
    if (got < 0) return static_cast<int>(got);
    std::memset(data.data() + got, 0, n * block_bytes - static_cast<size_t>(got));
    crc32c_blocks(data.data(), n, sums);
    if (int r = f.sums.put(b, n, sums); r != 0) return r;
    b += n;
  }
  if (first + count > blocks)
    if (int r = f.sums.cut(blocks); r != 0) return r;
  if (!last) return 0;
  f.sums.slot.intent_count = 0;
  return f.sums.save();
}

/// Caller holds f.mutex alone and has made f.
int ObjectStore::write_locked(File& f, uint64_t offset, const char* data, uint32_t bytes, const uint32_t* known) {
  struct stat st;
  if (fstat(f.fd.get(), &st) != 0) return -errno;
  int r;
  if (!f.summed()) r = write_at(f.fd.get(), data, bytes, offset);
  else r = bytes == 0 ? 0 : write_summed(f, offset, data, bytes, static_cast<uint64_t>(st.st_size), known);
  f.mtime_ns = now_ns(CLOCK_REALTIME);
  changed(f);
  return r;
}

int ObjectStore::write_summed(File& f, uint64_t offset, const char* data, uint32_t bytes, uint64_t size, const uint32_t* known) {
  const uint64_t end = offset + bytes, first = offset / block_bytes, count = blocks_of(end) - first;
  std::vector<uint32_t> sums(count);
  char block[block_bytes];
  // Blocks that keep a part of what they were: that part is looked at before it gets a new sum.
  auto merge = [&](uint64_t b) {
    // The last block is kept in no part when all that the object has of it is written.
    const bool anew = offset <= b * block_bytes && end >= size;
    if (anew) std::memset(block, 0, block_bytes);
    else if (int r = verified_block(f, b, size, block); r != 0) return r;
    uint64_t start = std::max(offset, b * block_bytes), stop = std::min(end, (b + 1) * block_bytes);
    std::memcpy(block + (start - b * block_bytes), data + (start - offset), stop - start);
    sums[b - first] = crc32c(0, block, block_bytes);
    return 0;
  };
  uint64_t whole_from = first, whole_to = first + count;
  const uint64_t anew_to = end >= size ? first + count : end / block_bytes;
  if (offset % block_bytes != 0) {
    if (int r = merge(first); r != 0) return r;
    ++whole_from;
  }
  if (end % block_bytes != 0 && whole_to > whole_from) {
    if (int r = merge(whole_to - 1); r != 0) return r;
    --whole_to;
  }
  if (known) std::copy(known + (whole_from - first), known + (whole_to - first), sums.begin() + static_cast<ptrdiff_t>(whole_from - first));
  else if (whole_to > whole_from) crc32c_blocks(data + (whole_from * block_bytes - offset), whole_to - whole_from, sums.data() + (whole_from - first));
  SumSlot& slot = f.sums.slot;
  slot.intent_first = first;
  slot.intent_count = count;
  slot.sealed_mtime_ns = 0;
  // The intent is on the disk, with the sums that lie beside it, before the first sum behind the slot that replaces another one.
  const size_t inside = first < SumSlot::inline_blocks ? std::min<uint64_t>(count, SumSlot::inline_blocks - first) : 0;
  f.sums.put(first, inside, sums.data());
  int r = f.sums.save();
  if (r == 0 && inside < count) r = f.sums.put(first + inside, count - inside, sums.data() + inside);
  if (r == 0) r = write_at(f.fd.get(), data, bytes, offset);
  if (r != 0 && resum(f, first, count) != 0) {
    // Not even the sums of what is there can be kept: better none than wrong ones.
    slot.state = SumState::loose;
    f.sums.save();
  }
  if (r == 0 && anew_to > whole_from) {
    std::lock_guard lock(care_mutex_);
    if (!corrupt_.empty()) {
      const size_t before = corrupt_.size();
      corrupt_.erase(corrupt_.lower_bound({f.id, whole_from}), corrupt_.lower_bound({f.id, anew_to}));
      corrupt_mended_ += before - corrupt_.size();
    }
  }
  return r;
}

void ObjectStore::fill(File& f, Extent& e) {
  struct stat st;
  e = {};
  if (!f.fd || fstat(f.fd.get(), &st) != 0) return;
  e = {static_cast<uint64_t>(st.st_size), std::max(mtime_of(st), f.mtime_ns), static_cast<uint64_t>(st.st_blocks) * 512};
}

int ObjectStore::write(uint64_t file, uint64_t offset, const void* data, uint32_t bytes, Extent& extent, const uint32_t* sums) {
  if (offset > object_bytes_max - bytes) return -EFBIG;
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  if (int r = make(*f); r != 0) return r;
  int r = write_locked(*f, offset, static_cast<const char*>(data), bytes, sums);
  fill(*f, extent);
  return r;
}

int ObjectStore::append(uint64_t file, const void* data, uint32_t bytes, uint64_t& offset, Extent& extent) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  if (int r = make(*f); r != 0) return r;
  fill(*f, extent);
  offset = extent.bytes;
  if (offset > object_bytes_max - bytes) return -EFBIG;
  int r = write_locked(*f, offset, static_cast<const char*>(data), bytes, nullptr);
  if (r != 0) {
    // An append is whole or not there: what a full disk took of it would be found in front of the next one.
    Extent now;
    fill(*f, now);
    if (now.bytes > offset && ::ftruncate(f->fd.get(), static_cast<off_t>(offset)) == 0 && f->summed())
      resum(*f, offset / block_bytes, blocks_of(now.bytes) - offset / block_bytes);
  }
  fill(*f, extent);
  return r;
}

int ObjectStore::extent(uint64_t file, Extent& extent) {
  FilePtr f = get(file);
  std::shared_lock lock(f->mutex);
  if (int r = ready(*f, lock); r != 0) return r;
  fill(*f, extent);
  return 0;
}

int ObjectStore::remove(uint64_t file) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  f->reserved_end = 0;
  f->loaded = false;
  if (f->fd) {
    // Who still has it open on this machine must never see the file that gets this inode next.
    bool reuse = !open_elsewhere(f->fd.get());
    f->fd.reset();
    int r = discard(f->path, reuse);
    if (r != 0 && r != -ENOENT) return r;
    if (r == 0) --objects_;
    f->entries_dirty = true;
  }
  {
    std::lock_guard care(care_mutex_);
    unsealed_.erase(file);
    if (!corrupt_.empty()) corrupt_.erase(corrupt_.lower_bound({file, 0}), corrupt_.lower_bound({file + 1, 0}));
  }
  return f->sums.remove();
}

int ObjectStore::sync(uint64_t file) {
  FilePtr f = get(file);
  std::lock_guard one_by_one(f->sync_mutex);
  unique_fd fd;
  {
    std::unique_lock lock(f->mutex);
    if (int r = load(*f); r != 0) return r;
    if (f->fd && f->data_dirty.exchange(f->sums.slot.state == SumState::loose)) fd.reset(fcntl(f->fd.get(), F_DUPFD_CLOEXEC, 0));
  }
  // Without the lock: others read and write meanwhile. The sums follow later (seal), a loss of power before then makes the file loose.
  if (fd && retry([&] { return fdatasync(fd.get()); }) != 0) {
    int e = errno;
    f->data_dirty = true;
    return -e;
  }
  if (!f->entries_dirty.exchange(false)) return 0;
  std::string base = f->path;
  // Up to the root of the store: the directories themselves may be new.
  for (int level = 0; level < 4; ++level) {
    base.resize(base.rfind('/'));
    if (int r = sync_directory(base); r != 0) {
      f->entries_dirty = true;
      return r;
    }
  }
  return 0;
}

int ObjectStore::reserve(uint64_t file, uint64_t seen_size, uint32_t bytes, uint64_t& offset) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  offset = std::max(f->reserved_end, seen_size);
  f->reserved_end = offset + bytes;
  return 0;
}

int ObjectStore::lend(uint64_t file, bool write, int& fd) {
  FilePtr f = get(file);
  std::unique_lock lock(f->mutex);
  if (int r = load(*f); r != 0) return r;
  if (!f->fd) return -ENOENT;
  {
    std::lock_guard care(care_mutex_);
    auto bad = corrupt_.lower_bound({file, 0});
    if (bad != corrupt_.end() && bad->first == file) return -EIO;
  }
  SumSlot& slot = f->sums.slot;
  if (f->summed() && slot.verified_ms + trusted_ms < realtime_now_ms()) return -EAGAIN;
  if (write && f->summed()) {
    slot.state = SumState::loose;
    if (int r = f->sums.save(); r != 0) return slot.state = SumState::summed, r;
  }
  if (write) changed(*f);
  fd = retry([&] { return open(f->path.c_str(), O_RDWR | O_CLOEXEC); });
  return fd < 0 ? -errno : 0;
}

}  // namespace xos::fs
