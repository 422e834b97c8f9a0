// Checkpoint and restore of a job's process tree, driven from inside its cell.
//
// Every function here is called by xos-cell (pid 1 of the cell, as root): CRIU then sees one pid, mount, ipc and uts namespace,
// its own, so no namespace is dumped and a checkpoint goes into any fresh, empty cell. CRIU itself is an unmodified program,
// spoken to over its RPC (`criu swrk`, a SEQPACKET socket, messages of rpc.proto); nothing of it is linked.
//
// What the cell must provide is listed in native/checkpoint/README.md ("What a cell owes the engine").
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <sys/types.h>
#include <variant>
#include <vector>

namespace xos::checkpoint {

/// Where the other end of a standard stream of the job's root process is.
enum class StreamKind {
  closed,   ///< was not open when the job began, or leads to something inside the cell (a file, /dev/null): nothing to attach
  pty,      ///< slave of a pty of the cell's devpts whose master the relay holds
  pipe_in,  ///< the job reads a pipe, the relay holds the writing end (stdin)
  pipe_out  ///< the job writes a pipe, the relay holds the reading end (stdout, stderr)
};

/// What went wrong, in words for the user. `log_tail` is the end of CRIU's log (for the node's own log; at most 16 KiB), else empty.
struct Failure {
  std::string code;     ///< XOS_CHECKPOINT_… (see README)
  std::string message;  ///< what was attempted, on what, what was wrong, what to do
  std::string log_tail;
};

/// Reported from the calling thread, at most ten times a second and once at every change of phase.
struct Progress {
  enum class Phase { preparing, freezing, writing, checking, finished, reading, restoring } phase;
  uint64_t bytes = 0;        ///< written or read so far
  uint64_t bytes_total = 0;  ///< estimate: resident private memory of the tree; 0 when not known
};
const char* phaseName(Progress::Phase phase);
using ProgressFn = std::function<void(const Progress&)>;

/// A stream as the cell made it for the job: what it is and as which descriptors the root process was given it. The job may have
/// closed or moved them since; the engine looks for the object itself in the whole tree and needs no descriptor of it here.
struct GivenStream {
  StreamKind kind;
  uint64_t inode = 0;           ///< st_ino of the pipe (fstat of either end), or N of /dev/pts/N
  std::vector<int> target_fds;  ///< for instance {0,1,2} for one pty; the same set comes back from restore()
};

/// Facts about the job that go into the manifest as they are.
struct JobFacts {
  std::string job, program, vo, user, node, session;
  std::vector<std::string> argv;
  std::string cwd;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct DumpRequest {
  std::string directory;  ///< absolute, inside the cell; created with its parents, mode 0700, owner facts.uid; a left-over without
                          ///< manifest, or a checkpoint of the same job, is replaced, one of another job is not
  pid_t root_pid = 0;     ///< in the cell's pid namespace
  bool leave_running = false;
  int timeout_ms = 120'000;  ///< for the whole dump; the job goes on when it is over
  std::string credentials = "/var/lib/xos/node";  ///< key.pem and cert.pem that sign it; empty: not signed, and then not restorable with them
  bool copy_on_write = true;  ///< with leave_running: capture by clones where that pays (README, "Copy-on-write capture")
  uint64_t capture_bytes_min = 64u << 20;  ///< of memory; below it a plain dump stands still as briefly (decision 0028 has the figures)
  std::string capture_library = "/usr/lib/xos/lib/xos-capture.so";
  int64_t began_ms = 0;  ///< when the job began here, Unix time: temporary files that are younger are its own; 0: only what it has open is
  uint64_t temporary_bytes_max = 256u << 20;  ///< of temporary files that go along
  bool sync = false;  ///< have every image on the disk of its object server before the job is let go
  JobFacts facts;
  std::vector<GivenStream> streams;
  bool try_all_the_same = false;  ///< let CRIU judge also where check() is certain that it cannot be done (tests)
};

struct DumpResult {
  uint64_t bytes = 0;       ///< of all image files
  uint32_t processes = 0;
  uint32_t frozen_ms = 0;   ///< time for which the tree stood still (leave_running) or from freeze to the end
  uint32_t total_ms = 0;
  bool copy_on_write = false;  ///< its memory was stored while it ran
  std::string why_plain;       ///< why not, for the user; empty without leave_running
};

/// Dumps the tree below `root_pid`. On success and without leave_running the tree is gone: killed, and reaped by the caller, who must
/// not report that death as the job's end. On failure the tree runs on as before and `directory` is removed.
/// What is in the given pipes is part of the checkpoint and comes out of the new pipes after a restore: nobody may read from or write
/// to the outer ends while dump() works, and after a success without leave_running what they still hold must be dropped.
/// Blocks; the caller may serve its other descriptors from `poll`, called at least every 50 ms, which must not reap children
/// (waitpid of -1 would take CRIU's status).
std::variant<DumpResult, Failure> dump(const DumpRequest& request, const ProgressFn& progress,
                                       const std::function<void()>& poll = {});

struct RestoreRequest {
  std::string directory;  ///< of a complete checkpoint
  int timeout_ms = 120'000;
  std::string job;        ///< id that the manifest must name; empty: any
  uid_t uid = 0;          ///< owner that the manifest must name; 0: any
  std::string credentials = "/var/lib/xos/node";  ///< whose ca.pem vouches for the node that made it; empty: unsigned ones too (tests)
  std::string library = "/usr/lib/xos/lib/xos-capture.so";  ///< preloaded into CRIU (shim/unsent.cc)
};

/// The relay's end of a stream of a restored job. The caller owns `fd` (CLOEXEC, blocking).
struct RestoredStream {
  StreamKind kind = StreamKind::closed;
  uint64_t inode = 0;           ///< of the new pipe, or index of the new pty: what the next dump's GivenStream needs
  std::vector<int> target_fds;  ///< as in the GivenStream of the dump
  int fd = -1;                  ///< pty: master; pipe_in: writing end; pipe_out: reading end; -1: nobody in the tree holds it any more
};

struct RestoreResult {
  pid_t root_pid = 0;  ///< child of the caller
  uint32_t processes = 0;
  uint64_t bytes = 0;
  uint32_t total_ms = 0;
  std::vector<RestoredStream> streams;
  JobFacts facts;
};

/// Restores a checkpoint into this (empty) cell: the root process becomes a child of the caller. When it fails nothing is left running.
/// The caller sets the window size of the pty and sends SIGWINCH or SIGCONT as it sees fit; processes that were stopped stay stopped.
std::variant<RestoreResult, Failure> restore(const RestoreRequest& request, const ProgressFn& progress,
                                             const std::function<void()>& poll = {});

/// One thing that stands in the way of a dump.
struct Obstacle {
  std::string code;    ///< XOS_CHECKPOINT_LANDLOCK, …_IO_URING, …_DEVICE, …_SOCKET, …_TRACED, …_NAMESPACE, …_MOUNT, …_FILE, …_STATE
  pid_t pid = 0;       ///< in the cell
  std::string program;
  std::string what;    ///< "has put itself under Landlock restrictions"
  std::string advice;  ///< "start it without its sandbox: xz --no-sandbox"
  bool certain = true; ///< false: may still work
};

/// Says what cannot be dumped in the tree below `root_pid`, without stopping it. Empty: nothing known stands in the way.
/// `began_ms`: as in DumpRequest.
std::vector<Obstacle> check(pid_t root_pid, const std::vector<GivenStream>& streams, int64_t began_ms = 0);

/// Why a tree that was taken from a processor with `cpu_features` and from Linux `kernel` could not go on here; nothing when it can.
std::optional<Failure> fitness(const std::vector<std::string>& cpu_features, const std::string& kernel);
/// What the above wants to know of this node.
struct NodeFacts {
  std::vector<std::string> cpu_features;
  std::string kernel;
};
NodeFacts nodeFacts();

/// Removes a checkpoint with the rights of its user, the manifest first. What cannot be removed stays.
void removeCheckpoint(const std::string& directory, uid_t uid, gid_t gid);

/// Manifest of a checkpoint as JSON text (shape: README, "The manifest"), or why it cannot be used. Checks the sizes of its files,
/// not their content and not the signature.
std::variant<std::string, Failure> describe(const std::string& directory);

}  // namespace xos::checkpoint
