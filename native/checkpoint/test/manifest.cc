// What makes a checkpoint exist, and what makes it refused.
#include "images.h"
#include "manifest.h"
#include "paths.h"
#include "place.h"
#include "signature.h"
#include "test.h"
#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>

using namespace xos::checkpoint;

namespace {

struct Folder {
  std::string path;
  Fd fd;
  Folder() {
    char name[] = "/tmp/xos-manifest-XXXXXX";
    path = mkdtemp(name);
    fd.reset(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~Folder() { (void)!system(("rm -rf " + path).c_str()); }
  void put(const std::string& name, const std::string& text) const {
    Fd file(openat(fd.get(), name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    CHECK(file && writeAll(file.get(), text.data(), text.size()));
  }
};

Manifest sample() {
  Manifest manifest{.name = "one", .created_ms = 1767322800000, .kernel = "6.18", .criu = "4.2.1"};
  manifest.facts = {.job = "n1-42", .program = "/usr/bin/python3", .vo = "demo", .user = "alice", .node = "n2", .session = "ab",
                    .argv = {"python3", "a b\n\xff"}, .cwd = "/home/alice", .uid = 1879113729, .gid = 1879113729};
  manifest.processes = {{.pid = 100, .parent = 1, .program = "python3", .paths = {"/usr/bin/python3"}}};
  manifest.streams = {{{StreamKind::pipe_in, 77, {0}}, true, std::string("un\0read", 7)}, {{StreamKind::pty, 0, {1, 2}}, false, ""}};
  manifest.files = {{"pages-1.img", 5, 0x1234}};
  manifest.pack = {.size = 9, .sha256 = "00", .entries = {{"core-100.img", 4}, {"inventory.img", 5}}};
  return manifest;
}

std::string codeOf(const std::variant<Manifest, Failure>& result) {
  auto* failure = std::get_if<Failure>(&result);
  return failure ? failure->code : "";
}

/// A CA, a node key and certificate in `at`, made by openssl as the VO's registry makes them.
bool makeCredentials(const Folder& at, const std::string& uri) {
  std::string command = "cd " + at.path + " && exec >/dev/null 2>&1"
      " && openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.pem -subj /O=demo/CN=ca -days 2"
      " && openssl req -newkey ed25519 -nodes -keyout key.pem -out csr.pem -subj /O=demo/CN=n2"
      " && printf 'subjectAltName=URI:" + uri + "\\n' > ext"
      " && openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 1 -extfile ext";
  return system(command.c_str()) == 0;
}

int64_t nowMs() { return static_cast<int64_t>(time(nullptr)) * 1000; }

}  // namespace

TEST("a manifest comes back as it was written") {
  auto read = decodeManifest(frameManifest(encodeManifest(sample()), "sig"), "d");
  CHECK_EQUAL(codeOf(read), std::string());
  auto& manifest = std::get<Manifest>(read);
  CHECK_EQUAL(manifest.facts.job, std::string("n1-42"));
  CHECK_EQUAL(manifest.facts.uid, 1879113729u);
  CHECK_EQUAL(manifest.facts.argv[1], std::string("a b\n\xef\xbf\xbd"));  // no UTF-8: shown as a replacement character
  CHECK_EQUAL(manifest.streams[0].pending, std::string("un\0read", 7));
  CHECK(manifest.streams[1].given.kind == StreamKind::pty && manifest.streams[1].given.target_fds == std::vector<int>({1, 2}));
  CHECK_EQUAL(manifest.files[0].crc32c, 0x1234u);
  CHECK_EQUAL(manifest.pack.entries[1].second, 5u);
  CHECK_EQUAL(manifest.signature, std::string("sig"));
  CHECK_EQUAL(manifest.signed_text, encodeManifest(sample()));
}

TEST("paths are compared without what deletion and CRIU add to them") {
  CHECK_EQUAL(comparablePath("/home/a/x"), std::string("/home/a/x"));
  CHECK_EQUAL(comparablePath("/home/a/x (deleted)"), std::string("/home/a/x"));
  CHECK_EQUAL(comparablePath("/home/a/x.cr.1f.ghost (deleted)"), std::string("/home/a/x"));
  CHECK_EQUAL(comparablePath("/home/a/x.cr.zz.ghost"), std::string("/home/a/x.cr.zz.ghost"));
  CHECK_EQUAL(comparablePath("/home/a/link_remap.7 (deleted)"), std::string("/home/a/?"));
  CHECK_EQUAL(comparablePath("/home/a/x.cr_link (deleted)"), std::string("/home/a/?"));
  CHECK_EQUAL(comparablePath("/home/a/x.cr_link"), std::string("/home/a/x.cr_link"));
  for (const char* link : {"", "pipe:[7]", "socket:[7]", "anon_inode:[eventfd]", "/memfd:x (deleted)", "/dev/pts/0", "/dev/zero (deleted)"})
    CHECK_EQUAL(comparablePath(link), std::string());
}

TEST("every cut manifest is refused") {
  std::string text = frameManifest(encodeManifest(sample()), "sig");
  for (size_t length = 0; length < text.size(); ++length) CHECK_EQUAL(codeOf(decodeManifest(text.substr(0, length), "d")), std::string("XOS_CHECKPOINT_DAMAGED"));
}

TEST("every flipped bit of the signed line is found") {
  std::string text = frameManifest(encodeManifest(sample()), "");
  size_t line = text.find('\n');
  for (size_t at = 0; at < line; ++at) {
    std::string changed = text;
    changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
    CHECK(!codeOf(decodeManifest(changed, "d")).empty());
  }
}

TEST("a manifest of another version, of another format, or with a path for a name is refused") {
  auto edited = [](const std::string& from, const std::string& to) {
    std::string line = encodeManifest(sample());
    size_t at = line.find(from);
    CHECK(at != std::string::npos);
    return codeOf(decodeManifest(frameManifest(line.replace(at, from.size(), to), ""), "d"));
  };
  CHECK_EQUAL(edited("\"version\":1", "\"version\":2"), std::string("XOS_CHECKPOINT_VERSION"));
  CHECK_EQUAL(edited("xtreemos-checkpoint", "something-else"), std::string("XOS_CHECKPOINT_VERSION"));
  CHECK_EQUAL(edited("pages-1.img", "../shadow"), std::string("XOS_CHECKPOINT_DAMAGED"));
  CHECK_EQUAL(edited("core-100.img", ".."), std::string("XOS_CHECKPOINT_DAMAGED"));
  CHECK_EQUAL(edited("\"pid\":100", "\"pid\":\"x\""), std::string("XOS_CHECKPOINT_DAMAGED"));
}

TEST("no directory, no manifest, and a file that is cut off or missing are told apart") {
  CHECK_EQUAL(codeOf(readManifest("/nowhere/at/all")), std::string("XOS_CHECKPOINT_UNKNOWN"));
  Folder folder;
  CHECK_EQUAL(codeOf(readManifest(folder.path)), std::string("XOS_CHECKPOINT_INCOMPLETE"));
  CHECK(writeManifest(folder.fd.get(), frameManifest(encodeManifest(sample()), ""), getuid(), getgid()));
  CHECK_EQUAL(codeOf(readManifest(folder.path)), std::string());
  CHECK(faccessat(folder.fd.get(), "manifest.new", F_OK, 0) < 0);
  auto text = [&] {
    auto described = describe(folder.path);
    auto* failure = std::get_if<Failure>(&described);
    return failure ? failure->message : "";
  };
  CHECK(text().find("'pages-1.img' cannot be read") != std::string::npos);
  folder.put("pages-1.img", "1234");
  CHECK(text().find("has 4 bytes instead of 5") != std::string::npos);
  folder.put("pages-1.img", "12345");
  folder.put(pack_name, "123456789");
  CHECK_EQUAL(text(), std::string());
}

const std::atomic<bool> go_on{false};

TEST("memory images come through FIFOs, whole and in order, and a change of one byte is found") {
  Folder scratch, store;
  std::vector<ImageFile> files;
  std::string failed, wanted;
  {
    MemoryImages images(scratch.fd.get(), store.fd.get(), 3);
    std::string piece(300001, 'x');
    Fd fifo(open((scratch.path + "/pages-2.img").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));  // as CRIU opens it
    for (int i = 0; i < 20; ++i) {
      piece[0] = static_cast<char>(i);
      wanted += piece;
      CHECK(writeAll(fifo.get(), piece.data(), piece.size()));
    }
    fifo.reset();
    Fd small(open((scratch.path + "/pages-3.img").c_str(), O_RDWR | O_CLOEXEC));
    CHECK(writeAll(small.get(), "tail", 4));
    images.collect();
    CHECK(images.finish(getuid(), getgid(), true, files, failed, go_on));
  }
  CHECK_EQUAL(files.size(), 2u);
  CHECK_EQUAL(files[0].name + " " + files[1].name, std::string("pages-2.img pages-3.img"));
  CHECK(readFile(store.path + "/pages-2.img", 1u << 30) == wanted);
  CHECK_EQUAL(readFile(store.path + "/pages-3.img"), std::string("tail"));
  CHECK(filesIn(store.fd.get()).size() == 2);
  std::atomic<uint64_t> count{0};
  std::atomic<bool> abort{false};
  CHECK_EQUAL(verifyImages(store.fd.get(), files, count, abort), std::string());
  CHECK_EQUAL(count.load(), wanted.size() + 4);
  Fd file(openat(store.fd.get(), "pages-2.img", O_WRONLY | O_CLOEXEC));
  CHECK_EQUAL(pwrite(file.get(), "y", 1, 5000001), 1);
  CHECK(verifyImages(store.fd.get(), files, count, abort).find("was changed") != std::string::npos);
}

TEST("when an image cannot be stored its writer never waits, and the error is told at the end") {
  Folder scratch, store;
  MemoryImages images(scratch.fd.get(), -1, 1);
  Fd fifo(open((scratch.path + "/pages-1.img").c_str(), O_RDWR | O_CLOEXEC));
  std::string piece(8u << 20, 'x');
  CHECK(writeAll(fifo.get(), piece.data(), piece.size()));
  std::vector<ImageFile> files;
  std::string failed;
  images.collect();
  CHECK(!images.finish(getuid(), getgid(), false, files, failed, go_on));
  CHECK_EQUAL(errno, EBADF);
  CHECK_EQUAL(failed, std::string("pages-1.img"));
}

TEST("memory that is given up is neither waited for nor told as stored") {
  Folder scratch, store;
  MemoryImages images(scratch.fd.get(), store.fd.get(), 1);
  Fd fifo(open((scratch.path + "/pages-1.img").c_str(), O_RDWR | O_CLOEXEC));
  std::string piece(3u << 20, 'x');
  CHECK(writeAll(fifo.get(), piece.data(), piece.size()));
  images.collect();
  std::vector<ImageFile> files;
  std::string failed;
  const std::atomic<bool> abort{true};
  CHECK(!images.finish(getuid(), getgid(), false, files, failed, abort));
  CHECK_EQUAL(errno, ECANCELED);
  CHECK_EQUAL(failed, std::string());
  CHECK(files.empty());
}

TEST("more memory than may wait for the volume comes whole") {
  Folder scratch, store;
  MemoryImages images(scratch.fd.get(), store.fd.get(), 1);
  std::string piece(1u << 20, 'x');
  const size_t pieces = MemoryImages::waiting_bytes_max / piece.size() + 20;
  Fd fifo(open((scratch.path + "/pages-1.img").c_str(), O_RDWR | O_CLOEXEC));
  for (size_t i = 0; i < pieces; ++i) {
    piece[i] = static_cast<char>(i);
    CHECK(writeAll(fifo.get(), piece.data(), piece.size()));
  }
  images.collect();
  std::vector<ImageFile> files;
  std::string failed;
  CHECK(images.finish(getuid(), getgid(), false, files, failed, go_on));
  CHECK_EQUAL(files.size(), 1u);
  CHECK_EQUAL(files[0].size, pieces * piece.size());
  std::atomic<uint64_t> count{0};
  CHECK_EQUAL(verifyImages(store.fd.get(), files, count, go_on), std::string());
}

TEST("a pack comes back file by file, and a changed one is refused") {
  Folder from, store, to;
  from.put("core-100.img", "core");
  from.put("inventory.img", std::string("in\0ventory", 10));
  from.put("empty.img", "");
  from.put("stats-dump", "not packed");
  Pack pack;
  CHECK(packImages(from.fd.get(), store.fd.get(), getuid(), getgid(), false, pack));
  CHECK_EQUAL(pack.entries.size(), 3u);
  CHECK_EQUAL(pack.size, 14u);
  CHECK_EQUAL(unpackImages(store.fd.get(), pack, to.fd.get()), std::string());
  CHECK_EQUAL(readFile(to.path + "/inventory.img"), std::string("in\0ventory", 10));
  CHECK(filesIn(to.fd.get()) == std::vector<std::string>({"core-100.img", "empty.img", "inventory.img"}));
  store.put(pack_name, "coreIn_ventory");
  Folder other;
  CHECK(unpackImages(store.fd.get(), pack, other.fd.get()).find("was changed") != std::string::npos);
  store.put(pack_name, "core");
  CHECK(unpackImages(store.fd.get(), pack, other.fd.get()).find("cannot be read whole") != std::string::npos);
  CHECK(filesIn(other.fd.get()).empty());
}

TEST("only a node of the VO can sign") {
  Folder ours, others;
  if (!makeCredentials(ours, "xos://demo/node/n2") || !makeCredentials(others, "xos://demo/node/n2")) SKIP("needs the openssl command");
  std::string certificate = nodeCertificate(ours.path), signature = sign(ours.path, "text");
  CHECK(!signature.empty());
  CHECK_EQUAL(verifySignature(nodeAuthority(ours.path), "demo", certificate, signature, "text", nowMs()), std::string());
  CHECK(!verifySignature(nodeAuthority(ours.path), "demo", certificate, signature, "Text", nowMs()).empty());
  CHECK(!verifySignature(nodeAuthority(ours.path), "demo", certificate, "", "text", nowMs()).empty());
  CHECK(!verifySignature(nodeAuthority(ours.path), "other", certificate, signature, "text", nowMs()).empty());
  CHECK(!verifySignature(nodeAuthority(others.path), "demo", certificate, signature, "text", nowMs()).empty());  // another CA
  CHECK(!verifySignature(nodeAuthority(ours.path), "demo", certificate, sign(others.path, "text"), "text", nowMs()).empty());
  CHECK(!verifySignature(nodeAuthority(ours.path), "demo", certificate, signature, "text", nowMs() + 10 * 86400000ll).empty());  // not valid then
  Folder user;
  CHECK(makeCredentials(user, "xos://demo/user/alice"));
  CHECK(!verifySignature(nodeAuthority(user.path), "demo", nodeCertificate(user.path), sign(user.path, "text"), "text", nowMs()).empty());
}

TEST("a directory is made once, never inside or over another checkpoint, and never through '..'") {
  Folder folder;
  auto codeAt = [&](const std::string& path, const std::string& job = "n1-1") {
    Place place;
    auto failure = makePlace(path, job, getuid(), getgid(), place);
    return failure ? failure->code : "";
  };
  CHECK_EQUAL(codeAt("relative/path"), std::string("XOS_CHECKPOINT_DIRECTORY"));
  CHECK_EQUAL(codeAt(folder.path + "/a/../b"), std::string("XOS_CHECKPOINT_DIRECTORY"));
  CHECK_EQUAL(codeAt(folder.path + "/.."), std::string("XOS_CHECKPOINT_DIRECTORY"));
  if (geteuid() != 0) SKIP("the rest needs root");
  CHECK_EQUAL(codeAt(folder.path + "/a/b/one"), std::string());
  CHECK_EQUAL(codeAt(folder.path + "/a/b/one"), std::string());  // a left-over without manifest
  Folder inside;
  CHECK_EQUAL(system(("ln -s / " + folder.path + "/link").c_str()), 0);
  CHECK_EQUAL(codeAt(folder.path + "/link"), std::string("XOS_CHECKPOINT_DIRECTORY"));
}

TEST("a checkpoint of the same job is replaced when the new one is whole, one of another job is not") {
  if (geteuid() != 0) SKIP("needs root");
  Folder folder;
  std::string path = folder.path + "/one";
  auto seal = [&](Place& place, const std::string& kernel) {
    Manifest manifest = sample();
    manifest.kernel = kernel;
    return writeManifest(place.directory.get(), frameManifest(encodeManifest(manifest), ""), 0, 0) && finishPlace(place, 0, 0);
  };
  Place first, second, third;
  CHECK(!makePlace(path, "n1-42", 0, 0, first));
  CHECK(seal(first, "first"));
  CHECK(!makePlace(path, "n1-42", 0, 0, second));
  CHECK_EQUAL(std::get<Manifest>(readManifest(path)).kernel, std::string("first"));
  CHECK(seal(second, "second"));
  CHECK_EQUAL(std::get<Manifest>(readManifest(path)).kernel, std::string("second"));
  CHECK(filesIn(folder.fd.get()) == std::vector<std::string>({"one"}));
  auto refused = makePlace(path, "n1-43", 0, 0, third);
  CHECK(refused && refused->code == "XOS_CHECKPOINT_EXISTS");
}

TEST_MAIN
