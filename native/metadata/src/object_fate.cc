#include "object_fate.h"

#include <algorithm>

#include "inode.h"

namespace xos::fs::metadata {

ObjectFate object_fate(const Txn& txn, uint64_t file, uint16_t osd) {
  if (auto inode = load_inode(txn, file)) {
    const bool here = std::find(inode->osds.begin(), inode->osds.end(), osd) != inode->osds.end();
    return here ? ObjectFate::kept : ObjectFate::orphan;
  }
  std::string_view v;
  if (txn.get(table_deletion, key_of(file), v)) return ObjectFate::kept;
  if (!txn.get(table_meta, "next_id", v) || file >= id_of(v)) return ObjectFate::unknown;
  bool skipped = false;
  txn.scan(table_meta, "gap:", [&](std::string_view key, std::string_view last) {
    if (!key.starts_with("gap:")) return false;
    skipped |= file >= id_of(key.substr(4)) && file <= id_of(last);
    return true;
  });
  return skipped ? ObjectFate::unknown : ObjectFate::orphan;
}

}  // namespace xos::fs::metadata
