// Requests about attributes, extended ones among them.
#include <cerrno>

#include "service.h"

namespace xos::fs::metadata {

/// Reads an inode with a lease on its attributes. The lease is noted before the transaction begins: whatever commits later sees it.
int Service::read_attr(Context& c, uint64_t id, const std::function<int(const Txn&, Inode&)>& find) {
  bool leased = sessions_.grant(c.session, id, false);
  Inode found;
  int status = 0;
  store_.read([&](const Txn& txn) { status = find(txn, found); });
  if (status != 0) return status;
  sessions_.settle_writers(found.id, c.session.get());
  put_attr(c, found, leased);
  return 0;
}

int Service::set_attributes(Context& c) {
  return mutate(c, [&](Txn& txn, Effects& effects) {
    uint64_t id = c.in->get<uint64_t>();
    SetAttr s = get_set_attr(*c.in);
    Inode i;
    if ((s.mask & set_size) && !sessions_.writes(c.session, id)) {
      if (int r = engine_.getattr(txn, id, i); r != 0) return r;
      if (int r = check_access(i, c.head.caller, 2); r != 0) return r;
    }
    int r = engine_.setattr(txn, c.head.caller, id, s, i, effects);
    if (r == 0) put_attr(c, i, sessions_.grant(c.session, id, false));
    return r;
  });
}

int Service::xattr(uint16_t type, Context& c) {
  if (type == setxattr || type == removexattr) {
    return mutate(c, [&](Txn& txn, Effects& effects) {
      uint64_t id = c.in->get<uint64_t>();
      auto name = c.in->text();
      if (type == removexattr) return engine_.removexattr(txn, c.head.caller, id, name, effects);
      uint32_t flags = c.in->get<uint32_t>();
      uint32_t bytes = c.in->get<uint32_t>();
      return engine_.setxattr(txn, c.head.caller, id, name, c.in->raw(bytes), flags, effects);
    });
  }
  uint64_t id = c.in->get<uint64_t>();
  int status = 0;
  if (type == getxattr) {
    auto name = c.in->text();
    std::string value;
    store_.read([&](const Txn& txn) { status = engine_.getxattr(txn, c.head.caller, id, name, value); });
    if (status == 0) c.out.put<uint32_t>(static_cast<uint32_t>(value.size())).raw(value);
  } else {
    std::vector<std::string> names;
    store_.read([&](const Txn& txn) { status = engine_.listxattr(txn, id, names); });
    c.out.put<uint16_t>(static_cast<uint16_t>(names.size()));
    for (auto& n : names) c.out.text(n);
  }
  return status;
}

/// Times of reading: nobody waits for them, and they are no change in the sense of Attr::change.
int Service::accessed(Context& c) {
  std::vector<std::pair<uint64_t, int64_t>> reads;
  for (uint16_t n = c.in->get<uint16_t>(); n > 0; --n) {
    uint64_t id = c.in->get<uint64_t>();
    reads.emplace_back(id, c.in->get<int64_t>());
  }
  c.in->finish();
  Effects effects;
  store_.write([&](Txn& txn) {
    effects = {};
    for (auto [id, at] : reads) engine_.note_read(txn, id, at, effects);
  });
  sessions_.invalidate(effects, c.session.get());
  return 0;
}

}  // namespace xos::fs::metadata
