#include "manifest.h"
#include "crc32c.h"
#include "fd.h"
#include "json.h"
#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sstream>
#include <sys/stat.h>

namespace xos::checkpoint {
namespace {

using Json = nlohmann::json;

const char* kindName(StreamKind kind) {
  switch (kind) {
    case StreamKind::pty: return "pty";
    case StreamKind::pipe_in: return "pipe_in";
    case StreamKind::pipe_out: return "pipe_out";
    case StreamKind::closed: break;
  }
  return "closed";
}

StreamKind kindOf(const std::string& name) {
  for (auto kind : {StreamKind::pty, StreamKind::pipe_in, StreamKind::pipe_out, StreamKind::closed})
    if (name == kindName(kind)) return kind;
  throw std::invalid_argument("unknown stream kind '" + name + "'");
}

Json processesOf(const Manifest& manifest) {
  Json list = Json::array();
  for (auto& process : manifest.processes)
    list.push_back({{"pid", process.pid}, {"parent", process.parent}, {"program", process.program}, {"paths", process.paths}});
  return list;
}

Json streamsOf(const Manifest& manifest) {
  Json list = Json::array();
  for (auto& stream : manifest.streams)
    list.push_back({{"kind", kindName(stream.given.kind)}, {"inode", stream.given.inode}, {"target_fds", stream.given.target_fds},
                    {"held", stream.held}, {"pending", toHex(stream.pending)}});
  return list;
}

Json filesOf(const Manifest& manifest) {
  Json list = Json::array();
  for (auto& file : manifest.files) list.push_back({{"name", file.name}, {"size", file.size}, {"crc32c", file.crc32c}});
  return list;
}

Json packOf(const Manifest& manifest) {
  Json entries = Json::array();
  for (auto& [name, size] : manifest.pack.entries) entries.push_back({{"name", name}, {"size", size}});
  return {{"name", pack_name}, {"size", manifest.pack.size}, {"sha256", manifest.pack.sha256}, {"entries", entries}};
}

const std::vector<std::pair<TemporaryFile::Kind, const char*>> temporary_kinds = {{TemporaryFile::Kind::directory, "directory"},
                                                                                  {TemporaryFile::Kind::file, "file"},
                                                                                  {TemporaryFile::Kind::fifo, "fifo"},
                                                                                  {TemporaryFile::Kind::link, "link"},
                                                                                  {TemporaryFile::Kind::same, "same"}};

Json temporariesOf(const Temporaries& temporaries) {
  Json taken = Json::array(), left = Json::array();
  for (auto& file : temporaries.taken) {
    const auto kind = std::find_if(temporary_kinds.begin(), temporary_kinds.end(), [&](auto& one) { return one.first == file.kind; });
    taken.push_back({{"kind", kind->second}, {"path", file.path}, {"mode", file.mode}, {"modified_ns", file.modified_ns}, {"size", file.size}, {"held", file.held},
                     {"extents", file.extents}, {"target", file.target}});
  }
  for (auto& file : temporaries.left) left.push_back({{"path", file.path}, {"why", file.why}, {"size", file.size}, {"held", file.held}});
  return {{"taken", taken}, {"left", left}};
}

Temporaries temporariesFrom(const Json& json) {
  Temporaries temporaries;
  for (auto& file : json.at("taken")) {
    const std::string name = file.at("kind");
    const auto kind = std::find_if(temporary_kinds.begin(), temporary_kinds.end(), [&](auto& one) { return name == one.second; });
    if (kind == temporary_kinds.end()) throw std::invalid_argument("unknown kind of file '" + name + "'");
    temporaries.taken.push_back({.kind = kind->first, .path = file.at("path"), .mode = file.at("mode"), .modified_ns = file.at("modified_ns"), .size = file.at("size"),
                                 .held = file.at("held"), .extents = file.at("extents").get<std::vector<std::pair<uint64_t, uint64_t>>>(), .target = file.at("target")});
  }
  for (auto& file : json.at("left")) temporaries.left.push_back({.path = file.at("path"), .why = file.at("why"), .size = file.at("size"), .held = file.at("held")});
  return temporaries;
}

/// Names become file names of our own directories.
std::string checkedName(const std::string& name) {
  bool plain = !name.empty() && name.size() < 256 && name.find('/') == std::string::npos && name != "." && name != "..";
  if (!plain || name.find('\0') != std::string::npos) throw std::invalid_argument("file name '" + name + "'");
  return name;
}

Manifest fromJson(const Json& json) {
  Manifest manifest;
  manifest.name = json.at("name");
  manifest.created_ms = json.at("created_ms");
  auto& facts = manifest.facts;
  facts = {.job = json.at("job"), .program = json.at("program"), .vo = json.at("vo"), .user = json.at("user"),
           .node = json.at("node"), .session = json.at("session"), .argv = json.at("argv"), .cwd = json.at("cwd"),
           .uid = json.at("uid"), .gid = json.at("gid")};
  manifest.leave_running = json.at("leave_running");
  manifest.kernel = json.at("kernel");
  manifest.criu = json.at("criu");
  manifest.cpu_features = json.at("cpu_features").get<std::vector<std::string>>();
  manifest.tcp_established = json.at("tcp_established");
  manifest.bytes = json.at("bytes");
  manifest.frozen_ms = json.at("frozen_ms");
  for (auto& process : json.at("processes"))
    manifest.processes.push_back({.pid = process.at("pid"), .parent = process.at("parent"), .program = process.at("program"),
                                  .paths = process.at("paths").get<std::vector<std::string>>()});
  for (auto& stream : json.at("streams"))
    manifest.streams.push_back({.given = {.kind = kindOf(stream.at("kind")), .inode = stream.at("inode"),
                                          .target_fds = stream.at("target_fds").get<std::vector<int>>()},
                                .held = stream.at("held"), .pending = fromHex(stream.at("pending"))});
  for (auto& file : json.at("files"))
    manifest.files.push_back({.name = checkedName(file.at("name")), .size = file.at("size"), .crc32c = file.at("crc32c")});
  auto& pack = json.at("pack");
  manifest.pack.size = pack.at("size");
  manifest.pack.sha256 = pack.at("sha256");
  for (auto& entry : pack.at("entries")) manifest.pack.entries.emplace_back(checkedName(entry.at("name")), entry.at("size"));
  // Older checkpoints took none along.
  if (json.contains("temporaries")) manifest.temporaries = temporariesFrom(json.at("temporaries"));
  manifest.certificate = json.at("certificate");
  return manifest;
}

Failure unusable(const std::string& directory, const std::string& code, const std::string& why) {
  return {code, "cannot use checkpoint '" + directory + "': " + why, ""};
}

}  // namespace

std::string toHex(const std::string& bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : bytes) text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

std::string fromHex(const std::string& text) {
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    throw std::invalid_argument("no hex digit");
  };
  if (text.size() % 2) throw std::invalid_argument("odd hex text");
  std::string bytes;
  for (size_t i = 0; i < text.size(); i += 2) bytes += static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1]));
  return bytes;
}

