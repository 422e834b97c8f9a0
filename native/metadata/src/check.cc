#include "check.h"

#include <sys/stat.h>

#include <set>
#include <unordered_map>

#include "borrowing.h"

namespace xos::fs::metadata {

namespace {

constexpr size_t found_max = 100;

struct Named {
  uint32_t names = 0, directories = 0;  ///< entries that name it; of a directory, directories in it
  uint64_t parent = 0;
  bool there = false, orphan = false;
};

/// What a whole look at the tables has found; nothing is changed while it is made.
struct Look {
  CheckReport report;
  std::vector<std::string> dangling;
  std::vector<std::pair<uint64_t, uint32_t>> links;
  std::vector<std::pair<uint64_t, uint64_t>> parents;
  std::vector<uint64_t> lost;
  std::vector<std::string> attributes, policies;
  std::vector<std::string> borrow_rows;                        // that lead nowhere
  std::vector<std::pair<uint64_t, uint64_t>> unknown_borrowers;  // lender, borrower without a row
  std::vector<uint64_t> without_lender, useless;

  void say(const std::string& what) {
    if (report.found.size() < found_max) report.found.push_back(what);
  }
};

using Names = std::unordered_map<uint64_t, Named>;

Names count_names(const Txn& txn, Look& look) {
  Names names;
  txn.scan(table_inode, "", [&](std::string_view key, std::string_view) {
    names[id_of(key)].there = true;
    ++look.report.inodes;
    return true;
  });
  txn.scan(table_orphan, "", [&](std::string_view key, std::string_view) {
    names[id_of(key)].orphan = true;
    return true;
  });
  txn.scan(table_entry, "", [&](std::string_view key, std::string_view value) {
    ++look.report.entries;
    Reader r(value);
    const uint64_t directory = id_of(key), id = r.get<uint64_t>();
    auto it = names.find(id);
    auto in = names.find(directory);
    if (it == names.end() || !it->second.there || in == names.end() || !in->second.there) {
      ++look.report.dangling;
      look.dangling.emplace_back(key);
      look.say("name '" + std::string(key.substr(8)) + "' in directory " + std::to_string(directory) + " leads to file " + std::to_string(id) +
               (in == names.end() || !in->second.there ? ", and the directory is not there" : ", which is not there"));
      return true;
    }
    ++it->second.names;
    it->second.parent = directory;
    if (S_ISDIR(r.get<uint32_t>())) ++in->second.directories;
    return true;
  });
  return names;
}

/// What lies in no directory by design: the directories of snapshots, and files that are kept for them.
bool needs_no_name(const Txn& txn, const Inode& i) {
  if (!is_frozen(i)) return false;
  if (!S_ISDIR(i.r.mode)) return is_ghost(txn, i);
  std::string_view v;
  return txn.get(table_snapshot, key_of(i.r.volume), v) && Reader(v).get<uint64_t>() == i.id;
}

void look_at_borrowing(const Txn& txn, const Names& names, Look& look) {
  auto wrong = [&](const std::string& what) {
    ++look.report.borrowed;
    look.say(what);
  };
  txn.scan(table_borrow, "", [&](std::string_view key, std::string_view) {
    const uint64_t lender = id_of(key), id = id_of(key.substr(8));
    auto i = load_inode(txn, id);
    if (i && (i->r.flags & inode_borrows) && i->r.parent == lender) return true;
    look.borrow_rows.emplace_back(key);
    wrong("file " + std::to_string(lender) + " lends its contents to file " + std::to_string(id) + ", which does not borrow them");
    return true;
  });
  for (auto& [id, n] : names) {
    auto i = n.there ? load_inode(txn, id) : std::nullopt;
    if (!i || !S_ISREG(i->r.mode) || !is_frozen(*i)) continue;
    if (i->r.flags & inode_borrows) {
      std::string_view row;
      const uint64_t lender = i->r.parent;
      if (!load_inode(txn, lender)) {
        look.without_lender.push_back(id);
        wrong("file " + std::to_string(id) + " of a snapshot has lost its contents: file " + std::to_string(lender) + " had them and is not there");
      } else if (!txn.get(table_borrow, key_of(lender) + key_of(id), row)) {
        look.unknown_borrowers.emplace_back(lender, id);
        wrong("file " + std::to_string(id) + " of a snapshot has the contents of file " + std::to_string(lender) + ", which does not know of it");
      }
    } else if (is_ghost(txn, *i) && !is_lent(txn, id)) {
      look.useless.push_back(id);
      wrong("file " + std::to_string(id) + " is kept for snapshots, and none has its contents");
    }
  }
}

void look_at_inodes(const Txn& txn, const Names& names, Look& look) {
  for (auto& [id, n] : names) {
    if (!n.there || id == root_id) continue;
    auto i = load_inode(txn, id);
    if (!i) continue;
    const bool directory = S_ISDIR(i->r.mode);
    const uint32_t links = directory ? 2 + n.directories : n.names;
    if (n.names == 0 && !n.orphan && !needs_no_name(txn, *i)) {
      ++look.report.lost;
      look.lost.push_back(id);
      look.say(std::string(directory ? "directory " : "file ") + std::to_string(id) + " of user " + std::to_string(i->r.uid) + " has no name");
    } else if (n.names > 0 && i->r.nlink != links) {
      ++look.report.links;
      look.links.emplace_back(id, links);
      look.say("file " + std::to_string(id) + " says that it has " + std::to_string(i->r.nlink) + " links and has " + std::to_string(links));
    }
    if (directory && n.names > 0 && i->r.parent != n.parent) {
      ++look.report.parents;
      look.parents.emplace_back(id, n.parent);
      look.say("directory " + std::to_string(id) + " says that it is in " + std::to_string(i->r.parent) + " and is in " + std::to_string(n.parent));
    }
  }
}

void look_at_rows(const Txn& txn, const Names& names, Look& look) {
  auto stray = [&](Table table, std::vector<std::string>& rows) {
    txn.scan(table, "", [&](std::string_view key, std::string_view) {
      auto it = names.find(id_of(key));
      if (it != names.end() && it->second.there) return true;
      ++look.report.attributes;
      rows.emplace_back(key);
      return true;
    });
  };
  stray(table_xattr, look.attributes);
  stray(table_policy, look.policies);
}

std::set<uint64_t> accounted_volumes(const Txn& txn) {
  std::set<uint64_t> volumes;
  txn.scan(table_usage, "", [&](std::string_view key, std::string_view) {
    volumes.insert(id_of(key));
    return true;
  });
  return volumes;
}

void look_at_usage(const Txn& txn, Look& look) {
  for (uint64_t volume : accounted_volumes(txn)) {
    for (auto& row : usage_to_mend(txn, volume)) {
      ++look.report.usage;
      look.say("volume " + std::to_string(volume) + " counts wrongly " + (row.who == usage_all ? "what is used" : "what user " + std::to_string(row.who) + " has"));
    }
  }
}

Look look_at(const Txn& txn) {
  Look look;
  const Names names = count_names(txn, look);
  look_at_inodes(txn, names, look);
  look_at_rows(txn, names, look);
  look_at_borrowing(txn, names, look);
  look_at_usage(txn, look);
  return look;
}

/// The directory for what has no name, made when it is not there.
uint64_t lost_and_found(Txn& txn, uint64_t volume, const std::function<uint64_t()>& new_id) {
  if (auto entry = load_entry(txn, volume, "lost+found")) return entry->id;
  auto root = load_inode(txn, volume);
  if (!root) return 0;
  Inode made;
  made.id = new_id();
  made.r.mode = S_IFDIR | 0700;
  made.r.nlink = 2;
  made.r.size = 4096;
  made.r.atime_ns = made.r.mtime_ns = made.r.ctime_ns = now_ns();
  made.r.volume = volume;
  made.r.parent = volume;
  save_inode(txn, made);
  save_entry(txn, volume, "lost+found", {made.id, S_IFDIR});
  ++root->r.nlink;
  ++root->r.change;
  save_inode(txn, *root);
  return made.id;
}

void mend_borrowing(Txn& txn, const Look& look) {
  for (auto& key : look.borrow_rows) txn.erase(table_borrow, key);
  for (auto& [lender, id] : look.unknown_borrowers) txn.put(table_borrow, key_of(lender) + key_of(id), "");
  for (uint64_t id : look.without_lender) {
    auto i = load_inode(txn, id);
    i->r.flags &= static_cast<uint8_t>(~inode_borrows);
    i->r.parent = 0;
    i->r.size = 0;
    save_inode(txn, *i);
  }
  for (uint64_t id : look.useless) {
    auto i = load_inode(txn, id);
    if (is_lent(txn, id)) continue;  // to one whose row was missing
    put_deletion(txn, *i);
    txn.erase(table_inode, key_of(id));
  }
}

}  // namespace

CheckReport check(const Txn& txn) { return look_at(txn).report; }

CheckReport repair(Txn& txn, const std::function<uint64_t()>& new_id) {
  const Look look = look_at(txn);
  for (auto& key : look.dangling) txn.erase(table_entry, key);
  for (auto& [id, links] : look.links) {
    auto i = load_inode(txn, id);
    i->r.nlink = links;
    ++i->r.change;
    save_inode(txn, *i);
  }
  for (auto& [id, parent] : look.parents) {
    auto i = load_inode(txn, id);
    i->r.parent = parent;
    ++i->r.change;
    save_inode(txn, *i);
  }
  for (uint64_t id : look.lost) {
    auto i = load_inode(txn, id);
    const uint64_t directory = lost_and_found(txn, i->r.volume, new_id);
    // Its volume is gone, too: nobody could get there.
    if (directory == 0 || id == directory) continue;
    auto d = load_inode(txn, directory);
    save_entry(txn, directory, "#" + std::to_string(id), {id, i->r.mode & S_IFMT});
    if (S_ISDIR(i->r.mode)) {
      i->r.parent = directory;
      ++d->r.nlink;
    } else {
      i->r.nlink = 1;
    }
    ++i->r.change;
    ++d->r.change;
    save_inode(txn, *i);
    save_inode(txn, *d);
  }
  for (auto& key : look.attributes) txn.erase(table_xattr, key);
  for (auto& key : look.policies) txn.erase(table_policy, key);
  mend_borrowing(txn, look);
  // Last, since what was found counts now.
  for (uint64_t volume : accounted_volumes(txn))
    for (auto& row : usage_to_mend(txn, volume)) txn.put(table_usage, row.key, row.right);
  return look.report;
}

}  // namespace xos::fs::metadata
