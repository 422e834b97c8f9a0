// POSIX access control lists (POSIX.1e draft 17, acl(5)) in the form in which the kernel hands them to setxattr(2):
// u32 version 2, then entries of u16 tag, u16 permissions, u32 id, sorted by tag and id.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol.h"

namespace xos::fs::metadata {

struct Inode;

enum AclTag : uint16_t { acl_user_obj = 1, acl_user = 2, acl_group_obj = 4, acl_group = 8, acl_mask = 16, acl_other = 32 };
struct AclEntry {
  uint16_t tag = 0, permissions = 0;
  uint32_t id = ~0u;
};
using Acl = std::vector<AclEntry>;

inline constexpr size_t acl_entries_max = 1024;

/// Empty when it is not a valid list: wrong version, length or order, a required entry missing, one twice, permissions beyond rwx.
std::optional<Acl> parse_acl(std::string_view bytes);
std::string encode_acl(const Acl& acl);
/// True when it says no more than nine mode bits do.
bool is_minimal(const Acl& acl);
/// The nine mode bits of a file with this list: the mask, where there is one, is the group's.
uint32_t mode_of(const Acl& acl);
/// chmod(2): the mode's classes go to owner, mask (else group) and others.
void set_mode_of(Acl& acl, uint32_t mode);
/// A new file below a directory with this default list: both keep only what `mode` and the list allow.
void inherit_acl(Acl& acl, uint32_t& mode);
/// 0, EACCES or need_groups, for a caller who is not the owner.
int check_acl(const Acl& acl, uint32_t group, const Caller& caller, unsigned mask);
/// Whether the caller's groups have `gid`; 0 or need_groups.
int check_group_member(const Caller& caller, uint32_t gid, bool& member);

}  // namespace xos::fs::metadata
