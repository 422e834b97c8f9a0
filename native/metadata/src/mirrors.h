// Files with write replicas: who is in step, who leads, rights to them, and who is to catch up (docs/decisions/0032-write-replication.md).
//
// The list of OSDs of such a file has its members, those in step first, and of them the one first that leads. A row "mirror:<file>" says that some are
// missing or behind, until none is. What rights may name is in memory only: after a restart of the MRC each file that is used is looked at again.
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "capability.h"
#include "engine.h"
#include "mirror_activation.h"
#include "osd_leases.h"
#include "osd_table.h"
#include "service.h"
#include "store.h"

namespace xos::fs::metadata {

class Mirrors : private MirrorWorld {
 public:
  Mirrors(Store& store, Engine& engine, OsdTable& osds, Service& service);
  /// Of a file that was made just now: nobody has had a right to it.
  void made(const Inode& inode);
  /// Returns when rights to the file can be given out: 0, ENOENT, or EHOSTDOWN when too few of its OSDs answer. Waits some seconds for them.
  int ready(uint64_t file, bool write);
  /// A client could not do something by a right of this epoch.
  void failed(uint64_t file, uint32_t epoch);
  /// Makes `c`, which lacks only where it is good, a right at the OSD that leads now, and signs it. False when rights cannot be given out at this moment.
  bool grant(uint64_t file, Capability c, std::string& body, OsdReference& leader) const;
  /// The object at this OSD has blocks that cannot be read: they are made anew from another member.
  void suspect(uint64_t file, uint16_t osd);
  /// An OSD is to be emptied: what it has of these files goes to others.
  void retire(const std::vector<uint64_t>& files);
  /// Members that have been caught up or replaced.
  uint64_t caught_up() const;
  /// Neither returns.
  [[noreturn]] void keep_leases();
  [[noreturn]] void care();

 private:
  struct Live {
    uint32_t epoch = 0, version = 0;
    std::vector<uint16_t> in_step;
    std::vector<uint64_t> sessions;
    bool writable = false;
  };
  uint64_t session(uint16_t osd) override;
  int fence(uint16_t osd, uint64_t file, uint32_t epoch, Object& object) override;
  int digest(uint16_t osd, uint64_t file, uint32_t epoch, uint64_t first, uint32_t count, bool read, std::vector<uint64_t>& digests) override;
  int copy(uint16_t from, uint16_t to, uint64_t file, uint32_t epoch, uint64_t offset, uint32_t bytes) override;
  int truncate(uint16_t osd, uint64_t file, uint32_t epoch, uint64_t bytes) override;
  int sync(uint16_t osd, uint64_t file, uint32_t epoch) override;
  void give_up(uint16_t osd, uint64_t session) override;
  void for_each(size_t count, const std::function<void(size_t)>& each) override;

  int call(uint16_t osd, uint16_t type, uint64_t file, uint32_t epoch, uint8_t rights, const Writer& arguments, RpcClient::Answer& answer, int timeout_ms);
  void ping(uint16_t osd);
  int activate(uint64_t file, const std::vector<uint16_t>& joining, uint16_t avoid, bool drop = false);
  int activate_alone(uint64_t file, const std::vector<uint16_t>& joining, uint16_t avoid, bool drop);
  int publish(uint64_t file, uint32_t epoch, const MirrorMembers& members);
  bool load(uint64_t file, Inode& i, bool& row, bool& unknown) const;
  int look_after(uint64_t file);
  int catch_up(const Inode& i, const std::vector<uint16_t>& behind);
  bool change_list(const Inode& i, std::vector<uint16_t> osds, size_t in_step);
  std::optional<uint16_t> another(const Inode& i) const;
  bool is_reachable(uint16_t osd);
  bool is_lost(uint16_t osd) const;

  Store& store_;
  Engine& engine_;
  OsdTable& osds_;
  Service& service_;
  const int64_t replace_ms_;
  OsdLeases leases_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<uint64_t, Live> live_;
  std::unordered_map<uint64_t, std::map<uint16_t, uint64_t>> before_;  // sessions of the last rights of files that are not live
  std::set<uint64_t> active_;      // being made live just now
  bool wanted_ = true;             // the care has something to do
  uint64_t caught_up_ = 0;
  std::map<uint64_t, std::pair<int64_t, std::string>> said_;  // what was logged of a file last
};

}  // namespace xos::fs::metadata
