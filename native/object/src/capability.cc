#include "capability.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstring>

namespace xos::fs {

namespace {
constexpr uint8_t version = 1, version_mirrored = 2;
}

std::string encode(const Capability& c) {
  Writer w;
  w.put(c.session == 0 ? version : version_mirrored).put(c.rights).put(c.uid).put(c.file).put(c.epoch).put(c.xloc_version).put(c.expires_ms).text(c.node).text(c.issuer);
  if (c.session != 0) {
    w.put(c.session).put(static_cast<uint8_t>(c.members.size()));
    for (const auto& m : c.members) w.text(m.osd).text(m.address).put(m.port).text(m.body).raw({reinterpret_cast<const char*>(m.mac.data()), m.mac.size()});
  }
  return std::move(w.bytes());
}

Capability decode_capability(std::string_view body) {
  Reader r(body);
  const auto format = r.get<uint8_t>();
  if (format != version && format != version_mirrored) throw Malformed("capability of an unknown version");
  Capability c;
  c.rights = r.get<uint8_t>();
  c.uid = r.get<uint32_t>();
  c.file = r.get<uint64_t>();
  c.epoch = r.get<uint32_t>();
  c.xloc_version = r.get<uint32_t>();
  c.expires_ms = r.get<uint64_t>();
  c.node = r.text();
  c.issuer = r.text();
  if (format == version_mirrored) {
    c.session = r.get<uint64_t>();
    for (auto n = r.get<uint8_t>(); n > 0; --n) {
      MirrorMember m;
      m.osd = r.text();
      m.address = r.text();
      m.port = r.get<uint16_t>();
      m.body = r.text();
      std::memcpy(m.mac.data(), r.raw(m.mac.size()).data(), m.mac.size());
      c.members.push_back(std::move(m));
    }
  }
  r.finish();
  return c;
}

Mac sign(std::string_view body, std::string_view key, std::string_view osd) {
  std::string message;
  message.reserve(body.size() + osd.size());
  message.append(body).append(osd);
  Mac mac;
  unsigned length = mac.size();
  if (!HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(message.data()), message.size(),
            mac.data(), &length))
    throw std::runtime_error("cannot sign capability: HMAC-SHA256 failed");
  return mac;
}

std::string parse_key(std::string_view text) {
  auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  if (text.size() != 64) return std::string(text);
  std::string key;
  for (size_t i = 0; i < text.size(); i += 2) {
    int high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::string(text);
    key.push_back(static_cast<char>(high << 4 | low));
  }
  return key;
}

const char* describe(Refusal refusal) {
  switch (refusal) {
    case Refusal::none: return "accepted";
    case Refusal::unknown_issuer: return "its issuer is unknown to this OSD";
    case Refusal::forged: return "its signature is wrong";
    case Refusal::expired: return "it has expired";
    case Refusal::other_node: return "it was given to another node";
    case Refusal::stale_epoch: return "a newer epoch of the file exists";
  }
  return "unknown";
}

void CapabilityVerifier::set_keys(std::map<std::string, std::string> key_by_issuer) {
  std::unique_lock lock(mutex_);
  keys_ = std::move(key_by_issuer);
  ++generation_;
}

bool CapabilityVerifier::has_keys() const {
  std::shared_lock lock(mutex_);
  return !keys_.empty();
}

uint64_t CapabilityVerifier::generation() const {
  std::shared_lock lock(mutex_);
  return generation_;
}

Refusal CapabilityVerifier::verify(std::string_view body, std::string_view mac, std::string_view node, uint64_t now_ms,
                                   Capability& capability) const {
  capability = decode_capability(body);
  std::string key;
  {
    std::shared_lock lock(mutex_);
    auto it = keys_.find(capability.issuer);
    if (it == keys_.end()) return Refusal::unknown_issuer;
    key = it->second;
  }
  Mac expected = sign(body, key, osd_);
  if (mac.size() != expected.size() || CRYPTO_memcmp(mac.data(), expected.data(), expected.size()) != 0) return Refusal::forged;
  if (capability.node != node) return Refusal::other_node;
  if (capability.expires_ms <= now_ms) return Refusal::expired;
  return Refusal::none;
}

}  // namespace xos::fs