std::string encodeManifest(const Manifest& manifest) {
  auto& facts = manifest.facts;
  Json json = {{"format", "xtreemos-checkpoint"}, {"version", manifest_version}, {"name", manifest.name},
               {"created_ms", manifest.created_ms}, {"job", facts.job}, {"program", facts.program}, {"argv", facts.argv},
               {"cwd", facts.cwd}, {"vo", facts.vo}, {"user", facts.user}, {"uid", facts.uid}, {"gid", facts.gid},
               {"session", facts.session}, {"node", facts.node}, {"kernel", manifest.kernel}, {"criu", manifest.criu},
               {"cpu_features", manifest.cpu_features}, {"leave_running", manifest.leave_running},
               {"tcp_established", manifest.tcp_established}, {"bytes", manifest.bytes}, {"frozen_ms", manifest.frozen_ms},
               {"processes", processesOf(manifest)}, {"streams", streamsOf(manifest)}, {"files", filesOf(manifest)},
               {"pack", packOf(manifest)}, {"temporaries", temporariesOf(manifest.temporaries)}, {"certificate", manifest.certificate}};
  return json_text(json);
}

std::string frameManifest(const std::string& json_line, const std::string& signature) {
  char checksum[32];
  std::snprintf(checksum, sizeof checksum, "\ncrc32c=%08x\n", crc32c(0, json_line.data(), json_line.size()));
  return json_line + checksum + "signature=" + toHex(signature) + "\n";
}

