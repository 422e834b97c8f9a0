// What a job uses, as its control group has it. (In a guest with cgroup v2: test/system/isolation.)
#include "usage.h"
#include "test.h"

#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <string>

using xos::cell::GroupCounters;
using xos::cell::measure_usage;

namespace {

struct Group {
  char path[32] = "/tmp/xos-group-XXXXXX";
  xos::unique_fd directory;
  Group() {
    if (mkdtemp(path)) directory.reset(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~Group() { (void)!system(("rm -rf " + std::string(path)).c_str()); }
  void put(const char* file, const char* text) const { std::ofstream(std::string(path) + "/" + file) << text; }
};

}  // namespace

TEST("a group's counters are those of the kernel, whatever stands around them") {
  const Group group;
  group.put("cpu.stat", "usage_usec 5000007\nuser_usec 3000002\nsystem_usec 2000005\nnr_periods 0\n");
  group.put("memory.stat", "anon 104857600\nfile 999999999\nkernel 5\nfile_mapped 2097152\nanon_thp 7\n");
  const GroupCounters counters(group.directory.get());
  const auto usage = measure_usage(counters);
  CHECK_EQUAL(usage.user_us, uint64_t{3000002});
  CHECK_EQUAL(usage.system_us, uint64_t{2000005});
  CHECK_EQUAL(usage.memory_kb, uint64_t{102 << 10});
  group.put("cpu.stat", "usage_usec 1\nuser_usec 4000000\nsystem_usec 2000005\n");
  CHECK_EQUAL(measure_usage(counters).user_us, uint64_t{4000000});
}

TEST("a group that does not count both, or is gone, is not asked") {
  xos::relay::Usage usage;
  CHECK(!GroupCounters().read(usage));
  CHECK(!GroupCounters(-1).read(usage));
  const Group group;
  group.put("cpu.stat", "user_usec 3\nsystem_usec 2\n");
  CHECK(!GroupCounters(group.directory.get()).read(usage));
  group.put("memory.stat", "file 1\n");
  CHECK(!GroupCounters(group.directory.get()).read(usage));
  group.put("memory.stat", "xanon 1\nanon 4096\n");
  CHECK(GroupCounters(group.directory.get()).read(usage));
  // Then each process is looked at: this one is among them.
  CHECK(measure_usage(GroupCounters()).memory_kb > 0);
}
