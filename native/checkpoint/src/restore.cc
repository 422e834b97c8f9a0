// Bringing a checkpoint back: verify, give CRIU what it asks for, and let the tree run only when every image proved to be whole.
#include "engine.h"
#include "fd.h"
#include "images.h"
#include "manifest.h"
#include "paths.h"
#include "session.h"
#include "signature.h"
#include "temporary.h"
#include "tree.h"
#include "unsent.h"
#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <future>
#include <memory>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <system_error>

namespace xos::checkpoint {
namespace {

class Restore {
 public:
  Restore(const RestoreRequest& request, const ProgressFn& progress, const std::function<void()>& poll)
      : request_(request), progress_(progress), poll_(poll), what_("restart checkpoint '" + request.directory + "'") {}

  ~Restore() {
    abort_ = true;
    if (verifier_.valid()) verifier_.wait();
  }

  std::variant<RestoreResult, Failure> run() {
    report(Progress::Phase::reading);
    if (auto failure = admit()) return *failure;
    if (auto failure = prepareImages()) return *failure;
    if (auto failure = prepareStreams()) return *failure;
    TemporariesBack temporaries(manifest_, directory_.get());
    if (auto trouble = temporaries.put()) return refuse(trouble->first, trouble->second);
    report(Progress::Phase::restoring);
    auto result = converseWithCriu();
    if (std::holds_alternative<RestoreResult>(result)) temporaries.keep();
    return result;
  }

 private:
  Failure refuse(const std::string& code, const std::string& why) { return {code, "cannot " + what_ + ": " + why, ""}; }

  /// The manifest: whole, ours, of this user, made by a node of the VO, for a processor like this one.
  std::optional<Failure> admit() {
    auto read = readManifest(request_.directory);
    if (auto* failure = std::get_if<Failure>(&read)) return *failure;
    manifest_ = std::move(std::get<Manifest>(read));
    auto& facts = manifest_.facts;
    if (!request_.credentials.empty()) {
      std::string why = verifySignature(nodeAuthority(request_.credentials), facts.vo, manifest_.certificate, manifest_.signature,
                                        manifest_.signed_text, manifest_.created_ms);
      if (!why.empty()) return refuse("XOS_CHECKPOINT_SIGNATURE", why + "; only a checkpoint made by a node of this VO can be restarted");
    }
    if (request_.uid != 0 && facts.uid != request_.uid) return refuse("XOS_CHECKPOINT_OWNER", "it belongs to '" + facts.user + "'");
    if (!request_.job.empty() && facts.job != request_.job)
      return refuse("XOS_CHECKPOINT_JOB", "it is of job '" + facts.job + "', not of '" + request_.job + "'");
    auto missing = missingFeatures(manifest_.cpu_features);
    if (missing.empty()) return std::nullopt;
    std::string list;
    for (auto& feature : missing) list += (list.empty() ? "" : ", ") + feature;
    return refuse("XOS_CHECKPOINT_CPU", "this node's processor lacks " + list + ", which the programs may use; restart it on another node");
  }

