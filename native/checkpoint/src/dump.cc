// Taking a checkpoint: check, make the directory, let CRIU write, sum, sign, and only then let the tree go.
#include "engine.h"
#include "fd.h"
#include "images.h"
#include "manifest.h"
#include "paths.h"
#include "place.h"
#include "session.h"
#include "signature.h"
#include "tree.h"
#include <algorithm>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <system_error>
#include <unistd.h>

namespace xos::checkpoint {
namespace {

constexpr uint32_t ghost_bytes_max = 1u << 30;  // deleted files that are still open, each
constexpr int memory_images_spare = 64;         // beside two per process: shared memory has images of its own

class Dump {
 public:
  Dump(const DumpRequest& request, const ProgressFn& progress, const std::function<void()>& poll)
      : request_(request), progress_(progress), poll_(poll), what_("take a checkpoint of job '" + request.facts.job + "'") {}

  std::variant<DumpResult, Failure> run() {
    report(Progress::Phase::preparing);
    if (auto failure = prepare()) return *failure;
    auto result = converseWithCriu();
    if (auto* failure = std::get_if<Failure>(&result)) {
      memory_.reset();
      removeImages(place_.directory.get(), place_.parent.get(), place_.name);
      if (failure->log_tail.find("No space left on device") != std::string::npos) return noRoom(failure->log_tail);
      return *failure;
    }
    report(Progress::Phase::finished);
    return std::get<DumpResult>(result);
  }

 private:
  Failure refuse(const std::string& code, const std::string& why) { return {code, "cannot " + what_ + ": " + why, ""}; }

  Failure noRoom(const std::string& log) {
    return {"XOS_CHECKPOINT_NO_ROOM",
            "cannot " + what_ + ": no room for about " + std::to_string(memory_bytes_ >> 20) + " MiB in '" + request_.directory +
                "'; the job goes on; remove something ('xcheckpoint rm') and try again",
            log};
  }

  std::optional<Failure> prepare() {
    auto tree = processTree(request_.root_pid);
    if (tree.empty()) return refuse("XOS_CHECKPOINT_STATE", "its root process " + std::to_string(request_.root_pid) + " is gone");
    for (auto& process : tree) memory_bytes_ += process.resident_bytes;
    for (auto& obstacle : check(request_.root_pid, request_.streams))
      if (obstacle.certain)
        return refuse(obstacle.code, "'" + obstacle.program + "' (process " + std::to_string(obstacle.pid) + ") " + obstacle.what +
                                         "; " + obstacle.advice);
    if (auto failure = makePlace(request_.directory, request_.facts.job, request_.facts.uid, request_.facts.gid, place_)) return failure;
    struct statvfs room;
    if (fstatvfs(place_.directory.get(), &room) == 0 && room.f_blocks > 0 && room.f_bavail * room.f_frsize < 1u << 20) {
      removeImages(place_.directory.get(), place_.parent.get(), place_.name);
      return noRoom("");
    }
    scratch_ = makeScratch();
    if (scratch_) images_ = scratchDirectory();
    try {
      if (!images_) throw std::system_error(errno, std::generic_category(), "tmpfs");
      int count = static_cast<int>(tree.size()) * 2 + memory_images_spare;
      memory_ = std::make_unique<MemoryImages>(images_.get(), place_.directory.get(), count);
    } catch (const std::system_error& error) {
      removeImages(place_.directory.get(), place_.parent.get(), place_.name);
      return refuse("XOS_CHECKPOINT_ENGINE", std::string("no scratch file system: ") + error.what());
    }
    return std::nullopt;
  }

