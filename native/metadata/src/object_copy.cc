#include "object_copy.h"

#include <algorithm>
#include <cerrno>

#include "capability.h"
#include "object_protocol.h"

namespace xos::fs::metadata {

namespace {

constexpr uint32_t piece_bytes = 1u << 20;
constexpr int call_ms = 10000;

}  // namespace

int ObjectCopy::call(uint16_t osd, uint16_t type, const Writer& arguments, RpcClient::Answer& answer) {
  return call_osd(osds, service, osd, type, file, right_read | right_write | right_truncate, osd == to ? to_epoch : from_epoch, arguments, answer, call_ms);
}

int ObjectCopy::seek(uint64_t at, bool hole, uint64_t& found) {
  RpcClient::Answer answer;
  const int r = call(from, object::seek, Writer().put(at).put<uint8_t>(hole), answer);
  if (r == 0) found = Reader(answer.begin(), answer.size()).get<uint64_t>();
  return r;
}

int ObjectCopy::range(uint64_t offset, uint64_t end) {
  RpcClient::Answer answer;
  while (offset < end) {
    const auto n = static_cast<uint32_t>(std::min<uint64_t>(piece_bytes, end - offset));
    if (int r = call(from, object::read, Writer().put(offset).put(n), answer); r != 0) return r;
    if (answer.size() == 0) return 0;  // it was cut meanwhile
    const std::string piece(answer.begin(), answer.size());
    if (int r = call(to, object::write, Writer().put(offset).raw(piece), answer); r != 0) return r;
    offset += piece.size();
    if (more && !more(piece.size())) return ECANCELED;
  }
  return 0;
}

int ObjectCopy::run(uint64_t bytes) {
  RpcClient::Answer answer;
  if (int r = call(to, object::truncate, Writer().put<uint64_t>(0), answer); r != 0) return r;
  for (uint64_t at = 0, data = 0, hole = 0; at < bytes; at = hole) {
    int r = seek(at, false, data);
    if (r == ENXIO) break;
    if (r == 0) r = seek(data, true, hole);
    if (r == 0) r = range(data, std::min(hole, bytes));
    if (r != 0) return r;
  }
  return call(to, object::truncate, Writer().put(bytes), answer);
}

}  // namespace xos::fs::metadata
