#include "pagemap.h"
#include "test.h"

using namespace xos::checkpoint;

namespace {

using Runs = std::vector<std::pair<uint64_t, uint64_t>>;
constexpr uint64_t page = 4096;

Runs runsOf(const Pagemap& pagemap, bool in_clone) {
  Runs found;
  for (auto& run : pagemap.runs)
    if (run.in_clone == in_clone) found.emplace_back(run.start, run.pages);
  return found;
}

}  // namespace

TEST("a pagemap survives being written and read") {
  Pagemap pagemap{.pages_id = 7, .runs = {{.start = 0x400000, .pages = 3, .flags = 4}, {.start = 0x7fffff000000, .pages = 1u << 20, .flags = 6}}};
  auto read = decodePagemap(encodePagemap(pagemap));
  CHECK(read.has_value());
  CHECK_EQUAL(read->pages_id, 7u);
  CHECK_EQUAL(read->runs.size(), 2u);
  CHECK_EQUAL(read->runs[1].start, 0x7fffff000000u);
  CHECK_EQUAL(read->runs[1].pages, 1u << 20);
  CHECK_EQUAL(read->runs[1].flags, 6u);
}

TEST("a pagemap that is cut off, foreign or incremental is none") {
  std::string image = encodePagemap({.pages_id = 1, .runs = {{.start = 0x1000, .pages = 2, .flags = 4}}});
  size_t head = encodePagemap({.pages_id = 1}).size();
  for (size_t size = 0; size < image.size(); ++size)
    if (size != head) CHECK(!decodePagemap(std::string_view(image).substr(0, size)).has_value());
  std::string foreign = image;
  foreign[4] ^= 1;
  CHECK(!decodePagemap(foreign).has_value());
  CHECK(!decodePagemap(encodePagemap({.pages_id = 1}) + std::string("\x02\0\0\0\x18\x01", 6)).has_value());  // in_parent
  CHECK(!decodePagemap(encodePagemap({.pages_id = 1}) + std::string("\xff\xff\xff\xff", 4)).has_value());
}

TEST("what was stored and what was captured are merged by address; neighbours, repeats and overlaps of what was captured become one run") {
  Pagemap stored{.pages_id = 1, .runs = {{.start = 2 * page, .pages = 1}, {.start = 100 * page, .pages = 5}}};
  auto merged = mergePagemap(stored, {{50 * page, 60 * page}, {10 * page, 20 * page}, {60 * page, 61 * page}, {55 * page, 61 * page}, {10 * page, 20 * page}});
  CHECK(merged.has_value());
  CHECK(runsOf(*merged, true) == (Runs{{10 * page, 10}, {50 * page, 11}}));
  CHECK(runsOf(*merged, false) == (Runs{{2 * page, 1}, {100 * page, 5}}));
  for (size_t i = 1; i < merged->runs.size(); ++i) CHECK(merged->runs[i - 1].start < merged->runs[i].start);
}

TEST("a page that is in both is an error, and nothing captured changes nothing") {
  Pagemap stored{.pages_id = 1, .runs = {{.start = 10 * page, .pages = 2}}};
  CHECK(!mergePagemap(stored, {{11 * page, 12 * page}}).has_value());
  CHECK(!mergePagemap(stored, {{9 * page, 11 * page}}).has_value());
  CHECK_EQUAL(mergePagemap(stored, {})->runs.size(), 1u);
}
