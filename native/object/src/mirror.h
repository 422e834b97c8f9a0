// What an OSD does for files with write replicas (docs/decisions/0032-write-replication.md).
//
// One OSD leads a file: clients read and write there only. A change goes to the other members first and is done here last, so what is read here is
// at all of them. Changes of the same bytes are done one after the other, everywhere in that order. When a member has not done it, nothing more is done
// by rights of this epoch: nobody knows what is where. The MRC then makes the members equal and gives out rights of a new epoch.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <sys/uio.h>
#include <unordered_map>
#include <vector>

#include "capability.h"
#include "mirror_session.h"
#include "object_store.h"

namespace xos::fs {

/// How the leading OSD reaches the others. A request is sent once: nobody may do it later, or twice.
class MirrorPeers {
 public:
  virtual ~MirrorPeers() = default;
  /// Sends to all of them, runs `meanwhile`, and waits. 0, or an errno of one of them: ETIMEDOUT or EHOSTDOWN when it is not known what became of it there.
  virtual int ask(const std::vector<MirrorMember>& members, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<void()>& meanwhile) = 0;
};

/// Thread-safe.
class Mirror {
 public:
  Mirror(ObjectStore& store, MirrorSession& session, MirrorPeers& peers) : store_(store), session_(session), peers_(peers) {}
  /// Whether a right to such a file is good here now. Of a read it must be asked when the data are there: only then nobody else led while they were read.
  bool holds(const Capability& c) { return c.session == 0 || (session_.holds(c.session) && !is_broken(c)); }
  /// Whether the request changes the file, and goes through here when this OSD leads it.
  static bool changes(uint16_t type);
  /// Does a request that changes() at the members, and here by `here`, which gets arguments of its own. 0 or -errno.
  int perform(const Capability& c, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<int()>& here);
  /// An append, whose place is the end of the file. Done before under the same identity, here or by way of an OSD that led before: its place.
  int append(const Capability& c, uint64_t identity, std::string_view data, uint64_t& offset, Extent& extent);
  /// What became of it at another member.
  int append_at(const Capability& c, uint64_t identity, uint64_t offset, std::string_view data, const uint32_t* sums, Extent& extent);
  MirrorSession& session() { return session_; }

 private:
  struct Range {
    uint64_t from, to;
  };
  struct Lead {
    std::list<Range> busy;  // turns that are there or wait, as they came
    uint32_t broken_epoch = 0;  // rights of it and before are refused
    std::deque<std::pair<uint64_t, uint64_t>> appended;  // identity and place of the last ones
  };
  class Turn;
  bool is_broken(const Capability& c);
  void broke(const Capability& c);
  int everywhere(const Capability& c, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<int()>& here);
  bool appended(uint64_t file, uint64_t identity, uint64_t& offset);
  void note_append(uint64_t file, uint64_t identity, uint64_t offset);
  ObjectStore& store_;
  MirrorSession& session_;
  MirrorPeers& peers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<uint64_t, Lead> leads_;
};

}  // namespace xos::fs