  Fd scratchDirectory() { return Fd(openat(scratch_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

  std::variant<DumpResult, Failure> converseWithCriu() {
    auto started = Swrk::start({});
    if (auto* failure = std::get_if<Failure>(&started)) return *failure;
    auto criu = std::move(std::get<std::unique_ptr<Swrk>>(started));
    rpc::Options options{.images_dir_fd = images_.get(), .work_dir_fd = images_.get(), .pid = request_.root_pid,
                         .leave_running = request_.leave_running, .tcp_established = true, .ghost_bytes_max = ghost_bytes_max,
                         .timeout_s = 10};
    Conversation conversation{.criu = *criu, .what = what_.c_str(), .timeout_ms = request_.timeout_ms,
                              .idle = [this] { idle(); },
                              .notified = [this](const rpc::Response& n, Fd&) { return notified(n); }};
    auto answer = converse(conversation, rpc::encodeRequest(rpc::Type::dump, &options));
    if (auto* failure = std::get_if<Failure>(&answer)) return *failure;
    criu->finish(1000);
    uint32_t frozen_ms = frozen_.elapsedMs();
    auto stats = rpc::decodeDumpStats(readFile("/proc/self/fd/" + std::to_string(images_.get()) + "/stats-dump"));
    if (stats) frozen_ms = (stats->freezing_us + stats->frozen_us + 999) / 1000;
    return DumpResult{.bytes = manifest_.bytes, .processes = static_cast<uint32_t>(manifest_.processes.size()),
                      .frozen_ms = frozen_ms, .total_ms = watch_.elapsedMs()};
  }

  std::optional<Failure> notified(const rpc::Response& notification) {
    if (notification.notify_script == "pre-dump") {
      frozen_ = Stopwatch();
      report(Progress::Phase::freezing);
    } else if (notification.notify_script == "post-dump") {
      // Everything stands still and CRIU kills the tree (or lets it run) only when we agree: the last chance to refuse.
      report(Progress::Phase::checking);
      return seal();
    }
    return std::nullopt;
  }

  /// Makes the images a checkpoint: sums, manifest, owner.
  std::optional<Failure> seal() {
    auto& facts = request_.facts;
    std::string failed;
    describeTree();
    bool stored = memory_->finish(facts.uid, facts.gid, request_.sync, manifest_.files, failed) &&
                  packImages(images_.get(), place_.directory.get(), facts.uid, facts.gid, request_.sync, manifest_.pack);
    if (!stored) return cannotStore(failed.empty() ? pack_name : failed);
    for (auto& file : manifest_.files) manifest_.bytes += file.size;
    manifest_.bytes += manifest_.pack.size;
    manifest_.frozen_ms = frozen_.elapsedMs();
    if (!request_.credentials.empty()) manifest_.certificate = nodeCertificate(request_.credentials);
    std::string text = encodeManifest(manifest_), signature;
    if (!request_.credentials.empty()) {
      signature = sign(request_.credentials, text);
      if (signature.empty() || manifest_.certificate.empty())
        return refuse("XOS_CHECKPOINT_CREDENTIALS", "this node cannot sign it with '" + request_.credentials + "/key.pem'");
    }
    bool sealed = writeManifest(place_.directory.get(), frameManifest(text, signature), facts.uid, facts.gid) &&
                  finishPlace(place_, facts.uid, facts.gid);
    if (!sealed) return cannotStore(manifest_name);
    return std::nullopt;
  }

  void describeTree() {
    manifest_.name = place_.final_name;
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    manifest_.created_ms = now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
    manifest_.facts = request_.facts;
    manifest_.leave_running = request_.leave_running;
    utsname system;
    uname(&system);
    manifest_.kernel = system.release;
    manifest_.cpu_features = cpuFeatures();
    manifest_.tcp_established = true;
    manifest_.processes = processTree(request_.root_pid);
    for (auto& process : manifest_.processes) process.paths = pathsOf(process.pid);
    auto held = heldStreams(manifest_.processes, request_.streams);
    for (size_t i = 0; i < held.size(); ++i) {
      auto& given = request_.streams[i];
      // What is in a pipe belongs to the checkpoint: CRIU does not restore the content of pipes that it inherits.
      bool unread = given.kind != StreamKind::pty && !held[i].path.empty();
      manifest_.streams.push_back({given, held[i].held, unread ? pendingInPipe(held[i].path) : ""});
    }
  }

  Failure cannotStore(const std::string& file) {
    if (errno == ENOSPC || errno == EDQUOT) return noRoom("");
    return refuse("XOS_CHECKPOINT_STORE", "file '" + file + "': " + std::strerror(errno) + "; the job goes on");
  }

  void idle() {
    if (poll_) poll_();
    bool writing = memory_ && memory_->bytesSeen() > 0 && (phase_ == Progress::Phase::freezing || phase_ == Progress::Phase::writing);
    if (writing && since_report_.elapsedMs() >= 100) report(Progress::Phase::writing);
  }

  void report(Progress::Phase phase) {
    phase_ = phase;
    since_report_ = Stopwatch();
    uint64_t bytes = phase == Progress::Phase::finished ? manifest_.bytes : memory_ ? memory_->bytesSeen() : 0;
    if (progress_) progress_({phase, bytes, std::max(memory_bytes_, bytes)});
  }

  const DumpRequest& request_;
  const ProgressFn& progress_;
  const std::function<void()>& poll_;
  std::string what_;
  Stopwatch watch_, frozen_, since_report_;
  Progress::Phase phase_ = Progress::Phase::preparing;
  uint64_t memory_bytes_ = 0;
  Place place_;
  Fd scratch_, images_;
  std::unique_ptr<MemoryImages> memory_;
  Manifest manifest_;
};

}  // namespace

const char* phaseName(Progress::Phase phase) {
  switch (phase) {
    case Progress::Phase::preparing: return "preparing";
    case Progress::Phase::freezing: return "freezing";
    case Progress::Phase::writing: return "writing";
    case Progress::Phase::checking: return "checking";
    case Progress::Phase::finished: return "finished";
    case Progress::Phase::reading: return "reading";
    case Progress::Phase::restoring: return "restoring";
  }
  return "";
}

std::variant<DumpResult, Failure> dump(const DumpRequest& request, const ProgressFn& progress, const std::function<void()>& poll) {
  return Dump(request, progress, poll).run();
}

}  // namespace xos::checkpoint
