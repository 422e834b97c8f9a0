// One mounted VO: what all FUSE operations share.
#pragma once
#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "acl_cache.h"
#include "cache.h"
#include "files.h"
#include "metrics.h"
#include "mrc_client.h"
#include "object_io.h"
#include "small_files.h"
#include "write_behind.h"

namespace xos::fs {

class LockWaiters;

struct Mount {
  explicit Mount(wire::TlsContext& tls, std::string vo);
  ~Mount();
  wire::TlsContext& tls;
  const std::string vo;
  Cache cache;
  AclCache acls;
  OpenFiles files;
  SmallFiles small_files;
  MrcClient mrc;
  ObjectIo objects;
  WriteBehind behind;
  LocalObjects local;
  std::string osd_socket;  ///< of this node's OSD, for `local`
  std::mutex local_mutex;  ///< taken before an OpenFile's: one opening for passthrough at a time
  std::unique_ptr<LockWaiters> waiters;
  fuse_session* session = nullptr;
  std::atomic<uint64_t> operations{0}, mrc_calls{0}, passed_through{0};
  metrics::Counter read_bytes, written_bytes;

  /// Asks the MRC for a caller of a FUSE request.
  int call(fuse_req_t req, uint16_t type, const Writer& arguments, RpcClient::Answer& answer);
  /// The same as the node itself (uid 0).
  int call_as_node(uint16_t type, const Writer& arguments, RpcClient::Answer& answer);

  /// Attributes as they are now: leased ones from the cache, else from the MRC, sizes of shared files from the OSDs.
  int attributes(fuse_req_t req, uint64_t id, metadata::Attr& attr);
  /// Puts what this node (or the OSDs, for files that others write) knows of the size into attributes of the MRC.
  int settle_size(metadata::Attr& attr);
  int summary_of(uint64_t id, const OpenFilePtr& file, ObjectIo::Summary& summary);
  /// Waits for writes behind, then tells the MRC size and time. No mutex of the file is held.
  int push_size(fuse_req_t req, const OpenFilePtr& file);
  /// Makes sure that `f` has a capability with these rights for some minutes more.
  /// The MRC hears that something failed by this right to a file with write replicas.
  void right_failed(uint64_t id, const metadata::Opened& layout);
  int refresh_capability(OpenFile& f, uint8_t rights);
  metadata::Opened layout_of(OpenFile& f);
  /// Writes a range at once and notes what it did to the file. `done` tells how much was written, also with an error.
  int write_now(OpenFile& f, uint64_t offset, const char* data, uint32_t bytes, uint32_t& done);
  /// Before a write up to `end`, or an append of so many bytes: EDQUOT when the volume's limits have no room for it.
  int reserve(OpenFile& f, uint64_t end, uint64_t appended = 0);
  /// A file or directory was read: its access time goes to the MRC soon, when relatime has it move.
  void note_read(uint64_t id);
  /// Registers a handle for an answer of open or create.
  Handle* make_handle(const metadata::Attr& attr, metadata::Opened opened, bool writes);
  void take_opened(OpenFile& f, metadata::Opened opened);

  /// Decides by which path an opened descriptor reads and writes (page cache, this process, the local object), says so in `fi`, and counts it;
  /// leave_path() at its end.
  void choose_path(fuse_req_t req, Handle& h, uint64_t size, fuse_file_info* fi);
  void leave_path(fuse_req_t req, Handle& h);
  /// Takes up what was written to a local object past this process: size and time.
  void look_local(OpenFile& f);

  // Inodes that the kernel has: an invalidation reaches them. What it does not have yet must not carry a time-out, since an
  // invalidation between our answer and its arrival would find nothing.
  void kernel_sees(uint64_t id);
  bool kernel_saw(uint64_t id);
  void kernel_forgets(uint64_t id);
  void expire_kernel_attributes();
  /// Makes all names in the kernel be looked up again (FUSE_NOTIFY_INC_EPOCH, Linux 6.16): takes no lock there, unlike invalidating one.
  bool expire_kernel_names();
  bool kernel_names = false;  ///< the kernel can do that, so it may keep names

  // background
  void run_callbacks();   ///< connection on which the MRC calls back; never returns
  void run_closer();      ///< batches of closes, trimming; never returns
  void run_invalidator(); ///< kernel cache invalidations that may not be done inside a request; never returns
  void invalidate_kernel(uint64_t id, int64_t offset, int64_t bytes);
  void send_closes();
  void send_reads();

 private:
  bool use_local(fuse_req_t req, Handle& h, uint64_t size, bool append);
  std::shared_ptr<LocalObject> borrow(fuse_req_t req, OpenFile& f, bool write, std::shared_ptr<LocalObject> had);
  struct Seen {
    std::mutex mutex;
    std::unordered_set<uint64_t> ids;
  };
  Seen seen_[16];
  std::mutex reads_mutex_;
  std::unordered_map<uint64_t, int64_t> reads_;  // when files were read, to be told
  std::mutex invalidations_mutex_;
  std::condition_variable invalidations_ready_;
  struct Invalidation {
    uint64_t id;
    int64_t offset, bytes;
  };
  std::deque<Invalidation> invalidations_;
};

// Helpers of the operations.
Mount& mount_of(fuse_req_t req);
/// What the kernel holds of a file that is open.
inline Handle& handle_of(fuse_file_info* fi) { return *reinterpret_cast<Handle*>(fi->fh); }
struct stat stat_of(const metadata::Attr& attr);
/// `token` is of before the question: what was invalidated since then goes to the kernel without a time-out.
fuse_entry_param entry_of(Mount& mount, const metadata::Attr& attr, bool name_leased, Cache::Token token);
double attr_seconds(Mount& mount, const metadata::Attr& attr, Cache::Token token);
metadata::Caller caller_of(fuse_req_t req);

// Operations, by file.
void register_name_operations(fuse_lowlevel_ops& ops);
void register_data_operations(fuse_lowlevel_ops& ops);
void register_range_operations(fuse_lowlevel_ops& ops);
void register_attribute_operations(fuse_lowlevel_ops& ops);
void register_directory_operations(fuse_lowlevel_ops& ops);
void register_lock_operations(fuse_lowlevel_ops& ops);

}  // namespace xos::fs
