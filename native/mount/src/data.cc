// FUSE operations on contents: open, read, write, flush, fsync, release.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "contents.h"
#include "frame_server.h"

namespace xos::fs {

using namespace metadata;

namespace {

void open_op(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  m.kernel_sees(ino);
  uint32_t flags = static_cast<uint32_t>(fi->flags) & ~static_cast<uint32_t>(O_TRUNC);  // the kernel cuts by setattr
  auto token = m.cache.token(ino);
  RpcClient::Answer answer;
  int r = m.call(req, open, Writer().put<uint64_t>(ino).put(flags), answer);
  if (r != 0) {
    fuse_reply_err(req, r == ESTALE ? ENOENT : r);
    return;
  }
  Reader in(answer.begin(), answer.size());
  Attr attr = get_attr(in);
  m.cache.keep_attr(attr, token);
  Handle* h = m.make_handle(attr, get_opened(in), (flags & O_ACCMODE) != O_RDONLY);
  bool shared;
  {
    std::lock_guard lock(h->file->mutex);
    // An invalidation that came before the file was in our table may have been about it.
    if (m.cache.token(ino).remote != token.remote) h->file->shared = true;
    shared = h->file->shared;
  }
  fi->fh = reinterpret_cast<uint64_t>(h);
  fi->keep_cache = !shared && m.files.kernel_has(ino, attr.data_version);
  m.files.set_kernel_version(ino, shared ? 0 : attr.data_version);
  if (fi->keep_cache && !h->writes) m.note_read(ino);  // what the kernel has it does not ask for
  m.choose_path(req, *h, attr.size, fi);
  if (fuse_reply_open(req, fi) != 0) {
    m.leave_path(req, *h);
    m.files.queue_close(ino, h->writes);
    m.files.release(h->file, h->writes);
    delete h;
  }
}

void read_op(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  OpenFile& f = *handle_of(fi).file;
  m.note_read(f.id);
  size = std::min<size_t>(size, 1u << 20);
  uint32_t held = 0;
  bool never_written;
  m.behind.drain(handle_of(fi).file);
  {
    std::lock_guard lock(f.mutex);
    never_written = f.layout.width == 0;
    if (f.contents && !f.shared && m.cache.valid()) {
      const size_t from = std::min<size_t>(static_cast<size_t>(offset), f.contents->size());
      size = std::min(size, f.contents->size() - from);
      m.read_bytes.add(size);
      fuse_reply_buf(req, f.contents->data() + from, size);
      return;
    }
  }
  if (never_written) {
    fuse_reply_buf(req, nullptr, 0);
    return;
  }
  auto buffer = BufferPool::instance().take(size);
  int r = with_capability(m, f, right_read, [&](const Opened& layout) {
    return m.objects.read(layout, static_cast<uint64_t>(offset), buffer.data, static_cast<uint32_t>(size), held);
  });
  if (r != 0) {
    fuse_reply_err(req, r);
    return;
  }
  size_t n = size;
  if (held < size) {
    // What no OSD holds is a hole or lies behind the end: that depends on the size.
    bool shared;
    uint64_t end;
    {
      std::lock_guard lock(f.mutex);
      shared = f.shared;
      end = f.size;
    }
    if (shared) {
      ObjectIo::Summary s;
      r = with_capability(m, f, right_read, [&](const Opened& layout) { return m.objects.summary(layout, s); });
      if (r != 0) {
        fuse_reply_err(req, r);
        return;
      }
      end = s.size;
    }
    uint64_t left = end > static_cast<uint64_t>(offset) ? end - static_cast<uint64_t>(offset) : 0;
    n = std::max<size_t>(held, std::min<uint64_t>(size, left));
  }
  m.read_bytes.add(n);
  fuse_reply_buf(req, buffer.data, n);
}

/// Who is not root and writes takes setuid and setgid away from the file.
void drop_privileges(Mount& m, fuse_req_t req, OpenFile& f) {
  uint32_t mode;
  {
    std::lock_guard lock(f.mutex);
    if (!(f.mode & (S_ISUID | S_ISGID)) || fuse_req_ctx(req)->uid == 0) return;
    mode = f.mode & 07777 & ~static_cast<uint32_t>(S_ISUID | (f.mode & S_IXGRP ? S_ISGID : 0));
    if (mode == (f.mode & 07777)) return;
  }
  SetAttr s;
  s.mask = set_mode;
  s.mode = mode;
  Writer w;
  w.put(f.id);
  put(w, s);
  auto token = m.cache.token(f.id);
  RpcClient::Answer answer;
  if (m.call_as_node(setattr, w, answer) != 0) return;
  Reader r(answer.begin(), answer.size());
  m.cache.keep_attr(get_attr(r), token);
  fuse_lowlevel_notify_inval_inode(m.session, f.id, -1, 0);
  std::lock_guard lock(f.mutex);
  f.mode = (f.mode & S_IFMT) | mode;
}

bool is_local(OpenFile& f) {
  std::lock_guard lock(f.mutex);
  return f.local != nullptr;
}

void write_op(fuse_req_t req, fuse_ino_t ino, const char* data, size_t size, off_t offset, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  const OpenFilePtr& file = handle_of(fi).file;
  OpenFile& f = *file;
  drop_privileges(m, req, f);
  const auto bytes = static_cast<uint32_t>(size);
  const uint64_t end = static_cast<uint64_t>(offset) + size;
  uint64_t offset_written = static_cast<uint64_t>(offset);
  int r = WriteBehind::failed(f, handle_of(fi).failures_seen);
  if (r == 0) r = m.reserve(f, end, (fi->flags & O_APPEND) && !fi->writepage ? size : 0);
  if (r != 0) {
    // No room, or an earlier write that was answered already.
  } else if ((fi->flags & O_APPEND) && !fi->writepage) {
    m.behind.drain(file);
    ObjectIo::Summary s;
    ObjectIo::Place place;
    r = with_capability(m, f, right_read | right_write,
                        [&](const Opened& layout) { return m.objects.append(layout, data, bytes, place, s); });
    if (r == 0) {
      const uint64_t at = place.offset;
      wrote(f, at + size, s);
      offset_written = at;
      // The kernel thinks that it went to `offset`; pages of other descriptors may hold something else there.
      if (at != static_cast<uint64_t>(offset)) m.invalidate_kernel(ino, static_cast<int64_t>(at), static_cast<int64_t>(size));
    }
  } else if (!m.cache.valid() || is_local(f) || !m.behind.offer(file, static_cast<uint64_t>(offset), data, bytes, [&] { will_write(f, end); })) {
    // Without a lease nobody could tell us that another node wants to see what we write; of a local object the kernel would not wait.
    m.behind.drain(file);
    uint32_t done = 0;
    r = m.write_now(f, static_cast<uint64_t>(offset), data, bytes, done);
    if (r != 0 && done > 0) {
      forget_contents(f);
      m.written_bytes.add(done);
      fuse_reply_write(req, done);
      return;
    }
  }
  if (r != 0) {
    forget_contents(f);
    fuse_reply_err(req, r);
    return;
  }
  // Pages of a mapping are written without the kernel's lock on the file, so nobody knows their order.
  if (fi->writepage) forget_contents(f);
  else wrote_contents(f, offset_written, data, size);
  m.written_bytes.add(size);
  fuse_reply_write(req, size);
}

void unlock_all(Mount& m, uint64_t ino, uint64_t owner, uint8_t kind) {
  if (!m.files.holds_locks(ino, owner, kind)) return;
  Lock l;
  l.kind = kind;
  l.type = 2;
  l.owner = owner;
  Writer w;
  w.put(ino);
  put(w, l);
  w.put<uint8_t>(0);
  RpcClient::Answer answer;
  if (m.call_as_node(lock_set, w, answer) == 0) m.files.note_lock(ino, l);
}

void flush_op(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  Handle& h = handle_of(fi);
  int r = h.writes ? m.push_size(req, h.file) : 0;
  if (int failed = WriteBehind::failed(*h.file, h.failures_seen); failed != 0) r = failed;
  unlock_all(m, ino, fi->lock_owner, 0);
  fuse_reply_err(req, r);
}

void fsync_op(fuse_req_t req, fuse_ino_t, int, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  Handle& h = handle_of(fi);
  OpenFile& f = *h.file;
  m.behind.drain(h.file);
  int r = h.writes ? m.push_size(req, h.file) : 0;
  if (int failed = WriteBehind::failed(f, h.failures_seen); failed != 0) r = failed;
  bool has_objects;
  {
    std::lock_guard lock(f.mutex);
    has_objects = f.layout.width > 0;
  }
  if (r == 0 && has_objects) r = with_capability(m, f, right_read, [&](const Opened& layout) { return m.objects.sync(layout); });
  RpcClient::Answer answer;
  if (r == 0) r = m.call_as_node(metadata::sync, Writer(), answer);
  fuse_reply_err(req, r);
}

void release_op(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  Handle* h = &handle_of(fi);
  // Pages that were written by a mapping may have come after the last flush.
  if (h->writes) m.push_size(nullptr, h->file);
  if (fi->flock_release) unlock_all(m, ino, fi->lock_owner, 1);
  m.leave_path(req, *h);
  m.files.queue_close(ino, h->writes);
  m.files.release(h->file, h->writes);
  delete h;
  fuse_reply_err(req, 0);
}

}  // namespace

void register_data_operations(fuse_lowlevel_ops& ops) {
  ops.open = open_op;
  ops.read = read_op;
  ops.write = write_op;
  ops.flush = flush_op;
  ops.fsync = fsync_op;
  ops.release = release_op;
}

}  // namespace xos::fs
