// Fills a directory of a database that no MRC has open, for measurements: metadata-fill STATE VOLUME DIRECTORY COUNT
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "engine.h"

using namespace xos::fs::metadata;

namespace {

struct Nobody : OpenFiles {
  bool try_kill(uint64_t) override { return true; }
  bool is_open(uint64_t) override { return false; }
};

constexpr long batch = 2000;

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: metadata-fill STATE VOLUME DIRECTORY COUNT\n");
    return 2;
  }
  const long count = atol(argv[4]);
  Store store(argv[1]);
  Nobody nobody;
  Engine engine(store, nobody);
  uint64_t directory = 0;
  Inode made, parent;
  Effects effects;
  for (auto& v : engine.volumes())
    if (v.name == argv[2])
      store.read([&](const Txn& t) {
        if (engine.lookup(t, {}, v.root, argv[3], made, parent) == 0) directory = made.id;
      });
  if (directory == 0) {
    fprintf(stderr, "metadata-fill: there is no directory '%s' in volume '%s'\n", argv[3], argv[2]);
    return 1;
  }
  for (long done = 0; done < count; done += batch) {
    int status = 0;
    store.write([&](Txn& t) {
      for (long i = done; i < std::min(count, done + batch) && status == 0; ++i)
        status = engine.create(t, {}, directory, "file-" + std::to_string(i), {S_IFREG | 0644}, {}, made, parent, effects);
      effects = {};
    });
    if (status != 0) {
      fprintf(stderr, "metadata-fill: file %ld could not be made: error %d\n", done, status);
      return 1;
    }
  }
}
