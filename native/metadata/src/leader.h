// What the one xos-mrc of a group that leads does for the others: records go to them, and it knows what a majority has.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "member.h"
#include "store.h"

namespace xos::fs::metadata {

/// Asks all members for the promise that makes this one lead `term`. Throws CodedError: XOS_BUSY (somebody leads), XOS_BEHIND (another one, which it names, has more),
/// XOS_OLD_TERM (with a later one), XOS_NO_MAJORITY. The term is spent then. Waits some seconds.
void elect(Member& member, wire::TlsContext& tls, uint64_t term);

/// Lives until the process ends.
class Leader : public Majority {
 public:
  Leader(Store& store, Member& member, wire::TlsContext& tls, uint64_t term);
  /// Begins to send.
  void start();
  void committed(uint64_t sequence) override;
  void wait_kept(uint64_t sequence) override;
  void want_synced(uint64_t sequence) override;
  void wait_synced(uint64_t sequence) override;

  struct Follower {
    std::string node;
    bool connected = false;
    uint64_t kept = 0, synced = 0;  ///< sequences
    uint64_t copied_bytes = 0;      ///< of the copy that is under way
  };
  std::vector<Follower> followers() const;

 private:
  struct Link : Follower {
    Peer peer;
    int64_t heard_ms = 0;  // when what it answered was sent
  };
  void send_records(Link& link);
  void send_syncs(Link& link);
  void follow(Link& link, wire::Connection& c);
  Position send_copy(Link& link, wire::Connection& c);
  MemberState ask(Link& link, wire::Connection& c, uint16_t type, const Writer& payload);
  int64_t leads_until() const;
  bool has_majority(uint64_t sequence, uint64_t Follower::*what) const;

  Store& store_;
  Member& member_;
  wire::TlsContext& tls_;
  const uint64_t term_;
  size_t majority_;
  mutable std::mutex mutex_;
  std::condition_variable work_, answered_;
  std::vector<std::unique_ptr<Link>> links_;
  uint64_t committed_ = 0, sync_wanted_ = 0, copies_ = 0;
};

}  // namespace xos::fs::metadata
