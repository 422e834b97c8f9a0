// The directory of a checkpoint: made in a tree that belongs to the user, written by root.
#pragma once
#include "engine.h"
#include "fd.h"
#include <optional>
#include <string>

namespace xos::checkpoint {

struct Place {
  Fd parent, directory;
  std::string name;  ///< of `directory` in `parent`
};

/// Makes `path`'s parents with the user's rights, then the directory itself, root's and empty, so that nobody else can put links into
/// it while CRIU writes as root; finishPlace() gives it to the user. Fails when a complete checkpoint is there already.
std::optional<Failure> makePlace(const std::string& path, uid_t uid, gid_t gid, Place& place);
bool finishPlace(const Place& place, uid_t uid, gid_t gid);

}  // namespace xos::checkpoint
