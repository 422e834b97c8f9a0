// How the members of a file with write replicas are made equal for a new epoch (docs/decisions/0032-write-replication.md). Knows no network.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace xos::fs::metadata {

/// The OSDs, as it needs them. Calls return 0 or an errno.
class MirrorWorld {
 public:
  virtual ~MirrorWorld() = default;
  struct Object {
    uint64_t bytes = 0;
    int64_t mtime_ns = 0;
  };
  /// The session by which an OSD can lead or follow now; 0: it does not answer.
  virtual uint64_t session(uint16_t osd) = 0;
  /// From now on rights below `epoch` are refused there, and nothing is under way by one.
  virtual int fence(uint16_t osd, uint64_t file, uint32_t epoch, Object& object) = 0;
  virtual int digest(uint16_t osd, uint64_t file, uint32_t epoch, uint64_t first, uint32_t count, bool read, std::vector<uint64_t>& digests) = 0;
  virtual int copy(uint16_t from, uint16_t to, uint64_t file, uint32_t epoch, uint64_t offset, uint32_t bytes) = 0;
  virtual int truncate(uint16_t osd, uint64_t file, uint32_t epoch, uint64_t bytes) = 0;
  virtual int sync(uint16_t osd, uint64_t file, uint32_t epoch) = 0;
  /// Returns when the OSD leads no file any more by this session (0: one that nobody knows).
  virtual void give_up(uint16_t osd, uint64_t session) = 0;
  /// Calls `each` for all of them, side by side where it can.
  virtual void for_each(size_t count, const std::function<void(size_t)>& each) = 0;
};

struct MirrorPlan {
  uint64_t file = 0;
  uint32_t epoch = 0;                    ///< the new one, on the disk already; nobody has had a right of it
  std::vector<uint16_t> in_step;         ///< the first one led last
  std::vector<uint16_t> joining;         ///< shall be in step as well
  std::map<uint16_t, uint64_t> sessions; ///< by which the last rights were given
  uint16_t avoid = 0xffff;               ///< shall not lead when another one can, and is compared by its data
  bool drop_avoided = false;             ///< it is not to be in step any more
  size_t majority = 1, needed = 1;       ///< members in step that it takes to go on at all, and to write
  bool unknown = false;                  ///< nobody knows who is in step: the one that was written last counts
};

struct MirrorMembers {
  std::vector<uint16_t> in_step;  ///< the first one leads
  std::vector<uint64_t> sessions;
  bool writable = false;
};

/// Makes `to` what `from` is: 0, or an errno with the OSD that it was about. With `read` the data are compared, not their checksums only.
int mirror_equal(MirrorWorld& world, uint64_t file, uint32_t epoch, uint16_t from, uint64_t bytes, uint16_t to, bool read, uint16_t& failed);

/// Fences the members, makes them equal and says who they are. EHOSTDOWN when too few answer, or nobody who is in step. Rights may be given out when the
/// result is on the disk.
int mirror_activate(MirrorWorld& world, const MirrorPlan& plan, MirrorMembers& members);

}  // namespace xos::fs::metadata
