#include "pagemap.h"
#include <algorithm>
#include <cstring>

namespace xos::checkpoint {
namespace {

constexpr uint32_t common_magic = 0x54564319, pagemap_magic = 0x56084025;
constexpr uint32_t flags_of_clone = 2 | 4;  // as CRIU marks private memory: may come lazily, is present

void putVarint(std::string& out, uint64_t value) {
  for (; value > 0x7f; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void putField(std::string& out, uint32_t field, uint64_t value) {
  putVarint(out, field << 3);
  putVarint(out, value);
}

void putWord(std::string& out, uint32_t word) { out.append(reinterpret_cast<const char*>(&word), sizeof word); }

bool takeVarint(std::string_view& in, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(in.front());
    in.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return true;
  }
  return false;
}

bool takeWord(std::string_view& in, uint32_t& word) {
  if (in.size() < sizeof word) return false;
  std::memcpy(&word, in.data(), sizeof word);
  in.remove_prefix(sizeof word);
  return true;
}

/// Numbers by field; all of these messages are made of varints alone.
bool takeMessage(std::string_view& in, uint64_t (&fields)[6]) {
  uint32_t length;
  if (!takeWord(in, length) || length > in.size()) return false;
  std::string_view message = in.substr(0, length);
  in.remove_prefix(length);
  std::fill(std::begin(fields), std::end(fields), 0);
  while (!message.empty()) {
    uint64_t key, value;
    if (!takeVarint(message, key) || (key & 7) != 0 || !takeVarint(message, value)) return false;
    if (key >> 3 < std::size(fields)) fields[key >> 3] = value;
  }
  return true;
}

}  // namespace

std::optional<Pagemap> decodePagemap(std::string_view image) {
  uint32_t common, magic;
  uint64_t fields[6];
  if (!takeWord(image, common) || !takeWord(image, magic) || common != common_magic || magic != pagemap_magic) return std::nullopt;
  if (!takeMessage(image, fields)) return std::nullopt;
  Pagemap pagemap{.pages_id = static_cast<uint32_t>(fields[1])};
  while (!image.empty()) {
    if (!takeMessage(image, fields) || fields[3]) return std::nullopt;
    pagemap.runs.push_back({.start = fields[1], .pages = fields[5] ? fields[5] : fields[2], .flags = static_cast<uint32_t>(fields[4])});
  }
  return pagemap;
}

std::string encodePagemap(const Pagemap& pagemap) {
  std::string image, message;
  putWord(image, common_magic);
  putWord(image, pagemap_magic);
  putField(message, 1, pagemap.pages_id);
  putWord(image, static_cast<uint32_t>(message.size()));
  image += message;
  for (auto& run : pagemap.runs) {
    message.clear();
    putField(message, 1, run.start);
    putField(message, 2, static_cast<uint32_t>(run.pages));
    putField(message, 4, run.flags);
    putField(message, 5, run.pages);
    putWord(image, static_cast<uint32_t>(message.size()));
    image += message;
  }
  return image;
}

std::optional<Pagemap> mergePagemap(const Pagemap& stored, std::vector<std::pair<uint64_t, uint64_t>> captured) {
  Pagemap merged{.pages_id = stored.pages_id, .runs = stored.runs};
  std::sort(captured.begin(), captured.end());
  uint64_t until = 0;  // CRIU may ask twice about an address
  for (auto [start, end] : captured) {
    start = std::max(start, until);
    if (start >= end) continue;
    const bool goes_on = start == until && !merged.runs.empty() && merged.runs.back().in_clone;
    if (goes_on) merged.runs.back().pages += (end - start) / page_bytes;
    else merged.runs.push_back({.start = start, .pages = (end - start) / page_bytes, .flags = flags_of_clone, .in_clone = true});
    until = end;
  }
  std::sort(merged.runs.begin(), merged.runs.end(), [](auto& a, auto& b) { return a.start < b.start; });
  for (size_t i = 1; i < merged.runs.size(); ++i)
    if (merged.runs[i - 1].start + merged.runs[i - 1].pages * page_bytes > merged.runs[i].start) return std::nullopt;
  return merged;
}

}  // namespace xos::checkpoint