std::variant<Manifest, Failure> decodeManifest(const std::string& text, const std::string& directory) {
  size_t line = text.find('\n');
  constexpr size_t checksum_bytes = 16;  // "\ncrc32c=xxxxxxxx"
  static const std::string label = "\nsignature=";
  bool whole = line != std::string::npos && text.back() == '\n' && text.size() >= line + checksum_bytes + label.size() + 1 &&
               text.compare(line + checksum_bytes, label.size(), label) == 0 &&
               text.compare(line, 8, "\ncrc32c=") == 0;
  if (!whole) return unusable(directory, "XOS_CHECKPOINT_DAMAGED", "its manifest is cut off; take the checkpoint again");
  char sum[9];
  std::snprintf(sum, sizeof sum, "%08x", crc32c(0, text.data(), line));
  if (text.compare(line + 8, 8, sum) != 0)
    return unusable(directory, "XOS_CHECKPOINT_DAMAGED", "its manifest was changed (checksum is wrong); take the checkpoint again");
  try {
    Json json = parse_json(std::string_view(text).substr(0, line));
    if (json.at("format") != "xtreemos-checkpoint")
      return unusable(directory, "XOS_CHECKPOINT_VERSION", "it is no checkpoint of XtreemOS");
    if (json.at("version") != manifest_version)
      return unusable(directory, "XOS_CHECKPOINT_VERSION",
                      "its format is version " + json.at("version").dump() + ", this node reads version " +
                          std::to_string(manifest_version) + "; restart it on a node with the software that made it");
    Manifest manifest = fromJson(json);
    size_t from = line + checksum_bytes + label.size();
    manifest.signature = fromHex(text.substr(from, text.size() - from - 1));
    manifest.signed_text = text.substr(0, line);
    return manifest;
  } catch (const std::exception& error) {
    return unusable(directory, "XOS_CHECKPOINT_DAMAGED", std::string("its manifest does not make sense: ") + error.what());
  }
}

std::variant<Manifest, Failure> readManifest(const std::string& directory) {
  struct stat status;
  if (stat(directory.c_str(), &status) < 0)
    return unusable(directory, "XOS_CHECKPOINT_UNKNOWN", std::string(std::strerror(errno)) + "; 'xcheckpoint ls' shows what there is");
  std::string path = directory + "/" + manifest_name;
  if (stat(path.c_str(), &status) < 0)
    return unusable(directory, "XOS_CHECKPOINT_INCOMPLETE", "it was never finished (no manifest); remove it with 'xcheckpoint rm'");
  return decodeManifest(readFile(path, 64u << 20), directory);
}

bool writeManifest(int directory_fd, const std::string& text, uid_t uid, gid_t gid) {
  constexpr const char* temporary = "manifest.new";
  Fd file(openat(directory_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  bool ok = file && writeAll(file.get(), text.data(), text.size()) && fchown(file.get(), uid, gid) == 0;
  // Synced once, with its name: what a power cut leaves of it before that, its checksum tells from a whole one.
  ok = ok && renameat(directory_fd, temporary, directory_fd, manifest_name) == 0 && fsync(file.get()) == 0;
  // close() reports what a network file system could not store (close(2), "Dealing with error returns").
  ok = ok && close(file.release()) == 0;
  if (ok) fsync(directory_fd);
  return ok;
}

std::vector<std::string> cpuFeatures() {
  static const std::set<std::string> matter = {
      "sse3", "pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "movbe", "aes", "pclmulqdq", "avx", "f16c", "fma", "avx2", "bmi1", "bmi2",
      "abm", "adx", "sha_ni", "rdrand", "rdseed", "fsgsbase", "xsave", "xsavec", "pku", "gfni", "vaes", "vpclmulqdq", "avx512f",
      "avx512dq", "avx512cd", "avx512bw", "avx512vl", "avx512ifma", "avx512vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bitalg",
      "avx512_vpopcntdq", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16", "rdpid", "serialize"};
  std::vector<std::string> features;
  std::string text = readFile("/proc/cpuinfo", 65536);
  size_t at = text.find("\nflags");
  if (at == std::string::npos) return features;
  std::istringstream words(text.substr(at + 1, text.find('\n', at + 1) - at - 1));
  for (std::string word; words >> word;)
    if (matter.count(word)) features.push_back(word);
  return features;
}

std::vector<std::string> missingFeatures(const std::vector<std::string>& wanted) {
  auto here = cpuFeatures();
  std::vector<std::string> missing;
  for (auto& feature : wanted)
    if (std::find(here.begin(), here.end(), feature) == here.end()) missing.push_back(feature);
  return missing;
}

}  // namespace xos::checkpoint
