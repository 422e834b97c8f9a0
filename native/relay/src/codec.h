// The compact binary encoding between proxies, relays and cells: little-endian numbers, texts as u32 length and bytes.
//
// No exceptions and no library: xexec is a static program that must start in microseconds. A Reader never looks outside its bytes; the first
// thing that does not fit makes ok() false for good, and everything read from then on is zero or empty.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace xos::relay {

/// Bytes that grow; memory is freed with the object. Running out of memory aborts: these are at most a few MiB.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { free(data_); }
  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  void clear() { size_ = 0; }
  /// Room for `bytes` more at the end; the caller fills it and calls grow().
  uint8_t* reserve(size_t bytes) {
    if (size_ + bytes > capacity_) {
      capacity_ = (size_ + bytes) * 2;
      data_ = static_cast<uint8_t*>(realloc(data_, capacity_));
      if (!data_) abort();
    }
    return data_ + size_;
  }
  void grow(size_t bytes) { size_ += bytes; }
  /// Cuts the end off.
  void shrink(size_t size) { if (size < size_) size_ = size; }
  void append(const void* bytes, size_t count) {
    if (!count) return;
    memcpy(reserve(count), bytes, count);
    size_ += count;
  }
  void consume(size_t bytes) {
    memmove(data_, data_ + bytes, size_ - bytes);
    size_ -= bytes;
  }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

class Writer {
 public:
  explicit Writer(Buffer& out) : out_(out) {}
  void u8(uint8_t value) { out_.append(&value, 1); }
  void u16(uint16_t value) { out_.append(&value, 2); }
  void u32(uint32_t value) { out_.append(&value, 4); }
  void u64(uint64_t value) { out_.append(&value, 8); }
  void text(std::string_view value) {
    u32(static_cast<uint32_t>(value.size()));
    out_.append(value.data(), value.size());
  }
  void raw(const void* bytes, size_t count) { out_.append(bytes, count); }
  /// Strings as one block: count, bytes, then each with its NUL; so the reader can point into it (argv, environment).
  template <typename Strings> void strings(const Strings& each, uint32_t count) {
    u32(count);
    const size_t at = out_.size();
    u32(0);
    for (uint32_t i = 0; i < count; i++) out_.append(each[i], strlen(each[i]) + 1);
    const uint32_t bytes = static_cast<uint32_t>(out_.size() - at - 4);
    memcpy(out_.data() + at, &bytes, 4);
  }

 private:
  Buffer& out_;
};

/// Strings of a block; every one ends with NUL inside it.
struct Strings {
  uint32_t count = 0;
  const char* block = nullptr;
  uint32_t bytes = 0;
};

class Reader {
 public:
  Reader(const void* data, size_t bytes) : at_(static_cast<const uint8_t*>(data)), end_(at_ + bytes) {}
  bool ok() const { return ok_; }
  size_t left() const { return end_ - at_; }
  const uint8_t* at() const { return at_; }
  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }
  bool raw(void* into, size_t bytes) {
    if (!bytes) return ok_;  // `into` may be null then
    if (!take(bytes)) {
      memset(into, 0, bytes);
      return false;
    }
    memcpy(into, at_ - bytes, bytes);
    return true;
  }
  /// A text of at most `bytes_max` bytes, pointing into the input.
  std::string_view text(uint32_t bytes_max) {
    const uint32_t bytes = u32();
    if (bytes > bytes_max) ok_ = false;
    if (!take(bytes)) return {};
    return {reinterpret_cast<const char*>(at_ - bytes), bytes};
  }
  Strings strings() {
    Strings found;
    const uint32_t count = u32(), bytes = u32();
    if (!take(bytes)) return {};
    const char* block = reinterpret_cast<const char*>(at_ - bytes);
    if (bytes && block[bytes - 1] != 0) return refuse();
    uint32_t ends = 0;
    for (const char* p = block; p < block + bytes; ends++) p = static_cast<const char*>(memchr(p, 0, block + bytes - p)) + 1;
    if (ends != count) return refuse();
    found.count = count;
    found.block = block;
    found.bytes = bytes;
    return found;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
  bool ok_ = true;

  Strings refuse() {
    ok_ = false;
    return {};
  }
  bool take(size_t bytes) {
    if (!ok_ || left() < bytes) return ok_ = false;
    at_ += bytes;
    return true;
  }
  template <typename T> T number() {
    T value = 0;
    if (take(sizeof value)) memcpy(&value, at_ - sizeof value, sizeof value);
    return value;
  }
};

}  // namespace xos::relay
