#include "small_files.h"

#include "test.h"

using namespace xos::fs;

TEST("contents count for the version that they were kept for") {
  SmallFiles files;
  files.keep(7, 3, "three");
  CHECK(files.find(7, 3) == "three");
  CHECK(!files.find(7, 4));
  // A version that was passed never comes back.
  CHECK(!files.find(7, 3));
  CHECK(files.bytes() == 0);
}

TEST("a later version takes the place of the one before") {
  SmallFiles files;
  files.keep(7, 1, std::string(1000, 'a'));
  size_t one = files.bytes();
  files.keep(7, 2, std::string(1000, 'b'));
  CHECK(files.bytes() == one);
  CHECK(files.find(7, 2) == std::string(1000, 'b'));
  files.keep(7, 3, std::string(SmallFiles::file_max + 1, 'c'));
  CHECK(!files.find(7, 3));
  CHECK(files.bytes() == 0);
}

TEST("what was not used for the longest time makes room") {
  SmallFiles files(10000);
  for (uint64_t id = 1; id <= 5; ++id) files.keep(id, 1, std::string(1500, 'x'));
  CHECK(files.find(1, 1).has_value());
  files.keep(6, 1, std::string(1500, 'x'));
  files.keep(7, 1, std::string(1500, 'x'));
  CHECK(files.bytes() <= 10000);
  CHECK(files.find(1, 1).has_value());
  CHECK(!files.find(2, 1));
  CHECK(files.find(7, 1).has_value());
}

TEST_MAIN
