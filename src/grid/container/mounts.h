// The file tree of a node.
#pragma once
#include <string>
#include <vector>

namespace xos::container {

struct TreePlan {
  std::vector<std::string> lowers;  // topmost first
  std::string upper, work;          // empty: on a tmpfs of the node's own
  std::string mountpoint;           // an empty folder of the machine; mounted on in the node's mount namespace only
  std::vector<std::pair<std::string, std::string>> binds;  // folder of the machine → absolute path in the node
};

/// Makes the tree and pivots into it. To be called in a fresh mount namespace; nothing it mounts is seen outside.
void enter_tree(const TreePlan& plan);

}  // namespace xos::container
