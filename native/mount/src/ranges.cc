// FUSE operations on ranges of contents: fallocate, lseek to data and holes, copy_file_range.
#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>

#include "contents.h"
#include "frame_server.h"

namespace xos::fs {

using namespace metadata;

namespace {

/// A call is at most so long; the program asks again for the rest.
constexpr uint64_t copy_bytes_max = 256u << 20;

/// The size as all nodes see it.
int size_now(Mount& m, OpenFile& f, uint64_t& size) {
  m.look_local(f);
  bool shared;
  {
    std::lock_guard lock(f.mutex);
    shared = f.shared && f.layout.width > 0;
    size = f.size;
  }
  if (!shared) return 0;
  ObjectIo::Summary s;
  int r = with_capability(m, f, right_read, [&](const Opened& layout) { return m.objects.summary(layout, s); });
  size = s.size;
  return r;
}

bool mode_of(int flags, Allocate& mode) {
  switch (flags) {
    case 0: mode = Allocate::extend; return true;
    case FALLOC_FL_KEEP_SIZE: mode = Allocate::keep_size; return true;
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE: mode = Allocate::punch; return true;
    case FALLOC_FL_ZERO_RANGE: mode = Allocate::zero; return true;
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE: mode = Allocate::zero_keep_size; return true;
    default: return false;
  }
}

void fallocate_op(fuse_req_t req, fuse_ino_t, int flags, off_t offset, off_t length, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  const OpenFilePtr& file = handle_of(fi).file;
  OpenFile& f = *file;
  Allocate mode;
  if (!mode_of(flags, mode)) {
    fuse_reply_err(req, EOPNOTSUPP);
    return;
  }
  const bool extends = mode == Allocate::extend || mode == Allocate::zero;
  const uint64_t end = static_cast<uint64_t>(offset) + static_cast<uint64_t>(length);
  m.behind.drain(file);
  forget_contents(f);
  ObjectIo::Summary s;
  int r = mode == Allocate::punch ? 0 : m.reserve(f, end);
  if (r == 0)
    r = with_capability(m, f, right_read | right_write, [&](const Opened& layout) {
      return m.objects.allocate(layout, mode, static_cast<uint64_t>(offset), static_cast<uint64_t>(length), s);
    });
  if (r == 0) wrote(f, extends ? end : 0, s);
  fuse_reply_err(req, r);
}

void lseek_op(fuse_req_t req, fuse_ino_t, off_t offset, int whence, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  const OpenFilePtr& file = handle_of(fi).file;
  m.behind.drain(file);
  uint64_t size = 0, found = 0;
  int r = whence == SEEK_DATA || whence == SEEK_HOLE ? size_now(m, *file, size) : EINVAL;
  if (r == 0 && (offset < 0 || static_cast<uint64_t>(offset) >= size)) r = ENXIO;
  if (r == 0)
    r = with_capability(m, *file, right_read, [&](const Opened& layout) {
      return m.objects.seek(layout, static_cast<uint64_t>(offset), whence == SEEK_HOLE, size, found);
    });
  if (r != 0) fuse_reply_err(req, r);
  else fuse_reply_lseek(req, static_cast<off_t>(found));
}

/// Through this node, when the OSDs cannot do it among themselves.
int copy_by_hand(Mount& m, OpenFile& from, uint64_t from_offset, OpenFile& to, uint64_t to_offset, uint64_t bytes, uint64_t& done) {
  constexpr uint32_t piece_max = 1u << 20;
  auto buffer = BufferPool::instance().take(piece_max);
  while (done < bytes) {
    const auto n = static_cast<uint32_t>(std::min<uint64_t>(piece_max, bytes - done));
    uint32_t held = 0, written = 0;
    int r = with_capability(m, from, right_read, [&](const Opened& layout) { return m.objects.read(layout, from_offset + done, buffer.data, n, held); });
    if (r == 0) r = m.write_now(to, to_offset + done, buffer.data, n, written);
    done += written;
    if (r != 0) return r;
  }
  return 0;
}

int copy_range(Mount& m, const OpenFilePtr& from, uint64_t from_offset, const OpenFilePtr& to, uint64_t to_offset, uint64_t bytes, uint64_t& done) {
  if (int r = m.reserve(*to, to_offset + bytes); r != 0) return r;
  if (int r = m.refresh_capability(*from, right_read); r != 0) return r;
  if (int r = m.refresh_capability(*to, right_read | right_write); r != 0) return r;
  forget_contents(*to);
  if (!ObjectIo::can_copy(m.layout_of(*from), from_offset, m.layout_of(*to), to_offset))
    return copy_by_hand(m, *from, from_offset, *to, to_offset, bytes, done);
  ObjectIo::Summary s;
  int r = with_capability(m, *to, right_read | right_write, [&](const Opened& layout) {
    if (int r = m.refresh_capability(*from, right_read); r != 0) return r;
    return m.objects.copy(m.layout_of(*from), from_offset, layout, to_offset, bytes, s);
  });
  if (r != 0) return r;
  done = bytes;
  wrote(*to, to_offset + bytes, s);
  return 0;
}

void copy_file_range_op(fuse_req_t req, fuse_ino_t, off_t from_offset, fuse_file_info* from_fi, fuse_ino_t to_ino, off_t to_offset,
                        fuse_file_info* to_fi, size_t length, int flags) {
  Mount& m = mount_of(req);
  const OpenFilePtr &from = handle_of(from_fi).file, &to = handle_of(to_fi).file;
  m.behind.drain(from);
  m.behind.drain(to);
  uint64_t size = 0, done = 0;
  int r = flags != 0 || from_offset < 0 || to_offset < 0 ? EINVAL : size_now(m, *from, size);
  if (r == 0 && (to_fi->flags & O_APPEND)) r = EBADF;
  const auto start = static_cast<uint64_t>(from_offset);
  const uint64_t bytes = start < size ? std::min({size - start, uint64_t{length}, copy_bytes_max}) : 0;
  if (r == 0 && bytes > 0) r = copy_range(m, from, start, to, static_cast<uint64_t>(to_offset), bytes, done);
  if (r != 0 && done == 0) {
    fuse_reply_err(req, r);
    return;
  }
  // The kernel drops the pages of the range by itself, but for a descriptor that another one of this node mapped.
  if (done > 0) m.invalidate_kernel(to_ino, to_offset, static_cast<int64_t>(done));
  fuse_reply_write(req, done);
}

}  // namespace

void register_range_operations(fuse_lowlevel_ops& ops) {
  ops.fallocate = fallocate_op;
  ops.lseek = lseek_op;
  ops.copy_file_range = copy_file_range_op;
}

}  // namespace xos::fs
