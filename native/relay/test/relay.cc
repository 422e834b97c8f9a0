#include "codec.h"
#include "lease_guard.h"
#include "loop.h"
#include "placement.h"
#include "policy.h"
#include "protect.h"
#include "protocol.h"
#include "sessions.h"
#include "test.h"

#include <csignal>
#include <poll.h>
#include <random>
#include <string>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace xos::relay;

namespace {

/// A Spec as a proxy writes it.
void write_spec(Buffer& buffer, const SpecHead& head = {}, const char* cwd = "/home/alice", const char* path = "/usr/bin/true", uint32_t arguments = 2) {
  Writer out(buffer);
  const char* list[] = {"true", "a b\nc", "", "x"};
  const char* environment[] = {"PATH=/bin", "EMPTY=", "LINES=a\nb"};
  out.raw(&head, sizeof head);
  out.text(cwd);
  out.text(path);
  out.strings(list, arguments);
  out.strings(environment, 3);
}

/// A process that lives until somebody ends it, and its pidfd.
struct Victim {
  pid_t pid = fork();
  xos::unique_fd process;
  Victim() {
    while (pid == 0) pause();
    process.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  }
  ~Victim() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  bool ends_within(int ms) const {
    pollfd look{process.get(), POLLIN, 0};
    return poll(&look, 1, ms) == 1;
  }
};

bool readable(const uint8_t* data, size_t bytes, Spec& spec) {
  Reader in(data, bytes);
  return read_spec(in, spec);
}

Placement decide(const std::string& lines, const std::string& path, const std::string& real, std::string* node = nullptr) {
  Policy policy;
  apply_policy(lines, Subject{path, real, "demo", 0, 5}, policy);
  if (node) *node = policy.node;
  return policy.placement;
}

}  // namespace

TEST("a spec comes out as it went in") {
  Buffer buffer;
  SpecHead head;
  head.umask = 027;
  head.streams[2] = kind_as_out;
  write_spec(buffer, head, "/", "/bin/x", 4);
  Spec spec;
  CHECK(readable(buffer.data(), buffer.size(), spec));
  CHECK_EQUAL(spec.head.umask, 027u);
  CHECK_EQUAL(std::string(spec.cwd), "/");
  CHECK_EQUAL(spec.arguments.count, 4u);
  CHECK_EQUAL(std::string(spec.arguments.block, spec.arguments.bytes), std::string("true\0a b\nc\0\0x\0", 14));
  CHECK_EQUAL(spec.environment.count, 3u);
}

TEST("a spec cut off anywhere is refused, and so is one with more behind it") {
  Buffer buffer;
  write_spec(buffer);
  Spec spec;
  for (size_t bytes = 0; bytes < buffer.size(); bytes++) {
    const std::vector<uint8_t> part(buffer.data(), buffer.data() + bytes);  // its own memory: a sanitizer sees a look behind it
    CHECK(!readable(part.data(), part.size(), spec));
  }
  Writer(buffer).u8(0);
  CHECK(!readable(buffer.data(), buffer.size(), spec));
}

TEST("a spec of another version, with unknown streams, relative paths, a NUL or no argv[0] is refused") {
  const auto refused = [](auto change) {
    SpecHead head;
    const char *cwd = "/", *path = "/bin/x";
    uint32_t arguments = 1;
    change(head, cwd, path, arguments);
    Buffer buffer;
    write_spec(buffer, head, cwd, path, arguments);
    Spec spec;
    return !readable(buffer.data(), buffer.size(), spec);
  };
  CHECK(!refused([](auto&, auto&, auto&, auto&) {}));
  CHECK(refused([](auto& head, auto&, auto&, auto&) { head.version = version_now + 1; }));
  CHECK(refused([](auto& head, auto&, auto&, auto&) { head.streams[0] = kind_last + 1; }));
  CHECK(refused([](auto& head, auto&, auto&, auto&) { head.streams[1] = kind_as_out; }));
  CHECK(refused([](auto&, auto& cwd, auto&, auto&) { cwd = "home"; }));
  CHECK(refused([](auto&, auto&, auto& path, auto&) { path = ""; }));
  CHECK(refused([](auto&, auto&, auto&, auto& arguments) { arguments = 0; }));
}

TEST("string blocks whose count, length or last NUL lie are refused") {
  const auto read = [](uint32_t count, uint32_t bytes, const std::string& block) {
    Buffer buffer;
    Writer out(buffer);
    out.u32(count);
    out.u32(bytes);
    out.raw(block.data(), block.size());
    const std::vector<uint8_t> copy(buffer.data(), buffer.data() + buffer.size());
    Reader in(copy.data(), copy.size());
    in.strings();
    return in.ok();
  };
  CHECK(read(2, 4, std::string("a\0b\0", 4)));
  CHECK(read(0, 0, ""));
  CHECK(!read(1, 4, std::string("a\0b\0", 4)));
  CHECK(!read(3, 4, std::string("a\0b\0", 4)));
  CHECK(!read(2, 3, std::string("a\0b", 3)));
  CHECK(!read(1, 0xffffffffu, "a"));
  CHECK(!read(0xffffffffu, 2, std::string("a\0", 2)));
}

