// Mount: opening files for the kernel's passthrough.
#include <fcntl.h>
#include <sys/stat.h>

#include "contents.h"

namespace xos::fs {

using metadata::Opened;

namespace {

/// Size and time of the object; false when it cannot be asked.
bool look(const LocalObject& local, struct stat& st, int64_t& mtime_ns) {
  if (fstat(local.fd.get(), &st) != 0) return false;
  mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
  return true;
}

}  // namespace

std::shared_ptr<LocalObject> Mount::borrow(fuse_req_t req, OpenFile& f, bool write, std::shared_ptr<LocalObject> had) {
  Opened layout = layout_of(f);
  if (layout.width != 1 || layout.osds.size() != 1 || !local.has(layout.osds[0].name)) return nullptr;
  if (write && (layout.grow_to != metadata::unlimited || !cache.valid())) return nullptr;  // the MRC has a say in its growth
  unique_fd fd;
  if (local.borrow(ObjectIo::proof(layout, 0), write, fd) != 0) return nullptr;
  if (had) {
    had->writable |= write;
    return had;
  }
  auto object = std::make_shared<LocalObject>();
  object->backing_id = fuse_passthrough_open(req, fd.get());
  if (object->backing_id <= 0) {
    local.give_up("the kernel does not pass through here (it needs CAP_SYS_ADMIN, and objects on no stacked file system)");
    return nullptr;
  }
  object->fd = std::move(fd);
  object->writable = write;
  struct stat st;
  if (look(*object, st, object->seen_mtime_ns)) object->seen_size = static_cast<uint64_t>(st.st_size);
  return object;
}

void Mount::choose_path(fuse_req_t req, Handle& h, uint64_t size, fuse_file_info* fi) {
  OpenFile& f = *h.file;
  // Where an append lands is the OSD's choice: the kernel cannot know it, neither for its pages nor for an object.
  const bool append = fi->flags & O_APPEND;
  fi->direct_io = append;
  if (!use_local(req, h, size, append)) {
    std::lock_guard lock(f.mutex);
    h.cached = !append;
    if (append) --f.cached_handles;
    return;
  }
  // Once the kernel has an object for an inode it must be told of it at every open (Linux, fuse/iomode.c), also when this process does the work.
  std::lock_guard lock(f.mutex);
  fi->backing_id = f.local->backing_id;
  fi->keep_cache = 0;
  if (h.writes && !f.local->writable) fi->direct_io = 1;
  files.set_kernel_version(f.id, 0);
}

/// Counts `h` among those with the local object, if there is one for it.
bool Mount::use_local(fuse_req_t req, Handle& h, uint64_t size, bool append) {
  OpenFile& f = *h.file;
  // Who has it in the page cache keeps the inode from passthrough, and the other way round.
  auto possible = [&] { return f.local || (!append && f.cached_handles == 1 && size >= LocalObjects::worth_it_bytes && !f.dirty); };
  {
    std::lock_guard lock(f.mutex);
    if (!possible()) return false;
  }
  std::lock_guard one_by_one(local_mutex);
  std::shared_ptr<LocalObject> object;
  bool ask;
  {
    std::lock_guard lock(f.mutex);
    if (!possible()) return false;
    object = f.local;
    ask = !object || (h.writes && !append && !object->writable);
  }
  if (ask) {
    auto borrowed = borrow(req, f, h.writes, object);
    if (!object) object = borrowed;
  }
  std::lock_guard lock(f.mutex);
  if (!object) return false;
  if (!f.local && f.cached_handles > 1) {  // another one came meanwhile
    fuse_passthrough_close(req, object->backing_id);
    return false;
  }
  --f.cached_handles;
  h.cached = false;
  h.backed = true;
  f.local = object;
  ++f.local_handles;
  f.contents.reset();
  passed_through.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void Mount::leave_path(fuse_req_t req, Handle& h) {
  OpenFile& f = *h.file;
  std::lock_guard lock(f.mutex);
  if (h.cached) --f.cached_handles;
  if (!h.backed || --f.local_handles > 0) return;
  fuse_passthrough_close(req, f.local->backing_id);
  f.local.reset();
}

void Mount::look_local(OpenFile& f) {
  std::lock_guard lock(f.mutex);
  struct stat st;
  int64_t mtime_ns;
  if (!f.local || !f.local->writable || !look(*f.local, st, mtime_ns)) return;
  const auto size = static_cast<uint64_t>(st.st_size);
  if (mtime_ns == f.local->seen_mtime_ns && size == f.local->seen_size) return;
  f.local->seen_mtime_ns = mtime_ns;
  f.local->seen_size = size;
  f.size = size;
  f.mtime_ns = std::max(f.mtime_ns, mtime_ns);
  f.disk_bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  f.dirty = true;
  ++f.dirty_count;
}

}  // namespace xos::fs
