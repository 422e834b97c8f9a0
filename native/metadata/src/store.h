// Transactions on LMDB: many readers without locks, one writer at a time that takes everybody's queued changes into one transaction.
#pragma once
#include <lmdb.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
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

enum Table { table_inode, table_entry, table_xattr, table_orphan, table_writing, table_deletion, table_volume, table_osd, table_reply, table_meta, table_usage, table_policy, table_borrow, table_snapshot, tables };

class Txn {
 public:
  Txn(MDB_env* env, const MDB_dbi* dbis, bool write);
  ~Txn();
  Txn(const Txn&) = delete;
  Txn& operator=(const Txn&) = delete;
  /// The view is valid until the next write of this transaction, or its end.
  bool get(Table table, std::string_view key, std::string_view& value) const;
  void put(Table table, std::string_view key, std::string_view value);
  bool erase(Table table, std::string_view key);
  /// Calls `each(key, value)` from `from` on, in order, until it returns false. No changes of the table inside.
  void scan(Table table, std::string_view from, const std::function<bool(std::string_view, std::string_view)>& each) const;
  void commit();
  uint64_t entries(Table table) const;
  uint64_t id() const { return mdb_txn_id(txn_); }

 private:
  MDB_txn* txn_ = nullptr;
  const MDB_dbi* dbis_;
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
  /// Committed changes survive the death of the process; `sync` makes them survive the machine's.
  void write(const std::function<void(Txn&)>& change);
  void read(const std::function<void(const Txn&)>& look) const;
  /// Everything committed before the call is on the disk afterwards. Calls at the same time share the work. Throws StoreError.
  void sync();
  /// The state of now, for as long as the caller keeps it: no page of it is used again meanwhile.
  std::unique_ptr<const Txn> snapshot() const;
  /// Looks at the state that was synced last: what is gone there does not come back when the machine dies.
  void read_synced(const std::function<void(const Txn&)>& look) const;
  /// True when the start gave up changes that had not been synced: numbers that were given out may have been forgotten.
  bool lost_changes() const { return lost_changes_; }
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
};

}  // namespace xos::fs::metadata