  std::optional<Failure> prepareImages() {
    directory_.reset(open(request_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory_) return refuse("XOS_CHECKPOINT_UNKNOWN", std::strerror(errno));
    std::string why = verifySizes(directory_.get(), manifest_);
    if (!why.empty()) return damaged(why);
    scratch_ = makeScratch();
    if (scratch_) images_.reset(openat(scratch_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!images_) return refuse("XOS_CHECKPOINT_ENGINE", std::string("no scratch file system: ") + std::strerror(errno));
    // CRIU gets a copy that nobody else can change of all it believes, and of the memory the very files that are being summed.
    why = unpackImages(directory_.get(), manifest_.pack, images_.get());
    if (!why.empty()) return damaged(why);
    if (!linkMemoryImages(images_.get(), directory_.get(), manifest_.files, memory_files_))
      return damaged(std::string("a memory image cannot be read: ") + std::strerror(errno));
    verifier_ = std::async(std::launch::async, [this] { return verifyImages(directory_.get(), manifest_.files, bytes_read_, abort_); });
    return std::nullopt;
  }

  Failure damaged(const std::string& why) { return refuse("XOS_CHECKPOINT_DAMAGED", why + "; take the checkpoint again"); }

  /// New pipes for those whose other end the relay had. The tree's end goes to CRIU, ours is handed to the caller.
  std::optional<Failure> prepareStreams() {
    for (auto& record : manifest_.streams) {
      RestoredStream stream{.kind = record.given.kind, .target_fds = record.given.target_fds};
      bool is_pipe = stream.kind == StreamKind::pipe_in || stream.kind == StreamKind::pipe_out;
      result_.streams.push_back(stream);
      ours_.emplace_back();
      if (!is_pipe || !record.held) continue;
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) < 0) return refuse("XOS_CHECKPOINT_ENGINE", std::string("pipe: ") + std::strerror(errno));
      Fd reading(ends[0]), writing(ends[1]);
      if (record.pending.size() > 65536) fcntl(writing.get(), F_SETPIPE_SZ, static_cast<int>(record.pending.size()) + 4096);
      fcntl(writing.get(), F_SETFL, O_NONBLOCK);
      bool whole = writeAll(writing.get(), record.pending.data(), record.pending.size());
      fcntl(writing.get(), F_SETFL, 0);
      if (!whole) return refuse("XOS_CHECKPOINT_ENGINE", std::string("what was in its pipe does not fit into a new one: ") + std::strerror(errno));
      struct stat status;
      fstat(reading.get(), &status);
      result_.streams.back().inode = status.st_ino;
      bool in = stream.kind == StreamKind::pipe_in;
      theirs_.push_back(std::move(in ? reading : writing));
      ours_.back() = std::move(in ? writing : reading);
      inherit_.emplace_back("pipe:[" + std::to_string(record.given.inode) + "]", theirs_.back().get());
    }
    return std::nullopt;
  }

  std::variant<RestoreResult, Failure> converseWithCriu() {
    std::vector<int> inherited;
    for (auto& [key, fd] : inherit_) inherited.push_back(fd);
    try {
      unsent_ = std::make_unique<Unsent>(request_.library);
    } catch (const std::system_error& error) {
      return refuse("XOS_CHECKPOINT_ENGINE", error.what());
    }
    for (int fd : unsent_->inherited()) inherited.push_back(fd);
    auto started = Swrk::start(inherited, unsent_->environment());
    if (auto* failure = std::get_if<Failure>(&started)) return *failure;
    auto criu = std::move(std::get<std::unique_ptr<Swrk>>(started));
    rpc::Options options{.images_dir_fd = images_.get(), .work_dir_fd = images_.get(), .restore_as_sibling = true,
                         .tcp_established = manifest_.tcp_established, .inherit_fd = inherit_};
    Conversation conversation{.criu = *criu, .what = what_.c_str(), .timeout_ms = request_.timeout_ms,
                              .idle = [this] { idle(); },
                              .notified = [this](const rpc::Response& n, Fd& fd) { return notified(n, fd); }};
    auto answer = converse(conversation, rpc::encodeRequest(rpc::Type::restore, &options));
    if (auto* failure = std::get_if<Failure>(&answer)) {
      criu.reset();
      killLeftOvers();
      std::string why = finishVerification();  // a damaged image explains every other failure
      return why.empty() ? *failure : damaged(why);
    }
    criu->finish(1000);
    return collect(std::get<rpc::Response>(answer));
  }

  std::optional<Failure> notified(const rpc::Response& notification, Fd& fd) {
    if (notification.notify_script == "orphan-pts-master" && fd) {
      takeMaster(std::move(fd));
    } else if (notification.notify_script == "pre-resume") {
      std::string why = finishVerification();
      if (!why.empty()) return damaged(why);
      if (auto failure = checkPaths()) return failure;
      // Last: the other end sees it.
      why = unsent_->deliver(manifest_.processes);
      if (!why.empty()) return refuse("XOS_CHECKPOINT_REFUSED", why);
    }
    return std::nullopt;
  }

