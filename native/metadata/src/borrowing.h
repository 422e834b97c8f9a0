// Contents that a file of a snapshot shares with others. Objects always belong to one inode and have its number: so what moves, mends, lists and
// removes objects knows nothing of snapshots. A file of a snapshot has none of its own at first: it *borrows* those of the file that it is a
// picture of. Before that one may change, they are copied to the newest of the borrowers, and the others borrow from this one.
//
// A lender whose file is removed stays as a *ghost*, an inode without a name, until nobody borrows from it.
// Rows of table_borrow: lender, borrower.
#pragma once
#include <optional>
#include <vector>

#include "inode.h"

namespace xos::fs::metadata {

/// Somebody's contents are those of this file: they must not change.
bool is_lent(const Txn& txn, uint64_t id);
std::vector<uint64_t> borrowers_of(const Txn& txn, uint64_t lender);
void borrow(Txn& txn, Inode& borrower, uint64_t lender);
/// The inode whose objects are the contents of `i`: itself, or who lends them. Empty when that one is gone (a damaged database).
std::optional<Inode> contents_of(const Txn& txn, const Inode& i);

/// Without a name and kept for its borrowers only.
bool is_ghost(const Txn& txn, const Inode& i);
/// Of a removed file that is lent; its own rows are gone already.
void become_ghost(Txn& txn, const Inode& i);
/// What goes borrows no more; a ghost that nobody needs any longer is returned, to be destroyed.
std::optional<Inode> give_back(Txn& txn, const Inode& borrower);

/// Objects named `i.id` are to be removed by the janitor.
void put_deletion(Txn& txn, const Inode& i);

/// The OSDs have copies of what `lender` lends, by the number of `keeper`, its newest borrower: from now on those are the keeper's contents, and what the
/// others borrow. The lender's epoch grows, and a row "fence:<lender>" says that its OSDs are to be told, before it changes. False when
/// the keeper is not a borrower any more: then its copies go. `unneeded`: a ghost, to be destroyed.
bool hand_over(Txn& txn, uint64_t lender, uint64_t keeper, const std::vector<uint16_t>& osds, std::optional<Inode>& unneeded);
std::string fence_key(uint64_t id);
/// Row of a file that somebody may still write to who has not got it open (or is not known to): until when (ms since 1970).
std::string late_key(uint64_t id);
/// Longer than rights live.
inline constexpr int64_t late_ms = 65 * 60 * 1000;

}  // namespace xos::fs::metadata
