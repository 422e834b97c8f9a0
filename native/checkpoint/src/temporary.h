// Files of a job in the node's directories for temporary files (/tmp, /var/tmp, /dev/shm): they go along with its checkpoint.
//
// Those directories are not the job's alone. Its own there is what its processes have (open, mapped, as working directory), what is below a
// directory that they work in, and what has come into being since it began; of all that only what belongs to its user.
// Sockets are CRIU's business, devices and files with other rights than their owner's (set-user-ID) never go along.
#pragma once
#include "fd.h"
#include "manifest.h"
#include <optional>
#include <set>

namespace xos::checkpoint {

/// The directory for temporary files in which `path` lies ("/tmp" of "/tmp/x"); empty: in none.
std::string temporaryRoot(const std::string& path);

struct TemporaryScope {
  uid_t uid = 0;         ///< whose files; of root none
  int64_t began_ms = 0;  ///< DumpRequest
  uint64_t bytes_max = 256u << 20;
  std::set<std::string> held;  ///< comparable paths (paths.h) that the processes have
};

/// What would go along now, and what would not. Reads no contents, so there are no extents yet.
Temporaries findTemporaries(const TemporaryScope& scope);

/// Stores the contents of `temporaries.taken` in `directory_fd` and adds the file to `files`, when there are any. The tree must stand still.
/// What cannot be read any more is moved to `left`. False with errno set when it cannot be stored.
bool storeTemporaries(Temporaries& temporaries, int directory_fd, uid_t uid, gid_t gid, bool sync, std::vector<ImageFile>& files);

/// Puts them back before a restore, with the rights of the user alone: nothing is followed, nothing of anybody else is touched.
/// A file that the tree has is made as it was; of the others a file that is there already stays as it is. Each comes into being whole.
class TemporariesBack {
 public:
  /// `directory_fd` is the checkpoint's and must outlive the object, as must `manifest`.
  TemporariesBack(const Manifest& manifest, int directory_fd) : manifest_(manifest), directory_fd_(directory_fd) {}
  /// Takes away again what it made new, unless keep() was called.
  ~TemporariesBack();
  TemporariesBack(const TemporariesBack&) = delete;
  /// Why they cannot be put back: code and words. Nothing when they are there.
  std::optional<std::pair<std::string, std::string>> put();
  void keep() { made_.clear(); }

 private:
  using Trouble = std::optional<std::pair<std::string, std::string>>;
  Trouble checkLeft() const;
  Trouble putOne(const TemporaryFile& file);
  Trouble putDirectory(const TemporaryFile& file, int parent, const std::string& name);
  Trouble putFile(const TemporaryFile& file, int parent, const std::string& name);
  Trouble putName(const TemporaryFile& file, int parent, const std::string& name);
  Trouble finishDirectories();
  /// Reads the next `length` bytes of the contents, to `out` at `offset`, or to nowhere (out < 0).
  Trouble take(int out, uint64_t offset, uint64_t length);
  Trouble inTheWay(const std::string& path, const std::string& why) const;
  Trouble cannot(const std::string& path) const;
  const Manifest& manifest_;
  int directory_fd_;
  Fd contents_;
  uint32_t crc_ = 0;
  std::vector<char> block_;
  std::vector<const TemporaryFile*> made_;  ///< new, in this order
};

}  // namespace xos::checkpoint
