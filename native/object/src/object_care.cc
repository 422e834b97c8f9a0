// ObjectStore: looking after what is at rest: verifying, summing, sealing.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "log.h"
#include "object_file.h"

namespace xos::fs {

namespace {

constexpr uint32_t piece_bytes = 1u << 20;

int64_t mtime_of(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec : -1;
}

}  // namespace

int ObjectStore::scrub(uint64_t file, const std::function<bool(uint32_t)>& pause) {
  FilePtr f = get(file);
  uint64_t changes;
  bool summed;
  {
    std::unique_lock lock(f->mutex);
    if (int r = load(*f); r != 0) return r;
    if (!f->fd) return -ENOENT;
    summed = f->summed();
    if (!summed && open_elsewhere(f->fd.get())) return -EAGAIN;
    changes = f->changes;
  }
  int r = scrub_pieces(*f, pause);
  if (r == -EIO) distrust(*f);
  if (r != 0) return r;
  std::unique_lock lock(f->mutex);
  if (!f->fd || f->changes != changes || f->summed() != summed) return -EAGAIN;
  // A loose object that nobody touched while it was summed: the sums are those of what is there.
  if (!summed && open_elsewhere(f->fd.get())) return -EAGAIN;
  f->sums.slot.state = SumState::summed;
  f->sums.slot.verified_ms = realtime_now_ms();
  f->sums.slot.intent_count = 0;
  return f->sums.save();
}

/// Reads all of it: verifies what is summed, sums what is loose. EIO after the whole when a block was corrupt.
int ObjectStore::scrub_pieces(File& f, const std::function<bool(uint32_t)>& pause) {
  std::vector<char> data(piece_bytes);
  bool corrupt = false;
  for (uint64_t at = 0;; at += piece_bytes) {
    std::unique_lock alone(f.mutex, std::defer_lock);
    std::shared_lock shared(f.mutex, std::defer_lock);
    shared.lock();
    if (!f.fd) return -EAGAIN;
    if (!f.summed()) {
      shared.unlock();
      alone.lock();
      if (!f.fd || f.summed()) return -EAGAIN;
    }
    ssize_t n = retry([&] { return pread(f.fd.get(), data.data(), piece_bytes, static_cast<off_t>(at)); });
    struct stat st;
    bool end = n >= 0 && n < static_cast<ssize_t>(piece_bytes);
    if (n < 0) {
      damaged(f, at / block_bytes, "the disk cannot read it");
      corrupt = true;
      end = fstat(f.fd.get(), &st) != 0 || at + piece_bytes >= static_cast<uint64_t>(st.st_size);
      n = 0;
    } else if (f.summed()) {
      // Block by block, so that all corrupt ones are found.
      for (ssize_t b = 0; b < n; b += block_bytes)
        corrupt |= verify(f, (at + static_cast<uint64_t>(b)) / block_bytes, data.data() + b, static_cast<uint64_t>(std::min<ssize_t>(block_bytes, n - b))) != 0;
    } else if (n > 0) {
      size_t blocks = (static_cast<size_t>(n) + block_bytes - 1) / block_bytes;
      std::memset(data.data() + n, 0, blocks * block_bytes - static_cast<size_t>(n));
      std::vector<uint32_t> sums(blocks);
      crc32c_blocks(data.data(), blocks, sums.data());
      if (int r = f.sums.put(at / block_bytes, blocks, sums.data()); r != 0) return r;
    }
    if (end) {
      if (!f.summed())
        if (int r = f.sums.cut((at + static_cast<uint64_t>(n) + block_bytes - 1) / block_bytes); r != 0) return r;
      return corrupt ? -EIO : 0;
    }
    if (shared) shared.unlock();
    if (alone) alone.unlock();
    if (!pause(static_cast<uint32_t>(n))) return -ECANCELED;
  }
}

/// False when there is nothing to seal. Then data and sums have to be synced, and end_seal() says so in the slot when nothing has changed
/// meanwhile: from then on the sums are believed also after a loss of power.
bool ObjectStore::begin_seal(Resting& r) {
  File& f = *r.file;
  std::unique_lock lock(f.mutex);
  if (load(f) != 0 || !f.fd) {
    std::lock_guard care(care_mutex_);
    unsealed_.erase(f.id);
    return false;
  }
  if (!f.summed()) return false;
  r.mtime_ns = mtime_of(f.fd.get());
  r.changes = f.changes;
  f.sums.slot.intent_count = 0;  // nothing is being written
  return f.sums.save() == 0;
}

int ObjectStore::end_seal(Resting& r) {
  File& f = *r.file;
  std::unique_lock lock(f.mutex);
  if (!f.fd || f.changes != r.changes || !f.summed() || mtime_of(f.fd.get()) != r.mtime_ns) return -EAGAIN;
  f.sums.slot.sealed_mtime_ns = r.mtime_ns;
  if (int e = f.sums.save(); e != 0) return e;
  std::lock_guard care(care_mutex_);
  unsealed_.erase(f.id);
  return 0;
}

int ObjectStore::seal(const FilePtr& f) {
  Resting r{f, 0, 0};
  if (!begin_seal(r)) return 0;
  unique_fd fd;
  {
    std::shared_lock lock(f->mutex);
    if (f->fd) fd.reset(fcntl(f->fd.get(), F_DUPFD_CLOEXEC, 0));
  }
  // Not fdatasync: the mtime is what the seal is compared with.
  if (fd && fsync(fd.get()) != 0) return -errno;
  if (int e = f->sums.sync(); e != 0) return e;
  return end_seal(r);
}

/// Many at once: one syncfs, most of which the kernel has written by itself already, instead of two fsyncs for each.
void ObjectStore::seal_all(std::vector<Resting>& files) {
  std::erase_if(files, [&](Resting& r) { return !begin_seal(r); });
  if (files.empty()) return;
  unique_fd directory(open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory && syncfs(directory.get()) == 0)
    for (Resting& r : files) end_seal(r);
  files.clear();
}

void ObjectStore::rest(const std::vector<uint64_t>& files, const std::function<bool(uint32_t)>& pause) {
  constexpr size_t batch = 128;  // each keeps its descriptors open
  std::vector<Resting> summed;
  for (uint64_t file : files) {
    FilePtr f = get(file);
    bool loose;
    {
      std::unique_lock lock(f->mutex);
      loose = load(*f) == 0 && f->fd && !f->summed();
    }
    if (loose)
      if (int r = scrub(file, pause); r != 0) {
        if (r == -ECANCELED) return;
        continue;
      }
    summed.push_back({f, 0, 0});
    if (summed.size() == batch) seal_all(summed);
  }
  if (summed.size() > 4) seal_all(summed);
  else
    for (Resting& r : summed) seal(r.file);
}

std::vector<uint64_t> ObjectStore::unsealed(int64_t idle_ms) {
  std::vector<uint64_t> files;
  int64_t now = monotonic_now_ms();
  std::lock_guard lock(care_mutex_);
  for (auto& [file, at] : unsealed_)
    if (at + idle_ms <= now) files.push_back(file);
  return files;
}

ObjectStore::Counts ObjectStore::counts() const {
  Counts c;
  {
    std::lock_guard lock(mutex_);
    c.open_files = files_.size();
  }
  std::lock_guard lock(care_mutex_);
  c.corrupt_found = corrupt_found_;
  c.corrupt_mended = corrupt_mended_;
  return c;
}

std::vector<ObjectStore::Corrupt> ObjectStore::corrupt() const {
  std::vector<Corrupt> all;
  std::lock_guard lock(care_mutex_);
  for (auto& [file, block] : corrupt_) all.push_back({file, block});
  return all;
}

}  // namespace xos::fs
