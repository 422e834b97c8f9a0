#include "peer.h"

#include <cerrno>
#include <crypt.h>
#include <cstddef>
#include <cstring>
#include <memory>
#include <sys/mman.h>
#include <utility>

// A hash fills 16 MiB and reads them in random order. In pages of 4 KiB every fourth part of its time goes to page faults and to the
// processor's misses of translations (14.7 ms against 9 with huge pages, on an idle machine). libcrypt asks mmap(2) and nothing else for that
// memory, so it is linked statically, its two calls lead here (ld's --wrap), and the kernel is asked for huge pages. One that has none to
// give, or gives none, does as before.
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// Made whole huge pages, since the kernel then aligns the mapping by itself; libcrypt unmaps what it asked for.
struct Widened {
  void* address = nullptr;
  std::size_t bytes = 0;
};
thread_local Widened widened;

}  // namespace

extern "C" {

void* __real_mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void* address, std::size_t bytes);

[[gnu::visibility("hidden")]] void* __wrap_mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 || bytes < huge_page_bytes || widened.address != nullptr) return __real_mmap(address, bytes, protection, flags, fd, offset);
  const std::size_t whole = (bytes + huge_page_bytes - 1) & ~(huge_page_bytes - 1);
  void* memory = __real_mmap(address, whole, protection, flags, fd, offset);
  if (memory == MAP_FAILED) return memory;
  widened = {memory, whole};
  static_cast<void>(::madvise(memory, whole, MADV_HUGEPAGE));
  return memory;
}

[[gnu::visibility("hidden")]] int __wrap_munmap(void* address, std::size_t bytes) {
  if (address == nullptr || address != widened.address) return __real_munmap(address, bytes);
  const Widened whole = std::exchange(widened, {});
  return __real_munmap(whole.address, whole.bytes);
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

std::string password_setting(const std::string& prefix, unsigned long cost, const std::vector<uint8_t>& random) {
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  if (random.size() < 16) throw SystemError("crypt_gensalt", EINVAL);
  if (::crypt_gensalt_rn(prefix.c_str(), cost, reinterpret_cast<const char*>(random.data()), static_cast<int>(random.size()), setting, sizeof setting) == nullptr) throw SystemError("crypt_gensalt", errno);
  return setting;
}

}  // namespace xos::peer
