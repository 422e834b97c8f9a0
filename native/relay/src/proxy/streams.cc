#include "streams.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

namespace xos::relay {
namespace {

constexpr size_t careful_chunk = 4096;  // the far pipe holds one page then, so "empty again" tells that the job has read it

StreamKind kind_of(int fd, struct stat& info) {
  if (fstat(fd, &info) < 0) return kind_closed;
  if (S_ISREG(info.st_mode)) return kind_file;
  if (S_ISFIFO(info.st_mode)) return kind_pipe;
  if (S_ISCHR(info.st_mode)) {
    if (info.st_rdev == makedev(1, 3)) return kind_null;
    int leader = 0;
    if (ioctl(fd, TIOCGSID, &leader) == 0) return kind_tty;  // succeeds for the controlling terminal only
  }
  return kind_stream;
}

}  // namespace

void append_frame(Buffer& out, uint16_t type, uint16_t flags, const void* payload, size_t bytes) {
  const Header header{static_cast<uint32_t>(bytes), type, flags, 0};
  out.append(&header, sizeof header);
  out.append(payload, bytes);
}

void Streams::inspect() {
  struct stat info[3];
  for (int fd = 0; fd < 3; fd++) kinds[fd] = kind_of(fd, info[fd]);
  const bool alike = info[1].st_dev == info[2].st_dev && info[1].st_ino == info[2].st_ino;
  if (kinds[1] == kinds[2] && alike && (kinds[1] == kind_pipe || kinds[1] == kind_file || kinds[1] == kind_stream)) {
    // Two openings of one file have two offsets: only the very same opening is one stream.
    const pid_t self = getpid();
    if (kinds[1] == kind_pipe || syscall(SYS_kcmp, self, self, KCMP_FILE, 1L, 2L) == 0) kinds[2] = kind_as_out;
  }
  for (const int fd : {1, 2, 0})
    if (kinds[fd] == kind_tty && terminal < 0) terminal = fd;
  if (terminal < 0) terminal = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  has_terminal = terminal >= 0;
}

void Input::start(StreamKind kind) {
  kind_ = kind;
  open_ = kind == kind_pipe || kind == kind_file || kind == kind_stream;
  if (kind_ == kind_file) start_ = lseek(0, 0, SEEK_CUR);
  if (kind_ == kind_pipe && pipe2(scratch_, O_CLOEXEC | O_NONBLOCK) < 0) kind_ = kind_stream;
}

bool Input::wants() const {
  if (!open_) return false;
  return careful() ? outstanding_ == 0 : sent_ - taken_ < window_bytes;
}

void Input::end(Buffer& out) {
  open_ = false;
  append_frame(out, frame_close, stream_in, nullptr, 0);
}

void Input::read_some(Buffer& out) {
  const size_t room = careful() ? careful_chunk : std::min<size_t>(data_bytes_max, window_bytes - (sent_ - taken_));
  const size_t at = out.size();
  Header header{0, frame_data, stream_in, 0};
  out.append(&header, sizeof header);
  uint8_t* space = out.reserve(room);
  ssize_t got;
  if (kind_ == kind_file) {
    got = pread(0, space, room, start_ + sent_);
  } else if (careful()) {
    got = tee(0, scratch_[1], room, SPLICE_F_NONBLOCK);
    if (got > 0) got = read(scratch_[0], space, got);
  } else {
    got = read(0, space, room);
  }
  if (got <= 0) {
    const int reason = errno;
    out.shrink(at);
    if (got == 0 || (reason != EAGAIN && reason != EINTR)) end(out);
    return;
  }
  out.grow(got);
  header.length = static_cast<uint32_t>(got);
  memcpy(out.data() + at, &header, sizeof header);
  if (careful()) outstanding_ = static_cast<uint32_t>(got);
  sent_ += got;
}

void Input::credit(uint32_t bytes) {
  if (bytes > sent_ - taken_) bytes = static_cast<uint32_t>(sent_ - taken_);
  if (outstanding_) {
    char sink[careful_chunk];
    const uint32_t drop = std::min<uint32_t>(bytes, outstanding_);
    const ssize_t gone = read(0, sink, std::min<size_t>(drop, sizeof sink));
    if (gone > 0) outstanding_ -= static_cast<uint32_t>(gone);
  }
  taken_ += bytes;
  if (!careful()) outstanding_ = 0;
}

void Input::settle(uint64_t consumed) {
  if (kind_ == kind_file && start_ >= 0) lseek(0, start_ + static_cast<int64_t>(std::min(consumed, sent_)), SEEK_SET);
  if (kind_ == kind_pipe && outstanding_ && consumed > taken_) credit(static_cast<uint32_t>(std::min<uint64_t>(consumed - taken_, outstanding_)));
}

void Output::add(const uint8_t* data, size_t bytes, bool strip_returns) {
  if (broken_) return;
  taken_ += static_cast<uint32_t>(bytes);
  if (!strip_returns && !held_return_) {
    pending_.append(data, bytes);
    return;
  }
  for (size_t i = 0; i < bytes; i++) {  // "\r\n" becomes "\n", also when the two come in two frames
    if (held_return_ && data[i] != '\n') pending_.append("\r", 1);
    held_return_ = false;
    if (strip_returns && data[i] == '\r') held_return_ = true;
    else pending_.append(data + i, 1);
  }
}

void Output::broke(Buffer& out) {
  if (broken_) return;
  broken_ = true;
  pending_.clear();
  done_ = 0;
  append_frame(out, frame_close, stream_, nullptr, 0);
}

void Output::flush(Buffer& out) {
  while (waiting()) {
    iovec piece{pending_.data() + done_, pending_.size() - done_};
    ssize_t sent = -1;
    if (!cannot_nowait_) {
      sent = pwritev2(fd_, &piece, 1, -1, RWF_NOWAIT);
      if (sent < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS || errno == ESPIPE)) cannot_nowait_ = true;
      else if (sent < 0 && errno == EAGAIN) {
        struct stat info;  // a regular file says "would block" when it must wait for its disk: then we wait
        if (fstat(fd_, &info) == 0 && S_ISREG(info.st_mode)) cannot_nowait_ = true;
      }
    }
    if (cannot_nowait_) {
      pollfd ready{fd_, POLLOUT, 0};
      if (poll(&ready, 1, 0) != 1) break;
      piece.iov_len = std::min<size_t>(piece.iov_len, 4096);  // what a writable pipe takes without blocking
      sent = writev(fd_, &piece, 1);
    }
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      return broke(out);
    }
    done_ += sent;
  }
  if (!waiting()) {
    pending_.clear();
    done_ = 0;
    if (taken_ >= window_bytes / 4) {
      append_frame(out, frame_credit, stream_, &taken_, sizeof taken_);
      taken_ = 0;
    }
  }
}

}  // namespace xos::relay
