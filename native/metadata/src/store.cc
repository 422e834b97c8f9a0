#include "store.h"

#include <endian.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>

#include "records.h"

namespace xos::fs::metadata {

namespace {

constexpr const char* names[tables] = {"inode", "entry", "xattr", "orphan", "writing", "deletion", "volume", "osd", "reply", "meta", "usage", "policy", "borrow", "snapshot", "log", "local"};
constexpr size_t group_max = 256;

void check(int code, const char* what) {
  if (code != 0) throw StoreError(code, what);
}

MDB_val value_of(std::string_view s) { return {s.size(), const_cast<char*>(s.data())}; }
std::string_view view(const MDB_val& v) { return {static_cast<const char*>(v.mv_data), v.mv_size}; }

}  // namespace

std::string key_of(uint64_t id) {
  uint64_t big = htobe64(id);
  return std::string(reinterpret_cast<const char*>(&big), sizeof big);
}

uint64_t id_of(std::string_view key) {
  uint64_t big = 0;
  std::memcpy(&big, key.data(), std::min(key.size(), sizeof big));
  return be64toh(big);
}

Txn::Txn(MDB_env* env, const MDB_dbi* dbis, bool write, std::string* record) : dbis_(dbis), record_(record) {
  check(mdb_txn_begin(env, nullptr, write ? 0 : MDB_RDONLY, &txn_), "cannot begin a transaction");
}

Txn::~Txn() {
  if (txn_) mdb_txn_abort(txn_);
}

bool Txn::get(Table table, std::string_view key, std::string_view& value) const {
  MDB_val k = value_of(key), v;
  int r = mdb_get(txn_, dbis_[table], &k, &v);
  if (r == MDB_NOTFOUND) return false;
  check(r, "cannot read metadata");
  value = view(v);
  return true;
}

void Txn::put(Table table, std::string_view key, std::string_view value) {
  MDB_val k = value_of(key), v = value_of(value);
  check(mdb_put(txn_, dbis_[table], &k, &v, 0), "cannot write metadata");
  if (record_ && table < shared_tables) records::add_put(*record_, table, key, value);
}

bool Txn::erase(Table table, std::string_view key) {
  MDB_val k = value_of(key);
  int r = mdb_del(txn_, dbis_[table], &k, nullptr);
  if (r == MDB_NOTFOUND) return false;
  check(r, "cannot delete metadata");
  if (record_ && table < shared_tables) records::add_erase(*record_, table, key);
  return true;
}

void Txn::scan(Table table, std::string_view from, const std::function<bool(std::string_view, std::string_view)>& each) const {
  MDB_cursor* raw;
  check(mdb_cursor_open(txn_, dbis_[table], &raw), "cannot list metadata");
  std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> cursor(raw, mdb_cursor_close);
  MDB_val k = value_of(from), v;
  int r = mdb_cursor_get(cursor.get(), &k, &v, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
  while (r == 0 && each(view(k), view(v))) r = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT);
  if (r != 0 && r != MDB_NOTFOUND) check(r, "cannot list metadata");
}

bool Txn::last(Table table, std::string_view& key, std::string_view& value) const {
  MDB_cursor* raw;
  check(mdb_cursor_open(txn_, dbis_[table], &raw), "cannot read metadata");
  std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> cursor(raw, mdb_cursor_close);
  MDB_val k, v;
  int r = mdb_cursor_get(cursor.get(), &k, &v, MDB_LAST);
  if (r == MDB_NOTFOUND) return false;
  check(r, "cannot read metadata");
  key = view(k);
  value = view(v);
  return true;
}

void Txn::clear(Table table) { check(mdb_drop(txn_, dbis_[table], 0), "cannot empty a table"); }

void Txn::commit() {
  MDB_txn* t = txn_;
  txn_ = nullptr;
  check(mdb_txn_commit(t), "cannot commit metadata");
}

uint64_t Txn::entries(Table table) const {
  MDB_stat s;
  check(mdb_stat(txn_, dbis_[table], &s), "cannot count metadata");
  return s.ms_entries;
}

struct Store::Task {
  const std::function<void(Txn&)>* change;
  std::exception_ptr error;
  bool done = false, lead = false;
  std::condition_variable wake;
};

Store::Store(const std::string& directory, size_t map_bytes, std::string boot) : synced_(directory, std::move(boot)) {
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) throw StoreError(errno, "cannot make '" + directory + "'");
  lost_changes_ = synced_.recover();
  check(mdb_env_create(&env_), "cannot make a database environment");
  try {
    check(mdb_env_set_mapsize(env_, map_bytes), "cannot set the map size");
    check(mdb_env_set_maxdbs(env_, tables), "cannot set the number of tables");
    check(mdb_env_set_maxreaders(env_, 2048), "cannot set the number of readers");
    // NOSYNC: the kernel has the pages when commit returns, so only the machine's death could lose them; power_loss.h covers that.
    // NOTLS: a reader belongs to its transaction object, not to its thread.
    int r = mdb_env_open(env_, directory.c_str(), MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (r != 0) throw StoreError(r, "cannot open the metadata in '" + directory + "'");
    int dead = 0;
    mdb_reader_check(env_, &dead);  // readers of a killed predecessor would keep old pages alive
    // Before the first change: the predecessor's pin is gone, and its synced state must not be written over.
    std::fill(std::begin(dbis_), std::end(dbis_), 0);
    sync_now();
    MDB_txn* txn;
    check(mdb_txn_begin(env_, nullptr, 0, &txn), "cannot begin a transaction");
    for (int i = 0; i < tables; ++i) {
      if (int e = mdb_dbi_open(txn, names[i], MDB_CREATE, &dbis_[i]); e != 0) {
        mdb_txn_abort(txn);
        throw StoreError(e, std::string("cannot open table '") + names[i] + "'");
      }
    }
    check(mdb_txn_commit(txn), "cannot make the tables");
    sync_now();  // a pin that knows the tables
  } catch (...) {
    pin_.reset();
    mdb_env_close(env_);
    throw;
  }
}

Store::~Store() {
  try {
    sync_now();
  } catch (const std::exception&) {
    // What was acknowledged is in the kernel.
  }
  pin_.reset();
  mdb_env_close(env_);
}

void Store::run(std::span<Task* const> changes) {
  std::string record;
  Majority* const majority = majority_;
  Txn txn(env_, dbis_, true, majority ? &record : nullptr);
  for (Task* t : changes) (*t->change)(txn);
  const uint64_t sequence = sequence_ + 1;
  if (!record.empty()) records::append(txn, {term_, sequence}, record);
  {
    std::lock_guard committing(commit_mutex_);
    txn.commit();
  }
  if (record.empty()) return;
  sequence_ = sequence;
  majority->committed(sequence);
}

void Store::run_group(std::vector<Task*>& group) {
  try {
    run(group);
    return;
  } catch (...) {
    if (group.size() == 1) {
      group[0]->error = std::current_exception();
      return;
    }
  }
  // One of them failed and took the transaction along: each gets its own.
  for (Task* t : group) {
    try {
      run({&t, 1});
    } catch (...) {
      t->error = std::current_exception();
    }
  }
}

void Store::lead(uint64_t term, Majority& majority) {
  read([&](const Txn& txn) {
    sequence_ = records::newest(txn).sequence;
    if (records::standing(txn) == records::Standing::forgot) lost_changes_ = true;
  });
  term_ = term;
  majority_ = &majority;
  // What others left unanswered counts only once a record of this term is at a majority (Raft, 5.4.2).
  write([&](Txn& txn) {
    txn.put(table_meta, "term", key_of(term));
    records::set_standing(txn, records::Standing::whole);
  });
}

void Store::write(const std::function<void(Txn&)>& change) {
  write_here(change);
  // Also when nothing was changed: what was looked at may not be at a majority yet.
  wait_current();
}

void Store::write_here(const std::function<void(Txn&)>& change) {
  Task task{&change};
  std::unique_lock lock(mutex_);
  queue_.push_back(&task);
  if (leading_) task.wake.wait(lock, [&] { return task.done || task.lead; });
  if (!task.done) {
    // The first to come leads: it saves the two thread switches that a writer thread would cost a lone client.
    leading_ = true;
    std::vector<Task*> group;
    size_t n = std::min(queue_.size(), group_max);
    group.assign(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(n));
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(n));
    lock.unlock();
    run_group(group);
    lock.lock();
    ++transactions_;
    changes_ += group.size();
    for (Task* t : group) {
      t->done = true;
      if (t != &task) t->wake.notify_one();
    }
    if (queue_.empty()) {
      leading_ = false;
    } else {
      queue_.front()->lead = true;
      queue_.front()->wake.notify_one();
    }
  }
  if (task.error) std::rethrow_exception(task.error);
}

