#include "capability.h"

#include "test.h"

#include <vector>

using namespace xos::fs;

namespace {

Capability sample() {
  Capability c;
  c.rights = right_read | right_write;
  c.uid = 1879113729;
  c.file = 0x123456789abcdefull;
  c.epoch = 7;
  c.xloc_version = 3;
  c.expires_ms = 2000;
  c.node = "n2";
  c.issuer = "n1";
  return c;
}

const std::string key(32, 'k');

Refusal verify(CapabilityVerifier& v, const std::string& body, const Mac& mac, const std::string& node = "n2", uint64_t now = 1000) {
  Capability out;
  return v.verify(body, {reinterpret_cast<const char*>(mac.data()), mac.size()}, node, now, out);
}

}  // namespace

TEST("a capability survives encoding") {
  Capability c = decode_capability(encode(sample()));
  CHECK_EQUAL(c.file, sample().file);
  CHECK_EQUAL(c.uid, sample().uid);
  CHECK_EQUAL(c.epoch, 7u);
  CHECK_EQUAL(c.xloc_version, 3u);
  CHECK_EQUAL(c.expires_ms, 2000u);
  CHECK_EQUAL(c.node, "n2");
  CHECK_EQUAL(c.issuer, "n1");
  CHECK_EQUAL(int(c.rights), 3);
}

TEST("only the OSD for which it was signed accepts it, for the node it was given to, until it expires") {
  std::string body = encode(sample());
  Mac mac = sign(body, key, "n3");
  CapabilityVerifier osd("n3"), other("n4");
  CHECK(verify(osd, body, mac) == Refusal::unknown_issuer);
  osd.set_keys({{"n1", key}});
  other.set_keys({{"n1", key}});
  CHECK(verify(osd, body, mac) == Refusal::none);
  CHECK(verify(other, body, mac) == Refusal::forged);
  CHECK(verify(osd, body, mac, "n9") == Refusal::other_node);
  CHECK(verify(osd, body, mac, "n2", 2000) == Refusal::expired);
  osd.set_keys({{"n1", std::string(32, 'x')}});
  CHECK(verify(osd, body, mac) == Refusal::forged);
}

TEST("any changed bit of body or signature is refused") {
  std::string body = encode(sample());
  Mac mac = sign(body, key, "n3");
  CapabilityVerifier osd("n3");
  osd.set_keys({{"n1", key}});
  for (size_t bit = 0; bit < body.size() * 8; ++bit) {
    std::string changed = body;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    bool refused;
    try {
      refused = verify(osd, changed, mac) != Refusal::none;
    } catch (const Malformed&) {
      refused = true;
    }
    CHECK(refused);
  }
  for (size_t bit = 0; bit < mac.size() * 8; ++bit) {
    Mac changed = mac;
    changed[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
    CHECK(verify(osd, body, changed) == Refusal::forged);
  }
  Capability ignored;
  CHECK(osd.verify(body, "short", "n2", 1000, ignored) == Refusal::forged);
}

TEST("truncated and overlong bodies are malformed") {
  std::string body = encode(sample());
  for (size_t n = 0; n < body.size(); ++n) CHECK_THROWS(decode_capability(body.substr(0, n)));
  CHECK_THROWS(decode_capability(body + "x"));
}

TEST("keys are hex or raw") {
  CHECK_EQUAL(parse_key(std::string(64, 'a')), std::string(32, '\xaa'));
  CHECK_EQUAL(parse_key("plain"), "plain");
  CHECK_EQUAL(parse_key(std::string(63, 'a') + "g"), std::string(63, 'a') + "g");
}

TEST("a reader never leaves its buffer") {
  std::string two("\x05\0" "ab", 4);
  Reader r(two);
  CHECK_THROWS(r.text());
  Reader s(std::string_view("abc"));
  CHECK_THROWS(s.get<uint32_t>());
  CHECK_EQUAL(s.left(), 3u);
  CHECK_THROWS(s.finish());
  CHECK_THROWS(Writer().text(std::string(65536, 'x')));
}

TEST_MAIN
