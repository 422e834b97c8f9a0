#include "cells.h"

#include "channel.h"
#include "json.h"
#include "log.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace xos::relay {
namespace {

constexpr size_t fresh_wanted = 3, idle_per_user_max = 8;
constexpr int64_t idle_ms_max = 60000, leftover_ms_max = 6000;

struct Birth { const char* program; int channel; };

int be_born(void* argument) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // should it ever be too busy to see the end of its socket
  const Birth& birth = *static_cast<Birth*>(argument);
  char* const arguments[] = {const_cast<char*>("xos-cell"), const_cast<char*>("--channel=3"), nullptr};
  char* const environment[] = {const_cast<char*>("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), nullptr};
  if (birth.channel == xos::cell::channel_fd) fcntl(birth.channel, F_SETFD, 0);
  else dup2(birth.channel, xos::cell::channel_fd);
  // Standard input is nothing, output and errors go to the relay's log.
  const int null = open("/dev/null", O_RDWR);
  if (null >= 0 && null != 3) {
    dup2(null, 0);
    dup2(2, 1);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(birth.program, arguments, environment);
  _exit(127);
}

}  // namespace

Cell::~Cell() {
  for (const int fd : fds_in_) close(fd);
  if (process_) syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0);  // pid 1: with it goes all of the cell
}

void Cell::send(uint16_t type, uint64_t id, std::initializer_list<std::span<const uint8_t>> payload, std::vector<unique_fd> fds) {
  Message message;
  Header header{0, type, 0, id};
  for (const auto& part : payload) header.length += static_cast<uint32_t>(part.size());
  message.bytes.reserve(sizeof header + header.length);
  const auto* head = reinterpret_cast<const uint8_t*>(&header);
  message.bytes.insert(message.bytes.end(), head, head + sizeof header);
  for (const auto& part : payload) message.bytes.insert(message.bytes.end(), part.begin(), part.end());
  message.fds = std::move(fds);
  out_.push_back(std::move(message));
  flush();
}

void Cell::flush() {
  while (!out_.empty()) {
    Message& message = out_.front();
    cell::Ancillary ancillary;
    iovec piece{message.bytes.data() + message.done, message.bytes.size() - message.done};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    std::vector<int> fds;
    for (const unique_fd& fd : message.fds) fds.push_back(fd.get());
    ancillary.put(header, fds);
    const ssize_t sent = sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      loop_->change(*this, socket_.get(), EPOLLIN | EPOLLOUT);
      return;
    }
    if (sent < 0) return;  // reading will find the end
    message.fds.clear();
    message.done += sent;
    if (message.done == message.bytes.size()) out_.pop_front();
  }
}

bool Cell::receive() {
  uint8_t bytes[16384];
  for (;;) {
    cell::Ancillary ancillary;
    iovec piece{bytes, sizeof bytes};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = ancillary.space;
    header.msg_controllen = sizeof ancillary.space;
    const ssize_t got = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) return false;
    cell::Ancillary::collect(header, fds_in_);
    in_.insert(in_.end(), bytes, bytes + got);
    if (in_.size() > frame_bytes_max + sizeof(Header)) return false;
    if (got < static_cast<ssize_t>(sizeof bytes)) return true;
  }
}

void Cell::parse() {
  size_t at = 0;
  while (!gone_ && in_.size() - at >= sizeof(Header)) {
    Header header;
    memcpy(&header, in_.data() + at, sizeof header);
    if (header.length > frame_bytes_max || in_.size() - at - sizeof header < header.length) break;
    const std::span<const uint8_t> payload(in_.data() + at + sizeof header, header.length);
    at += sizeof header + header.length;
    if (header.type == frame_cell_empty && !user_) {
      if (!payload.empty() && payload[0]) usable_ = true, give_up_ms_ = -1, idle_since_ms_ = Loop::now_ms();
      else cells_->drop(this);
      continue;
    }
    if (!user_) continue;  // ready, or late words about a job that is over
    std::vector<int> fds;
    // Only these carry descriptors, one at a time. A frame before may have come with the same recvmsg, which ends after descriptors, not before.
    if (header.type == frame_result || header.type == frame_cell_pty) fds.swap(fds_in_);
    user_->cell_frame(header, payload, fds);
    for (const int fd : fds)
      if (fd >= 0) close(fd);
  }
  if (!gone_) in_.erase(in_.begin(), in_.begin() + at);
}

void Cell::ready(uint32_t events) {
  if (events & EPOLLOUT) {
    loop_->change(*this, socket_.get(), EPOLLIN);
    flush();
  }
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  const bool there = receive();
  parse();
  if (there || gone_) return;
  CellUser* user = user_;
  log(user ? Priority::error : Priority::warning, "cell with pid %d ended by itself", pid_);
  cells_->drop(this);
  if (user) user->cell_gone();
}

