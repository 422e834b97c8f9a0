// Checkpoint, check and restore of the cell's job: the engine works in this process, its progress and result go to the relay.
#include "cell.h"
#include "world.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef XOS_CHECKPOINT
#include "engine.h"
#endif

namespace xos::cell {

using nlohmann::json;

namespace {

[[maybe_unused]] json refusal(const std::string& code, const std::string& message) {
  return {{"ok", false}, {"error", {{"code", code}, {"message", message}}}};
}

}  // namespace

void Cell::die_with_relay() {
  pollfd relay{socket_, POLLIN | POLLRDHUP, 0};
  if (poll(&relay, 1, 0) == 1 && (relay.revents & (POLLHUP | POLLERR | POLLRDHUP))) _exit(0);
}

#ifdef XOS_CHECKPOINT

namespace {

using namespace xos::checkpoint;

std::vector<GivenStream> given(const std::vector<Given>& streams) {
  std::vector<GivenStream> list;
  for (const Given& stream : streams) {
    const StreamKind kind = stream.kind == Given::Kind::pty ? StreamKind::pty : stream.kind == Given::Kind::pipe_in ? StreamKind::pipe_in : StreamKind::pipe_out;
    list.push_back({kind, stream.inode, stream.targets});
  }
  return list;
}

/// CRIU looks once at what the kernel can do and keeps that in /run/criu.kdat; that look needs root's real ids (it makes a user namespace).
void let_criu_know_the_kernel() {
  if (access("/run/criu.kdat", R_OK) == 0) return;
  const pid_t pid = fork();
  if (pid == 0) {
    const int null = open("/dev/null", O_RDWR);
    for (const int fd : {0, 1, 2}) dup2(null, fd);
    execl("/usr/sbin/criu", "criu", "check", nullptr);
    _exit(127);
  }
  while (pid > 0 && waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
}

/// Lends the job's user and group to our real ids while CRIU works. prlimit(2) on a process of another user wants CAP_SYS_RESOURCE, which
/// containers often lack, or the same *real* ids; what we may do otherwise hangs on the effective ones, which stay root's.
class RealIds {
 public:
  explicit RealIds(const relay::Identity& identity) {
    if (setresgid(identity.gid, 0, 0) < 0 || setresuid(identity.uid, 0, 0) < 0) { /* the engine will say what it could not do */ }
  }
  ~RealIds() {
    if (setresuid(0, 0, 0) < 0 || setresgid(0, 0, 0) < 0) _exit(1);
  }
};

json refusal(const Failure& failure) {
  json value = refusal(failure.code, failure.message);
  if (!failure.log_tail.empty()) value["log_tail"] = failure.log_tail;
  return value;
}

}  // namespace

void Cell::control(const json& request) {
  const std::string op = request.is_object() ? request.value("op", "") : "";
  try {
    if (op == "checkpoint") checkpoint(request);
    else if (op == "check") check();
    else if (op == "restore") restore(request);
    else if (op == "fit") fit(request);
    else say(relay::frame_result, refusal("XOS_UNKNOWN_OPERATION", "a cell cannot do '" + op + "'"));
  } catch (const std::exception& error) {
    say(relay::frame_result, refusal("XOS_INTERNAL", "cannot do '" + op + "' in a cell: " + error.what()));
  }
}

void Cell::check() {
  if (!running_) return say(relay::frame_result, refusal("XOS_JOB_ENDED", "cannot check job '" + job_name_ + "': it has ended"));
  json list = json::array();
  for (const Obstacle& obstacle : xos::checkpoint::check(job_.root, given(job_.streams), began_ms_))
    list.push_back({{"code", obstacle.code}, {"pid", obstacle.pid}, {"program", obstacle.program}, {"what", obstacle.what}, {"advice", obstacle.advice}, {"certain", obstacle.certain}});
  const NodeFacts here = nodeFacts();
  say(relay::frame_result, {{"ok", true}, {"obstacles", list}, {"cpu_features", here.cpu_features}, {"kernel", here.kernel}});
}

/// Whether a job that runs on a node of another make could go on in this cell.
void Cell::fit(const json& request) {
  if (!unfit_.empty()) return say(relay::frame_result, refusal("XOS_NO_CELL", "a cell cannot be as the VO's policy wants it: " + unfit_));
  if (running_ || used_up_) return say(relay::frame_result, refusal("XOS_CELL_IN_USE", "the cell is in use"));
  const auto why = fitness(request.value("cpu_features", std::vector<std::string>()), request.value("kernel", ""));
  say(relay::frame_result, why ? refusal(*why) : json{{"ok", true}});
}

void Cell::checkpoint(const json& request) {
  if (!running_) return say(relay::frame_result, refusal("XOS_JOB_ENDED", "cannot checkpoint job '" + job_name_ + "': it has ended"));
  DumpRequest dump_request;
  dump_request.directory = request.at("directory");
  dump_request.root_pid = job_.root;
  dump_request.leave_running = request.value("leave_running", false);
  dump_request.timeout_ms = request.value("timeout_ms", dump_request.timeout_ms);
  dump_request.facts = {job_name_, path_, request.value("vo", ""), request.value("user", ""), node_, request.value("session", ""), arguments_, cwd_, identity_.uid, identity_.gid};
  dump_request.streams = given(job_.streams);
  dump_request.began_ms = began_ms_;
  let_criu_know_the_kernel();
  const RealIds ids(identity_);
  const auto outcome = dump(
      dump_request,
      [&](const Progress& progress) {
        say(relay::frame_progress, {{"phase", phaseName(progress.phase)}, {"bytes", progress.bytes}, {"bytes_total", progress.bytes_total}});
      },
      [&] { die_with_relay(); });
  if (const auto* failure = std::get_if<Failure>(&outcome)) return say(relay::frame_result, refusal(*failure));
  const auto& done = std::get<DumpResult>(outcome);
  if (!dump_request.leave_running) {
    running_ = false;  // its death is no end of the job
    used_up_ = true;
    job_.master.reset();
    frozen_ = true;
  }
  say(relay::frame_result, {{"ok", true}, {"bytes", done.bytes}, {"processes", done.processes}, {"frozen_ms", done.frozen_ms}, {"total_ms", done.total_ms},
                            {"copy_on_write", done.copy_on_write}, {"why_plain", done.why_plain}});
}

void Cell::restore(const json& request) {
  if (!unfit_.empty()) return say(relay::frame_result, refusal("XOS_NO_CELL", "cannot restore as the VO's policy wants it: " + unfit_));
  if (running_ || used_up_) return say(relay::frame_result, refusal("XOS_CELL_IN_USE", "cannot restore: the cell is in use"));
  used_up_ = true;  // also when it fails: the pids of a restore are the checkpoint's own
  RestoreRequest restore_request;
  restore_request.directory = request.at("directory");
  restore_request.job = request.value("manifest_job", "");
  restore_request.uid = request.value("uid", 0u);
  restore_request.timeout_ms = request.value("timeout_ms", restore_request.timeout_ms);
  // What CRIU makes is born where CRIU is, and CRIU where we are. This cell runs nothing after it.
  if (const unique_fd group = std::move(group_); group) {
    const unique_fd members(openat(group.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
    if (!members || write(members.get(), "0", 1) != 1) return say(relay::frame_result, refusal("XOS_NO_CELL", std::string("cannot restore: its control group cannot be entered: ") + strerror(errno)));
  }
  set_last_pid(1);  // CRIU's own processes must not take the pids that it restores
  let_criu_know_the_kernel();
  began_ms_ = job_clock_ms();  // before its temporary files come back
  auto outcome = [&] {
    const RealIds ids({restore_request.uid, restore_request.uid, 0});
    return xos::checkpoint::restore(
      restore_request,
      [&](const Progress& progress) {
        say(relay::frame_progress, {{"phase", phaseName(progress.phase)}, {"bytes", progress.bytes}, {"bytes_total", progress.bytes_total}});
      },
      [&] { die_with_relay(); });
  }();
  if (const auto* failure = std::get_if<Failure>(&outcome)) return say(relay::frame_result, refusal(*failure));
  auto& done = std::get<RestoreResult>(outcome);
  job_ = {};
  job_.root = job_.program = done.root_pid;
  job_name_ = request.value("job", done.facts.job);
  node_ = request.value("node", "");
  path_ = done.facts.program;
  cwd_ = done.facts.cwd;
  arguments_ = done.facts.argv;
  identity_ = {done.facts.uid, done.facts.gid, 0};
  json streams = json::array();
  std::vector<int> fds;
  for (const RestoredStream& stream : done.streams) {
    if (stream.kind == StreamKind::closed) continue;
    const char* kind = stream.kind == StreamKind::pty ? "pty" : stream.kind == StreamKind::pipe_in ? "pipe_in" : "pipe_out";
    streams.push_back({{"kind", kind}, {"target_fds", stream.target_fds}, {"attached", stream.fd >= 0}});
    job_.streams.push_back({stream.kind == StreamKind::pty ? Given::Kind::pty : stream.kind == StreamKind::pipe_in ? Given::Kind::pipe_in : Given::Kind::pipe_out, stream.inode, stream.target_fds});
    if (stream.fd < 0) continue;
    fds.push_back(stream.fd);
    if (stream.kind == StreamKind::pty) job_.master.reset(dup(stream.fd)), job_.pty_index = static_cast<int>(stream.inode);
  }
  if (job_.master) {  // the root is the leader of the session, the program its first child
    std::ifstream children("/proc/" + std::to_string(job_.root) + "/task/" + std::to_string(job_.root) + "/children");
    pid_t first;
    if (children >> first) job_.program = first;
  }
  running_ = true;
  say(relay::frame_result,
      {{"ok", true}, {"bytes", done.bytes}, {"processes", done.processes}, {"total_ms", done.total_ms}, {"streams", streams}, {"argv", done.facts.argv}, {"program", done.facts.program}}, fds);
  for (const int fd : fds) close(fd);
  // Of a move: nobody else knows when it is over and has the user's rights.
  if (request.value("remove", false)) removeCheckpoint(restore_request.directory, done.facts.uid, done.facts.gid);
}

#else

void Cell::control(const json&) {
  say(relay::frame_result, refusal("XOS_NOT_BUILT", "this node's xos-cell was built without the checkpoint engine"));
}

#endif

}  // namespace xos::cell
