// CRIU's image of which pages of a process are stored: pagemap-PID.img, beside pages-N.img with their content in the same order.
//
// Image: u32 common magic, u32 pagemap magic, then messages of u32 length and protobuf: pagemap_head{pages_id=1}, and for each run of
// pages pagemap_entry{vaddr=1, compat_nr_pages=2, in_parent=3, flags=4, nr_pages=5} (images/pagemap.proto of CRIU 4.2.1, MIT licensed).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace xos::checkpoint {

constexpr uint64_t page_bytes = 4096;

struct PageRun {
  uint64_t start = 0, pages = 0;
  uint32_t flags = 0;     ///< PE_LAZY 2, PE_PRESENT 4
  bool in_clone = false;  ///< its content is read from the clone and not from CRIU's image
};

struct Pagemap {
  uint32_t pages_id = 0;  ///< N of pages-N.img
  std::vector<PageRun> runs;  ///< ascending
};

/// Empty when the bytes are no whole pagemap, or one of an incremental dump.
std::optional<Pagemap> decodePagemap(std::string_view image);
std::string encodePagemap(const Pagemap& pagemap);

/// What CRIU stored and what the clone has, in the order of the addresses: the restore wants both that way. `captured` is [start, end),
/// in any order, also overlapping. Empty when a page is in both.
std::optional<Pagemap> mergePagemap(const Pagemap& stored, std::vector<std::pair<uint64_t, uint64_t>> captured);

}  // namespace xos::checkpoint
