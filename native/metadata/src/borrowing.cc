#include "borrowing.h"

#include <sys/stat.h>

#include <algorithm>

namespace xos::fs::metadata {

namespace {

std::string row(uint64_t lender, uint64_t borrower) { return key_of(lender) + key_of(borrower); }

}  // namespace

std::string fence_key(uint64_t id) { return "fence:" + key_of(id); }
std::string late_key(uint64_t id) { return "late:" + key_of(id); }

std::vector<uint64_t> borrowers_of(const Txn& txn, uint64_t lender) {
  std::vector<uint64_t> ids;
  const std::string prefix = key_of(lender);
  txn.scan(table_borrow, prefix, [&](std::string_view key, std::string_view) {
    if (!key.starts_with(prefix)) return false;
    ids.push_back(id_of(key.substr(8)));
    return true;
  });
  return ids;
}

bool is_lent(const Txn& txn, uint64_t id) {
  if (txn.entries(table_borrow) == 0) return false;
  bool lent = false;
  const std::string prefix = key_of(id);
  txn.scan(table_borrow, prefix, [&](std::string_view key, std::string_view) {
    lent = key.starts_with(prefix);
    return false;
  });
  return lent;
}

void borrow(Txn& txn, Inode& i, uint64_t lender) {
  i.r.flags |= inode_borrows;
  i.r.parent = lender;
  txn.put(table_borrow, row(lender, i.id), "");
}

std::optional<Inode> contents_of(const Txn& txn, const Inode& i) {
  return S_ISREG(i.r.mode) && (i.r.flags & inode_borrows) ? load_inode(txn, i.r.parent) : i;
}

bool is_ghost(const Txn& txn, const Inode& i) {
  std::string_view v;
  return S_ISREG(i.r.mode) && is_frozen(i) && i.r.nlink == 0 && !txn.get(table_orphan, key_of(i.id), v);
}

void become_ghost(Txn& txn, const Inode& i) {
  Inode ghost = i;
  ghost.r.flags = inode_frozen;
  ghost.r.nlink = 0;
  ghost.r.volume = 0;  // counts for nobody: what borrows from it does
  ghost.r.data_version = std::max<uint64_t>(1, ghost.r.data_version);
  save_inode(txn, ghost);
}

std::optional<Inode> give_back(Txn& txn, const Inode& i) {
  if (!(i.r.flags & inode_borrows)) return std::nullopt;
  txn.erase(table_borrow, row(i.r.parent, i.id));
  auto lender = load_inode(txn, i.r.parent);
  return lender && is_ghost(txn, *lender) && !is_lent(txn, lender->id) ? lender : std::nullopt;
}

void put_deletion(Txn& txn, const Inode& i) {
  Writer w;
  w.put<uint32_t>(i.r.epoch + 1).put(i.r.xloc_version).put<uint16_t>(static_cast<uint16_t>(i.osds.size()));
  for (uint16_t osd : i.osds) w.put(osd);
  txn.put(table_deletion, key_of(i.id), w.bytes());
}

bool hand_over(Txn& txn, uint64_t lender, uint64_t keeper, const std::vector<uint16_t>& osds, std::optional<Inode>& unneeded) {
  unneeded.reset();
  auto from = load_inode(txn, lender), to = load_inode(txn, keeper);
  if (!from || !to || !(to->r.flags & inode_borrows) || to->r.parent != lender) {
    if (!to) {
      Inode copied;
      copied.id = keeper;
      copied.osds = osds;
      put_deletion(txn, copied);
    }
    return false;
  }
  to->r.flags &= static_cast<uint8_t>(~inode_borrows);
  to->r.parent = 0;
  to->r.stripe_bytes = from->r.stripe_bytes;
  to->r.width = from->r.width;
  to->r.replicas = 1;
  to->osds = osds;
  save_inode(txn, *to);
  txn.erase(table_borrow, row(lender, keeper));
  for (uint64_t id : borrowers_of(txn, lender)) {
    txn.erase(table_borrow, row(lender, id));
    auto other = load_inode(txn, id);
    if (!other) continue;
    borrow(txn, *other, keeper);
    save_inode(txn, *other);
  }
  if (is_ghost(txn, *from)) {
    unneeded = from;
    return true;
  }
  ++from->r.epoch;
  save_inode(txn, *from);
  txn.put(table_meta, fence_key(lender), "");
  return true;
}

}  // namespace xos::fs::metadata
