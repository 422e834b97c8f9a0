// A small generic netlink client: one family, one request at a time, blocking (the kernel answers within the call).
#pragma once
#include "unique_fd.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace xos {

/// Attributes of a message, in the order they are put.
class Attributes {
 public:
  void put(uint16_t type, const void* data, size_t size);
  void put8(uint16_t type, uint8_t value) { put(type, &value, 1); }
  void put32(uint16_t type, uint32_t value) { put(type, &value, 4); }
  void put_text(uint16_t type, std::string_view text);
  /// Begins a nest; end_nest() takes what this returned. False when it outgrew the 64 KiB that a nest can say.
  size_t begin_nest(uint16_t type);
  bool end_nest(size_t at);
  void append(const Attributes& other) { bytes_.insert(bytes_.end(), other.bytes_.begin(), other.bytes_.end()); }
  size_t size() const { return bytes_.size(); }
  const uint8_t* data() const { return bytes_.data(); }

 private:
  std::vector<uint8_t> bytes_;
};

/// Calls `each` with type and contents of every attribute in `bytes`.
void each_attribute(std::string_view bytes, const std::function<void(uint16_t type, std::string_view value)>& each);

class Genetlink {
 public:
  /// 0, or the errno: ENOENT when the kernel has no such family (its module is not loaded).
  int open(const char* family);
  void close() { fd_.reset(); }
  bool is_open() const { return static_cast<bool>(fd_); }
  /// 0 or the errno that the kernel answers; `message` gets its words, if it had any, and `each` the attributes of its answer.
  int request(uint8_t command, const Attributes& attributes, std::string* message = nullptr, const std::function<void(std::string_view attributes)>& each = {});
  /// Each answer of a dump.
  int dump(uint8_t command, const std::function<void(std::string_view attributes)>& each);

 private:
  unique_fd fd_;
  uint16_t family_ = 0;
  uint32_t sequence_ = 0;
  int transact(uint16_t family, uint8_t command, uint16_t flags, const Attributes& attributes, const std::function<void(std::string_view)>& each, std::string* message);
};

}  // namespace xos
