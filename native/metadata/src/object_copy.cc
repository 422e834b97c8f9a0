#include "object_copy.h"

#include <algorithm>
#include <cerrno>

#include "capability.h"
#include "object_protocol.h"

namespace xos::fs::metadata {

namespace {

constexpr uint32_t piece_bytes = 1u << 20;

}  // namespace

int ObjectCopy::call(Side side, uint16_t type, const Writer& arguments, RpcClient::Answer& answer) {
  const bool target = side == Side::target;
  return call_osd(osds, service, target ? to : from, type, target && to_file != 0 ? to_file : file, right_read | right_write | right_truncate,
                  target ? to_epoch : from_epoch, arguments, answer, call_ms);
}

int ObjectCopy::seek(uint64_t at, bool hole, uint64_t& found) {
  RpcClient::Answer answer;
  const int r = call(Side::source, object::seek, Writer().put(at).put<uint8_t>(hole), answer);
  if (r == 0) found = Reader(answer.begin(), answer.size()).get<uint64_t>();
  return r;
}

/// `done` is 0 when it was cut meanwhile.
int ObjectCopy::piece(uint64_t offset, uint32_t bytes, uint64_t& done) {
  RpcClient::Answer answer;
  if (to_file != 0) {
    Mac mac{};
    const std::string body = service.own_capability(file, right_read, from_epoch, from, mac);
    Writer w;
    w.put(offset).text(body).raw({reinterpret_cast<const char*>(mac.data()), mac.size()}).put(offset).put(bytes);
    done = bytes;
    return call(Side::target, object::copy, w, answer);
  }
  if (int r = call(Side::source, object::read, Writer().put(offset).put(bytes), answer); r != 0) return r;
  const std::string data(answer.begin(), answer.size());
  done = data.size();
  return data.empty() ? 0 : call(Side::target, object::write, Writer().put(offset).raw(data), answer);
}

int ObjectCopy::range(uint64_t offset, uint64_t end) {
  const uint32_t most = to_file != 0 ? object::io_bytes_max : piece_bytes;
  while (offset < end) {
    uint64_t done = 0;
    if (int r = piece(offset, static_cast<uint32_t>(std::min<uint64_t>(most, end - offset)), done); r != 0) return r;
    if (done == 0) return 0;
    offset += done;
    if (more && !more(done)) return ECANCELED;
  }
  return 0;
}

int ObjectCopy::run(uint64_t bytes) {
  RpcClient::Answer answer;
  if (int r = call(Side::target, object::truncate, Writer().put<uint64_t>(0), answer); r != 0) return r;
  for (uint64_t at = 0, data = 0, hole = 0; at < bytes; at = hole) {
    int r = seek(at, false, data);
    if (r == ENXIO) break;
    if (r == 0) r = seek(data, true, hole);
    if (r == 0) r = range(data, std::min(hole, bytes));
    if (r != 0) return r;
  }
  return call(Side::target, object::truncate, Writer().put(bytes), answer);
}

}  // namespace xos::fs::metadata
