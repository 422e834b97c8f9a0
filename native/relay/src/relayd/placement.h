// Where the next job goes: the table that the scheduler pushes, and what was started since.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

namespace xos::relay {

struct NodeLoad {
  std::string node;
  double cpus = 1, running = 0, load = 0;
  uint64_t memory_free_bytes = 0;
  bool eligible = true;
};

class Placer {
 public:
  explicit Placer(std::string self) : self_(std::move(self)) {}
  void push(std::vector<NodeLoad> table) {
    table_ = std::move(table);
    own_.clear();
  }
  /// This node while it has a free CPU, else the node with most free ones; never one of `excluded`. This node when the table knows none.
  std::string choose(const std::set<std::string>& excluded) const {
    const NodeLoad* best = nullptr;
    for (const NodeLoad& node : table_) {
      if (!node.eligible || excluded.contains(node.node)) continue;
      if (node.node == self_ && free_cpus(node) >= 1) return self_;
      if (!best || free_cpus(node) > free_cpus(*best) || (free_cpus(node) == free_cpus(*best) && node.load < best->load)) best = &node;
    }
    return best ? best->node : self_;
  }
  void started(const std::string& node) { own_[node]++; }
  void ended(const std::string& node) { own_[node]--; }

 private:
  std::string self_;
  std::vector<NodeLoad> table_;
  std::map<std::string, int> own_;
  double free_cpus(const NodeLoad& node) const {
    const auto own = own_.find(node.node);
    return node.cpus - node.running - (own == own_.end() ? 0 : own->second);
  }
};

}  // namespace xos::relay
