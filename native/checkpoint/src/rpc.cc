#include "rpc.h"
#include <cstring>

namespace xos::checkpoint::rpc {
namespace {

enum Wire : uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

class Writer {
 public:
  void number(uint32_t field, uint64_t value) {
    raw(field << 3 | Wire::varint);
    raw(value);
  }
  /// int32 is sign-extended to 64 bits on the wire.
  void integer(uint32_t field, int32_t value) { number(field, static_cast<uint64_t>(static_cast<int64_t>(value))); }
  void text(uint32_t field, std::string_view value) {
    raw(field << 3 | Wire::bytes);
    raw(value.size());
    out_ += value;
  }
  const std::string& out() const { return out_; }

 private:
  void raw(uint64_t value) {
    while (value >= 0x80) {
      out_ += static_cast<char>(value | 0x80);
      value >>= 7;
    }
    out_ += static_cast<char>(value);
  }
  std::string out_;
};

struct Field {
  uint32_t number = 0;
  Wire wire = Wire::varint;
  uint64_t value = 0;
  std::string_view bytes;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  bool malformed() const { return malformed_; }

  /// Next field, or nothing at the end and when the rest is malformed.
  std::optional<Field> next() {
    if (in_.empty() || malformed_) return std::nullopt;
    uint64_t key = raw();
    Field field{.number = static_cast<uint32_t>(key >> 3), .wire = static_cast<Wire>(key & 7)};
    switch (field.wire) {
      case Wire::varint: field.value = raw(); break;
      case Wire::bytes: field.bytes = take(raw()); break;
      case Wire::fixed64: take(8); break;
      case Wire::fixed32: take(4); break;
      default: malformed_ = true;
    }
    if (field.number == 0) malformed_ = true;
    if (malformed_) return std::nullopt;
    return field;
  }

 private:
  uint64_t raw() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (in_.empty()) break;
      auto byte = static_cast<unsigned char>(in_.front());
      in_.remove_prefix(1);
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value;
    }
    malformed_ = true;
    return 0;
  }
  std::string_view take(uint64_t length) {
    if (malformed_ || length > in_.size()) {
      malformed_ = true;
      return {};
    }
    auto piece = in_.substr(0, length);
    in_.remove_prefix(length);
    return piece;
  }
  std::string_view in_;
  bool malformed_ = false;
};

/// Calls `visit` for each field; false when the message is malformed.
template <typename Visit>
bool each(std::string_view message, Visit visit) {
  Reader reader(message);
  while (auto field = reader.next()) visit(*field);
  return !reader.malformed();
}

std::string encodeOptions(const Options& options, Type type) {
  Writer out;
  out.integer(1, options.images_dir_fd);
  if (type == Type::dump) {
    out.integer(2, options.pid);
    out.number(3, options.leave_running);
  }
  out.number(4, 1);  // ext_unix_sk: datagram sockets of the node (syslog) are connected again by name
  if (options.tcp_established) out.number(5, 1);
  out.number(8, 1);  // file_locks
  out.integer(9, options.log_level);
  if (options.work_dir_fd >= 0) out.integer(17, options.work_dir_fd);
  out.number(18, 1);  // link_remap: open files whose name is gone but that have other links
  if (options.restore_as_sibling) out.number(26, 1);
  for (auto& [key, fd] : options.inherit_fd) {
    Writer entry;
    entry.text(1, key);
    entry.integer(2, fd);
    out.text(27, entry.out());
  }
  out.number(34, 0);  // manage_cgroups_mode IGNORE: the cell has its own
  if (options.ghost_bytes_max) out.number(35, options.ghost_bytes_max);
  for (auto& key : options.external) out.text(37, key);
  if (options.timeout_s) out.number(45, options.timeout_s);
  out.number(50, 1);  // orphan_pts_master: the relay holds the master
  out.number(12, 1);  // notify_scripts
  out.number(64, static_cast<uint32_t>(NetworkLock::skip));  // both ends of every dumped connection are frozen
  out.number(71, 1);  // log_to_stderr
  return out.out();
}

}  // namespace

std::string encodeRequest(Type type, const Options* options, bool keep_open) {
  Writer out;
  out.number(1, static_cast<uint32_t>(type));
  if (options) out.text(2, encodeOptions(*options, type));
  if (keep_open) out.number(4, 1);
  return out.out();
}

std::string encodeNotifyAnswer(bool success) {
  Writer out;
  out.number(1, static_cast<uint32_t>(Type::notify));
  out.number(3, success);
  return out.out();
}

std::optional<Response> decodeResponse(std::string_view message) {
  Response response;
  bool has_type = false, has_success = false, whole = true;
  auto nested = [&](const Field& field, auto visit) {
    if (field.wire != Wire::bytes || !each(field.bytes, visit)) whole = false;
  };
  whole &= each(message, [&](const Field& field) {
    switch (field.number) {
      case 1: has_type = field.wire == Wire::varint; response.type = static_cast<Type>(field.value); break;
      case 2: has_success = field.wire == Wire::varint; response.success = field.value != 0; break;
      case 4: nested(field, [&](const Field& f) { if (f.number == 1) response.restored_pid = static_cast<pid_t>(f.value); }); break;
      case 5:
        nested(field, [&](const Field& f) {
          if (f.number == 1) response.notify_script = f.bytes;
          if (f.number == 2) response.notify_pid = static_cast<pid_t>(f.value);
        });
        break;
      case 7: response.criu_errno = static_cast<int>(field.value); break;
      case 9: response.criu_message = field.bytes; break;
      case 10:
        nested(field, [&](const Field& f) {
          if (f.number == 1) response.version_major = static_cast<int>(f.value);
          if (f.number == 2) response.version_minor = static_cast<int>(f.value);
          if (f.number == 4) response.version_sublevel = static_cast<int>(f.value);
        });
        break;
      default: break;
    }
  });
  if (!whole || !has_type || !has_success) return std::nullopt;
  return response;
}

std::optional<DumpStats> decodeDumpStats(std::string_view image) {
  uint32_t length = 0;
  if (image.size() < 12) return std::nullopt;
  std::memcpy(&length, image.data() + 8, 4);
  if (length > image.size() - 12) return std::nullopt;
  DumpStats stats;
  bool found = false, inner = true;
  bool outer = each(image.substr(12, length), [&](const Field& field) {
    if (field.number != 1 || field.wire != Wire::bytes) return;
    found = true;
    inner = each(field.bytes, [&](const Field& f) {
      if (f.number == 1) stats.freezing_us = static_cast<uint32_t>(f.value);
      if (f.number == 2) stats.frozen_us = static_cast<uint32_t>(f.value);
    });
  });
  if (!outer || !inner || !found) return std::nullopt;
  return stats;
}

}  // namespace xos::checkpoint::rpc
