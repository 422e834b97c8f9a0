#include "mount_metrics.h"

#include <array>

#include "metrics.h"

namespace xos::fs {

namespace {

enum Kind : size_t {
  k_lookup, k_getattr, k_setattr, k_readlink, k_mknod, k_mkdir, k_symlink, k_link, k_create, k_tmpfile, k_unlink, k_rmdir, k_rename, k_open, k_read,
  k_write, k_flush, k_fsync, k_release, k_opendir, k_readdir, k_readdirplus, k_releasedir, k_fsyncdir, k_statfs, k_getxattr, k_setxattr, k_listxattr,
  k_removexattr, k_getlk, k_setlk, k_flock, k_fallocate, k_lseek, k_copy_file_range, kinds
};
constexpr const char* names[kinds] = {
    "lookup", "getattr", "setattr", "readlink", "mknod", "mkdir", "symlink", "link", "create", "tmpfile", "unlink", "rmdir", "rename", "open", "read",
    "write", "flush", "fsync", "release", "opendir", "readdir", "readdirplus", "releasedir", "fsyncdir", "statfs", "getxattr", "setxattr", "listxattr",
    "removexattr", "getlk", "setlk", "flock", "fallocate", "lseek", "copy_file_range"};

std::array<metrics::Histogram, kinds>& requests() {
  static auto& all = *new std::array<metrics::Histogram, kinds>;  // never destroyed: threads of libfuse count while the process exits
  return all;
}

/// The operation of one kind and its clock: FUSE's table has room for a function only, so the original is kept by type.
template <Kind kind, typename... Arguments>
struct Counted {
  using Operation = void (*)(fuse_req_t, Arguments...);
  static inline Operation original = nullptr;
  static inline metrics::Histogram* histogram = nullptr;
  static void run(fuse_req_t req, Arguments... arguments) {
    metrics::Timed timed(*histogram);
    original(req, arguments...);
  }
};

template <Kind kind, typename... Arguments>
void count(void (*&operation)(fuse_req_t, Arguments...)) {
  using C = Counted<kind, Arguments...>;
  if (!operation) return;
  C::original = operation;
  C::histogram = &requests()[kind];
  operation = C::run;
}

}  // namespace

void count_operations(fuse_lowlevel_ops& o) {
  count<k_lookup>(o.lookup), count<k_getattr>(o.getattr), count<k_setattr>(o.setattr), count<k_readlink>(o.readlink), count<k_mknod>(o.mknod);
  count<k_mkdir>(o.mkdir), count<k_symlink>(o.symlink), count<k_link>(o.link), count<k_create>(o.create), count<k_tmpfile>(o.tmpfile);
  count<k_unlink>(o.unlink), count<k_rmdir>(o.rmdir), count<k_rename>(o.rename), count<k_open>(o.open), count<k_read>(o.read);
  count<k_write>(o.write), count<k_flush>(o.flush), count<k_fsync>(o.fsync), count<k_release>(o.release), count<k_opendir>(o.opendir);
  count<k_readdir>(o.readdir), count<k_readdirplus>(o.readdirplus), count<k_releasedir>(o.releasedir), count<k_fsyncdir>(o.fsyncdir);
  count<k_statfs>(o.statfs), count<k_getxattr>(o.getxattr), count<k_setxattr>(o.setxattr), count<k_listxattr>(o.listxattr);
  count<k_removexattr>(o.removexattr), count<k_getlk>(o.getlk), count<k_setlk>(o.setlk), count<k_flock>(o.flock), count<k_fallocate>(o.fallocate);
  count<k_lseek>(o.lseek), count<k_copy_file_range>(o.copy_file_range);
}

std::string describe_mount(Mount& m) {
  metrics::Text t;
  t.family("xos_mount_request_seconds", "histogram", "Requests of the kernel by kind, until the operation returned.");
  for (size_t k = 0; k < kinds; ++k) t.histogram(requests()[k], {{"op", names[k]}});
  t.one("xos_mount_read_bytes_total", "counter", "Bytes that the kernel got of files.", m.read_bytes.value());
  t.one("xos_mount_written_bytes_total", "counter", "Bytes that programs have written.", m.written_bytes.value());
  t.one("xos_mount_written_behind_bytes_total", "counter", "Of those, bytes that were answered before an OSD had them.", m.behind.accepted_bytes());
  t.one("xos_mount_behind_writes", "gauge", "Such writes that are under way now.", m.behind.pending());
  t.one("xos_mount_mrc_calls_total", "counter", "Questions to the metadata server.", m.mrc_calls.load(std::memory_order_relaxed));
  const auto cache = m.cache.counts();
  t.family("xos_mount_cache_hits_total", "counter", "Answers without asking a server.");
  t.sample(cache.attr_hits, {{"cache", "attributes"}}).sample(cache.name_hits, {{"cache", "names"}}).sample(m.small_files.hits(), {{"cache", "contents"}});
  t.family("xos_mount_cache_misses_total", "counter", "Look-ups that found nothing kept.");
  t.sample(cache.attr_misses, {{"cache", "attributes"}}).sample(cache.name_misses, {{"cache", "names"}}).sample(m.small_files.misses(), {{"cache", "contents"}});
  t.one("xos_mount_passed_through_total", "counter", "Openings that were handed to the kernel; their bytes are not counted.", m.passed_through.load(std::memory_order_relaxed));
  t.one("xos_mount_open_files", "gauge", "Files that programs of this node have open.", m.files.all().size());
  t.one("xos_mount_leased", "gauge", "1 while the metadata server lets this node keep what it knows.", m.cache.valid());
  return t.process("xos_mount").take();
}

}  // namespace xos::fs
