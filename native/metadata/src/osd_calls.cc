#include "osd_calls.h"

#include <cerrno>

#include "capability.h"

namespace xos::fs::metadata {

int call_osd(OsdTable& osds, const Service& service, uint16_t osd, uint16_t type, uint64_t file, uint8_t rights, uint32_t epoch, const Writer& arguments,
             RpcClient::Answer& answer, int timeout_ms, int unreachable_ms) {
  auto client = osds.client(osd);
  if (!client) return EHOSTDOWN;
  Mac mac{};
  std::string body = service.own_capability(file, rights, epoch, osd, mac);
  Writer w;
  w.text(body).raw({reinterpret_cast<const char*>(mac.data()), mac.size()}).raw(arguments.bytes());
  iovec piece{w.bytes().data(), w.size()};
  return client->call(type, {&piece, 1}, answer, timeout_ms, true, unreachable_ms);
}

}  // namespace xos::fs::metadata
