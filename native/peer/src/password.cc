#include "peer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <crypt.h>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <utility>

// A hash fills 16 MiB and reads them in random order. In pages of 4 KiB every fourth part of its time goes to page faults and to the
// processor's misses of translations (14.7 ms against 9 with huge pages, on an idle machine). And memory that is new each time is dear now
// and then: the kernel, or the machine below a virtual one, has to find it first (one hash in fifty took 50 ms of processor time). libcrypt
// asks mmap(2) and nothing else for it, so it is linked statically, its two calls lead here (ld's --wrap), and one piece of huge pages is kept.
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
constexpr std::size_t kept_bytes_max = std::size_t{32} << 20;

struct Arena {
  void* address = nullptr;
  std::size_t bytes = 0;
  bool used = false;
  bool written = false;
};
std::mutex arenas_mutex;
std::array<Arena, 2> arenas;  // for two hashes at a time; the first one is kept

}  // namespace

extern "C" {

void* __real_mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void* address, std::size_t bytes);

[[gnu::visibility("hidden")]] void* __wrap_mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) {
  const std::lock_guard lock(arenas_mutex);
  const auto arena = std::ranges::find(arenas, false, &Arena::used);
  if (fd >= 0 || bytes < huge_page_bytes || arena == arenas.end()) return __real_mmap(address, bytes, protection, flags, fd, offset);
  if (arena->bytes < bytes) {
    // Whole huge pages, since the kernel then aligns the mapping by itself. One that has none to give, or gives none, gives others.
    const std::size_t whole = (bytes + huge_page_bytes - 1) & ~(huge_page_bytes - 1);
    void* memory = __real_mmap(address, whole, protection, flags, fd, offset);
    if (memory == MAP_FAILED) return memory;
    if (arena->address != nullptr) __real_munmap(arena->address, arena->bytes);
    *arena = {.address = memory, .bytes = whole};
    static_cast<void>(::madvise(memory, whole, MADV_HUGEPAGE));
    static_cast<void>(::madvise(memory, whole, MADV_DONTDUMP));
  }
  arena->used = true;
  return arena->address;
}

[[gnu::visibility("hidden")]] int __wrap_munmap(void* address, std::size_t bytes) {
  const std::lock_guard lock(arenas_mutex);
  const auto arena = std::ranges::find(arenas, address, &Arena::address);
  if (address == nullptr || arena == arenas.end()) return __real_munmap(address, bytes);
  if (arena == arenas.begin() && arena->bytes <= kept_bytes_max) {
    arena->used = false;
    arena->written = true;
    return 0;
  }
  const Arena given_back = std::exchange(*arena, {});
  return __real_munmap(given_back.address, given_back.bytes);
}

}  // extern "C"

namespace xos::peer {

std::string hash_password(const std::string& phrase, const std::string& setting) {
  const auto data = std::make_unique<crypt_data>();
  const char* hash = ::crypt_rn(phrase.c_str(), setting.c_str(), data.get(), sizeof(crypt_data));
  const int error = errno;
  std::string result(hash != nullptr ? hash : "");
  ::explicit_bzero(data.get(), sizeof(crypt_data));
  if (hash == nullptr) throw SystemError("crypt", error);
  return result;
}

void wipe_password_memory() {
  Arena& kept = arenas.front();
  {
    const std::lock_guard lock(arenas_mutex);
    if (kept.used || !kept.written) return;
    kept.used = true;
  }
  ::explicit_bzero(kept.address, kept.bytes);
  const std::lock_guard lock(arenas_mutex);
  kept.used = kept.written = false;
}

std::string password_setting(const std::string& prefix, unsigned long cost, const std::vector<uint8_t>& random) {
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  if (random.size() < 16) throw SystemError("crypt_gensalt", EINVAL);
  if (::crypt_gensalt_rn(prefix.c_str(), cost, reinterpret_cast<const char*>(random.data()), static_cast<int>(random.size()), setting, sizeof setting) == nullptr) throw SystemError("crypt_gensalt", errno);
  return setting;
}

}  // namespace xos::peer
