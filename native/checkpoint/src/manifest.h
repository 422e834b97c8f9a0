// The manifest of a checkpoint: what it is, what it needs, and which files it consists of.
//
// File `manifest` in the checkpoint's directory: one line of JSON, a line "crc32c=xxxxxxxx" and a line "signature=…" over the first.
// It is written last, renamed into place and synced, so a checkpoint without a whole manifest does not exist.
//
// The signature is what makes a checkpoint restorable at all: CRIU restores as root what the images say (credentials, open files), and
// the images lie where their owner can write. The node that made them signs with its key; a node of the same VO believes no other.
#pragma once
#include "engine.h"
#include "tree.h"
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace xos::checkpoint {

inline constexpr int manifest_version = 1;
inline constexpr const char* manifest_name = "manifest";

/// Memory of processes (pages-*.img), as CRIU wrote it. It can only say what its owner's processes have in memory, so a checksum will do.
struct ImageFile {
  std::string name;
  uint64_t size = 0;
  uint32_t crc32c = 0;
};

/// All other images of CRIU, one after the other in the file `state.img`: few files on a network file system, one SHA-256.
struct Pack {
  uint64_t size = 0;
  std::string sha256;  ///< hex
  std::vector<std::pair<std::string, uint64_t>> entries;  ///< name and size, in the order of the file
};
inline constexpr const char* pack_name = "state.img";

struct StreamRecord {
  GivenStream given;
  bool held = false;    ///< some process of the tree had it
  std::string pending;  ///< pipes: bytes that were written and not yet read, at either end
};

/// A file of the node's directories for temporary files that goes along (temporary.h). Its bytes are in temporary_name, those of one file
/// after those of the one before; they are the owner's as memory is, and a checksum will do. What kind it is and where is signed.
struct TemporaryFile {
  enum class Kind { directory, file, fifo, link, same } kind = Kind::file;
  std::string path;
  uint32_t mode = 0;  ///< permissions and, of directories, the sticky bit
  int64_t modified_ns = 0;  ///< Unix time
  uint64_t size = 0;
  bool held = false;  ///< some process of the tree had it
  std::vector<std::pair<uint64_t, uint64_t>> extents;  ///< offset and length of what is no hole
  std::string target;  ///< of a link; same: another name of the file that has this path, which comes before it
};
inline constexpr const char* temporary_name = "temporary.img";

/// One that stayed where it was.
struct LeftFile {
  std::string path, why;
  uint64_t size = 0;
  bool held = false;
};

struct Temporaries {
  std::vector<TemporaryFile> taken;  ///< a directory before what is in it
  std::vector<LeftFile> left;
};

struct Manifest {
  std::string name;
  int64_t created_ms = 0;  ///< Unix time
  JobFacts facts;
  bool leave_running = false;
  std::string kernel, criu;
  std::vector<std::string> cpu_features;
  bool tcp_established = false;
  uint64_t bytes = 0;
  uint32_t frozen_ms = 0;
  std::vector<Process> processes;
  std::vector<StreamRecord> streams;
  std::vector<ImageFile> files;
  Pack pack;
  Temporaries temporaries;
  std::string certificate;  ///< PEM of the node that signed; empty: not signed
  std::string signature;    ///< of the JSON line; not part of it
  std::string signed_text;  ///< the JSON line as it was read
};

/// The JSON line, without its line end.
std::string encodeManifest(const Manifest& manifest);
/// The file: the JSON line with its checksum and signature (may be empty).
std::string frameManifest(const std::string& json_line, const std::string& signature);
/// `directory` is for the message only. The signature is not checked.
std::variant<Manifest, Failure> decodeManifest(const std::string& text, const std::string& directory);
std::variant<Manifest, Failure> readManifest(const std::string& directory);
/// Writes `text`, renames it into place and syncs both, owned by uid:gid. False with errno set.
bool writeManifest(int directory_fd, const std::string& text, uid_t uid, gid_t gid);

std::string toHex(const std::string& bytes);
std::string fromHex(const std::string& text);  ///< throws std::invalid_argument

/// Instruction set extensions of this processor that a program can come to depend on.
std::vector<std::string> cpuFeatures();
/// Those of `wanted` that this processor lacks.
std::vector<std::string> missingFeatures(const std::vector<std::string>& wanted);

}  // namespace xos::checkpoint
