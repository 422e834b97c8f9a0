// Looks whether the database agrees with itself, and mends it: entries, link counts, parents, what is charged.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine.h"

namespace xos::fs::metadata {

struct CheckReport {
  uint64_t inodes = 0, entries = 0;
  uint64_t dangling = 0;   ///< names of inodes that are not there
  uint64_t links = 0;      ///< inodes with a wrong number of links
  uint64_t parents = 0;    ///< directories that name another parent than the one that names them
  uint64_t lost = 0;       ///< inodes that no directory names, and that are not waiting for their last close
  uint64_t attributes = 0; ///< rows of extended attributes and policies of inodes that are not there
  uint64_t usage = 0;      ///< rows of users or volumes that are charged wrongly
  uint64_t borrowed = 0;   ///< contents that snapshots share (borrowing.h): rows that are missing or lead nowhere, and lenders without a borrower
  std::vector<std::string> found;  ///< in words, the first hundred
  uint64_t problems() const { return dangling + links + parents + lost + attributes + usage + borrowed; }
};

/// Takes a look at one state; others go on meanwhile.
CheckReport check(const Txn& txn);
/// Mends what `check` finds: wrong names and rows go, numbers are set right, and what no directory names gets a name (`#NUMBER`) in the directory
/// `lost+found` of its volume, where root finds it. To be called in a write transaction; others wait.
CheckReport repair(Txn& txn, const std::function<uint64_t()>& new_id);

}  // namespace xos::fs::metadata