Cell* Cells::make() {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) {
    log(Priority::error, "cannot make a cell: socketpair: %s", strerror(errno));
    return nullptr;
  }
  unique_fd ours(sockets[0]), theirs(sockets[1]);
  const int large = 1 << 20;
  setsockopt(ours.get(), SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof large);
  static char* const stack = static_cast<char*>(mmap(nullptr, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
  Birth birth{program_.c_str(), theirs.get()};
  int process = -1;
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  // The child borrows our memory until it has executed, so a large relay makes cells as fast as a small one.
  const pid_t pid = clone(be_born, stack + (64 << 10), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, &birth, &process);
  const int reason = errno;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    log(Priority::error, "cannot make a cell: clone: %s (xos-relayd must be root with all capabilities)", strerror(reason));
    return nullptr;
  }
  auto cell = std::make_unique<Cell>();
  cell->cells_ = this;
  cell->pid_ = pid;
  cell->process_.reset(process);
  cell->socket_ = std::move(ours);
  loop_.watch(*cell, cell->socket_.get(), EPOLLIN);
  cells_.push_back(std::move(cell));
  return cells_.back().get();
}

void Cells::narrow(const std::string& vo, const Narrowness& narrowness) {
  narrowness_[vo] = narrowness;
  std::vector<Cell*> other;
  for (const auto& cell : cells_)
    if (!cell->user_ && !cell->fresh_ && cell->vo_ == vo && cell->narrowness_ != narrowness) other.push_back(cell.get());
  for (Cell* cell : other) drop(cell);
}

Cell* Cells::acquire(uid_t uid, const std::string& vo, const std::string& home, CellUser* user, bool unused) {
  const auto known = narrowness_.find(vo);
  const Narrowness narrowness = known == narrowness_.end() ? Narrowness{} : known->second;
  Cell* found = nullptr;
  for (const auto& cell : cells_) {
    if (cell->user_ || !cell->usable_ || cell->gone_) continue;
    if (!cell->fresh_ && (unused || cell->uid_ != uid || cell->vo_ != vo || cell->narrowness_ != narrowness)) continue;
    found = cell.get();
    if (!cell->fresh_) break;  // the user's own warm one is best
  }
  if (!found) found = make();
  if (!found) return nullptr;
  if (found->fresh_ && narrowness.any()) {
    const std::string wanted = nlohmann::json{{"vo", vo}, {"uid", uid}, {"home", home}, {"isolated", narrowness.isolated}, {"untrusted", narrowness.untrusted},
                                              {"own_network", narrowness.own_network}, {"few_devices", narrowness.few_devices}}.dump();
    found->send(frame_confine, 0, {{reinterpret_cast<const uint8_t*>(wanted.data()), wanted.size()}});
  }
  if (found->fresh_) found->narrowness_ = narrowness;
  found->fresh_ = false;
  found->uid_ = uid;
  found->vo_ = vo;
  found->user_ = user;
  return found;
}

void Cells::release(Cell* cell, bool reusable) {
  cell->user_ = nullptr;
  cell->usable_ = reusable;
  cell->idle_since_ms_ = Loop::now_ms();
  cell->give_up_ms_ = reusable ? -1 : Loop::now_ms() + leftover_ms_max;
}

void Cells::drop(Cell* cell) {
  if (cell->gone_) return;
  cell->gone_ = true;
  cell->user_ = nullptr;
  loop_.unwatch(cell->socket_.get());
  bury(cell);
}

void Cells::bury(Cell* cell) {
  for (auto it = cells_.begin(); it != cells_.end(); ++it) {
    if (it->get() != cell) continue;
    graves_.push_back(std::move(*it));
    cells_.erase(it);
    break;
  }
  // It may be one of its own methods that brought us here.
  loop_.later([this] { graves_.clear(); });
}

void Cells::tick() {
  const int64_t now = Loop::now_ms();
  std::vector<Cell*> old;
  size_t fresh = 0;
  std::map<uid_t, size_t> idle;
  for (const auto& cell : cells_) {
    if (cell->user_) continue;
    if (cell->fresh_) fresh++;
    else if (!cell->usable_ ? now > cell->give_up_ms_ : now - cell->idle_since_ms_ > idle_ms_max || ++idle[cell->uid_] > idle_per_user_max) old.push_back(cell.get());
  }
  for (Cell* cell : old) drop(cell);
  if (fresh < fresh_wanted) make();  // one a tick: it takes a millisecond that jobs would wait
  while (waitpid(-1, nullptr, WNOHANG) > 0) {}
}

}  // namespace xos::relay
