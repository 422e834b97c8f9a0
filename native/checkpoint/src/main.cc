// xos-checkpoint: verifies, exports and imports checkpoints, for xcheckpoint, as the user.
//
//   xos-checkpoint verify CHECKPOINT | export CHECKPOINT TO | import FROM CHECKPOINT
//
// Directories are absolute. Standard input: the certificates that vouch for the VO's nodes (PEM), or nothing. Standard output: lines of JSON,
// {"bytes","bytes_total"} while it works, then {"result"} (status 0) or {"error": {"code","message"}} (status 1).
#include "files.h"
#include "fd.h"
#include "json.h"
#include <csignal>
#include <cstdio>

namespace {

using namespace xos::checkpoint;
using Json = nlohmann::json;

std::atomic<bool> given_up{false};

int usage() {
  std::fprintf(stderr, "usage: xos-checkpoint verify CHECKPOINT | export CHECKPOINT TO | import FROM CHECKPOINT (absolute directories); started by xcheckpoint\n");
  return 2;
}

std::string standardInput() {
  std::string text;
  char piece[4096];
  for (ssize_t got; text.size() < 1u << 20 && ((got = read(STDIN_FILENO, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR));)
    if (got > 0) text.append(piece, static_cast<size_t>(got));
  return text;
}

void say(const Json& line) {
  std::string text = xos::json_text(line) + "\n";
  writeAll(STDOUT_FILENO, text.data(), text.size());
}

Json resultOf(const Manifest& manifest, const FilesRequest& request, const std::string& exported_to) {
  Json result{{"name", manifest.name}, {"job", manifest.facts.job}, {"node", manifest.facts.node}, {"bytes", manifest.bytes},
              {"files", manifest.files.size() + 1}, {"signature_checked", !request.authority.empty()}, {"missing_features", missingFeatures(manifest.cpu_features)}};
  if (exported_to.empty()) return result;
  size_t pending = 0;
  for (auto& stream : manifest.streams) pending += stream.pending.size();
  result["command"] = restoreCommand(manifest, exported_to);
  result["pending_bytes"] = pending;
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string verb = words.empty() ? "" : words[0];
  if (words.size() != (verb == "verify" ? 2u : verb == "export" || verb == "import" ? 3u : 0u)) return usage();
  for (size_t i = 1; i < words.size(); ++i)
    if (!words[i].starts_with('/') || words[i].ends_with('/')) return usage();
  for (int number : {SIGINT, SIGTERM, SIGHUP}) std::signal(number, [](int) { given_up = true; });
  std::signal(SIGPIPE, SIG_IGN);

  FilesRequest request{.directory = verb == "import" ? words[2] : words[1], .authority = standardInput(), .abort = &given_up,
                       .progress = [](uint64_t bytes, uint64_t total) { say({{"bytes", bytes}, {"bytes_total", total}}); }};
  auto done = verb == "verify" ? verifyCheckpoint(request) : verb == "export" ? exportCheckpoint(request, words[2]) : importCheckpoint(request, words[1]);
  if (auto* failure = std::get_if<Failure>(&done)) return say({{"error", {{"code", failure->code}, {"message", failure->message}}}}), 1;
  say({{"result", resultOf(std::get<Manifest>(done), request, verb == "export" ? words[2] : "")}});
}
