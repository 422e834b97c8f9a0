// Requests about names: look-up, listing, and what makes, moves and removes them.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "service.h"

namespace xos::fs::metadata {

int Service::lookup(Context& c) {
  uint64_t directory = c.in->get<uint64_t>();
  auto name = c.in->text();
  c.in->finish();
  c.names_leased = sessions_.grant(c.session, directory, true);
  bool parent_leased = sessions_.grant(c.session, directory, false);
  Inode found, parent;
  int status = 0;
  store_.read([&](const Txn& txn) { status = engine_.lookup(txn, c.head.caller, directory, name, found, parent); });
  if (status != 0) return status;
  // The child is known only now: lease first, then read it again.
  bool leased = sessions_.grant(c.session, found.id, false);
  uint64_t id = found.id;
  store_.read([&](const Txn& txn) { status = engine_.getattr(txn, id, found); });
  if (status != 0) return status == ESTALE ? ENOENT : status;
  sessions_.settle_writers(found.id, c.session.get());
  put_attr(c, found, leased);
  put_attr(c, parent, parent_leased);
  return 0;
}

int Service::readdir(Context& c) {
  uint64_t directory = c.in->get<uint64_t>();
  std::string last(c.in->text());
  uint32_t bytes = std::min<uint32_t>(c.in->get<uint32_t>(), 1u << 20);
  c.in->finish();
  c.names_leased = sessions_.grant(c.session, directory, true);
  std::vector<std::pair<std::string, uint64_t>> names;
  size_t used = 0;
  bool end = true;
  int status = 0;
  std::vector<Inode> inodes;
  auto collect = [&](std::string_view name, const Inode& inode) {
    if (used + name.size() + 120 > bytes && !names.empty()) return false;
    used += name.size() + 120;
    names.emplace_back(name, inode.id);
    return true;
  };
  store_.read([&](const Txn& txn) { status = engine_.readdir(txn, c.head.caller, directory, last, collect, end); });
  if (status != 0) return status;
  std::vector<bool> leased;
  for (auto& [name, id] : names) leased.push_back(sessions_.grant(c.session, id, false));
  c.out.put<uint8_t>(end);
  size_t count_at = c.out.size();
  uint16_t count = 0;
  c.out.put(count);
  store_.read([&](const Txn& txn) {
    for (size_t i = 0; i < names.size(); ++i) {
      Inode inode;
      if (engine_.getattr(txn, names[i].second, inode) != 0) continue;
      c.out.text(names[i].first);
      put_attr(c, inode, leased[i]);
      ++count;
    }
  });
  c.out.patch(count_at, count);
  return 0;
}

int Service::mutate_entry(uint16_t type, Context& c) {
  struct Bury {  // also when the transaction fails: a file must not stay unopenable
    Sessions& sessions;
    uint64_t id = 0;
    ~Bury() {
      if (id != 0) sessions.bury(id);
    }
  } bury{sessions_};
  uint64_t& killed = bury.id;
  return mutate(c, [&](Txn& txn, Effects& effects) {
    uint64_t first = c.in->get<uint64_t>();
    Inode child, parent, other;
    int r = 0;
    switch (type) {
      case mkdir: case mknod: case symlink: {
        auto name = c.in->text();
        uint32_t mode = type == symlink ? S_IFLNK | 0777 : c.in->get<uint32_t>();
        const uint32_t umask = type == symlink ? 0 : mode >> 16;
        mode = type == mkdir ? S_IFDIR | (mode & 07777) : mode & 0xffff;
        if (type == mknod) c.in->get<uint32_t>();  // of a device, which no mount would open
        std::string_view target = type == symlink ? c.in->text() : std::string_view();
        r = engine_.create(txn, c.head.caller, first, name, {mode, umask, target}, {}, child, parent, effects);
        break;
      }
      case link: {
        uint64_t directory = c.in->get<uint64_t>();
        r = engine_.link(txn, c.head.caller, first, directory, c.in->text(), child, parent, effects);
        break;
      }
      case unlink: {
        bool there = false;
        r = engine_.unlink(txn, c.head.caller, first, c.in->text(), child, there, parent, effects);
        if (r != 0) return r;
        c.names_leased = sessions_.grant(c.session, parent.id, true);
        c.out.put(child.id).put<uint8_t>(there);
        if (there) put_attr(c, child, sessions_.grant(c.session, child.id, false));
        else killed = child.id;
        put_attr(c, parent, sessions_.grant(c.session, parent.id, false));
        return 0;
      }
      case rmdir: {
        uint64_t gone = 0;
        r = engine_.rmdir(txn, c.head.caller, first, c.in->text(), gone, parent, effects);
        if (r != 0) return r;
        c.names_leased = sessions_.grant(c.session, parent.id, true);
        c.out.put(gone);
        put_attr(c, parent, sessions_.grant(c.session, parent.id, false));
        return 0;
      }
      default: {
        auto name = c.in->text();
        uint64_t to = c.in->get<uint64_t>();
        auto to_name = c.in->text();
        uint32_t flags = c.in->get<uint32_t>();
        // A target that is overwritten may die with this: remember it to bury it.
        if (auto target = load_entry(txn, to, to_name)) killed = target->id;
        r = engine_.rename(txn, c.head.caller, first, name, to, to_name, flags, parent, other, effects);
        if (r != 0) return r;
        if (parent.id != 0) c.names_leased = sessions_.grant(c.session, parent.id, true) && sessions_.grant(c.session, other.id, true);
        put_attr(c, parent, parent.id != 0 && sessions_.grant(c.session, parent.id, false));
        put_attr(c, other, other.id != 0 && sessions_.grant(c.session, other.id, false));
        return 0;
      }
    }
    if (r != 0) return r;
    c.names_leased = sessions_.grant(c.session, parent.id, true);
    if (type == mkdir) c.names_leased = sessions_.grant(c.session, child.id, true) && c.names_leased;
    put_attr(c, child, sessions_.grant(c.session, child.id, false));
    put_attr(c, parent, sessions_.grant(c.session, parent.id, false));
    return 0;
  });
}

}  // namespace xos::fs::metadata
