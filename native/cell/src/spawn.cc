#include "spawn.h"

#include "leader.h"
#include "terminal_settings.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

namespace xos::cell {
namespace {

using relay::Spec;
using relay::StreamKind;

std::vector<char*> pointers(const relay::Strings& strings, size_t spare) {
  std::vector<char*> list;
  list.reserve(strings.count + spare + 1);
  const char* at = strings.block;
  for (uint32_t i = 0; i < strings.count; i++) {
    list.push_back(const_cast<char*>(at));
    at += strlen(at) + 1;
  }
  return list;
}

void furnish(int master, const relay::SpecHead& head) {
  relay::set_settings(master, head.termios);
  const winsize size{head.window.rows, head.window.columns, head.window.x, head.window.y};
  ioctl(master, TIOCSWINSZ, &size);
}

bool open_terminal(const Order& order, Started& started, unique_fd& slave) {
  started.master.reset(open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  const int unlock = 0;
  unsigned index = 0;
  if (!started.master || ioctl(started.master.get(), TIOCSPTLCK, &unlock) < 0 || ioctl(started.master.get(), TIOCGPTN, &index) < 0) return false;
  slave.reset(ioctl(started.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave || fchown(slave.get(), order.identity.uid, 5) < 0) return false;
  furnish(started.master.get(), order.spec.head);
  started.pty_index = static_cast<int>(index);
  return true;
}

void note(Started& started, Given::Kind kind, uint64_t inode, int target) {
  for (Given& given : started.streams)
    if (given.kind == kind && given.inode == inode) return given.targets.push_back(target);
  started.streams.push_back({kind, inode, {target}});
}

/// Descriptors 0-2 of the job, in `plan`; `spare` keeps the ones opened here.
bool plan_streams(const Order& order, const std::vector<int>& fds, int slave, Plan& plan, Started& started, unique_fd& null) {
  size_t next = 0;
  for (int fd = 0; fd < 3; fd++) {
    const auto kind = static_cast<StreamKind>(order.spec.head.streams[fd]);
    plan.fds[fd] = -1;
    if (kind == relay::kind_closed) continue;
    if (kind == relay::kind_tty) {
      if (slave < 0) return false;
      plan.fds[fd] = slave;
      note(started, Given::Kind::pty, started.pty_index, fd);
    } else if (kind == relay::kind_null) {
      if (!null) null.reset(open("/dev/null", O_RDWR | O_CLOEXEC));
      plan.fds[fd] = null.get();
    } else if (kind == relay::kind_as_out) {
      plan.fds[fd] = plan.fds[1];
      if (!started.streams.empty()) started.streams.back().targets.push_back(fd);
    } else {
      if (next == fds.size()) return false;
      plan.fds[fd] = fds[next++];
      struct stat info{};
      fstat(plan.fds[fd], &info);
      note(started, fd == 0 ? Given::Kind::pipe_in : Given::Kind::pipe_out, info.st_ino, fd);
    }
  }
  if (slave >= 0 && std::none_of(started.streams.begin(), started.streams.end(), [](const Given& given) { return given.kind == Given::Kind::pty; }))
    started.streams.push_back({Given::Kind::pty, static_cast<uint64_t>(started.pty_index), {}});
  return next == fds.size();
}

std::string explain(const Order& order, const Outcome& outcome, Started& started) {
  const std::string path(order.spec.path);
  const std::string what = "cannot run '" + path + "' on node '" + order.node + "': ";
  if (outcome.step == Step::directory) {
    started.elsewhere = true;
    return what + "its working directory '" + std::string(order.spec.cwd) + "' cannot be entered there: " + strerror(outcome.reason);
  }
  if (outcome.step == Step::exec) {
    started.status = outcome.reason == ENOENT ? 127 : 126;
    started.elsewhere = outcome.reason == ENOENT;
    return what + strerror(outcome.reason);
  }
  if (outcome.step == Step::process && outcome.reason == EAGAIN) return what + "its VO or the node has reached its limit of processes (pids.max)";
  return what + "its process could not be prepared: " + strerror(outcome.reason);
}

}  // namespace

bool read_order(relay::Reader& in, Order& order) {
  in.raw(&order.identity, sizeof order.identity);
  if (!in.ok() || order.identity.group_count > 1024) return false;
  order.groups.resize(order.identity.group_count);
  in.raw(order.groups.data(), order.groups.size() * sizeof(gid_t));
  order.job = in.text(128);
  order.node = in.text(64);
  return in.ok() && relay::read_spec(in, order.spec) && order.identity.uid != 0;
}

Started start(const Order& order, std::vector<int>& fds) {
  Started started;
  struct Closer {
    std::vector<int>& fds;
    ~Closer() {
      for (const int fd : fds) close(fd);
      fds.clear();
    }
  } closer{fds};
  unique_fd slave, null;
  if (order.spec.head.has_terminal && !open_terminal(order, started, slave)) {
    started.error = "cannot open a terminal for job '" + order.job + "' on node '" + order.node + "': " + strerror(errno);
    return started;
  }
  Plan plan{order};
  if (!plan_streams(order, fds, slave.get(), plan, started, null)) {
    started.error = "cannot start job '" + order.job + "' on node '" + order.node + "': its streams do not fit its description";
    return started;
  }
  plan.terminal = slave.get();
  plan.path = std::string(order.spec.path);
  plan.cwd = std::string(order.spec.cwd);
  plan.arguments = pointers(order.spec.arguments, 0);
  plan.arguments.push_back(nullptr);
  plan.environment = pointers(order.spec.environment, 2);
  std::erase_if(plan.environment, [](const char* entry) { return strncmp(entry, "XOS_JOB=", 8) == 0 || strncmp(entry, "XOS_NODE_NAME=", 14) == 0; });
  std::string job = "XOS_JOB=" + order.job, node = "XOS_NODE_NAME=" + order.node;
  plan.environment.push_back(job.data());
  plan.environment.push_back(node.data());
  plan.environment.push_back(nullptr);
  const Outcome outcome = slave ? launch_with_leader(plan) : launch(plan);
  if (outcome.step != Step::done) {
    started.error = explain(order, outcome, started);
    return started;
  }
  started.root = outcome.root;
  started.program = outcome.program;
  return started;
}

}  // namespace xos::cell