TEST("bytes turned at random never make a reader look outside") {
  std::mt19937 random(20261122);
  for (int round = 0; round < 20000; round++) {
    Buffer buffer;
    Writer out(buffer);
    write_prelude(out, {std::string_view("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "bbbb", "n2", 7, 1});
    write_spec(buffer);
    std::vector<uint8_t> bytes(buffer.data(), buffer.data() + buffer.size());
    for (int i = 0; i < 4; i++) bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    bytes.resize(random() % (bytes.size() + 1));
    Reader in(bytes.data(), bytes.size());
    Prelude prelude;
    Spec spec;
    if (read_prelude(in, prelude) && read_spec(in, spec)) {
      uint32_t total = 0;  // everything that was accepted can be walked
      const char* at = spec.arguments.block;
      for (uint32_t i = 0; i < spec.arguments.count; i++, at += strlen(at) + 1) total++;
      CHECK_EQUAL(total, spec.arguments.count);
    }
  }
}

TEST("globs: * stays within a directory, ** does not, ? is one character") {
  CHECK(glob_matches("/usr/bin/*", "/usr/bin/gcc"));
  CHECK(!glob_matches("/usr/*", "/usr/bin/gcc"));
  CHECK(glob_matches("/usr/**", "/usr/bin/gcc"));
  CHECK(glob_matches("/usr/**/gcc", "/usr/lib/x/gcc"));
  CHECK(glob_matches("/bin/?cc", "/bin/gcc"));
  CHECK(!glob_matches("/bin/?cc", "/bin//cc"));
  CHECK(!glob_matches("/bin/gcc", "/bin/gcc-14"));
  CHECK(glob_matches("/bin/gcc*", "/bin/gcc"));
  CHECK(!glob_matches("", "/x"));
  CHECK(!glob_matches("/" + std::string(65, '*') + "x", "/y"));
}

TEST("a hostile pattern ends soon") {
  std::string pattern = "/";
  for (int i = 0; i < 30; i++) pattern += "*a";
  CHECK(!glob_matches(pattern, "/" + std::string(200, 'a') + "b"));
}

TEST("the last line that matches wins; comments, blanks and nonsense are skipped; options go with their line") {
  std::string node;
  const std::string lines = "# all here\n/usr/bin/* local\n\n  /usr/bin/gcc\tgrid node=n2 # there\r\nnonsense grid\n/usr/bin/gcc maybe\n/opt/** grid\n";
  CHECK(decide(lines, "/usr/bin/ls", "/usr/bin/ls") == Placement::local);
  CHECK(decide(lines, "/usr/bin/gcc", "/usr/bin/x86_64-linux-gnu-gcc-14", &node) == Placement::grid);
  CHECK_EQUAL(node, "n2");
  CHECK(decide(lines, "/bin/gcc", "/usr/bin/gcc", &node) == Placement::grid);
  CHECK(decide(lines, "/opt/a/b", "/opt/a/b", &node) == Placement::grid);
  CHECK_EQUAL(node, "");
  CHECK(decide(lines, "/home/x", "/home/x") == Placement::unspecified);
  CHECK(decide("/x local", "/x", "/x") == Placement::local);
  CHECK(decide("/x local\n/x", "/x", "/x") == Placement::local);
}

TEST("lines of another VO or owner do not count; a line whose owner cannot be read does not either") {
  const auto owned = [](const std::string& lines, uint32_t owner, uint32_t caller) {
    Policy policy;
    apply_policy(lines, Subject{"/x", "/x", "demo", owner, caller}, policy);
    return policy.placement;
  };
  CHECK(decide("vo other\n/x local\n", "/x", "/x") == Placement::unspecified);
  CHECK(decide("vo demo\n/x local\nvo *\n", "/x", "/x") == Placement::local);
  CHECK(decide("vo other\n/x local\nvo *\n/x grid", "/x", "/x") == Placement::grid);
  CHECK(owned("/x local owner=root", 0, 5) == Placement::local);
  CHECK(owned("/x local owner=0", 1, 5) == Placement::unspecified);
  CHECK(owned("/x local owner=self", 5, 5) == Placement::local);
  CHECK(owned("/x local owner=self", 0, 5) == Placement::unspecified);
  CHECK(owned("/x local owner=alice", 0, 5) == Placement::unspecified);
  CHECK(owned("/x local owner=4294967295", 0, 5) == Placement::unspecified);
  CHECK(owned("/x local # owner=alice", 0, 5) == Placement::local);
}

TEST("auto leaves it to the attribute, then to the cost class, then to the default") {
  const auto placed = [](const std::string& lines, const std::string& attribute) {
    Policy policy;
    apply_policy(lines, Subject{"/x", "/x", "demo", 0, 5}, policy);
    return xos::relay::decide(policy, read_attribute(attribute));
  };
  CHECK(placed("", "") == Placement::grid);
  CHECK(placed("default local", "") == Placement::local);
  CHECK(placed("default local", "grid") == Placement::grid);
  CHECK(placed("/x grid", "local") == Placement::grid);
  CHECK(placed("/x grid\n/x auto", "local") == Placement::local);
  CHECK(placed("/x auto cost=low", "") == Placement::local);
  CHECK(placed("default local\n/x auto cost=normal", "") == Placement::grid);
  CHECK(placed("default grid leave=high\n/x auto cost=normal", "") == Placement::local);
  CHECK(placed("default grid leave=high\n/x auto cost=high", "cost=low") == Placement::grid);
  CHECK(placed("default grid", "cost=low") == Placement::local);
  CHECK(placed("default local", "cost=much") == Placement::local);
  CHECK(placed("default maybe", "") == Placement::grid);
}

TEST("jobs stay here while a CPU is free, then go where most are, and what was started since counts") {
  Placer placer("n1");
  CHECK_EQUAL(placer.choose({}), "n1");
  placer.push({{"n1", 2, 0, 0}, {"n2", 2, 0, 0}, {"n3", 4, 1, 0}, {"n4", 64, 0, 0, 0, false}});
  CHECK_EQUAL(placer.choose({}), "n1");
  placer.started("n1");
  CHECK_EQUAL(placer.choose({}), "n1");
  placer.started("n1");
  CHECK_EQUAL(placer.choose({}), "n3");
  placer.started("n3");
  placer.started("n3");
  CHECK_EQUAL(placer.choose({}), "n2");
  CHECK_EQUAL(placer.choose({"n2", "n1"}), "n3");
  placer.ended("n1");
  CHECK_EQUAL(placer.choose({}), "n1");
  CHECK_EQUAL(placer.choose({"n1", "n2", "n3"}), "n1");  // nobody else: here
}

TEST("a session is proved by its secret and user, until it expires") {
  Sessions sessions;
  Session session;
  session.id = std::string(32, 'a');
  session.secret = std::string(32, 'b');
  session.uid = 1000;
  session.expires_ms = 500;
  sessions.add(session);
  CHECK(sessions.prove(session.id, session.secret, 1000, 499));
  CHECK(!sessions.prove(session.id, session.secret, 1000, 500));
  CHECK(!sessions.prove(session.id, session.secret, 1001, 0));
  CHECK(!sessions.prove(session.id, std::string(31, 'b') + "c", 1000, 0));
  CHECK(!sessions.prove(session.id, "", 1000, 0));
  session.secret.clear();  // as on a node that is not the origin
  sessions.add(session);
  CHECK(!sessions.prove(session.id, "", 1000, 0));
  sessions.remove(session.id);
  CHECK(!sessions.find(session.id, 0));
}

TEST("a protection is a word or a time within its bounds") {
  uint16_t protect = 0;
  const std::pair<const char*, int> good[] = {{"auto", protect_auto}, {"yes", protect_auto}, {"1", protect_auto}, {"no", protect_no}, {"0", protect_no}, {"10", 10}, {"90s", 90},
                                              {"5m", 300}, {"18h", 64800}, {"65534", 65534}};
  for (const auto& [text, value] : good) {
    CHECK(read_protect(text, protect));
    CHECK_EQUAL(protect, value);
  }
  for (const char* text : {"", "9", "9s", "19h", "65535", "5d", "s", "-5", "5 m", "99999999999999999999s", "0x20", "10ss"}) CHECK(!read_protect(text, protect));
}

TEST("a guarded process is ended when its time is over, whatever the relay does, and not before") {
  LeaseGuard guard;
  Victim renewed, over, removed, late;
  const int slot = guard.add(renewed.process.get(), Loop::boot_ms() + 200);
  guard.renew(slot, Loop::boot_ms() + 3600000);
  guard.add(over.process.get(), Loop::boot_ms() + 200);
  guard.remove(guard.add(removed.process.get(), Loop::boot_ms() + 200));
  CHECK(over.ends_within(30000));
  guard.add(late.process.get(), Loop::boot_ms() - 1);
  CHECK(late.ends_within(30000));
  CHECK(!renewed.ends_within(0));
  CHECK(!removed.ends_within(0));
}

TEST("when the relay is gone, what is guarded is ended") {
  Victim victim;
  {
    LeaseGuard guard;
    CHECK(guard.add(victim.process.get(), Loop::boot_ms() + 3600000) >= 0);
  }
  CHECK(victim.ends_within(30000));
}

TEST_MAIN
