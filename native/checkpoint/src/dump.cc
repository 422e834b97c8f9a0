// Taking a checkpoint: check, make the directory, let CRIU write, sum, sign, and only then let the tree go.
#include "capture.h"
#include "engine.h"
#include "fd.h"
#include "images.h"
#include "manifest.h"
#include "paths.h"
#include "place.h"
#include "session.h"
#include "signature.h"
#include "temporary.h"
#include "tree.h"
#include <algorithm>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <future>
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
    if (capture_ && capture_->readReport()) refusal_ = capture_->refusal();
    endCriu();
    if (auto* failure = std::get_if<Failure>(&result)) {
      memory_.reset();
      removeImages(place_.directory.get(), place_.parent.get(), place_.name);
      if (failure->log_tail.find("No space left on device") != std::string::npos) return noRoom(failure->log_tail);
      return *failure;
    }
    report(Progress::Phase::finished);
    return std::get<DumpResult>(result);
  }

  /// Why no clone could be made of a process, and its dump failed; empty: that was not it.
  const std::string& refusal() const { return refusal_; }
  uint32_t elapsedMs() const { return watch_.elapsedMs(); }

 private:
  Failure refuse(const std::string& code, const std::string& why) { return {code, "cannot " + what_ + ": " + why, ""}; }

  Failure noRoom(const std::string& log) {
    return {"XOS_CHECKPOINT_NO_ROOM",
            "cannot " + what_ + ": no room for about " + std::to_string(memory_bytes_ >> 20) + " MiB in '" + request_.directory +
                "'; the job goes on; remove something ('xcheckpoint rm') and try again",
            log};
  }

  std::optional<Failure> prepare() {
    tree_ = processTree(request_.root_pid);
    if (tree_.empty()) return refuse("XOS_CHECKPOINT_STATE", "its root process " + std::to_string(request_.root_pid) + " is gone");
    for (auto& process : tree_) memory_bytes_ += process.resident_bytes;
    // First of all: it loads its libraries while we look at the tree and make the directory.
    chooseCapture();
    if (auto failure = startCriu()) return failure;
    auto failure = prepareImages();
    if (!failure && capture_ && !knownCriu()) {
      capture_.reset();  // and once more, without
      failure = startCriu();
    }
    if (failure) {
      endCriu();
      if (place_.directory) removeImages(place_.directory.get(), place_.parent.get(), place_.name);
      return failure;
    }
    try {
      int count = static_cast<int>(tree_.size()) * 2 + memory_images_spare;
      if (!capture_) memory_ = std::make_unique<MemoryImages>(images_.get(), place_.directory.get(), count);
    } catch (const std::system_error& error) {
      endCriu();
      removeImages(place_.directory.get(), place_.parent.get(), place_.name);
      return refuse("XOS_CHECKPOINT_ENGINE", std::string("no scratch file system: ") + error.what());
    }
    return std::nullopt;
  }

  /// Whether it can be done, and where to.
  std::optional<Failure> prepareImages() {
    for (auto& obstacle : check(request_.root_pid, request_.streams, request_.began_ms))
      if (obstacle.certain && !request_.try_all_the_same)
        return refuse(obstacle.code, "'" + obstacle.program + "' (process " + std::to_string(obstacle.pid) + ") " + obstacle.what +
                                         "; " + obstacle.advice);
    if (auto failure = makePlace(request_.directory, request_.facts.job, request_.facts.uid, request_.facts.gid, place_)) {
      place_.directory.reset();  // what is there is not ours to remove
      return failure;
    }
    struct statvfs room;
    if (fstatvfs(place_.directory.get(), &room) == 0 && room.f_blocks > 0 && room.f_bavail * room.f_frsize < 1u << 20) return noRoom("");
    scratch_ = makeScratch();
    if (scratch_) images_ = scratchDirectory();
    if (!images_) return refuse("XOS_CHECKPOINT_ENGINE", std::string("no scratch file system: ") + std::strerror(errno));
    return std::nullopt;
  }

  /// With clones where that pays; else `capture_` is nothing, and CRIU puts all memory into FIFOs of ours (MemoryImages).
  void chooseCapture() {
    if (request_.leave_running) why_plain_ = request_.copy_on_write ? whyPlain(tree_, request_.capture_bytes_min) : "it was asked for";
    if (request_.leave_running && why_plain_.empty()) {
      try {
        capture_ = std::make_unique<Capture>(request_.capture_library);
      } catch (const std::system_error& error) {
        why_plain_ = std::string("no capture on this node: ") + error.what();
      }
    }
  }

  /// A new CRIU in the place of the one that is there.
  std::optional<Failure> startCriu() {
    auto environment = capture_ ? capture_->environment() : std::vector<std::string>();
    // Also without clones: it tells CRIU the names of open files as they are (shim/names.cc).
    if (environment.empty() && access(request_.capture_library.c_str(), R_OK) == 0) environment = {"LD_PRELOAD=" + request_.capture_library};
    criu_.reset();
    ipc_ = hasSystemVObjects() ? Swrk::Ipc::own : Swrk::Ipc::shared;
    auto started = Swrk::start(capture_ ? capture_->inherited() : std::vector<int>(), environment, ipc_);
    if (auto* failure = std::get_if<Failure>(&started)) return *failure;
    criu_ = std::move(std::get<std::unique_ptr<Swrk>>(started));
    return std::nullopt;
  }

  /// Asks CRIU what it is: how it looks at memory is its own business, and known for versions that were tried.
  bool knownCriu() {
    Conversation conversation{.criu = *criu_, .what = what_.c_str(), .timeout_ms = 10'000, .idle = [this] { idle(); }, .notified = {}};
    auto answer = converse(conversation, rpc::encodeRequest(rpc::Type::version, nullptr, true));
    auto* version = std::get_if<rpc::Response>(&answer);
    if (version && captureKnows(version->version_major, version->version_minor, version->version_sublevel)) return true;
    why_plain_ = "this version of CRIU was not tried with it";
    return false;
  }

  /// CRIU and the clones, on every path.
  void endCriu() {
    if (capture_) capture_->letGo();
    if (criu_) criu_->finish(1000);
    criu_.reset();
    if (capture_) capture_->reap(tree_);
    endOrphans(request_.root_pid);
    capture_.reset();
  }

  Fd scratchDirectory() { return Fd(openat(scratch_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

  std::variant<DumpResult, Failure> converseWithCriu() {
    rpc::Options options{.images_dir_fd = images_.get(), .work_dir_fd = images_.get(), .pid = request_.root_pid,
                         .leave_running = request_.leave_running, .tcp_established = true, .ghost_bytes_max = ghost_bytes_max,
                         .timeout_s = 10};
    Conversation conversation{.criu = *criu_, .what = what_.c_str(), .timeout_ms = request_.timeout_ms,
                              .idle = [this] { idle(); },
                              .notified = [this](const rpc::Response& n, Fd&) { return notified(n); }};
    auto answer = converse(conversation, rpc::encodeRequest(rpc::Type::dump, &options));
    if (auto* failure = std::get_if<Failure>(&answer)) return *failure;
    // What it tells of itself it has told by then; a tree that is to end is gone when CRIU is.
    if (!request_.leave_running) criu_->finish(1000);
    uint32_t frozen_ms = frozen_.elapsedMs();
    auto stats = rpc::decodeDumpStats(readFile("/proc/self/fd/" + std::to_string(images_.get()) + "/stats-dump"));
    if (stats) frozen_ms = (stats->freezing_us + stats->frozen_us + 999) / 1000;
    manifest_.frozen_ms = frozen_ms;
    bool cloned = false;
    if (request_.leave_running)
      if (auto failure = sealRunning(cloned)) return *failure;
    return DumpResult{.bytes = manifest_.bytes, .processes = static_cast<uint32_t>(manifest_.processes.size()),
                      .frozen_ms = frozen_ms, .total_ms = watch_.elapsedMs(),
                      .copy_on_write = cloned, .why_plain = why_plain_};
  }

  std::optional<Failure> notified(const rpc::Response& notification) {
    if (notification.notify_script == "pre-dump") {
      frozen_ = Stopwatch();
      report(Progress::Phase::freezing);
    } else if (notification.notify_script == "post-dump") {
      // Everything stands still and CRIU kills the tree (or lets it run) only when we agree: the last chance to refuse.
      describeTree();
      // CRIU passes semaphores and messages by when it believes that they are not the tree's.
      if (ipc_ == Swrk::Ipc::shared && hasSystemVObjects()) return refuse("XOS_CHECKPOINT_STATE", "it has just made System V memory, semaphores or a message queue; try again");
      if (memory_) memory_->collect();
      if (auto failure = takeTemporaries(); failure || request_.leave_running) return failure;
      report(Progress::Phase::checking);
      if (auto failure = storeMemory()) return failure;
      manifest_.frozen_ms = frozen_.elapsedMs();
      return sealState();
    }
    return std::nullopt;
  }

  /// Everything runs again: stores what the clones hold, or what came out of CRIU's FIFOs and is not yet stored, and makes it a checkpoint.
  std::optional<Failure> sealRunning(bool& cloned) {
    if (capture_) {
      if (!capture_->readReport()) return refuse("XOS_CHECKPOINT_ENGINE", "what was captured is not known; the job goes on");
      cloned = !capture_->empty();
      if (!cloned && why_plain_.empty()) why_plain_ = "CRIU did not ask for its memory as expected";
    }
    // Beside the memory that is still on its way; those of a capture are not yet complete.
    if (memory_)
      if (auto failure = pack()) return failure;
    if (auto failure = storeMemory()) return failure;
    report(Progress::Phase::checking);
    return sealState();
  }

  std::optional<Failure> storeMemory() {
    auto& facts = request_.facts;
    std::string failed, why;
    std::atomic<bool> abort{false};
    int error = 0;
    auto storing = std::async(std::launch::async, [&] {
      if (capture_) why = capture_->store(images_.get(), place_.directory.get(), facts.uid, facts.gid, request_.sync, manifest_.files, failed, captured_bytes_, abort);
      else if (!memory_->finish(facts.uid, facts.gid, request_.sync, manifest_.files, failed, abort)) why = "it was given up";
      error = errno;
    });
    while (storing.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
      idle();
      abort = watch_.elapsedMs() >= static_cast<uint32_t>(request_.timeout_ms);
    }
    errno = error;
    if (abort && !why.empty())
      return refuse("XOS_CHECKPOINT_TIMEOUT", "it took longer than " + std::to_string(request_.timeout_ms / 1000) + " s and was given up");
    if (!failed.empty()) return cannotStore(failed);
    if (!why.empty()) return refuse("XOS_CHECKPOINT_ENGINE", why + "; the job goes on");
    return std::nullopt;
  }

  /// Memory is stored: the rest of the images, and the manifest that makes them a checkpoint.
  std::optional<Failure> sealState() {
    auto& facts = request_.facts;
    if (auto failure = pack()) return failure;
    for (auto& file : manifest_.files) manifest_.bytes += file.size;
    manifest_.bytes += manifest_.pack.size;
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

  /// All small images of CRIU; once.
  std::optional<Failure> pack() {
    auto& facts = request_.facts;
    if (!manifest_.pack.entries.empty()) return std::nullopt;
    const bool stored = packImages(images_.get(), place_.directory.get(), facts.uid, facts.gid, request_.sync, manifest_.pack);
    return stored ? std::nullopt : std::optional(cannotStore(pack_name));
  }

  std::optional<Failure> takeTemporaries() {
    auto& facts = request_.facts;
    TemporaryScope scope{.uid = facts.uid, .began_ms = request_.began_ms, .bytes_max = request_.temporary_bytes_max, .held = {}};
    for (auto& process : manifest_.processes) scope.held.insert(process.paths.begin(), process.paths.end());
    manifest_.temporaries = findTemporaries(scope);
    const bool stored = storeTemporaries(manifest_.temporaries, place_.directory.get(), facts.uid, facts.gid, request_.sync, manifest_.files);
    return stored ? std::nullopt : std::optional(cannotStore(temporary_name));
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
    bool writing = bytesSeen() > 0 && (phase_ == Progress::Phase::freezing || phase_ == Progress::Phase::writing);
    if (writing && since_report_.elapsedMs() >= 100) report(Progress::Phase::writing);
  }

  uint64_t bytesSeen() const { return memory_ ? memory_->bytesSeen() : captured_bytes_.load(); }

  void report(Progress::Phase phase) {
    phase_ = phase;
    since_report_ = Stopwatch();
    uint64_t bytes = phase == Progress::Phase::finished ? manifest_.bytes : bytesSeen();
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
  std::vector<Process> tree_;
  std::unique_ptr<MemoryImages> memory_;
  std::unique_ptr<Capture> capture_;
  std::atomic<uint64_t> captured_bytes_{0};
  std::string why_plain_, refusal_;
  Swrk::Ipc ipc_ = Swrk::Ipc::shared;
  std::unique_ptr<Swrk> criu_;  // after capture_: it ends first
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
  Dump first(request, progress, poll);
  auto result = first.run();
  if (first.refusal().empty() || std::holds_alternative<DumpResult>(result)) return result;
  // A clone was refused (a limit of processes, of memory): the tree runs as before, and is stored while it stands still.
  const uint32_t lost_ms = first.elapsedMs();
  DumpRequest plain = request;
  plain.copy_on_write = false;
  plain.timeout_ms = std::max(1, request.timeout_ms - static_cast<int>(lost_ms));
  result = Dump(plain, progress, poll).run();
  if (auto* done = std::get_if<DumpResult>(&result)) {
    done->total_ms += lost_ms;
    done->why_plain = first.refusal();
  }
  return result;
}

}  // namespace xos::checkpoint
