// Checkpoints as files: what is not whole is found, and what was exported is a directory of CRIU's own, and a checkpoint again.
#include "files.h"
#include "images.h"
#include "crc32c.h"
#include "rig.h"
#include "signature.h"
#include "tree.h"
#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>

using namespace xos::checkpoint;
using namespace xos::checkpoint::test;

namespace {

void put(const std::string& path, const std::string& text) {
  Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  CHECK(file && writeAll(file.get(), text.data(), text.size()));
}

std::string content(const std::string& path) { return readFile(path, 1u << 30); }

/// A VO's CA and a node of it, made by openssl as the registry makes them. False: there is no openssl.
bool makeNode(const std::string& directory) {
  const std::string command = "mkdir -p " + directory + " && cd " + directory + " && exec >/dev/null 2>&1"
      " && openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.pem -subj /O=demo/CN=ca -days 2"
      " && openssl req -newkey ed25519 -nodes -keyout key.pem -out csr.pem -subj /O=demo/CN=n2"
      " && printf 'subjectAltName=URI:xos://demo/node/n2\\n' > ext"
      " && openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 1 -extfile ext";
  return system(command.c_str()) == 0;
}

/// A checkpoint as the engine leaves it, of images that are only bytes; `memory` is the size of the first one.
struct Checkpoint {
  Workplace at;
  Manifest manifest;
  FilesRequest request;

