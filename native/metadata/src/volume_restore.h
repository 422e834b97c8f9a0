// Takes the stream of a dump (dump_format.h) and makes a volume of it, in one transaction or not at all.
//
// The stream is checked as it comes and kept in a file without a name: nothing is in the database before all of it was good, and nothing is left
// when the process dies. Files keep their numbers, since objects are named by those: a dump is for a database that has lost its files.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine.h"
#include "unique_fd.h"

namespace xos::fs::metadata {

/// The stream is no whole dump, or what it holds cannot be taken here; says what and where.
struct BadDump : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class VolumeRestore {
 public:
  /// Keeps the stream in `directory`. Throws StoreError.
  explicit VolumeRestore(const std::string& directory);
  /// The next bytes of the stream, cut anywhere. Throws BadDump; nothing more may be fed then.
  void feed(std::string_view bytes);
  /// Throws BadDump unless the stream was whole.
  void finish();

  struct Wanted {
    std::string volume;                                           ///< name of the new volume
    std::function<int(const std::string& osd)> number_of;         ///< of an OSD by its name; -1: there is none
    std::function<bool(uint64_t file)> has_object = nullptr;      ///< whether there is an object of a file that had contents; absent: not looked at
    bool incomplete = false;                                      ///< files without an object are restored empty, and do not refuse the dump
  };
  struct Restored {
    uint64_t root = 0, inodes = 0, names = 0, bytes = 0, empty = 0;  ///< `empty`: files whose contents are not there
    std::vector<uint64_t> written;                                   ///< files whose size the OSDs know better
  };
  /// After finish(): makes the volume, with limits. 0, or EEXIST (the name is taken). Throws BadDump; the caller's transaction is then to be given up.
  int make(Txn& txn, Engine& engine, const Wanted& wanted, Restored& done, Effects& effects);
  const std::string& volume() const { return name_; }
  /// Names of OSDs that files lie on.
  std::vector<std::string> osds() const;

 private:
  struct Seen {
    uint32_t mode = 0, names = 0, directories = 0;
  };
  void take_block(uint64_t number, std::string_view payload);
  void take_header(Reader r);
  void take_end(Reader r);
  void look_at(Reader r);
  void look_at_inode(uint64_t id, std::string_view row);
  void look_at_name(Reader& r);
  void make_record(Txn& txn, Reader& r, const Wanted& wanted, Restored& done);
  void make_inode(Txn& txn, uint64_t id, std::string_view row, const Wanted& wanted, Restored& done);
  void each_records(const std::function<void(Reader)>& take) const;

  unique_fd fd_;
  uint64_t stored_ = 0, blocks_ = 0;
  std::string rest_;          // of the stream, less than a block
  uint32_t crc_ = 0;
  bool ended_ = false;
  std::string name_;
  uint64_t root_ = 0, inodes_ = 0, names_ = 0;
  VolumePolicy policy_;
  std::map<uint16_t, std::string> osds_;
  std::map<uint16_t, uint16_t> numbers_;
  std::unordered_map<uint64_t, Seen> seen_;
  std::vector<std::pair<uint32_t, Usage>> limits_;
  uint64_t awaited_ = 0;      // inode that has to follow its first name
  uint64_t last_id_ = 0;
};

}  // namespace xos::fs::metadata
