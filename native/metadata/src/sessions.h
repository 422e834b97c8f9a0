// What the MRC remembers of its clients: sessions (one per mount process), files they have open, locks, cache leases, callbacks.
//
// Lease rule. A mount may use cached attributes and entries until 2.5 s after it sent the last acknowledgement that it knows the MRC
// has received (the next callback proves that). The MRC completes a change when every other mount with a lease has
// acknowledged the invalidation, or 2.5 s after that mount's last acknowledgement. So no clock is shared and nobody is waited for longer.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine.h"
#include "lock_manager.h"
#include "wire.h"

namespace xos::fs::metadata {

inline constexpr int lease_ms = 2500;
inline constexpr int ping_ms = 500;
inline constexpr int session_linger_ms = 3000;    ///< a mount without any connection is gone after this
inline constexpr int session_silence_ms = 15000;  ///< one whose callbacks stay unanswered, after this

class Sessions : public OpenFiles {
 public:
  struct Session {
    uint64_t instance = 0;
    std::string node;
    unsigned bit = 64;  ///< in the lease masks; 64: too many mounts, this one gets no leases
    int connections = 0;
    int64_t idle_since_ms = 0;
    bool gone = false;
    bool complete = false;  ///< has told what it had open before
    std::atomic<uint64_t> generation{0};  ///< of that; closes that were sent before it count no more
    // callbacks: one message under way at a time
    bool callback_connected = false;
    int64_t acknowledged_ms = 0;
    uint64_t queued = 0, acknowledged = 0, callback_generation = 0;
    std::deque<std::pair<uint16_t, std::string>> messages;
    std::condition_variable wake;
  };
  using Ptr = std::shared_ptr<Session>;

  /// `returning`: instances that the database remembers; until they are back (or the grace time is over) changes of others wait.
  explicit Sessions(std::set<uint64_t> returning);

  /// Session of a mount; makes it when it is new (then `known` is false) and drops older ones of the same node, whose instances go to `replaced`.
  Ptr attach(uint64_t instance, const std::string& node, bool& known, std::vector<uint64_t>& replaced);
  void detach(const Ptr& session);
  /// Runs the callback connection of a session until it breaks. `ready` returns when a message may be sent: each makes the mount's lease longer.
  void serve_callbacks(const Ptr& session, wire::Connection& connection, const std::function<void()>& ready);
  void reclaimed(const Ptr& session);
  /// True once every mount of before the restart is back or had its time.
  bool settled() const;
  void wait_settled();

  // open files
  /// 0, or ENOENT when the file is being deleted, or session_gone.
  int open(const Ptr& session, uint64_t id, int readers, int writers);
  struct Closed {
    bool last_writer = false;  ///< nobody writes any more
    bool last = false;         ///< nobody has it open any more
    bool doomed = false;       ///< ... and it was unlinked meanwhile, perhaps in a transaction that is not committed yet
  };
  Closed close(const Ptr& session, uint64_t id, int readers, int writers);
  uint8_t writers(const Ptr& session, uint64_t id);
  bool writes(const Ptr& session, uint64_t id);
  bool has_writers(uint64_t id);
  bool knows(uint64_t instance);
  bool is_open(uint64_t id) override;
  bool try_kill(uint64_t id) override;
  void doom(uint64_t id);    ///< an unlinked file of before the restart
  void bury(uint64_t id);  ///< after the transaction that killed it
  /// Files that were open for writing when the MRC died: others must ask the OSDs until their size is known.
  void set_unsettled(std::unordered_set<uint64_t> ids);
  /// The same of files that were brought back.
  void unsettle(const std::vector<uint64_t>& ids);
  std::unordered_set<uint64_t> unsettled();
  void settle(uint64_t id);

  // leases
  bool grant(const Ptr& session, uint64_t id, bool entries);
  /// Calls back the leases of all sessions but `by` on what changed, and waits as the lease rule says.
  void invalidate(const Effects& effects, const Session* by);
  /// Everybody drops all that he has kept, soon.
  void invalidate_all();
  /// Before somebody else hears of a file: its writers have nothing on the way to the OSDs any more, and write no more behind (the lease
  /// rule bounds the wait). Once for each open of a writer; not inside a transaction.
  void settle_writers(uint64_t id, const Session* by);

  /// The writers of these files have to ask again before they grow them (callback 4, waited for like an invalidation).
  void withdraw_growth(const std::vector<uint64_t>& ids);

  /// Who has the file open asks for a right anew before it works on its contents (callback 16, waited for likewise).
  void renew_rights(uint64_t id);

  // locks
  int set_lock(const Ptr& session, uint64_t id, const Lock& lock, bool wait, Lock& blocker);
  void cancel_lock(const Ptr& session, uint64_t id, const Lock& lock);
  Lock get_lock(const Ptr& session, uint64_t id, const Lock& lock);

  struct Dropped {
    uint64_t instance;
    std::string node;
    std::vector<uint64_t> written, opened;
  };
  /// Sessions that are over by the rules above (or, with `node`, all of that node).
  std::vector<Dropped> drop_expired(const std::string* node = nullptr);
  struct Counts {
    size_t sessions, open_files, locks, leases;
  };
  Counts counts();

 private:
  struct Opens {
    struct Count {
      int readers = 0, writers = 0;
      bool behind = false;  // may have answered write(2) before the OSD has the data
    };
    std::unordered_map<const Session*, Count> by_session;
  };
  void enqueue(Session& session, uint16_t type, std::string payload);
  void notify_waiters(uint64_t file);
  using Hits = std::unordered_map<Session*, std::vector<std::pair<uint64_t, uint8_t>>>;
  void call_back(std::unique_lock<std::mutex>& lock, const Hits& hits);
  Dropped drop(const Ptr& session);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<uint64_t, Ptr> sessions_;
  std::unordered_map<uint64_t, Opens> open_;
  std::unordered_set<uint64_t> dying_, doomed_, unsettled_;
  std::unordered_map<uint64_t, uint64_t> attribute_leases_, entry_leases_;
  uint64_t used_bits_ = 0;
  LockManager locks_;
  std::set<uint64_t> returning_;
  int64_t started_ms_;
};

}  // namespace xos::fs::metadata
