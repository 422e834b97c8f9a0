#include "acl.h"

#include <algorithm>
#include <cerrno>

namespace xos::fs::metadata {

namespace {

constexpr uint32_t acl_version = 2;

/// First entry with the tag; null when there is none.
template <typename List>
auto* find(List& acl, AclTag tag) {
  auto it = std::find_if(acl.begin(), acl.end(), [&](const AclEntry& e) { return e.tag == tag; });
  return it == acl.end() ? nullptr : &*it;
}

bool has_id(uint16_t tag) { return tag == acl_user || tag == acl_group; }

}  // namespace

std::optional<Acl> parse_acl(std::string_view bytes) {
  if (bytes.size() < 4 || (bytes.size() - 4) % 8 != 0 || (bytes.size() - 4) / 8 > acl_entries_max) return std::nullopt;
  Reader r(bytes);
  if (r.get<uint32_t>() != acl_version) return std::nullopt;
  Acl acl((bytes.size() - 4) / 8);
  const AclEntry* last = nullptr;
  unsigned tags = 0;
  for (AclEntry& e : acl) {
    e.tag = r.get<uint16_t>();
    e.permissions = r.get<uint16_t>();
    e.id = r.get<uint32_t>();
    if (e.tag == 0 || e.tag > acl_other || (e.tag & (e.tag - 1)) != 0 || e.permissions > 7) return std::nullopt;
    if (has_id(e.tag) && e.id == ~0u) return std::nullopt;
    if (!has_id(e.tag)) e.id = ~0u;
    // In order, and no entry twice: of those with an id the kernel's order is by tag only, so ids are compared one by one.
    if (last && (e.tag < last->tag || (e.tag == last->tag && !has_id(e.tag)))) return std::nullopt;
    for (const AclEntry* other = acl.data(); other != &e; ++other)
      if (other->tag == e.tag && other->id == e.id) return std::nullopt;
    tags |= e.tag;
    last = &e;
  }
  if ((tags & (acl_user_obj | acl_group_obj | acl_other)) != (acl_user_obj | acl_group_obj | acl_other)) return std::nullopt;
  if ((tags & (acl_user | acl_group)) && !(tags & acl_mask)) return std::nullopt;
  return acl;
}

std::string encode_acl(const Acl& acl) {
  Writer w;
  w.put(acl_version);
  for (const AclEntry& e : acl) w.put(e.tag).put(e.permissions).put(e.id);
  return std::move(w.bytes());
}

bool is_minimal(const Acl& acl) { return acl.size() == 3; }

uint32_t mode_of(const Acl& acl) {
  const AclEntry* group = find(acl, acl_mask);
  if (!group) group = find(acl, acl_group_obj);
  return static_cast<uint32_t>(find(acl, acl_user_obj)->permissions << 6 | group->permissions << 3 | find(acl, acl_other)->permissions);
}

void set_mode_of(Acl& acl, uint32_t mode) {
  AclEntry* group = find(acl, acl_mask);
  if (!group) group = find(acl, acl_group_obj);
  find(acl, acl_user_obj)->permissions = mode >> 6 & 7;
  group->permissions = mode >> 3 & 7;
  find(acl, acl_other)->permissions = mode & 7;
}

void inherit_acl(Acl& acl, uint32_t& mode) {
  const uint32_t bits = mode & mode_of(acl);
  set_mode_of(acl, bits);
  mode = (mode & ~0777u) | bits;
}

int check_group_member(const Caller& c, uint32_t gid, bool& member) {
  member = c.gid == gid || std::find(c.groups.begin(), c.groups.end(), gid) != c.groups.end();
  return member || c.groups_known ? 0 : need_groups;
}

int check_acl(const Acl& acl, uint32_t group, const Caller& caller, unsigned mask) {
  const AclEntry* limit = find(acl, acl_mask);
  const unsigned allowed = limit ? limit->permissions : 7u;
  for (const AclEntry& e : acl)
    if (e.tag == acl_user && e.id == caller.uid) return (e.permissions & allowed & mask) == mask ? 0 : EACCES;
  // A member of several groups has what any single one of them gives; a member of any has nothing of the others' class.
  bool member = false, unknown = false, any_grants = false;
  for (const AclEntry& e : acl) {
    if (e.tag != acl_group_obj && e.tag != acl_group) continue;
    const bool grants = (e.permissions & allowed & mask) == mask;
    any_grants |= grants;
    bool mine;
    if (check_group_member(caller, e.tag == acl_group ? e.id : group, mine) != 0) unknown = true;
    if (!mine) continue;
    if (grants) return 0;
    member = true;
  }
  const bool others = (find(acl, acl_other)->permissions & mask) == mask;
  // Groups are costly for the client to find: they are asked for only when they decide.
  if (unknown && (any_grants || (others && !member))) return need_groups;
  return others && !member ? 0 : EACCES;
}

}  // namespace xos::fs::metadata
