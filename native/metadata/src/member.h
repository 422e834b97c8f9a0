// One xos-mrc as a member of a group: what it has promised, and the records that it takes from who leads.
//
// Rows of table_local: "members" (n × {node, address, u16 port}), "promise" (u64 term, node to which it is promised).
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "group_protocol.h"
#include "store.h"

namespace xos::fs::metadata {

/// Thread-safe.
class Member {
 public:
  Member(Store& store, std::string node);
  const std::string& node() const { return node_; }
  /// Empty: in no group.
  std::vector<Peer> members() const;
  /// Sets the members, of which this is one; of a group only their addresses change. `seed`: this database is what the others get; else it must be empty.
  /// Throws CodedError. A new group takes effect at the next start.
  void set_members(const std::vector<Peer>& members, bool seed);
  MemberState state() const;
  /// To whom the term of state() is promised; empty: to nobody yet.
  std::string promised_to() const;

  /// Promises a term to a candidate (empty: only that no older one leads), on the disk. Waits until whoever led by our word does so no more.
  MemberState promise(uint64_t term, const std::string& candidate);
  /// From now on this process leads the term that it has promised to itself. False when another one was promised since, or it had led that one before.
  bool begin_to_lead(uint64_t term);
  /// This process leads, and shall not any more: promises `term` to nobody yet, and ends (replaced).
  void resign(uint64_t term);
  /// Who leads, here: no promise to others before.
  void leads_until(int64_t until_ms);
  /// An answer of another member: the term may be over.
  void heard_of(uint64_t term);
  /// Called once this process, which leads, must not any more. Does not return.
  std::function<void(uint64_t term)> replaced;

  /// A connection of another member, whose first frame was received. Until it leaves. Throws wire::Error, Malformed.
  void serve(wire::Connection& connection, wire::FrameHeader header, std::vector<std::byte> payload);
  /// One request; public for tests.
  MemberState handle(uint16_t type, const std::string& from, std::string_view payload);

 private:
  bool hear(uint64_t term, const std::string& from);
  void remember(uint64_t term, const std::string& holder);
  GroupStatus append(Reader& r);
  GroupStatus copy(Reader& r);

  Store& store_;
  const std::string node_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t term_ = 0;
  std::string holder_;
  int64_t promised_until_ms_ = 0;
  bool leading_ = false;
  uint64_t copy_ = 0;         // under way
  uint32_t copy_number_ = 0;  // of the next portion
};

}  // namespace xos::fs::metadata
