// File system phases, one per call, the same on every mount.
//
//   files PHASE DIRECTORY COUNT        PHASE: create stat repeat read rename unlink   (COUNT files of 1 KiB, 100 to a directory)
//   files write|seqread FILE MIB       1 MiB a call; write ends with fsync
//   files tree FILE COUNT              writes a tar of COUNT files in COUNT/10 directories, 0.2–40 KiB each, always the same
//
// Prints {"seconds","operations","per_second"}. Caches are dropped between phases by the caller, who is root.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

namespace {

using Operation = void (*)(const std::string& path);

std::string directory_of(const std::string& base, long i)
{
  return base + "/d" + std::to_string(i / 100);
}

std::string path_of(const std::string& base, long i)
{
  return directory_of(base, i) + "/file-" + std::to_string(i);
}

void print(double spent_ms, long operations)
{
  double seconds = spent_ms / 1e3;
  printf("{\"seconds\":%.5f,\"operations\":%ld,\"per_second\":%.2f}\n", seconds, operations, operations / seconds);
}

void create(const std::string& path)
{
  static char data[1024] = "content";
  int fd = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) bench::die("create", path);
  if (write(fd, data, sizeof data) != sizeof data) bench::die("write", path);
  if (close(fd) != 0) bench::die("close", path);
}

void stat_one(const std::string& path)
{
  struct stat st;
  if (stat(path.c_str(), &st) != 0) bench::die("stat", path);
  if (st.st_size != 1024) { fprintf(stderr, "'%s' has %ld bytes, want 1024\n", path.c_str(), static_cast<long>(st.st_size)); exit(1); }
}

void read_one(const std::string& path)
{
  char data[2048];
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) bench::die("open", path);
  if (read(fd, data, sizeof data) != 1024 || memcmp(data, "content", 7) != 0) bench::die("read", path);
  close(fd);
}

void rename_one(const std::string& path)
{
  if (rename(path.c_str(), (path + ".r").c_str()) != 0) bench::die("rename", path);
}

void unlink_one(const std::string& path)
{
  if (unlink((path + ".r").c_str()) != 0) bench::die("unlink", path + ".r");
}

void each(const std::string& base, long count, Operation operation, long passes = 1, unsigned pause_ms = 0)
{
  std::vector<std::string> paths;
  for (long i = 0; i < count; i++) paths.push_back(path_of(base, i));
  double spent_ms = 0;
  for (long pass = 0; pass < passes; pass++) {
    usleep(pause_ms * 1'000);
    double began = bench::now_ms();
    for (const std::string& path : paths) operation(path);
    spent_ms += bench::now_ms() - began;
  }
  print(spent_ms, count * passes);
}

void make_directories(const std::string& base, long count)
{
  if (mkdir(base.c_str(), 0755) != 0 && errno != EEXIST) bench::die("make", base);
  for (long i = 0; i < count; i += 100)
    if (mkdir(directory_of(base, i).c_str(), 0755) != 0) bench::die("make", directory_of(base, i));
}

void remove_directories(const std::string& base, long count)
{
  for (long i = 0; i < count; i += 100)
    if (rmdir(directory_of(base, i).c_str()) != 0) bench::die("remove", directory_of(base, i));
  if (rmdir(base.c_str()) != 0) bench::die("remove", base);
}

void sequential_write(const std::string& path, long mib)
{
  std::vector<char> data(1 << 20);
  unsigned seed = 1;
  for (char& byte : data) byte = static_cast<char>((seed = seed * 1103515245 + 12345) >> 16);
  double began = bench::now_ms();
  int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) bench::die("create", path);
  for (long i = 0; i < mib; i++)
    for (size_t done = 0; done < data.size();) {
      ssize_t n = write(fd, data.data() + done, data.size() - done);
      if (n <= 0) bench::die("write", path);
      done += n;
    }
  if (fsync(fd) != 0) bench::die("sync", path);
  if (close(fd) != 0) bench::die("close", path);
  print(bench::now_ms() - began, mib);
}

void sequential_read(const std::string& path, long mib)
{
  std::vector<char> data(1 << 20);
  double began = bench::now_ms();
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) bench::die("open", path);
  long total = 0;
  for (ssize_t n; (n = read(fd, data.data(), data.size())) != 0; total += n)
    if (n < 0) bench::die("read", path);
  close(fd);
  if (total != mib << 20) { fprintf(stderr, "'%s' has %ld bytes, want %ld\n", path.c_str(), total, mib << 20); exit(1); }
  print(bench::now_ms() - began, mib);
}

/// One ustar header (POSIX.1-2017, pax, "ustar Interchange Format").
void tar_header(FILE* out, const std::string& name, long size, bool directory)
{
  char block[512] = {};
  snprintf(block, 100, "%s", name.c_str());
  snprintf(block + 100, 8, "%07o", directory ? 0755 : 0644);
  snprintf(block + 108, 8, "%07o", 0);
  snprintf(block + 116, 8, "%07o", 0);
  snprintf(block + 124, 12, "%011lo", size);
  snprintf(block + 136, 12, "%011o", 1'700'000'000);
  memset(block + 148, ' ', 8);
  block[156] = directory ? '5' : '0';
  memcpy(block + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (unsigned char byte : block) sum += byte;
  snprintf(block + 148, 8, "%06o", sum);
  fwrite(block, 1, sizeof block, out);
}

void tree(const std::string& path, long count)
{
  FILE* out = fopen(path.c_str(), "we");
  if (out == nullptr) bench::die("create", path);
  std::vector<char> data(41'000, 'x');
  unsigned seed = 7;
  double began = bench::now_ms();
  for (long i = 0; i < count; i++) {
    std::string directory = "package/module-" + std::to_string(i / 50) + "/part-" + std::to_string(i / 10 % 5);
    if (i % 50 == 0) tar_header(out, "package/module-" + std::to_string(i / 50) + "/", 0, true);
    if (i % 10 == 0) tar_header(out, directory + "/", 0, true);
    seed = seed * 1103515245 + 12345;
    // Sizes like those of a package tree: nine in ten below 6 KiB, a few of tens of KiB.
    long size = 200 + (seed >> 16) % (i % 10 == 9 ? 40'000 : 6'000);
    tar_header(out, directory + "/file-" + std::to_string(i) + ".js", size, false);
    fwrite(data.data(), 1, (size + 511) / 512 * 512, out);
  }
  std::vector<char> end(10'240);
  fwrite(end.data(), 1, end.size(), out);
  if (fclose(out) != 0) bench::die("write", path);
  print(bench::now_ms() - began, count);
}

}  // namespace

int main(int argc, char** argv)
{
  if (argc != 4) {
    fprintf(stderr, "usage: files create|stat|repeat|read|rename|unlink|write|seqread|tree PATH COUNT\n");
    return 2;
  }
  std::string phase = argv[1], path = argv[2];
  long count = bench::number(argv[3], "COUNT");
  if (phase == "create") { make_directories(path, count); each(path, count, create); }
  else if (phase == "stat") each(path, count, stat_one);
  // As make or git do: the same files again, but seconds later, when a time-out of a second no longer answers for the server.
  else if (phase == "repeat") each(path, count, stat_one, 3, 1'200);
  else if (phase == "read") each(path, count, read_one);
  else if (phase == "rename") each(path, count, rename_one);
  else if (phase == "unlink") { each(path, count, unlink_one); remove_directories(path, count); }
  else if (phase == "write") sequential_write(path, count);
  else if (phase == "seqread") sequential_read(path, count);
  else if (phase == "tree") tree(path, count);
  else { fprintf(stderr, "unknown phase '%s'\n", phase.c_str()); return 2; }
}
