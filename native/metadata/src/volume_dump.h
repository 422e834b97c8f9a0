// Reads a volume's metadata out as it is at one moment, while it goes on being changed.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>

#include "engine.h"

namespace xos::fs::metadata {

/// One dump. It holds a reader of the database open, whose pages are not used again until it is destroyed. Not thread-safe.
class VolumeDump {
 public:
  /// `osds`: names by the numbers that inodes hold. Throws StoreError.
  VolumeDump(Store& store, const Volume& volume, std::map<uint16_t, std::string> osds, std::map<uint32_t, Usage> limits);
  /// The next block of the file (dump_format.h); empty after the last one.
  std::string next();

 private:
  void put_inode(const Inode& inode);
  void put_name(std::string_view key, std::string_view value);
  std::string finish(std::string_view payload);

  std::unique_ptr<const Txn> txn_;
  Volume volume_;
  std::map<uint16_t, std::string> osds_;
  std::map<uint32_t, Usage> limits_;
  std::deque<uint64_t> directories_;         // whose names are still to come; the first one from `last_` on
  std::string last_;
  std::unordered_set<uint64_t> linked_;      // inodes of several names that are in it already
  Writer records_;
  uint64_t blocks_ = 0, inodes_ = 0, names_ = 0;
  uint32_t crc_ = 0;
  bool begun_ = false, ended_ = false;
};

}  // namespace xos::fs::metadata
