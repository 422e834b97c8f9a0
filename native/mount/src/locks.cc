// fcntl and flock: decided by the MRC for all nodes.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>

#include "lock_query.h"
#include "lock_waiters.h"

namespace xos::fs {

using namespace metadata;

static int ask(Mount& m, uint64_t id, const Lock& l, uint8_t wait) {
  Writer w;
  w.put(id);
  put(w, l);
  w.put(wait);
  RpcClient::Answer answer;
  return m.call_as_node(lock_set, w, answer);
}

int set_lock(Mount& m, uint64_t id, const Lock& l, bool wait) {
  int r = ask(m, id, l, wait);
  if (r == 0) m.files.note_lock(id, l);
  return r;
}

void LockWaiters::interrupted(fuse_req_t req, void* self) {
  auto& w = *static_cast<LockWaiters*>(self);
  std::lock_guard lock(w.mutex_);
  for (auto it = w.waiting_.begin(); it != w.waiting_.end(); ++it) {
    if (it->req != req) continue;
    w.due_ = it->due = true;  // answered by run(): replying here would free the request under libfuse's feet
    w.wake_.notify_one();
    return;
  }
}

void LockWaiters::add(fuse_req_t req, uint64_t id, const Lock& l) {
  // First: once it is in the list, run() may answer it at any moment, and it is gone. An interruption before that is found by its first look.
  fuse_req_interrupt_func(req, interrupted, this);
  std::lock_guard lock(mutex_);
  waiting_.push_back({req, id, l, true});
  due_ = true;
  wake_.notify_one();
}

void LockWaiters::retry(uint64_t id) {
  std::lock_guard lock(mutex_);
  for (auto& w : waiting_)
    if (w.id == id) w.due = due_ = true;
  wake_.notify_one();
}

void LockWaiters::run() {
  for (;;) {
    std::list<Waiter> now;
    {
      std::unique_lock lock(mutex_);
      if (!wake_.wait_for(lock, std::chrono::seconds(1), [&] { return due_; }))
        for (auto& w : waiting_) w.due = true;
      due_ = false;
      for (auto it = waiting_.begin(); it != waiting_.end();) {
        auto next = std::next(it);
        if (it->due) now.splice(now.end(), waiting_, it);
        it = next;
      }
    }
    for (auto it = now.begin(); it != now.end();) {
      auto next = std::next(it);
      int r = fuse_req_interrupted(it->req) ? EINTR : set_lock(mount_, it->id, it->lock, true);
      // Else it would go on to count in the search for deadlocks.
      if (r == EINTR) ask(mount_, it->id, it->lock, 2);
      if (r == EAGAIN) {
        std::lock_guard lock(mutex_);
        // Between the question and here the MRC may have called already: the second look is what `due` is for, once a second at worst.
        it->due = false;
        waiting_.splice(waiting_.end(), now, it);
      } else {
        fuse_req_interrupt_func(it->req, nullptr, nullptr);
        fuse_reply_err(it->req, r);
      }
      it = next;
    }
  }
}

namespace {

Lock lock_of(const struct flock& f, uint64_t owner) {
  Lock l;
  l.type = f.l_type == F_RDLCK ? 0 : f.l_type == F_WRLCK ? 1 : 2;
  l.start = static_cast<uint64_t>(f.l_start);
  l.end = f.l_len == 0 ? ~0ull : l.start + static_cast<uint64_t>(f.l_len) - 1;
  l.owner = owner;
  l.pid = static_cast<uint32_t>(f.l_pid);
  return l;
}

void request_lock(fuse_req_t req, uint64_t id, const Lock& l, bool wait) {
  Mount& m = mount_of(req);
  int r = set_lock(m, id, l, false);
  if (r == EAGAIN && wait) m.waiters->add(req, id, l);
  else fuse_reply_err(req, r == EAGAIN && l.kind == 1 ? EWOULDBLOCK : r);
}

void getlk(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi, struct flock* f) {
  Mount& m = mount_of(req);
  Writer w;
  w.put<uint64_t>(ino);
  put(w, lock_of(*f, fi->lock_owner));
  RpcClient::Answer answer;
  if (int r = m.call_as_node(lock_get, w, answer); r != 0) {
    fuse_reply_err(req, r);
    return;
  }
  Reader r(answer.begin(), answer.size());
  Lock l = get_lock(r);
  f->l_type = l.type == 0 ? F_RDLCK : l.type == 1 ? F_WRLCK : F_UNLCK;
  f->l_whence = SEEK_SET;
  f->l_start = static_cast<off_t>(l.start);
  f->l_len = l.end == ~0ull ? 0 : static_cast<off_t>(l.end - l.start + 1);
  // Of another node it would be read as one of this node.
  f->l_pid = m.files.holds_locks(ino, l.owner, 0) ? static_cast<pid_t>(l.pid) : 0;
  fuse_reply_lock(req, f);
}

void setlk(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi, struct flock* f, int sleep) {
  request_lock(req, ino, lock_of(*f, fi->lock_owner), sleep);
}

void flock_op(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi, int op) {
  Lock l;
  l.kind = 1;
  l.type = (op & ~LOCK_NB) == LOCK_SH ? 0 : (op & ~LOCK_NB) == LOCK_EX ? 1 : 2;
  l.owner = fi->lock_owner;
  reinterpret_cast<Handle*>(fi->fh)->flock_owner = fi->lock_owner;
  request_lock(req, ino, l, !(op & LOCK_NB));
}

void ioctl_op(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void*, fuse_file_info* fi, unsigned flags, const void*, size_t, size_t out_bytes) {
  int held;
  if (cmd != query_flock || flags & FUSE_IOCTL_DIR || out_bytes < sizeof held) return void(fuse_reply_err(req, ENOTTY));
  held = mount_of(req).files.flock_of(ino, reinterpret_cast<Handle*>(fi->fh)->flock_owner);
  fuse_reply_ioctl(req, 0, &held, sizeof held);
}

}  // namespace

void register_lock_operations(fuse_lowlevel_ops& ops) {
  ops.getlk = getlk;
  ops.setlk = setlk;
  ops.flock = flock_op;
  ops.ioctl = ioctl_op;
}

}  // namespace xos::fs