  /// Nobody may get by the restart what it did not have (paths.h). The tree is whole now and does not run yet.
  std::optional<Failure> checkPaths() {
    for (auto& process : manifest_.processes)
      for (auto& path : pathsOf(process.pid))
        if (!std::binary_search(process.paths.begin(), process.paths.end(), path))
          return refuse("XOS_CHECKPOINT_FILE", "process " + std::to_string(process.pid) + " ('" + process.program + "') would get the file '" +
                                                   path + "', which it did not have; put its files back where they were");
    return std::nullopt;
  }

  void takeMaster(Fd master) {
    unsigned index = 0;
    if (ioctl(master.get(), TIOCGPTN, &index) < 0) return;
    for (size_t i = 0; i < result_.streams.size(); ++i) {
      auto& stream = result_.streams[i];
      // CRIU makes the pty with the index that it had.
      if (stream.kind != StreamKind::pty || manifest_.streams[i].given.inode != index) continue;
      stream.inode = index;
      fcntl(master.get(), F_SETFL, fcntl(master.get(), F_GETFL) & ~O_NONBLOCK);
      fcntl(master.get(), F_SETFD, FD_CLOEXEC);
      ours_[i] = std::move(master);
      return;
    }
    others_.push_back(std::move(master));  // a pty whose master nobody held: kept open until the end of the restore
  }

  /// Waits for the sums of the memory images. Empty when they are right.
  std::string finishVerification() {
    if (!verifier_.valid()) return "";
    while (verifier_.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) idle();
    return verifier_.get();
  }

  /// CRIU kills what it had restored when it fails; this is for a CRIU that could not (killed at the time-out).
  void killLeftOvers() {
    for (auto& process : manifest_.processes) {
      auto tree = processTree(process.pid);
      if (!tree.empty() && process.pid != getpid()) kill(process.pid, SIGKILL);
    }
    if (!manifest_.processes.empty()) waitpid(manifest_.processes[0].pid, nullptr, WNOHANG);
  }

  RestoreResult collect(const rpc::Response& answer) {
    for (size_t i = 0; i < result_.streams.size(); ++i) result_.streams[i].fd = ours_[i].release();
    result_.root_pid = answer.restored_pid.value_or(manifest_.processes.empty() ? 0 : manifest_.processes[0].pid);
    result_.processes = static_cast<uint32_t>(manifest_.processes.size());
    result_.bytes = manifest_.bytes;
    result_.facts = manifest_.facts;
    result_.total_ms = watch_.elapsedMs();
    report(Progress::Phase::finished);
    return result_;
  }

  void idle() {
    if (poll_) poll_();
    if (since_report_.elapsedMs() >= 100) report(Progress::Phase::restoring);
  }

  void report(Progress::Phase phase) {
    since_report_ = Stopwatch();
    uint64_t bytes = phase == Progress::Phase::finished ? manifest_.bytes : bytes_read_.load();
    if (progress_) progress_({phase, bytes, manifest_.bytes});
  }

  const RestoreRequest& request_;
  const ProgressFn& progress_;
  const std::function<void()>& poll_;
  std::string what_;
  Stopwatch watch_, since_report_;
  Manifest manifest_;
  Fd directory_, scratch_, images_;
  std::vector<Fd> memory_files_, theirs_, ours_, others_;
  std::vector<std::pair<std::string, int>> inherit_;
  std::atomic<uint64_t> bytes_read_{0};
  std::atomic<bool> abort_{false};
  std::future<std::string> verifier_;
  std::unique_ptr<Unsent> unsent_;
  RestoreResult result_;
};

}  // namespace

std::variant<RestoreResult, Failure> restore(const RestoreRequest& request, const ProgressFn& progress, const std::function<void()>& poll) {
  return Restore(request, progress, poll).run();
}

std::variant<std::string, Failure> describe(const std::string& directory) {
  auto read = readManifest(directory);
  if (auto* failure = std::get_if<Failure>(&read)) return *failure;
  auto& manifest = std::get<Manifest>(read);
  Fd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::string why = verifySizes(fd.get(), manifest);
  if (!why.empty())
    return Failure{"XOS_CHECKPOINT_DAMAGED", "cannot use checkpoint '" + directory + "': " + why + "; take the checkpoint again", ""};
  return manifest.signed_text;
}

}  // namespace xos::checkpoint
