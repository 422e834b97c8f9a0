// Reads and writes the stripes of a file on its OSDs.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "object_store.h"
#include "protocol.h"
#include "rpc_client.h"

namespace xos::fs {

struct OsdAddress {
  std::string name, node, host;
  uint16_t port = 0;
};

/// All calls return 0 or an errno (positive). They know nothing of sizes: what an OSD does not hold reads as "short".
class ObjectIo {
 public:
  explicit ObjectIo(wire::TlsContext& tls) : tls_(tls) {}
  void set_servers(const std::vector<OsdAddress>& osds);
  void trim(size_t keep);

  struct Summary {
    uint64_t size = 0;
    int64_t mtime_ns = 0;
    uint64_t disk_bytes = 0;
  };
  /// Fills `data` and zeroes what the OSDs do not hold; `held` is the number of bytes up to the last one that came from an OSD.
  /// EIO when what came is not what was stored. Of a file with replicas another one is read when an OSD fails.
  int read(const metadata::Opened& layout, uint64_t offset, char* data, uint32_t bytes, uint32_t& held);
  /// `done` tells how much was written, also with an error. The summary holds mtime and disk bytes of the OSDs written to.
  int write(const metadata::Opened& layout, uint64_t offset, const char* data, uint32_t bytes, uint32_t& done, Summary& summary);
  /// `offset`: no_place, or what an earlier try was given whose writing a fence has cut short: it is written there, and leaves no gap.
  static constexpr uint64_t no_place = ~0ull;
  /// What is kept between the tries of one append.
  struct Place {
    uint64_t offset = no_place;
    uint64_t identity = 0;   ///< of a file with write replicas: by which its OSDs know that they have done it
    std::string first_body;  ///< ... and the right of the first try
  };
  int append(const metadata::Opened& layout, const char* data, uint32_t bytes, Place& place, Summary& summary);
  int summary(const metadata::Opened& layout, Summary& summary);
  int truncate(const metadata::Opened& layout, uint64_t size, Summary& summary);
  int allocate(const metadata::Opened& layout, Allocate mode, uint64_t offset, uint64_t bytes, Summary& summary);
  /// Next data or hole of a file of `size` bytes at or behind `offset`, which lies in it. ENXIO when there is none.
  int seek(const metadata::Opened& layout, uint64_t offset, bool hole, uint64_t size, uint64_t& found);
  /// Whether copy() can do it: both files lie on the same OSDs in the same stripes, and the range does too.
  static bool can_copy(const metadata::Opened& from, uint64_t from_offset, const metadata::Opened& to, uint64_t to_offset);
  /// Copies inside the OSDs; the range lies inside the source.
  int copy(const metadata::Opened& from, uint64_t from_offset, const metadata::Opened& to, uint64_t to_offset, uint64_t bytes, Summary& summary);
  int sync(const metadata::Opened& layout);
  /// Capability and MAC for one OSD, as they lead every request.
  static std::string proof(const metadata::Opened& layout, size_t osd);

 private:
  /// Of several: how long an OSD has to answer, and which one could not.
  struct Attempt {
    int timeout_ms;
    std::string* failed;
  };
  std::shared_ptr<RpcClient> client(const std::string& name);
  struct Request;
  int append_once(const metadata::Opened& layout, const char* data, uint32_t bytes, Place& place, Summary& summary);
  int append_at_first(const metadata::Opened& layout, uint16_t type, const std::string& head, const char* data, uint32_t bytes, uint64_t& offset, Summary& summary);
  int transfer(const metadata::Opened& layout, std::vector<Request>& requests, bool repeatable = true, const Attempt* attempt = nullptr);
  int read_once(const metadata::Opened& layout, uint64_t offset, char* data, uint32_t bytes, uint32_t& held, const Attempt* attempt);
  int seek_once(const metadata::Opened& layout, uint64_t offset, bool hole, uint64_t size, uint64_t& found, const Attempt* attempt);
  /// Runs `work` with one replica after the other until one can be read.
  int from_replicas(const metadata::Opened& layout, const std::function<int(const metadata::Opened&, const Attempt*)>& work);
  int64_t avoided_until(const std::string& osd);
  void avoid(const std::string& osd);
  int call(const metadata::Opened& layout, size_t osd, uint16_t type, const std::string& arguments, RpcClient::Answer& answer, bool repeatable = true,
           const Attempt* attempt = nullptr);
  int call_all(const metadata::Opened& layout, uint16_t type, const std::function<std::string(size_t osd)>& arguments, Summary* summary);
  wire::TlsContext& tls_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<RpcClient>> clients_;
  std::map<std::string, int64_t> avoided_;  // OSDs that failed a reader who had another replica, and until when they are asked last
};

}  // namespace xos::fs
