// A checkpoint as files, without any process: whether it is whole, plain images of CRIU made of it, and a checkpoint made of those again.
//
// Everything is done with the caller's own rights: xcheckpoint has it done as the user (main.cc).
#pragma once
#include "manifest.h"
#include <atomic>
#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace xos::checkpoint {

/// What the operations have in common.
struct FilesRequest {
  std::string directory;          ///< of the checkpoint, absolute
  std::string authority;          ///< certificates (PEM) that vouch for the nodes of the VO; empty: signatures are not looked at
  std::atomic<bool>* abort = nullptr;  ///< becoming true it ends the operation, and what it made is removed
  std::function<void(uint64_t bytes, uint64_t bytes_total)> progress;  ///< at most ten times a second
};

/// Reads every byte of a checkpoint and compares it with the manifest, and that with its signature. The manifest, or what is wrong.
std::variant<Manifest, Failure> verifyCheckpoint(const FilesRequest& request);

/// Makes the directory `to` (absolute; not there yet, or empty) of images as `criu restore` reads them, and of the manifest, so that they can
/// be imported again. `to` comes into being whole, by a rename. The manifest, or why not.
std::variant<Manifest, Failure> exportCheckpoint(const FilesRequest& request, const std::string& to);
/// The words of the command that restores what was exported to `to`: streams that led to the relay are taken from the descriptors of their numbers.
std::vector<std::string> restoreCommand(const Manifest& manifest, const std::string& to);

/// Makes `request.directory`, which must not be there, of what exportCheckpoint() made. Images of another origin are refused: a node restores
/// as root what they say, so it believes only what a node has signed.
std::variant<Manifest, Failure> importCheckpoint(const FilesRequest& request, const std::string& from);

}  // namespace xos::checkpoint