  explicit Checkpoint(size_t memory = 5000, bool sign_it = true) {
    if (!makeNode(at.path + "/node")) SKIP("needs the openssl command");
    const std::string from = at.path + "/from", to = at.images();
    CHECK(mkdir(from.c_str(), 0700) == 0 && mkdir(to.c_str(), 0700) == 0);
    put(from + "/core-100.img", std::string("core\0of", 7));
    put(from + "/inventory.img", "inventory");
    manifest = {.name = "one", .created_ms = static_cast<int64_t>(time(nullptr)) * 1000, .kernel = "6.18", .criu = "4.2.1"};
    manifest.facts = {.job = "n1-42", .program = "python3", .vo = "demo", .user = "alice", .node = "n2", .session = "ab", .argv = {"python3"}, .cwd = "/",
                      .uid = getuid(), .gid = getgid()};
    manifest.streams = {{{StreamKind::pipe_in, 77, {0}}, true, "unread"}, {{StreamKind::pty, 0, {1, 2}}, false, ""}};
    for (auto& [name, size] : {std::pair{"pages-1.img", memory}, std::pair{"pages-2.img", size_t{4096}}}) {
      std::string bytes(size, '\0');
      for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 256);
      put(to + "/" + name, bytes);
      manifest.files.push_back({name, size, xos::crc32c(0, bytes.data(), bytes.size())});
    }
    Fd scratch(open(from.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), directory(open(to.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK(packImages(scratch.get(), directory.get(), getuid(), getgid(), false, manifest.pack));
    manifest.certificate = nodeCertificate(at.path + "/node");
    seal(encodeManifest(manifest), sign_it);
    request = {.directory = to, .authority = nodeAuthority(at.path + "/node")};
  }
  void seal(const std::string& line, bool sign_it = true) const {
    put(at.images() + "/manifest", frameManifest(line, sign_it ? sign(at.path + "/node", line) : ""));
  }
  std::vector<std::string> names() const { return {"manifest", "state.img", "pages-1.img", "pages-2.img"}; }
};

std::string codeOf(const std::variant<Manifest, Failure>& result) {
  auto* failure = std::get_if<Failure>(&result);
  return failure ? failure->code : "";
}

pid_t run(const char* program, const std::vector<std::string>& words, const int (&fds)[3]) {
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 3; ++i) dup2(fds[i], i);
    close_range(3, ~0u, 0);
    execv(program, pointers.data());
    _exit(127);
  }
  return child;
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

/// Nothing beside what is named lies in the workplace: no half-made directory.
void onlyThere(const Workplace& at, std::vector<std::string> names) {
  Fd directory(open(at.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::sort(names.begin(), names.end());
  CHECK(filesIn(directory.get()) == names);
}

}  // namespace

TEST("a whole checkpoint is verified, and a flipped bit is found all over every file") {
  const Checkpoint one;
  CHECK_EQUAL(codeOf(verifyCheckpoint(one.request)), "");
  for (auto& name : one.names()) {
    const std::string path = one.at.images() + "/" + name, right = content(path);
    for (size_t i = 0; i < right.size(); i += 1 + right.size() / 150) {
      std::string wrong = right;
      wrong[i] = static_cast<char>(wrong[i] ^ 1 << i % 8);
      put(path, wrong);
      if (codeOf(verifyCheckpoint(one.request)).empty()) xos::test::fail(__FILE__, __LINE__, name + " byte " + std::to_string(i));
    }
    put(path, right);
  }
  CHECK_EQUAL(codeOf(verifyCheckpoint(one.request)), "");
}

TEST("a file that is cut off, too long or missing is named") {
  const Checkpoint one;
  for (auto& name : one.names()) {
    const std::string path = one.at.images() + "/" + name, right = content(path);
    for (size_t size : {size_t{0}, right.size() / 2, right.size() - 1, right.size() + 1}) {
      put(path, size > right.size() ? right + "x" : right.substr(0, size));
      auto result = verifyCheckpoint(one.request);
      CHECK_EQUAL(codeOf(result), "XOS_CHECKPOINT_DAMAGED");
      CHECK(std::get<Failure>(result).message.find(name) != std::string::npos);
    }
    unlink(path.c_str());
    CHECK_EQUAL(codeOf(verifyCheckpoint(one.request)), name == "manifest" ? "XOS_CHECKPOINT_INCOMPLETE" : "XOS_CHECKPOINT_DAMAGED");
    put(path, right);
  }
}

TEST("another version, another format, no signature and that of another VO's node are told apart") {
  const Checkpoint one;
  const std::string line = encodeManifest(one.manifest);
  auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = line;
    CHECK(text.find(from) != std::string::npos);
    one.seal(text.replace(text.find(from), from.size(), to));
    return codeOf(verifyCheckpoint(one.request));
  };
  CHECK_EQUAL(changed("\"version\":1", "\"version\":0"), "XOS_CHECKPOINT_VERSION");
  CHECK_EQUAL(changed("\"version\":1", "\"version\":2"), "XOS_CHECKPOINT_VERSION");
  CHECK_EQUAL(changed("xtreemos-checkpoint", "other-checkpoint"), "XOS_CHECKPOINT_VERSION");
  CHECK_EQUAL(changed("pages-1.img", "../../../etc"), "XOS_CHECKPOINT_DAMAGED");
  one.seal(line, false);
  CHECK_EQUAL(codeOf(verifyCheckpoint(one.request)), "XOS_CHECKPOINT_SIGNATURE");
  FilesRequest unchecked = one.request;
  unchecked.authority = "";
  CHECK_EQUAL(codeOf(verifyCheckpoint(unchecked)), "");
  const Checkpoint other;
  FilesRequest foreign = one.request;
  foreign.directory = other.at.images();
  CHECK_EQUAL(codeOf(verifyCheckpoint(foreign)), "XOS_CHECKPOINT_SIGNATURE");
}

TEST("what is exported are CRIU's files, and becomes the same checkpoint again") {
  const Checkpoint one;
  const std::string to = one.at.path + "/plain", back = one.at.path + "/back";
  CHECK_EQUAL(codeOf(exportCheckpoint(one.request, to)), "");
  CHECK_EQUAL(content(to + "/core-100.img"), std::string("core\0of", 7));
  CHECK_EQUAL(content(to + "/inventory.img"), "inventory");
  CHECK_EQUAL(content(to + "/pages-1.img"), content(one.at.images() + "/pages-1.img"));
  CHECK_EQUAL(codeOf(exportCheckpoint(one.request, to)), "XOS_CHECKPOINT_EXISTS");
  FilesRequest again = one.request;
  again.directory = back;
  CHECK_EQUAL(codeOf(importCheckpoint(again, to)), "");
  CHECK_EQUAL(codeOf(verifyCheckpoint(again)), "");
  for (auto& name : one.names()) CHECK_EQUAL(content(back + "/" + name), content(one.at.images() + "/" + name));
  CHECK_EQUAL(codeOf(importCheckpoint(again, to)), "XOS_CHECKPOINT_EXISTS");
  onlyThere(one.at, {"back", "checkpoint", "from", "node", "plain"});
}

TEST("what is damaged is neither exported nor imported, and leaves nothing") {
  const Checkpoint one;
  const std::string to = one.at.path + "/plain";
  CHECK_EQUAL(codeOf(exportCheckpoint(one.request, to)), "");
  FilesRequest again = one.request;
  again.directory = one.at.path + "/back";
  for (auto& name : {"core-100.img", "inventory.img", "pages-1.img", "pages-2.img", "manifest"}) {
    const std::string path = to + "/" + name, right = content(path);
    for (size_t i = 0; i < right.size(); i += 1 + right.size() / 20) {
      std::string wrong = right;
      wrong[i] = static_cast<char>(wrong[i] ^ 1 << i % 8);
      put(path, wrong);
      if (codeOf(importCheckpoint(again, to)).empty()) xos::test::fail(__FILE__, __LINE__, std::string(name) + " byte " + std::to_string(i));
    }
    put(path, right.substr(0, right.size() - 1));
    CHECK_EQUAL(codeOf(importCheckpoint(again, to)), "XOS_CHECKPOINT_DAMAGED");
    put(path, right);
  }
  unlink((to + "/manifest").c_str());
  CHECK_EQUAL(codeOf(importCheckpoint(again, to)), "XOS_CHECKPOINT_FOREIGN");
  put(one.at.images() + "/pages-2.img", std::string(4096, 'x'));
  CHECK_EQUAL(codeOf(exportCheckpoint(one.request, one.at.path + "/other")), "XOS_CHECKPOINT_DAMAGED");
  std::atomic<bool> given_up{true};
  again = one.request;
  again.abort = &given_up;
  CHECK_EQUAL(codeOf(exportCheckpoint(again, one.at.path + "/other")), "XOS_CHECKPOINT_ABORTED");
  onlyThere(one.at, {"checkpoint", "from", "node", "plain"});
}

TEST("a checkpoint of another user is not imported") {
  if (geteuid() != 0) SKIP("needs root, to become another user");
  const Checkpoint one;
  CHECK_EQUAL(codeOf(exportCheckpoint(one.request, one.at.path + "/plain")), "");
  CHECK_EQUAL(system(("chmod -R a+rX " + one.at.path + "/plain").c_str()), 0);
  const pid_t child = fork();
  if (child == 0) {
    FilesRequest again = one.request;
    again.directory = one.at.path + "/back";
    _exit(setgid(65534) == 0 && setuid(65534) == 0 && codeOf(importCheckpoint(again, one.at.path + "/plain")) == "XOS_CHECKPOINT_OWNER" ? 0 : 1);
  }
  CHECK_EQUAL(waitFor(child), 0);
  CHECK(!exists(one.at.path + "/back"));
}

TEST("kill -9 in the middle of an export or import leaves it whole or absent") {
  const Checkpoint one(32u << 20);
  const std::string to = one.at.path + "/plain", back = one.at.path + "/back";
  auto runAndKill = [&](const std::vector<std::string>& words, int pause_ms) {
    Fd none(open("/dev/null", O_RDWR | O_CLOEXEC));
    const pid_t child = run(XOS_CHECKPOINT_PROGRAM, words, {none.get(), none.get(), none.get()});
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
    kill(child, SIGKILL);
    waitFor(child);
  };
  FilesRequest again = one.request;
  again.directory = back;
  for (int pause_ms : {0, 30, 80}) {
    runAndKill({"xos-checkpoint", "export", one.at.images(), to}, pause_ms);
    if (!exists(to)) CHECK_EQUAL(codeOf(exportCheckpoint(one.request, to)), "");
    runAndKill({"xos-checkpoint", "import", to, back}, pause_ms);
    if (!exists(back)) CHECK_EQUAL(codeOf(importCheckpoint(again, to)), "");
    CHECK_EQUAL(codeOf(verifyCheckpoint(again)), "");
    CHECK_EQUAL(system(("rm -rf " + to + " " + back + " " + one.at.path + "/.[a-z]*").c_str()), 0);
  }
}

TEST("criu restore takes what was exported, with the options that were told") {
  needCell();
  Workplace at;
  inCell([&] {
    Job job = start(counter, Wanted::pipes);
    type(job.in.get(), "one\n");
    expect(job.out.get(), "line 1");
    mustDump(at, job);
  });
  const FilesRequest request{.directory = at.images(), .authority = ""};
  auto exported = exportCheckpoint(request, at.path + "/plain");
  CHECK_EQUAL(codeOf(exported), "");
  const auto words = restoreCommand(std::get<Manifest>(exported), at.path + "/plain");
  inCell([&] {
    int in[2], out[2];
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    const pid_t criu = run("/usr/sbin/criu", words, {in[0], out[1], out[1]});
    type(in[1], "two\n");
    expect(out[0], "line 2 two");
    type(in[1], "quit\n");
    expect(out[0], "line 3 quit");
    kill(criu, SIGKILL);
    waitFor(criu);
  });
}

TEST_MAIN
