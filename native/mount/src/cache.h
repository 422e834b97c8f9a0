// Attributes and names of a mount, kept while the MRC's leases allow (see metadata/src/sessions.h).
//
// Whoever asks the MRC takes a token before and gives it with the answer. When an invalidation came in between, or (for names) a change
// of our own in the same part of the cache, the answer is used once and not kept. Attributes of our own changes are ordered by Attr::change.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "protocol.h"

namespace xos::fs {

class Cache {
 public:
  struct Token {
    uint64_t remote = 0, own = 0, own_anywhere = 0;
  };
  /// Leases hold until this moment of the monotonic clock (ms).
  void set_valid_until(int64_t ms) { valid_until_ms_ = ms; }
  bool valid() const;
  /// For how long the kernel may keep what is leased now: at most a second, never longer than our lease lasts.
  double seconds_left() const;

  Token token(uint64_t id) const;
  std::optional<metadata::Attr> attr(uint64_t id) const;
  /// Kept when it is leased and not older than what is there.
  void keep_attr(const metadata::Attr& attr, Token token);
  /// Reading is no change: nothing else of the attributes moves.
  void set_atime(uint64_t id, int64_t atime_ns);
  enum class Found { no, yes, negative };
  Found entry(uint64_t directory, const std::string& name, uint64_t& id) const;
  /// `id` 0: there is no such name.
  void keep_entry(uint64_t directory, const std::string& name, uint64_t id, Token token);
  /// All names of the directory are known from now on, after a listing without a change in between.
  void complete(uint64_t directory, Token token);
  /// The same for a directory that we have made; `token` is of before.
  void complete_new(uint64_t directory, Token token);
  using Change = std::pair<std::string, uint64_t>;
  /// Our own change of names; id 0: the name is gone.
  void entries_changed(uint64_t directory, const std::vector<Change>& changes, Token token);
  /// After our own change, when its result is not known in full.
  void forget_attr(uint64_t id);
  void forget_entries(uint64_t directory);
  /// The MRC says that others have changed it.
  void invalidate_attr(uint64_t id);
  void invalidate_entries(uint64_t directory);
  void clear();
  struct Counts {
    uint64_t attr_hits = 0, attr_misses = 0, name_hits = 0, name_misses = 0;
  };
  /// How often what was asked for was here.
  Counts counts() const;

 private:
  struct Directory {
    bool complete = false;
    std::unordered_map<std::string, uint64_t> names;
  };
  struct Shard {
    mutable std::mutex mutex;
    uint64_t changes = 0;  // our own, of names
    mutable Counts counts;
    size_t names = 0;
    std::unordered_map<uint64_t, metadata::Attr> attrs;
    std::unordered_map<uint64_t, Directory> directories;
  };
  Shard& shard(uint64_t id) { return shards_[id % shards]; }
  const Shard& shard(uint64_t id) const { return shards_[id % shards]; }
  void make_room(Shard& shard);
  static constexpr size_t shards = 32, entries_max = 100000;
  std::atomic<size_t> names_{0}, attrs_{0};
  Shard shards_[shards];
  std::atomic<uint64_t> remote_changes_{0}, own_changes_{0};
  std::atomic<int64_t> valid_until_ms_{0};
};

}  // namespace xos::fs
