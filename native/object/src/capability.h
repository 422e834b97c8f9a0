// The right of one client node to one file at one OSD, given by the MRC and proved by HMAC-SHA256 with a key that only the MRC
// and this OSD hold. Body layout (little endian), version 1:
//   u8 version, u8 rights, u32 uid, u64 file, u32 epoch, u32 xloc_version, u64 expires_ms, u16+node, u16+issuer
// MAC = HMAC(key of the OSD, body || OSD name). On the wire: u16 body length, body, 32 bytes MAC.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "codec.h"

namespace xos::fs {

enum Right : uint8_t { right_read = 1, right_write = 2, right_truncate = 4, right_delete = 8, right_served = 16 };

// right_served takes something away: the object is read and written by way of the OSD only, and not lent to a local process.

using Mac = std::array<unsigned char, 32>;

/// Another OSD that has the file as well, and the right of the OSD that leads to write there.
struct MirrorMember {
  std::string osd, address;
  uint16_t port = 0;
  std::string body;  ///< of that right
  Mac mac{};
};

/// A session that no OSD has: the right is good nowhere, and another one has to be asked for.
inline constexpr uint64_t session_none = 1;

struct Capability {
  uint8_t rights = 0;
  uint32_t uid = 0;
  uint64_t file = 0;
  uint32_t epoch = 0;         ///< a cut or revocation raises it; an OSD refuses what is older than it has seen for the file
  uint32_t xloc_version = 0;  ///< version of the replica set the client works with
  uint64_t expires_ms = 0;    ///< since 1970
  std::string node;           ///< client node, as its certificate names it
  std::string issuer;         ///< node of the MRC
  uint64_t session = 0;       ///< of the OSD with the MRC (mirror.h), the only one in which this right is good; 0: any
  std::vector<MirrorMember> members;  ///< to which the OSD passes on what is written
};

std::string encode(const Capability& capability);
/// Throws Malformed.
Capability decode_capability(std::string_view body);
Mac sign(std::string_view body, std::string_view key, std::string_view osd);
/// 64 hex digits become 32 bytes; anything else is taken as it is.
std::string parse_key(std::string_view text);

enum class Refusal { none, unknown_issuer, forged, expired, other_node, stale_epoch };
const char* describe(Refusal refusal);

/// Keys of one OSD. Thread-safe.
class CapabilityVerifier {
 public:
  explicit CapabilityVerifier(std::string osd) : osd_(std::move(osd)) {}
  void set_keys(std::map<std::string, std::string> key_by_issuer);
  /// Checks signature, node and expiry; fills `capability` when it could be decoded. Throws Malformed.
  Refusal verify(std::string_view body, std::string_view mac, std::string_view node, uint64_t now_ms, Capability& capability) const;
  bool has_keys() const;
  /// Changes whenever keys change, so that a connection can remember what it has verified.
  uint64_t generation() const;

 private:
  std::string osd_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::string> keys_;
  uint64_t generation_ = 0;
};

}  // namespace xos::fs
