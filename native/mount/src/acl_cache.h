// Lists of access control that this node has asked for. One counts as long as the inode's attributes, which are under a lease, are of the same change.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace xos::fs {

class AclCache {
 public:
  std::optional<std::string> find(uint64_t id, const std::string& name, uint64_t change) const {
    std::lock_guard lock(mutex_);
    auto it = lists_.find({id, name});
    if (it == lists_.end() || it->second.first != change) return std::nullopt;
    return it->second.second;
  }
  void keep(uint64_t id, const std::string& name, uint64_t change, std::string value) {
    std::lock_guard lock(mutex_);
    if (lists_.size() >= lists_max) lists_.clear();
    lists_[{id, name}] = {change, std::move(value)};
  }

 private:
  static constexpr size_t lists_max = 4096;
  mutable std::mutex mutex_;
  std::map<std::pair<uint64_t, std::string>, std::pair<uint64_t, std::string>> lists_;
};

}  // namespace xos::fs
