#include "mount.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "capability.h"
#include "contents.h"
#include "lock_waiters.h"
#include "log.h"

namespace xos::fs {

using namespace metadata;

Mount::Mount(wire::TlsContext& tls, std::string vo)
    : tls(tls),
      vo(std::move(vo)),
      mrc(tls, [this](Writer& w) { files.put_reclaim(w); },
          [this] {
            cache.set_valid_until(0);
            cache.clear();
            files.mark_all_shared();
            expire_kernel_attributes();
            if (kernel_names) expire_kernel_names();
          }),
      objects(tls),
      behind([this](const OpenFilePtr& f, uint64_t offset, const char* data, uint32_t bytes) {
        uint32_t done = 0;
        int r = write_now(*f, offset, data, bytes, done);
        if (r == 0) return 0;
        log(Priority::warning, "lost %u bytes at %lu of file %lx that were to be written behind: %s", bytes - done, offset + done, f->id, strerror(r));
        {
          // What we counted on is not there: from now on the OSDs are asked for the size, and the kernel for its pages again.
          std::lock_guard lock(f->mutex);
          f->shared = f->dirty = true;
          ++f->dirty_count;
        }
        invalidate_kernel(f->id, static_cast<int64_t>(offset), bytes);
        return r;
      }),
      waiters(std::make_unique<LockWaiters>(*this)) {}

Mount::~Mount() = default;

Mount& mount_of(fuse_req_t req) {
  auto& m = *static_cast<Mount*>(fuse_req_userdata(req));
  m.operations.fetch_add(1, std::memory_order_relaxed);
  return m;
}

Caller caller_of(fuse_req_t req) {
  const fuse_ctx* c = fuse_req_ctx(req);
  Caller caller;
  caller.uid = c->uid;
  caller.gid = c->gid;
  return caller;
}

int Mount::call(fuse_req_t req, uint16_t type, const Writer& arguments, RpcClient::Answer& answer) {
  mrc_calls.fetch_add(1, std::memory_order_relaxed);
  return mrc.call(type, caller_of(req), arguments, answer, [req] {
    std::vector<gid_t> groups(64);
    int n = fuse_req_getgroups(req, static_cast<int>(groups.size()), groups.data());
    if (n > static_cast<int>(groups.size())) {
      groups.resize(static_cast<size_t>(n));
      n = fuse_req_getgroups(req, n, groups.data());
    }
    groups.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return std::vector<uint32_t>(groups.begin(), groups.end());
  });
}

int Mount::call_as_node(uint16_t type, const Writer& arguments, RpcClient::Answer& answer) {
  mrc_calls.fetch_add(1, std::memory_order_relaxed);
  return mrc.call(type, Caller{}, arguments, answer);
}

struct stat stat_of(const Attr& a) {
  struct stat st{};
  auto time = [](int64_t ns) {
    timespec t{ns / 1000000000, ns % 1000000000};
    if (t.tv_nsec < 0) --t.tv_sec, t.tv_nsec += 1000000000;
    return t;
  };
  st.st_ino = a.id;
  st.st_mode = a.mode;
  st.st_nlink = a.nlink;
  st.st_uid = a.uid;
  st.st_gid = a.gid;
  st.st_rdev = a.rdev;
  st.st_size = static_cast<off_t>(a.size);
  st.st_blksize = 1 << 20;
  st.st_blocks = static_cast<blkcnt_t>(S_ISREG(a.mode) ? (a.disk_bytes + 511) / 512 : (a.size + 511) / 512);
  st.st_atim = time(a.atime_ns);
  st.st_mtim = time(a.mtime_ns);
  st.st_ctim = time(a.ctime_ns);
  return st;
}

double attr_seconds(Mount& m, const Attr& a, Cache::Token token) {
  return a.leased && m.cache.token(a.id).remote == token.remote ? m.cache.seconds_left() : 0;
}

fuse_entry_param entry_of(Mount& m, const Attr& a, bool name_leased, Cache::Token token) {
  fuse_entry_param e{};
  e.ino = a.id;
  e.generation = 1;
  e.attr = stat_of(a);
  e.attr_timeout = m.kernel_saw(a.id) ? attr_seconds(m, a, token) : 0;
  // Of names the kernel compares epochs itself: one that was looked up before an invalidation is looked up again.
  e.entry_timeout = name_leased && m.kernel_names ? m.cache.seconds_left() : 0;
  return e;
}

void Mount::kernel_sees(uint64_t id) {
  Seen& s = seen_[id % 16];
  std::lock_guard lock(s.mutex);
  s.ids.insert(id);
}

bool Mount::kernel_saw(uint64_t id) {
  Seen& s = seen_[id % 16];
  std::lock_guard lock(s.mutex);
  return s.ids.contains(id);
}

void Mount::kernel_forgets(uint64_t id) {
  Seen& s = seen_[id % 16];
  std::lock_guard lock(s.mutex);
  s.ids.erase(id);
}

void Mount::expire_kernel_attributes() {
  for (Seen& s : seen_) {
    std::vector<uint64_t> ids;
    {
      std::lock_guard lock(s.mutex);
      ids.assign(s.ids.begin(), s.ids.end());
    }
    for (uint64_t id : ids) fuse_lowlevel_notify_inval_inode(session, id, -1, 0);
  }
}

bool Mount::expire_kernel_names() {
  struct {
    uint32_t length;
    int32_t what;
    uint64_t unique;
  } notification{16, 8, 0};  // FUSE_NOTIFY_INC_EPOCH (linux/fuse.h); libfuse 3.17 has no call for it
  return write(fuse_session_fd(session), &notification, sizeof notification) == sizeof notification;
}

int Mount::attributes(fuse_req_t req, uint64_t id, Attr& attr) {
  if (auto cached = cache.attr(id)) {
    attr = *cached;
  } else {
    auto token = cache.token(id);
    RpcClient::Answer answer;
    if (int r = call(req, getattr, Writer().put(id), answer); r != 0) return r;
    Reader r(answer.begin(), answer.size());
    attr = get_attr(r);
    cache.keep_attr(attr, token);
  }
  return settle_size(attr);
}

/// What the OSDs know of a file, which may be open here (`f`) or not.
int Mount::summary_of(uint64_t id, const OpenFilePtr& f, ObjectIo::Summary& s) {
  if (f && f->rights) return with_capability(*this, *f, right_read, [&](const Opened& layout) { return objects.summary(layout, s); });
  for (int attempt = 0;; ++attempt) {
    RpcClient::Answer answer;
    if (int r = call_as_node(metadata::capability, Writer().put(id).put<uint32_t>(O_RDONLY), answer); r != 0) return r;
    Reader in(answer.begin(), answer.size());
    get_attr(in);
    const Opened opened = get_opened(in);
    const int r = objects.summary(opened, s);
    if (opened.mirrored && may_mend(r) && attempt < mirrored_tries) {
      right_failed(id, opened);
      std::this_thread::sleep_for(std::chrono::milliseconds(20 * attempt));
      continue;
    }
    if (r != ESTALE || attempt >= fresh_max) return r;
  }
}

int Mount::settle_size(Attr& attr) {
  if (!S_ISREG(attr.mode)) return 0;
  OpenFilePtr f = files.find(attr.id);
  if (f) look_local(*f);
  if (attr.writers == writers_others || (f && f->shared && f->writers > 0)) {
    ObjectIo::Summary s;
    if (int r = summary_of(attr.id, f, s); r != 0) return r;
    attr.leased = 0;
    attr.size = s.size;
    attr.disk_bytes = s.disk_bytes;
    // Unless the time was set after the last write. Another mode or owner makes the file no older.
    if (s.mtime_ns > ((attr.flags & attr_time_set) ? attr.ctime_ns : attr.mtime_ns)) {
      attr.mtime_ns = s.mtime_ns;
      attr.ctime_ns = std::max(attr.ctime_ns, s.mtime_ns);
    }
    if (f) {
      std::lock_guard lock(f->mutex);
      f->shared = true;
      f->size = s.size;
      f->disk_bytes = s.disk_bytes;
    }
    // The kernel drops old pages by itself when it sees another time or size. An invalidation from here would make it throw this very
    // answer away as older than that, and read with the size from before.
    return 0;
  }
  if (f) {
    std::lock_guard lock(f->mutex);
    if (f->writers > 0 && f->dirty) {
      attr.size = f->size;
      attr.mtime_ns = f->mtime_ns;
      attr.ctime_ns = std::max(attr.ctime_ns, f->mtime_ns);
      attr.disk_bytes = f->disk_bytes;
    } else {
      f->size = attr.size;
    }
  }
  return 0;
}

int Mount::push_size(fuse_req_t req, const OpenFilePtr& file) {
  behind.drain(file);
  OpenFile& f = *file;
  look_local(f);
  Writer w;
  uint64_t count, version = 0;
  {
    std::unique_lock lock(f.mutex);
    if (!f.dirty) return 0;
    if (f.shared) {
      lock.unlock();
      ObjectIo::Summary s;
      if (int r = with_capability(*this, f, right_read, [&](const Opened& layout) { return objects.summary(layout, s); }); r != 0) return r;
      lock.lock();
      f.size = s.size;
      f.disk_bytes = s.disk_bytes;
      f.mtime_ns = std::max(f.mtime_ns, s.mtime_ns);
    }
    count = f.dirty_count;
    w.put(f.id).put(f.size).put(f.mtime_ns).put(f.disk_bytes);
  }
  auto token = cache.token(f.id);
  RpcClient::Answer answer;
  int status = req ? call(req, flush, w, answer) : call_as_node(flush, w, answer);
  if (status != 0) return status;
  Reader r(answer.begin(), answer.size());
  Attr attr = get_attr(r);
  version = attr.data_version;
  std::lock_guard lock(f.mutex);
  if (f.dirty_count == count) {
    f.dirty = false;
    // The version counts flushes: another step says that somebody else wrote too.
    if (f.contents) {
      if (f.shared || version != f.contents_version + 1 || f.contents->size() != f.size) f.contents.reset();
      else small_files.keep(f.id, version, *f.contents);
    }
    f.contents_version = version;
  }
  cache.keep_attr(attr, token);
  // What the kernel holds is the version before plus our own writes, if nobody else wrote.
  if (!f.shared && files.kernel_has(f.id, version - 1)) files.set_kernel_version(f.id, version);
  else files.set_kernel_version(f.id, 0);
  return 0;
}

void Mount::take_opened(OpenFile& f, Opened opened) {
  if (opened.body.empty()) return;
  Capability c = decode_capability(opened.body);
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  int64_t life_ms = static_cast<int64_t>(c.expires_ms) - (now.tv_sec * 1000 + now.tv_nsec / 1000000);
  std::lock_guard lock(f.mutex);
  f.grow_to = opened.grow_to;
  if ((f.rights & ~c.rights) != 0 && f.capability_until_ms > monotonic_ms()) return;  // what we have allows more
  f.rights = c.rights;
  f.layout = std::move(opened);
  f.capability_until_ms = monotonic_ms() + life_ms - 5 * 60 * 1000;
}

void Mount::right_failed(uint64_t id, const Opened& layout) {
  if (layout.body.empty()) return;
  RpcClient::Answer answer;
  call_as_node(metadata::right_failed, Writer().put(id).put(decode_capability(layout.body).epoch), answer);
}

int Mount::refresh_capability(OpenFile& f, uint8_t rights) {
  bool writes;
  {
    std::lock_guard lock(f.mutex);
    if ((f.rights & rights) == rights && f.layout.width > 0 && f.capability_until_ms > monotonic_ms()) return 0;
    writes = f.writers > 0 || (rights & ~right_read);
  }
  RpcClient::Answer answer;
  if (int r = call_as_node(metadata::capability, Writer().put(f.id).put<uint32_t>(writes ? O_RDWR : O_RDONLY), answer); r != 0) return r;
  Reader r(answer.begin(), answer.size());
  get_attr(r);
  {
    std::lock_guard lock(f.mutex);
    f.rights = 0;
  }
  take_opened(f, get_opened(r));
  return 0;
}

Opened Mount::layout_of(OpenFile& f) {
  std::lock_guard lock(f.mutex);
  return f.layout;
}

Handle* Mount::make_handle(const Attr& attr, Opened opened, bool writes) {
  OpenFilePtr f = files.get_or_make(attr.id);
  {
    std::lock_guard lock(f->mutex);
    if (!f->dirty) {
      f->size = attr.size;
      f->mtime_ns = attr.mtime_ns;
      f->disk_bytes = attr.disk_bytes;
    }
    f->mode = attr.mode;
    if (attr.writers == writers_others) f->shared = true;
    if (f->readers + f->writers == 0) {
      // Only what the leases say is still so: others, or a quicker thread of ours, may have written since the MRC answered.
      auto now = cache.attr(attr.id);
      if (now && now->data_version == attr.data_version) f->contents = attr.size == 0 ? std::string() : small_files.find(attr.id, attr.data_version);
      f->contents_version = attr.data_version;
    } else if (!f->dirty && f->contents_version != attr.data_version) {
      f->contents.reset();
    }
    ++(writes ? f->writers : f->readers);
    ++f->cached_handles;
  }
  take_opened(*f, std::move(opened));
  auto h = new Handle{f, writes};
  WriteBehind::failed(*f, h->failures_seen);
  return h;
}

void Mount::run_callbacks() {
  std::vector<std::byte> payload;
  bool complained = false;
  for (;;) {
    try {
      // First an ordinary call: it brings our open files and locks back when the MRC is a new one, also while nobody works here.
      RpcClient::Answer answer;
      if (call_as_node(statfs, Writer().put(root_id), answer) != 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(mrc.known() ? 300 : 50));
        continue;
      }
      auto c = mrc.open_callbacks();
      if (!c) continue;
      complained = false;
      int64_t acknowledged = 0;
      for (;;) {
        wire::FrameHeader h = c->receive(payload, mrc.silence_ms());
        // The frame proves that the MRC had our last acknowledgement when it sent this: from there the lease counts.
        if (acknowledged != 0) cache.set_valid_until(acknowledged + 2500);
        Reader r(payload.data(), payload.size());
        if (h.type == callback_invalidate) {
          uint32_t n = r.get<uint32_t>();
          bool names = n == 0;
          if (n == 0) {
            cache.clear();
            files.mark_all_shared();
            expire_kernel_attributes();
          }
          for (uint32_t i = 0; i < n; ++i) {
            uint64_t id = r.get<uint64_t>();
            const uint8_t what = r.get<uint8_t>();
            if (what == 2) {
              cache.invalidate_entries(id);
              names = true;
            } else if (what == 4) {
              files.forget_growth(id);
            } else if (what == 16) {
              if (auto f = files.find(id)) {
                std::lock_guard lock(f->mutex);
                f->capability_until_ms = 0;
              }
            } else if (what == 8) {
              cache.invalidate_attr(id);  // and not the kernel's: it would throw the answer to a getattr away that brings a new size
            } else {
              cache.invalidate_attr(id);
              files.mark_shared(id);
              // Who made us share it reads or asks for the size as soon as we acknowledge. A dead OSD must not cost us all our leases.
              if (auto f = files.find(id)) behind.wait(f, 1500);
              // With the pages: a getattr that is under way is thrown away by the kernel now, and must not leave an old page valid.
              fuse_lowlevel_notify_inval_inode(session, id, 0, 0);
            }
          }
          if (names && kernel_names) expire_kernel_names();
        } else if (h.type == callback_lock_retry) {
          waiters->retry(r.get<uint64_t>());
        }
        acknowledged = monotonic_ms();
        c->send({0, h.type, 0, h.id}, {}, 5000);
      }
    } catch (const std::exception& e) {
      cache.set_valid_until(0);
      mrc.look_elsewhere();
      if (!complained) log(Priority::warning, "callbacks from the MRC interrupted: %s", e.what());
      complained = true;
    }
    cache.clear();
    files.mark_all_shared();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

void Mount::run_closer() {
  int64_t trimmed = 0;
  uint64_t last_operations = 0;
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    send_closes();
    send_reads();
    int64_t now = monotonic_ms();
    if (now - trimmed > 30000) {
      trimmed = now;
      if (operations == last_operations) {
        mrc.trim(1);
        objects.trim(1);
        cache.clear();
      }
      last_operations = operations;
    }
  }
}

void Mount::invalidate_kernel(uint64_t id, int64_t offset, int64_t bytes) {
  std::lock_guard lock(invalidations_mutex_);
  invalidations_.push_back({id, offset, bytes});
  invalidations_ready_.notify_one();
}

void Mount::run_invalidator() {
  for (;;) {
    Invalidation i;
    {
      std::unique_lock lock(invalidations_mutex_);
      invalidations_ready_.wait(lock, [&] { return !invalidations_.empty(); });
      i = invalidations_.front();
      invalidations_.pop_front();
    }
    fuse_lowlevel_notify_inval_inode(session, i.id, i.offset, i.bytes);
  }
}

}  // namespace xos::fs
