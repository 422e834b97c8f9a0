// What xosd needs of the kernel and Node does not offer. Plain C++; src/binding.cc converts.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <vector>
#include <sys/types.h>

namespace xos::peer {

struct Credentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

struct FileSystem {
  uint64_t type;
  uint64_t block_bytes;
  uint64_t blocks;
  uint64_t blocks_available;
};

/// A failed system call; code().value() is its errno, what() begins with the call's name.
struct SystemError : std::system_error {
  const char* syscall;
  SystemError(const char* syscall, int number) : std::system_error(number, std::generic_category(), syscall), syscall(syscall) {}
};

/// SO_PEERCRED, unix(7). Throws SystemError (ENOTSOCK, EBADF …; ENOTCONN when the socket has no peer).
Credentials peer_credentials(int fd);
/// mount(2) without type and data.
void mount(const std::string& source, const std::string& target, unsigned long flags);
/// umount2(2).
void unmount(const std::string& target, int flags);
/// statfs(2).
FileSystem stat_file_system(const std::string& path);
/// Payload of the key of type user found from the session keyring; nothing when there is none or it expired.
std::optional<std::vector<uint8_t>> read_session_key(const std::string& description);
/// KEYCTL_UPDATE.
void update_key(int32_t key, const uint8_t* payload, size_t length);
/// REVOKE of the kernel module xos_cred (kmod/xos_cred/uapi): how many keys of these uids and serial numbers were wiped; nothing when the module
/// is not loaded. Throws SystemError (EPERM; EINVAL for a serial number of no or more than 20 bytes).
std::optional<uint64_t> revoke_credentials(const std::vector<uint32_t>& uids, const std::vector<std::vector<uint8_t>>& serials);
/// crypt(3): the hash of a phrase by a setting, or by a hash made before (crypt(5)). Takes as long as that says. Throws SystemError (EINVAL: the
/// setting is malformed or of an unknown method; ERANGE: the phrase has more than 511 bytes). The memory of it, up to 32 MiB, is kept for the next.
std::string hash_password(const std::string& phrase, const std::string& setting);
/// Overwrites what hash_password() left in that memory (2 ms); nothing while another hash is using it. Guesses could be tried against it fast.
void wipe_password_memory();
/// crypt_gensalt(3): the setting of a new hash by the method with this prefix (`$y$`), with at least 16 random bytes; `cost` 0 is the library's.
std::string password_setting(const std::string& prefix, unsigned long cost, const std::vector<uint8_t>& random);
/// prctl(PR_SET_DUMPABLE).
void set_dumpable(bool dumpable);
/// mallopt(3): blocks from 256 KiB on are mapped and unmapped, never learnt; two arenas.
void tune_allocator();
/// malloc_trim(3).
void trim_memory();

}  // namespace xos::peer