void Store::read(const std::function<void(const Txn&)>& look) const {
  Txn txn(env_, dbis_, false);
  look(txn);
}

std::unique_ptr<const Txn> Store::snapshot() const { return std::make_unique<const Txn>(env_, dbis_, false); }

void Store::sync_now() {
  std::unique_ptr<Txn> pin;
  std::string page;
  {
    std::lock_guard no_commits(commit_mutex_);
    pin = std::make_unique<Txn>(env_, dbis_, false);
    page = synced_.meta_page(pin->id());
  }
  check(mdb_env_sync(env_, 1), "cannot write metadata to the disk");
  synced_.keep(page);
  std::lock_guard lock(pin_mutex_);
  pin_ = std::move(pin);
}

/// Whether nothing was committed since the last sync.
bool Store::is_synced() const {
  MDB_envinfo info;
  check(mdb_env_info(env_, &info), "cannot look at the database");
  std::lock_guard lock(pin_mutex_);
  return pin_ && pin_->id() == info.me_last_txnid;
}

void Store::sync() {
  Majority* const majority = majority_;
  const uint64_t sequence = sequence_;
  if (majority) majority->want_synced(sequence);  // meanwhile
  sync_here();
  if (majority) majority->wait_synced(sequence);
}

void Store::sync_here() {
  if (is_synced()) return;
  std::unique_lock lock(sync_mutex_);
  const uint64_t needed = syncs_begun_ + 1;  // one that begins after now
  while (syncs_ended_ < needed) {
    if (syncing_) {
      sync_ended_.wait(lock);
      continue;
    }
    syncing_ = true;
    const uint64_t mine = ++syncs_begun_;
    lock.unlock();
    std::exception_ptr error;
    try {
      sync_now();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    syncing_ = false;
    if (!error) syncs_ended_ = mine;
    sync_ended_.notify_all();
    if (error) std::rethrow_exception(error);
  }
}

void Store::read_synced(const std::function<void(const Txn&)>& look) const {
  {
    std::lock_guard lock(pin_mutex_);
    look(*pin_);
  }
  // On this disk is not yet at a majority.
  wait_current();
}

std::pair<uint64_t, uint64_t> Store::counters() const {
  std::lock_guard lock(mutex_);
  return {transactions_, changes_};
}

Store::Size Store::size() const {
  MDB_envinfo info;
  MDB_stat stat;
  check(mdb_env_info(env_, &info), "cannot measure the metadata");
  check(mdb_env_stat(env_, &stat), "cannot measure the metadata");
  return {info.me_last_pgno + 1, info.me_mapsize / stat.ms_psize, stat.ms_psize};
}

}  // namespace xos::fs::metadata
