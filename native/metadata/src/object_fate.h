// Whether an object that lies at an OSD belongs to a file.
#pragma once
#include <cstdint>

#include "store.h"

namespace xos::fs::metadata {

enum class ObjectFate {
  kept,     ///< its file is there and has contents at this OSD, or its removal is under way already
  orphan,   ///< nothing leads to it: the file is gone, or its contents are at other OSDs
  unknown,  ///< of a number that this database has never given out: another one's, perhaps one that was lost. Never to be removed by itself
};

/// A file's inode is stored before anybody gets the right to make its object, and goes only with the last close; so what has none is no file
/// that is being made, and none that was unlinked while it is open.
ObjectFate object_fate(const Txn& txn, uint64_t file, uint16_t osd);

}  // namespace xos::fs::metadata
