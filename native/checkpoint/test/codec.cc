// RPC messages and checksums, against bytes worked out by hand from the protobuf encoding.
#include "rpc.h"
#include "test.h"
#include <string>

using namespace xos::checkpoint;

namespace {

/// The value of a numeric field of criu_opts inside an encoded request; -1 when it is not there. A decoder of its own, for one level.
int64_t option(const std::string& request, uint32_t wanted) {
  size_t at = 0;
  auto number = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      auto byte = static_cast<unsigned char>(request.at(at++));
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value;
    }
  };
  CHECK_EQUAL(number(), 8u);  // field 1, varint: type
  number();
  CHECK_EQUAL(number(), 18u);  // field 2, bytes: opts
  size_t end = number();
  end += at;
  CHECK_EQUAL(end, request.size());
  while (at < end) {
    uint64_t key = number();
    uint64_t value = number();
    if ((key & 7) == 2) at += value;
    if (key >> 3 == wanted) return static_cast<int64_t>(value);
  }
  return -1;
}

}  // namespace

TEST("a dump request has the fields of rpc.proto") {
  rpc::Options options{.images_dir_fd = 7, .work_dir_fd = 300, .pid = 100, .leave_running = true, .tcp_established = true};
  std::string request = rpc::encodeRequest(rpc::Type::dump, &options);
  CHECK_EQUAL(request.substr(0, 2), std::string("\x08\x01"));
  CHECK_EQUAL(option(request, 1), 7);
  CHECK_EQUAL(option(request, 2), 100);
  CHECK_EQUAL(option(request, 3), 1);
  CHECK_EQUAL(option(request, 5), 1);
  CHECK_EQUAL(option(request, 17), 300);
  CHECK_EQUAL(option(request, 50), 1);
  CHECK_EQUAL(option(request, 26), -1);
}

TEST("a restore request inherits pipes, and a negative number is sign-extended to ten bytes") {
  rpc::Options options{.images_dir_fd = -1, .restore_as_sibling = true, .inherit_fd = {{"pipe:[42]", 9}}};
  std::string request = rpc::encodeRequest(rpc::Type::restore, &options);
  CHECK_EQUAL(option(request, 1), -1);
  CHECK(request.find(std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11)) != std::string::npos);
  CHECK_EQUAL(option(request, 26), 1);
  // field 27, 13 bytes: field 1 "pipe:[42]", field 2 = 9
  CHECK(request.find("\xda\x01\x0d\x0a\x09pipe:[42]\x10\x09") != std::string::npos);
  CHECK_EQUAL(option(request, 2), -1);
}

TEST("answers are read: restored pid, notification, error") {
  auto restored = rpc::decodeResponse(std::string("\x08\x02\x10\x01\x22\x02\x08\x64", 8));
  CHECK(restored && restored->type == rpc::Type::restore && restored->success);
  CHECK_EQUAL(restored->restored_pid.value_or(0), 100);
  auto notification = rpc::decodeResponse(std::string("\x08\x06\x10\x01\x2a\x0d\x0a\x09post-dump\x10\x07", 19));
  CHECK(notification && notification->type == rpc::Type::notify);
  CHECK_EQUAL(notification->notify_script, std::string("post-dump"));
  CHECK_EQUAL(notification->notify_pid, 7);
  auto error = rpc::decodeResponse(std::string("\x08\x01\x10\x00\x38\x10\x4a\x02no", 10));
  CHECK(error && !error->success);
  CHECK_EQUAL(error->criu_errno, 16);
  CHECK_EQUAL(error->criu_message, std::string("no"));
}

TEST("unknown fields of an answer are skipped") {
  auto response = rpc::decodeResponse(std::string("\x08\x01\x10\x01\xa2\x06\x03""abc\xa9\x06""12345678\xad\x06""1234", 26));
  CHECK(response && response->success);
}

TEST("every cut answer is malformed or lacks what it must have, and none is read beyond its end") {
  std::string whole("\x08\x06\x10\x01\x2a\x0d\x0a\x09post-dump\x10\x07", 19);
  for (size_t length = 0; length < 4; ++length) CHECK(!rpc::decodeResponse(whole.substr(0, length)));
  for (size_t length = 5; length < whole.size(); ++length) CHECK(!rpc::decodeResponse(whole.substr(0, length)));
  CHECK(!rpc::decodeResponse(std::string("\x08\x01\x10\x01\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 15)));  // length 2^64 - 1
  CHECK(!rpc::decodeResponse(std::string("\x08\x01\x10\x01\x2a", 5) + std::string(11, '\xff')));              // endless varint
  CHECK(!rpc::decodeResponse(std::string("\x08\x01\x10\x01\x2b\x01", 6)));                                     // group: not in proto2 of ours
  CHECK(!rpc::decodeResponse(std::string("\x08\x01\x10\x01\x28\x01", 6)));                                     // notify as a number
}

TEST("statistics of a dump") {
  std::string entry("\x0a\x05\x08\x0a\x10\xe8\x07", 7);
  std::string image = std::string("\x20\x41\x01\x55\x19\x44\x46\x57", 8) + std::string("\x07\x00\x00\x00", 4) + entry;
  auto stats = rpc::decodeDumpStats(image);
  CHECK(stats.has_value());
  CHECK_EQUAL(stats->freezing_us, 10u);
  CHECK_EQUAL(stats->frozen_us, 1000u);
  for (size_t length = 0; length < image.size(); ++length) CHECK(!rpc::decodeDumpStats(image.substr(0, length)));
}
