// Whether a copy-on-write capture pays: counts the memory of the tree while it still runs.
#include "../shim/record.h"
#include "capture.h"
#include <cstring>
#include <set>
#include <sstream>
#include <utility>

namespace xos::checkpoint {
namespace {

/// What CRIU stores itself meanwhile, with everything standing still, into memory.
constexpr uint64_t left_bytes_max = 64u << 20;

struct Memory {
  uint64_t clonable = 0;  ///< bytes of private memory that clones get
  uint64_t left = 0;      ///< bytes that CRIU stores: shared, kept from clones, of small processes
  bool huge_pages = false;
};

/// One mapping of /proc/PID/smaps.
struct Mapping {
  std::string name, flags;
  uint64_t resident = 0, anonymous = 0, swapped = 0;
  bool has(const char* flag) const { return flags.find(std::string(" ") + flag) != std::string::npos; }
};

void count(const Mapping& mapping, std::set<std::string>& shared_seen, Memory& memory) {
  const uint64_t own = mapping.anonymous + mapping.swapped;
  if (mapping.has("ht")) memory.huge_pages = true;
  if (mapping.has("sh")) {
    // Of shared memory CRIU stores what has no file: once for all who have it.
    const bool stored = mapping.name.starts_with("/dev/zero") || mapping.name.starts_with("/memfd:") || mapping.name.ends_with(" (deleted)");
    if (stored && shared_seen.insert(mapping.name + mapping.flags).second) memory.left += mapping.resident;
  } else if (mapping.has("dc") || mapping.has("wf")) {
    memory.left += own;
  } else {
    memory.clonable += own;
  }
}

Memory look(pid_t pid, std::set<std::string>& shared_seen) {
  Memory memory;
  std::istringstream lines(readFile("/proc/" + std::to_string(pid) + "/smaps", 256u << 20));
  Mapping mapping;
  for (std::string line; std::getline(lines, line);) {
    auto number = [&](const char* key, uint64_t& value) {
      if (line.starts_with(key)) value = std::stoull(line.substr(std::strlen(key))) << 10;
    };
    const size_t dash = line.find_first_not_of("0123456789abcdef");
    if (dash != std::string::npos && dash > 0 && line[dash] == '-') {
      const size_t name = line.find_first_of("/[", 40);
      mapping = {.name = name == std::string::npos ? "" : line.substr(name)};
    } else if (line.starts_with("VmFlags:")) {
      mapping.flags = line.substr(8);
      count(mapping, shared_seen, memory);
    } else {
      number("Rss:", mapping.resident);
      number("Anonymous:", mapping.anonymous);
      number("Swap:", mapping.swapped);
    }
  }
  if (memory.clonable < clone_bytes_min) memory.left += std::exchange(memory.clonable, 0);
  return memory;
}


}  // namespace

std::string whyPlain(const std::vector<Process>& tree, uint64_t bytes_min) {
  uint64_t resident = 0;
  for (auto& process : tree) resident += process.resident_bytes;
  if (resident < bytes_min) return "it is small";
  Memory memory;
  std::set<std::string> shared_seen;
  for (auto& process : tree) {
    const Memory one = look(process.pid, shared_seen);
    memory.clonable += one.clonable;
    memory.left += one.left;
    memory.huge_pages |= one.huge_pages;
  }
  if (memory.huge_pages) return "it uses reserved huge pages, which a clone cannot hold";
  if (memory.left > left_bytes_max)
    return mebibytes(memory.left) + " of its memory are shared, kept from clones (MADV_DONTFORK, MADV_WIPEONFORK), or in small processes";
  if (memory.clonable < bytes_min) return "it is small";
  return "";
}

bool captureKnows(int major, int minor, int sublevel) { return major == 4 && minor == 2 && sublevel == 1; }

}  // namespace xos::checkpoint
