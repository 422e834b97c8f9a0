#include "peer.h"

#include "genetlink.h"
#include "xos_cred.h"

#include <cerrno>
#include <cstring>
#include <linux/keyctl.h>
#include <malloc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace xos::peer {

Credentials peer_credentials(int fd) {
  struct ucred found {};
  socklen_t length = sizeof(found);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &found, &length) != 0) throw SystemError("getsockopt", errno);
  // A socket without a peer (not connected, or of another family) is told as pid 0 and uid -1, not as an error.
  if (length != sizeof(found) || found.uid == static_cast<uid_t>(-1)) throw SystemError("getsockopt", ENOTCONN);
  return {found.pid, found.uid, found.gid};
}

void mount(const std::string& source, const std::string& target, unsigned long flags) {
  if (::mount(source.c_str(), target.c_str(), nullptr, flags, nullptr) != 0) throw SystemError("mount", errno);
}

void unmount(const std::string& target, int flags) {
  if (::umount2(target.c_str(), flags) != 0) throw SystemError("umount2", errno);
}

FileSystem stat_file_system(const std::string& path) {
  struct statfs found {};
  int result;
  do result = ::statfs(path.c_str(), &found);
  while (result != 0 && errno == EINTR);
  if (result != 0) throw SystemError("statfs", errno);
  return {static_cast<uint64_t>(found.f_type), static_cast<uint64_t>(found.f_bsize), found.f_blocks, found.f_bavail};
}

std::optional<std::vector<uint8_t>> read_session_key(const std::string& description) {
  // request_key(2) without call-out: searches thread, process and session keyring. libkeyutils is not needed for two calls.
  const long key = ::syscall(SYS_request_key, "user", description.c_str(), nullptr, 0);
  if (key < 0) {
    if (errno == ENOKEY || errno == EKEYEXPIRED || errno == EKEYREVOKED) return std::nullopt;
    throw SystemError("request_key", errno);
  }
  std::vector<uint8_t> payload(512);
  for (;;) {
    const long length = ::syscall(SYS_keyctl, KEYCTL_READ, key, payload.data(), payload.size());
    if (length < 0) throw SystemError("keyctl", errno);
    const bool whole = static_cast<size_t>(length) <= payload.size();
    payload.resize(static_cast<size_t>(length));
    if (whole) return payload;
  }
}

void update_key(int32_t key, const uint8_t* payload, size_t length) {
  if (::syscall(SYS_keyctl, KEYCTL_UPDATE, static_cast<long>(key), payload, length) != 0) throw SystemError("keyctl", errno);
}

std::optional<uint64_t> revoke_credentials(const std::vector<uint32_t>& uids, const std::vector<std::vector<uint8_t>>& serials) {
  Genetlink module;
  if (const int error = module.open(XOS_CRED_GENL)) {
    if (error == ENOENT) return std::nullopt;
    throw SystemError("netlink", error);
  }
  uint64_t revoked = 0;
  size_t used = 0;
  Attributes list;
  const auto send = [&] {
    if (used == 0) return;
    const int error = module.request(XOS_CRED_CMD_REVOKE, list, nullptr, [&](std::string_view answer) {
      each_attribute(answer, [&](uint16_t type, std::string_view value) {
        uint32_t count = 0;
        if (type == XOS_CRED_A_COUNT && value.size() == sizeof count) std::memcpy(&count, value.data(), sizeof count);
        revoked += count;
      });
    });
    if (error != 0) throw SystemError("netlink", error);
    list = {};
    used = 0;
  };
  // As many as one message may hold.
  const auto put = [&](uint16_t type, const void* data, size_t size) {
    list.put(type, data, size);
    if (++used == XOS_CRED_REVOKE_MAX) send();
  };
  for (const uint32_t uid : uids) put(XOS_CRED_A_UID, &uid, sizeof uid);
  for (const auto& serial : serials) {
    if (serial.empty() || serial.size() > XOS_CRED_SERIAL_MAX) throw SystemError("netlink", EINVAL);
    put(XOS_CRED_A_SERIAL, serial.data(), serial.size());
  }
  send();
  return revoked;
}

void set_dumpable(bool dumpable) {
  if (::prctl(PR_SET_DUMPABLE, dumpable ? 1L : 0L, 0L, 0L, 0L) != 0) throw SystemError("prctl", errno);
}

void tune_allocator() {
  ::mallopt(M_MMAP_THRESHOLD, 256 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 10);
  ::mallopt(M_ARENA_MAX, 2);
}

void trim_memory() { ::malloc_trim(0); }

}  // namespace xos::peer
