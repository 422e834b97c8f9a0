// A client that does not keep to the rules, for the end-to-end test: fs-probe CREDENTIALS HOST OSD_PORT MRC_PORT
#include <cstdio>
#include <cstring>
#include <string>

#include "capability.h"
#include "codec.h"
#include "object_protocol.h"
#include "wire.h"

using namespace xos;
using namespace xos::fs;

namespace {

std::string attempt(wire::TlsContext& tls, const std::string& host, uint16_t port, uint16_t type, const std::string& payload) {
  try {
    auto c = wire::Connection::connect(tls, host, port, 3000);
    iovec piece{const_cast<char*>(payload.data()), payload.size()};
    c->send({0, type, 0, 1}, {&piece, 1}, 3000);
    std::vector<std::byte> answer;
    c->receive(answer, 3000);
    int32_t status = -1;
    if (answer.size() >= 4) std::memcpy(&status, answer.data(), 4);
    return status == EACCES ? "EACCES" : status == 0 ? "done" : std::to_string(status);
  } catch (const wire::Error& e) {
    if (e.code == wire::ErrorCode::not_admitted || e.code == wire::ErrorCode::tls) return "not admitted";
    return e.code == wire::ErrorCode::closed ? "closed" : std::string("error: ") + e.what();
  }
}

}  // namespace

int main(int, char** argv) {
  wire::TlsContext tls(argv[1]);
  std::string host = argv[2];
  uint16_t osd = static_cast<uint16_t>(std::stoi(argv[3])), mrc = static_cast<uint16_t>(std::stoi(argv[4]));
  Capability c;
  c.rights = 255;
  c.file = 1024;
  c.expires_ms = ~0ull >> 1;
  c.node = tls.self().node;
  c.issuer = "n1";
  std::string body = encode(c);
  Mac mac = sign(body, "not the key of this OSD, certainly", "n1");
  Writer forged;
  forged.text(body).raw({reinterpret_cast<char*>(mac.data()), mac.size()});
  printf("forged: %s\n", attempt(tls, host, osd, object::extent, forged.bytes()).c_str());
  Writer truncated;
  truncated.put<uint16_t>(500).raw("short");
  printf("malformed: %s\n", attempt(tls, host, osd, object::read, truncated.bytes()).c_str());
  printf("before hello: %s\n", attempt(tls, host, mrc, 0x0303, std::string(40, 'x')).c_str());
  // A header that announces more than a frame may hold.
  try {
    auto connection = wire::Connection::connect(tls, host, osd, 3000);
    // Sent as the payload of nothing: the raw header goes through the TLS stream by a frame whose body is the header.
    wire::FrameHeader huge{~0u, object::read, 0, 1};
    iovec piece{&huge, sizeof huge};
    connection->send({0, object::space, 0, 1}, {&piece, 1}, 3000);
    std::vector<std::byte> answer;
    connection->receive(answer, 3000);
    printf("oversized: answered\n");
  } catch (const wire::Error& e) {
    printf("oversized: %s\n", e.code == wire::ErrorCode::closed ? "closed" : e.code == wire::ErrorCode::not_admitted ? "not admitted" : e.what());
  }
  return 0;
}
