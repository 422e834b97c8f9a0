// Little-endian byte codec of the object and metadata protocols. Bounds are checked on every read: a payload comes from another
// machine, so a short or overlong one throws Malformed and never reads outside its buffer.
#pragma once
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace xos::fs {

struct Malformed : std::runtime_error {
  explicit Malformed(const std::string& what) : std::runtime_error("malformed frame: " + what) {}
};

class Writer {
 public:
  template <typename T>
    requires std::is_arithmetic_v<T>
  Writer& put(T value) {
    buffer_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  /// Length-prefixed (u16) bytes. Throws Malformed above 65535.
  Writer& text(std::string_view s) {
    if (s.size() > 0xffff) throw Malformed("text of " + std::to_string(s.size()) + " bytes");
    put<uint16_t>(static_cast<uint16_t>(s.size()));
    return raw(s);
  }
  Writer& raw(std::string_view s) {
    buffer_.append(s);
    return *this;
  }
  template <typename T>
  void patch(size_t offset, T value) { std::memcpy(buffer_.data() + offset, &value, sizeof value); }
  void clear() { buffer_.clear(); }
  size_t size() const { return buffer_.size(); }
  const std::string& bytes() const { return buffer_; }
  std::string& bytes() { return buffer_; }

 private:
  std::string buffer_;
};

class Reader {
 public:
  Reader(const void* data, size_t bytes) : at_(static_cast<const char*>(data)), end_(at_ + bytes) {}
  explicit Reader(std::string_view s) : Reader(s.data(), s.size()) {}
  template <typename T>
    requires std::is_arithmetic_v<T>
  T get() {
    T value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  std::string_view text() {
    uint16_t n = get<uint16_t>();
    return {take(n), n};
  }
  std::string_view raw(size_t n) { return {take(n), n}; }
  std::string_view rest() { return raw(left()); }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  /// Trailing bytes mean that the ends speak different versions: refuse instead of guessing.
  void finish() const {
    if (left() != 0) throw Malformed(std::to_string(left()) + " bytes too many");
  }

 private:
  const char* take(size_t n) {
    if (n > left()) throw Malformed("ends " + std::to_string(n - left()) + " bytes early");
    const char* p = at_;
    at_ += n;
    return p;
  }
  const char* at_;
  const char* end_;
};

}  // namespace xos::fs
