// The directory of a checkpoint: made in a tree that belongs to the user, written by root.
#pragma once
#include "engine.h"
#include "fd.h"
#include <optional>
#include <string>

namespace xos::checkpoint {

struct Place {
  Fd parent, directory;
  std::string name;        ///< of `directory` in `parent` until it is finished
  std::string final_name;  ///< and then; differs when an older checkpoint is replaced
};

/// Makes `path`'s parents with the user's rights, then the directory itself, root's and empty, so that nobody else can put links into
/// it while CRIU writes as root. A complete checkpoint of `job` that is there already stays until finishPlace(); one of another job is
/// not replaced.
std::optional<Failure> makePlace(const std::string& path, const std::string& job, uid_t uid, gid_t gid, Place& place);
/// Gives the directory to the user, under its final name; an older checkpoint goes. False with errno set.
bool finishPlace(Place& place, uid_t uid, gid_t gid);

}  // namespace xos::checkpoint
