// Transactions on LMDB: many readers without locks, one writer at a time that takes everybody's queued changes into one transaction.
#pragma once
#include <lmdb.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "power_loss.h"

namespace xos::fs::metadata {

struct StoreError : std::runtime_error {
  int code;  ///< MDB_… or errno
  StoreError(int code, const std::string& what) : std::runtime_error(what + ": " + mdb_strerror(code)), code(code) {}
  /// ENOSPC when the map or the disk is full, else EIO.
  int as_errno() const { return code == MDB_MAP_FULL || code == ENOSPC || code == EDQUOT ? ENOSPC : EIO; }
};

enum Table { table_inode, table_entry, table_xattr, table_orphan, table_writing, table_deletion, table_volume, table_osd, table_reply, table_meta, table_usage, table_policy, table_borrow, table_snapshot,
             table_log, table_local, tables };
/// Those before it are the same at all members of a group; the others are each member's own.
inline constexpr Table shared_tables = table_log;

/// Who keeps what this store commits, besides it (leader.h). Thread-safe.
class Majority {
 public:
  virtual ~Majority() = default;
  /// A record of this number was committed here. Does not wait.
  virtual void committed(uint64_t sequence) = 0;
  /// Returns when a majority has it, and nobody else may lead at this moment. Until then for ever: who is replaced ends.
  virtual void wait_kept(uint64_t sequence) = 0;
  /// It is to reach the disks of others, too. Does not wait.
  virtual void want_synced(uint64_t sequence) = 0;
  /// Returns when a majority has it on the disk; here it is, and it was wanted.
  virtual void wait_synced(uint64_t sequence) = 0;
};

class Txn {
 public:
  /// `record`: what is changed in shared tables is added to it (records.h).
  Txn(MDB_env* env, const MDB_dbi* dbis, bool write, std::string* record = nullptr);
  ~Txn();
  Txn(const Txn&) = delete;
  Txn& operator=(const Txn&) = delete;
  /// The view is valid until the next write of this transaction, or its end.
  bool get(Table table, std::string_view key, std::string_view& value) const;
  void put(Table table, std::string_view key, std::string_view value);
  bool erase(Table table, std::string_view key);
  /// Calls `each(key, value)` from `from` on, in order, until it returns false. No changes of the table inside.
  void scan(Table table, std::string_view from, const std::function<bool(std::string_view, std::string_view)>& each) const;
  /// The row with the largest key; false when there is none.
  bool last(Table table, std::string_view& key, std::string_view& value) const;
  /// Takes all rows away. Not recorded.
  void clear(Table table);
  void commit();
  uint64_t entries(Table table) const;
  uint64_t id() const { return mdb_txn_id(txn_); }

 private:
  MDB_txn* txn_ = nullptr;
  const MDB_dbi* dbis_;
  std::string* record_;
};

/// Keys are big endian, so that LMDB's order is numeric order.
std::string key_of(uint64_t id);
uint64_t id_of(std::string_view key);

class Store {
 public:
  /// Opens or makes the database in `directory`. When the machine was started since it was used last, what had not been synced is gone,
  /// and the rest is whole (power_loss.h). Throws StoreError.
  explicit Store(const std::string& directory, size_t map_bytes = size_t{64} << 30, std::string boot = boot_id());
  ~Store();
  /// Runs `change` in a write transaction, together with what others have queued meanwhile, and returns when it is committed.
  /// It may be run twice (when another one of the group failed), so it must set its results afresh. Throws what `change` threw.
  /// Committed changes survive the death of the process; `sync` makes them survive the machine's. In a store that leads a majority has them on return.
  void write(const std::function<void(Txn&)>& change);
  /// The same, and does not wait for others.
  void write_here(const std::function<void(Txn&)>& change);
  void read(const std::function<void(const Txn&)>& look) const;
  /// Everything committed before the call is on the disk afterwards. Calls at the same time share the work. Throws StoreError.
  /// Costs nothing when nothing was committed since the last one.
  void sync();
  /// The state of now, for as long as the caller keeps it: no page of it is used again meanwhile.
  std::unique_ptr<const Txn> snapshot() const;
  /// The same, of this machine's disk only.
  void sync_here();
  /// Looks at the state that was synced last: what is gone there does not come back when the machine dies.
  void read_synced(const std::function<void(const Txn&)>& look) const;
  /// True when the start gave up changes that had not been synced: numbers that were given out may have been forgotten.
  bool lost_changes() const { return lost_changes_; }
  /// From now on each transaction is a record of `term` that `majority` is told of, and sync() is one of a majority. Before anything else is written;
  /// what was forgotten here counts as lost (lost_changes()).
  void lead(uint64_t term, Majority& majority);
  /// Returns when what can be read at this moment is at a majority, and nobody else may lead. Before anything that was read goes out. Free in a store alone.
  void wait_current() const {
    if (Majority* majority = majority_) majority->wait_kept(sequence_.load());
  }
  /// Transactions and changes so far: their quotient is how well grouping works.
  std::pair<uint64_t, uint64_t> counters() const;
  struct Size {
    uint64_t pages, pages_max, page_bytes;
  };
  /// Of the database file; pages that are free again count as well.
  Size size() const;

 private:
  struct Task;
  void run_group(std::vector<Task*>& group);
  void run(std::span<Task* const> changes);
  bool is_synced() const;
  void sync_now();
  MDB_env* env_ = nullptr;
  SyncedState synced_;
  bool lost_changes_ = false;
  std::mutex commit_mutex_;  // no transaction is committed while it is held
  std::mutex sync_mutex_;
  std::condition_variable sync_ended_;
  uint64_t syncs_begun_ = 0, syncs_ended_ = 0;
  bool syncing_ = false;
  mutable std::mutex pin_mutex_;
  std::unique_ptr<Txn> pin_;  // keeps the pages of the synced state from being used again
  MDB_dbi dbis_[tables];
  mutable std::mutex mutex_;
  std::vector<Task*> queue_;
  bool leading_ = false;
  uint64_t transactions_ = 0, changes_ = 0;
  std::atomic<Majority*> majority_{nullptr};
  uint64_t term_ = 0;
  std::atomic<uint64_t> sequence_{0};  // of the last record
};

}  // namespace xos::fs::metadata
