#include "power_loss.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "codec.h"
#include "file_io.h"
#include "store.h"
#include "unique_fd.h"

namespace xos::fs::metadata {

namespace {

// Layout of a meta page of LMDB 0.9 on 64 bits (mdb.c, MDB_page and MDB_meta).
constexpr size_t page_number_at = 0, magic_at = 16, page_size_at = 16 + 24, transaction_at = 16 + 128, meta_end = 16 + 136;
constexpr uint32_t lmdb_magic = 0xbeefc0de;

constexpr uint32_t kept_magic = 0x4b4d4f58;
constexpr size_t slot_bytes = 128 << 10;  // of two, written in turn: LMDB's pages have at most 64 KiB

template <typename T>
T field(const std::string& page, size_t at) {
  T value;
  std::memcpy(&value, page.data() + at, sizeof value);
  return value;
}

bool is_meta(const std::string& page) { return page.size() >= meta_end && field<uint32_t>(page, magic_at) == lmdb_magic; }

/// FNV-1a: a slot that was written in part is not taken for a whole one.
uint64_t sum_of(std::string_view bytes) {
  uint64_t sum = 0xcbf29ce484222325;
  for (unsigned char c : bytes) sum = (sum ^ c) * 0x100000001b3;
  return sum;
}

std::string read_part(int fd, size_t bytes, off_t offset, const std::string& path) {
  std::string data(bytes, '\0');
  const int64_t n = read_at(fd, data.data(), bytes, static_cast<uint64_t>(offset));
  if (n < 0) throw StoreError(static_cast<int>(-n), "cannot read '" + path + "'");
  data.resize(static_cast<size_t>(n));
  return data;
}

void write_part(int fd, std::string_view data, off_t offset, const std::string& path) {
  if (int r = write_at(fd, data.data(), data.size(), static_cast<uint64_t>(offset)); r != 0) throw StoreError(-r, "cannot write '" + path + "'");
}

unique_fd open_file(const std::string& path, int flags) {
  unique_fd fd(open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd && errno != ENOENT) throw StoreError(errno, "cannot open '" + path + "'");
  return fd;
}

struct Slot {
  uint64_t generation = 0;
  std::string boot, page;
};

/// Generation 0 when it holds nothing whole.
Slot decode(const std::string& bytes) {
  Slot slot;
  try {
    Reader r(bytes);
    if (r.get<uint32_t>() != kept_magic) return {};
    const uint64_t sum = r.get<uint64_t>();
    const uint32_t length = r.get<uint32_t>();
    const auto body = r.raw(length);
    if (sum_of(body) != sum) return {};
    Reader b(body);
    slot.generation = b.get<uint64_t>();
    slot.boot = b.text();
    slot.page = b.rest();
  } catch (const Malformed&) {
    return {};
  }
  return is_meta(slot.page) ? slot : Slot{};
}

}  // namespace

SyncedState::SyncedState(std::string directory, std::string boot) : directory_(std::move(directory)), boot_(std::move(boot)) {}

bool SyncedState::recover() {
  const std::string path = directory_ + "/synced", data_path = directory_ + "/data.mdb";
  unique_fd fd = open_file(path, O_RDONLY);
  if (!fd) return false;
  Slot latest;
  for (off_t at : {off_t{0}, static_cast<off_t>(slot_bytes)}) {
    Slot slot = decode(read_part(fd.get(), slot_bytes, at, path));
    if (slot.generation > latest.generation) latest = std::move(slot);
  }
  generation_ = latest.generation;
  if (latest.generation == 0 || latest.boot == boot_) return false;
  unique_fd data = open_file(data_path, O_RDWR);
  if (!data) throw StoreError(ENOENT, "cannot open '" + data_path + "', of which '" + path + "' knows a state");
  const size_t page_bytes = field<uint32_t>(latest.page, page_size_at);
  const std::string now = read_part(data.get(), 2 * page_bytes, 0, data_path);
  const auto newest = [&] {
    uint64_t newest = 0;
    for (size_t at : {size_t{0}, page_bytes})
      if (is_meta(now.substr(std::min(at, now.size())))) newest = std::max(newest, field<uint64_t>(now, at + transaction_at));
    return newest;
  }();
  if (newest == field<uint64_t>(latest.page, transaction_at)) return false;  // nothing came after it
  for (uint64_t number : {0, 1}) {
    std::string page = latest.page;
    std::memcpy(page.data() + page_number_at, &number, sizeof number);
    write_part(data.get(), page, static_cast<off_t>(number * page_bytes), data_path);
  }
  if (fdatasync(data.get()) != 0) throw StoreError(errno, "cannot write '" + data_path + "' to the disk");
  return true;
}

std::string SyncedState::meta_page(uint64_t id) const {
  const std::string path = directory_ + "/data.mdb";
  unique_fd fd = open_file(path, O_RDONLY);
  if (!fd) throw StoreError(ENOENT, "cannot open '" + path + "'");
  const std::string first = read_part(fd.get(), meta_end, 0, path);
  if (!is_meta(first)) throw StoreError(MDB_INVALID, "cannot read the meta page of '" + path + "'");
  const size_t page_bytes = field<uint32_t>(first, page_size_at);
  for (off_t at : {off_t{0}, static_cast<off_t>(page_bytes)}) {
    std::string page = read_part(fd.get(), page_bytes, at, path);
    if (is_meta(page) && field<uint64_t>(page, transaction_at) == id) return page;
  }
  throw StoreError(MDB_INVALID, "cannot find transaction " + std::to_string(id) + " in the meta pages of '" + path + "'");
}

void SyncedState::keep(const std::string& page) {
  const std::string path = directory_ + "/synced";
  unique_fd fd = open_file(path, O_RDWR | O_CREAT);
  Writer body;
  body.put(++generation_).text(boot_).raw(page);
  Writer slot;
  slot.put(kept_magic).put(sum_of(body.bytes())).put(static_cast<uint32_t>(body.size())).raw(body.bytes());
  write_part(fd.get(), slot.bytes(), static_cast<off_t>(generation_ % 2 * slot_bytes), path);
  if (fdatasync(fd.get()) != 0) throw StoreError(errno, "cannot write '" + path + "' to the disk");
  if (generation_ == 1) {  // the names of both files, too
    unique_fd directory = open_file(directory_, O_RDONLY | O_DIRECTORY);
    if (!directory || fsync(directory.get()) != 0) throw StoreError(errno, "cannot write '" + directory_ + "' to the disk");
  }
}

}  // namespace xos::fs::metadata
