// What makes a database survive the death of the machine although LMDB is not told to write each transaction to the disk.
//
// LMDB never overwrites a page that a reader may still see, and a transaction becomes visible by a meta page alone. So after everything
// has been written out once, a reader of that state is kept open (its pages stay as they are on the disk) and the meta page of that state is
// kept in a file of its own. When the machine has died since, pages and meta pages of later transactions may be on the disk in any
// mixture: the kept meta page is put back, and the database is exactly what it was when it was written out.
#pragma once
#include <cstdint>
#include <string>

#include "boot_id.h"

namespace xos::fs::metadata {

/// The kept meta page of one database directory. Not thread-safe.
class SyncedState {
 public:
  /// `boot`: of this start of the machine, whose page cache has everything that was written since.
  SyncedState(std::string directory, std::string boot);
  /// Before the database is opened: goes back to the kept state when the machine was started since. True when it did. Throws StoreError.
  bool recover();
  /// Reads the meta page of transaction `id` of the open database. No transaction may be committed meanwhile. Throws StoreError.
  std::string meta_page(uint64_t id) const;
  /// Keeps it durably. The database has been written to the disk since `page` was read. Throws StoreError.
  void keep(const std::string& page);

 private:
  std::string directory_, boot_;
  uint64_t generation_ = 0;
};

}  // namespace xos::fs::metadata
