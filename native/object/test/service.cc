// The object service behind a real TLS connection: what comes from a client that does not keep to the rules.
#include "mirror_peers.h"
#include "object_service.h"

#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "certificates.h"
#include "data_sums.h"
#include "local_service.h"
#include "object_protocol.h"
#include "rpc_client.h"
#include "unique_fd.h"

using namespace xos;
using namespace xos::fs;

namespace {

constexpr int patience_ms = 10000;
const std::string key(32, 'k'), other_key(32, 'o');

uint64_t now_ms() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000;
}

Capability capability(uint64_t file = 7, uint8_t rights = right_read | right_write | right_truncate) {
  Capability c;
  c.rights = rights;
  c.file = file;
  c.epoch = 1;
  c.expires_ms = now_ms() + 60000;
  c.node = "n2";
  c.issuer = "n1";
  return c;
}

std::string proof(const Capability& c, const std::string& with = key, const std::string& osd = "n1") {
  std::string body = encode(c);
  Mac mac = sign(body, with, osd);
  return Writer().text(body).raw({reinterpret_cast<const char*>(mac.data()), mac.size()}).bytes();
}

/// A store with one OSD on a port, and a client of node n2.
struct World {
  test::Certificates certificates;
  char directory[32] = "/tmp/xos-object-XXXXXX";
  std::unique_ptr<wire::TlsContext> server_tls, client_tls;
  std::unique_ptr<ObjectStore> store;
  CapabilityVerifier verifier{"n1"};
  MirrorSession session{boottime_ms};
  std::unique_ptr<WirePeers> peers;
  std::unique_ptr<Mirror> mirror;
  unique_fd listener;
  uint16_t port = 0;

  World() {
    CHECK(mkdtemp(directory) != nullptr);
    certificates.make_ca("ca");
    for (const char* node : {"n1", "n2"}) certificates.make_node(node, std::string("URI:xos://demo/node/") + node, "ca", "ca");
    server_tls = std::make_unique<wire::TlsContext>(certificates.root() + "/n1");
    client_tls = std::make_unique<wire::TlsContext>(certificates.root() + "/n2");
    store = std::make_unique<ObjectStore>(directory);
    peers = std::make_unique<WirePeers>(*server_tls);
    mirror = std::make_unique<Mirror>(*store, session, *peers);
    verifier.set_keys({{"n1", key}});
    listener.reset(wire::listen_tcp("127.0.0.1", 0));
    sockaddr_in address{};
    socklen_t size = sizeof address;
    getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    std::thread([this] {
      for (;;) {
        int fd = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        std::thread([this, fd] {
          try {
            auto c = wire::Connection::accept(*server_tls, fd, patience_ms);
            ObjectService(*store, *mirror, verifier).serve(*c);
          } catch (const std::exception&) {
            // the connection is closed: that is what the client has to see
          }
        }).detach();
      }
    }).detach();
  }
  std::unique_ptr<wire::Connection> connect() { return wire::Connection::connect(*client_tls, "127.0.0.1", port, patience_ms); }
};

World& world() {
  static World& made = *new World;  // its threads never end
  return made;
}

constexpr int closed = -1;

/// Status of a request on a connection of its own; `closed` when it was answered by closing.
int ask(uint16_t type, const std::string& payload, std::string* answer = nullptr, uint16_t flags = 0) {
  auto c = world().connect();
  iovec piece{const_cast<char*>(payload.data()), payload.size()};
  std::vector<std::byte> data;
  try {
    c->send({0, type, flags, 9}, {&piece, 1}, patience_ms);
    wire::FrameHeader h = c->receive(data, patience_ms);
    CHECK_EQUAL(h.id, 9u);
  } catch (const wire::Error& e) {
    CHECK(e.code == wire::ErrorCode::closed || e.code == wire::ErrorCode::tls);
    return closed;
  }
  int32_t status;
  CHECK(data.size() >= 4);
  memcpy(&status, data.data(), 4);
  if (answer) answer->assign(reinterpret_cast<const char*>(data.data()) + 4, data.size() - 4);
  return status;
}

std::string write_request(const std::string& with, uint64_t offset, const std::string& data) { return with + Writer().put(offset).raw(data).bytes(); }

}  // namespace

TEST("only a genuine, valid capability of this node, for this OSD and for this work is good") {
  const std::string data = "data of file 7";
  CHECK_EQUAL(ask(object::write, write_request(proof(capability()), 0, data)), 0);
  std::string got;
  const std::string range = Writer().put<uint64_t>(0).put<uint32_t>(100).bytes();
  CHECK_EQUAL(ask(object::read, proof(capability()) + range, &got), 0);
  CHECK_EQUAL(got, data);
  auto refused = [&](const Capability& c, int status, const std::string& with = key, const std::string& osd = "n1") {
    CHECK_EQUAL(ask(object::read, proof(c, with, osd) + range), status);
    CHECK_EQUAL(ask(object::write, write_request(proof(c, with, osd), 0, "forged")), status);
    CHECK_EQUAL(ask(object::copy, proof(capability()) + Writer().put<uint64_t>(0).bytes() + proof(c, with, osd) + range), status);
  };
  refused(capability(), EACCES, other_key);       // signed by somebody else
  refused(capability(), EACCES, key, "n2");       // for another OSD
  Capability c = capability();
  c.node = "n1";                                  // another node's: replayed by who saw it
  refused(c, EACCES);
  c = capability();
  c.expires_ms = now_ms() - 1000;
  refused(c, EACCES);
  c = capability();
  c.issuer = "n9";                                // an MRC of which this OSD was not told (yet)
  refused(c, ENOKEY);
  std::string tampered = proof(capability());
  tampered[8] = static_cast<char>(tampered[8] + 1);  // another file
  CHECK_EQUAL(ask(object::read, tampered + range), EACCES);
  // A right for one thing is none for another.
  CHECK_EQUAL(ask(object::write, write_request(proof(capability(7, right_read)), 0, "no")), EACCES);
  CHECK_EQUAL(ask(object::read, proof(capability(7, right_write)) + range), EACCES);
  CHECK_EQUAL(ask(object::truncate, proof(capability(7, right_read)) + Writer().put<uint64_t>(0).bytes()), EACCES);
  CHECK_EQUAL(ask(object::remove, proof(capability())), EACCES);
  CHECK_EQUAL(ask(object::copy, proof(capability(8)) + Writer().put<uint64_t>(0).bytes() + proof(capability(7, right_write)) + range), EACCES);
  // After a newer epoch the older one is over, replayed or not.
  c = capability();
  c.epoch = 2;
  CHECK_EQUAL(ask(object::extent, proof(c)), 0);
  CHECK_EQUAL(ask(object::write, write_request(proof(capability()), 0, "late")), ESTALE);
  CHECK_EQUAL(ask(object::copy, proof(capability(8)) + Writer().put<uint64_t>(0).bytes() + proof(capability()) + range), ESTALE);
  CHECK_EQUAL(ask(object::read, proof(c) + range, &got), 0);
  CHECK_EQUAL(got, data);
}

TEST("the list of objects is for the metadata server, and bounded") {
  CHECK_EQUAL(ask(object::write, write_request(proof(capability(0x77, right_write)), 0, "x")), 0);
  const std::string first = Writer().put<uint64_t>(0x77).put<uint32_t>(1).bytes();
  std::string answer;
  CHECK_EQUAL(ask(object::list, proof(capability(0, right_delete)) + first, &answer), 0);
  Reader r(answer);
  r.get<uint8_t>();
  CHECK_EQUAL(r.get<uint32_t>(), 1u);
  CHECK_EQUAL(r.get<uint64_t>(), 0x77u);
  CHECK_EQUAL(ask(object::list, proof(capability(0x77, right_delete)) + first), EACCES);  // a right to one file is none to all
  CHECK_EQUAL(ask(object::list, proof(capability(0, right_read | right_write | right_truncate)) + first), EACCES);
  CHECK_EQUAL(ask(object::list, proof(capability(0, right_delete)) + Writer().put<uint64_t>(0).put<uint32_t>(object::list_max + 1).bytes()), closed);
}

TEST("what expires while a connection remembers it is refused there too") {
  Capability c = capability(20);
  c.expires_ms = now_ms() + 1500;
  auto connection = world().connect();
  std::string request = proof(c);
  auto status = [&] {
    iovec piece{request.data(), request.size()};
    std::vector<std::byte> data;
    connection->send({0, object::extent, 0, 1}, {&piece, 1}, patience_ms);
    connection->receive(data, patience_ms);
    int32_t s;
    memcpy(&s, data.data(), 4);
    return s;
  };
  CHECK_EQUAL(status(), 0);
  while (now_ms() <= c.expires_ms) usleep(100000);
  CHECK_EQUAL(status(), EACCES);
}

TEST("data whose checksums are others are not written, and an answer carries the right ones") {
  std::string data(10000, 'd');
  std::vector<uint32_t> sums;
  sums_of(100, data, sums);
  auto request = [&] {
    return proof(capability(21)) + Writer().put<uint64_t>(100).put<uint32_t>(10000).raw(data).raw({reinterpret_cast<char*>(sums.data()), sums.size() * 4}).bytes();
  };
  CHECK_EQUAL(ask(object::write, request(), nullptr, object::flag_checked), 0);
  std::string good = request();
  data[5000] = 'x';
  CHECK_EQUAL(ask(object::write, request(), nullptr, object::flag_checked), EIO);
  std::string got;
  CHECK_EQUAL(ask(object::read, proof(capability(21)) + Writer().put<uint64_t>(50).put<uint32_t>(20000).bytes(), &got, object::flag_checked), 0);
  uint32_t bytes;
  memcpy(&bytes, got.data(), 4);
  CHECK_EQUAL(bytes, 10050u);
  std::string plain = got.substr(4, bytes);
  CHECK(plain == std::string(50, '\0') + std::string(10000, 'd'));
  CHECK(sums_match(50, plain, got.data() + 4 + bytes));
  CHECK_EQUAL(got.size(), 4 + bytes + 4 * sums_count(50, bytes));
  // Fewer sums than blocks, or bytes that are not there.
  CHECK_EQUAL(ask(object::write, good.substr(0, good.size() - 4), nullptr, object::flag_checked), closed);
  CHECK_EQUAL(ask(object::write, proof(capability(21)) + Writer().put<uint64_t>(0).put<uint32_t>(~0u).bytes(), nullptr, object::flag_checked), closed);
}

TEST("offsets and lengths at and beyond the limits are errors") {
  const std::string p = proof(capability(22));
  CHECK_EQUAL(ask(object::read, p + Writer().put(~0ull).put<uint32_t>(~0u >> 12).bytes()), 0);
  CHECK_EQUAL(ask(object::read, p + Writer().put<uint64_t>(0).put<uint32_t>(object::io_bytes_max).bytes()), 0);
  CHECK_EQUAL(ask(object::read, p + Writer().put<uint64_t>(0).put<uint32_t>(object::io_bytes_max + 1).bytes()), closed);
  CHECK_EQUAL(ask(object::write, write_request(p, ~0ull - 2, "data")), EFBIG);
  CHECK_EQUAL(ask(object::truncate, p + Writer().put(~0ull).bytes()), EFBIG);
  CHECK_EQUAL(ask(object::allocate, p + Writer().put<uint8_t>(2).put(~0ull - 5).put<uint64_t>(10).bytes()), EFBIG);
  CHECK_EQUAL(ask(object::allocate, p + Writer().put<uint8_t>(200).put<uint64_t>(0).put<uint64_t>(10).bytes()), EOPNOTSUPP);
  CHECK_EQUAL(ask(object::seek, p + Writer().put(~0ull).put<uint8_t>(0).bytes()), ENXIO);
  CHECK_EQUAL(ask(object::reserve, p + Writer().put(~0ull).put<uint32_t>(10).bytes()), EFBIG);
  CHECK_EQUAL(ask(0x0299, p), EACCES);
  CHECK_EQUAL(ask(object::lend, p + Writer().put<uint8_t>(1).bytes()), EACCES);
}

TEST("mutated, truncated and overlong frames end in an error or the end of the connection, and change no other file") {
  World& w = world();
  Extent e;
  const std::string kept = "kept";
  CHECK_EQUAL(w.store->write(30, 0, kept.data(), 4, e), 0);
  const std::string p = proof(capability(31)), data(9000, 'm');
  std::vector<uint32_t> sums;
  sums_of(0, data, sums);
  const std::string checked = p + Writer().put<uint64_t>(0).put<uint32_t>(9000).raw(data).raw({reinterpret_cast<char*>(sums.data()), sums.size() * 4}).bytes();
  struct Seed {
    uint16_t type, flags;
    std::string payload;
  };
  const std::vector<Seed> seeds = {
      {object::write, 0, write_request(p, 5, data)},
      {object::write, object::flag_checked, checked},
      {object::append, 0, p + data},
      {object::read, 1, p + Writer().put<uint64_t>(0).put<uint32_t>(9000).bytes()},
      {object::extent, 0, p},
      {object::truncate, 0, p + Writer().put<uint64_t>(100).bytes()},
      {object::allocate, 0, p + Writer().put<uint8_t>(3).put<uint64_t>(10).put<uint64_t>(5000).bytes()},
      {object::seek, 0, p + Writer().put<uint64_t>(0).put<uint8_t>(1).bytes()},
      {object::reserve, 0, p + Writer().put<uint64_t>(0).put<uint32_t>(1).bytes()},
      {object::copy, 0, p + Writer().put<uint64_t>(0).bytes() + p + Writer().put<uint64_t>(10).put<uint32_t>(100).bytes()},
      {object::remove, 0, proof(capability(31, right_delete))},
      {object::sync, 0, p},
  };
  const char* chosen = getenv("XOS_FUZZ_SEED");
  const unsigned seed = chosen ? static_cast<unsigned>(atoi(chosen)) : 1;
  const char* rounds = getenv("XOS_FUZZ_ROUNDS");
  std::mt19937 random(seed);
  // Behind the port: the decoders as the service calls them, quickly and often.
  for (int i = 0; i < (rounds ? atoi(rounds) : 30000); ++i) {
    Seed s = seeds[random() % seeds.size()];
    const size_t protect = random() % 4 ? p.size() : 0;  // mostly behind the capability, which hardly any change survives
    for (unsigned n = random() % 4; n > 0 && s.payload.size() > protect; --n)
      s.payload[protect + random() % (s.payload.size() - protect)] = static_cast<char>(random() % 3 ? random() : random() % 2 ? 0 : 255);
    if (random() % 3 == 0) s.payload.resize(random() % (s.payload.size() + 1));
    else if (random() % 3 == 0) s.payload.append(random() % 50, static_cast<char>(random()));
    if (random() % 10 == 0) s.type = static_cast<uint16_t>(object::read + random() % 64);
    if (random() % 5 == 0) s.flags = static_cast<uint16_t>(random());
    Verified verified(w.verifier, "n2");
    // A heap copy of its own, so that ASan sees a step beyond its end.
    std::vector<char> exact(s.payload.begin(), s.payload.end());
    Reader r(exact.data(), exact.size());
    Writer out;
    int status = 0;
    try {
      const Capability* c = verified.check(r, status);
      if (!c) continue;
      CHECK(c->file == 31);
      if (s.type == object::truncate || s.type == object::allocate || s.type == object::write) {
        // Lengths that are allowed but would fill this disk are no matter of decoding.
        Reader look = r;
        if (s.type == object::allocate && look.left() > 0) look.get<uint8_t>();
        if (look.left() >= 16 && s.type == object::allocate) look.get<uint64_t>();
        if (look.left() >= 8 && look.get<uint64_t>() > (1u << 24)) continue;
      }
      status = perform(*w.store, *w.mirror, verified, s.type, s.flags, *c, r, out);
      CHECK(status <= 0);
    } catch (const Malformed&) {
      // as it should be
    }
  }
  // And some through the port.
  for (int i = 0; i < 60; ++i) {
    Seed s = seeds[random() % seeds.size()];
    if (random() % 2) s.payload.resize(random() % (s.payload.size() + 1));
    else s.payload[random() % s.payload.size()] = static_cast<char>(random());
    if (s.type == object::truncate || s.type == object::allocate || s.type == object::write) continue;
    ask(s.type, s.payload, nullptr, s.flags);
  }
  char got[10];
  CHECK_EQUAL(w.store->read(30, 0, got, 10), 4);
  CHECK_EQUAL(std::string(got, 4), kept);
  CHECK_EQUAL(ask(object::write, write_request(proof(capability(32)), 0, "still served")), 0);
}

TEST("the local socket lends with a capability only, and takes no nonsense") {
  World& w = world();
  signal(SIGIO, SIG_IGN);
  const std::string path = w.directory + std::string("/local");
  std::thread([&w, path] { serve_local(path, "n2", *w.store, w.verifier); }).detach();
  Extent e;
  CHECK_EQUAL(w.store->write(40, 0, "lent", 4, e), 0);
  int s = -1, fd = -1, r = EHOSTDOWN;
  for (int i = 0; i < 100 && r == EHOSTDOWN; ++i) {
    r = borrow(path, s, proof(capability(40)), true, patience_ms, fd);
    if (r == EHOSTDOWN) usleep(20000);
  }
  CHECK_EQUAL(r, 0);
  char got[5] = {};
  CHECK_EQUAL(pread(fd, got, 4, 0), 4);
  CHECK_EQUAL(std::string(got), "lent");
  close(fd);
  CHECK_EQUAL(borrow(path, s, proof(capability(40, right_read)), true, patience_ms, fd), EACCES);
  CHECK_EQUAL(borrow(path, s, proof(capability(40, right_write)), false, patience_ms, fd), EACCES);
  CHECK_EQUAL(borrow(path, s, proof(capability(40), other_key), false, patience_ms, fd), EACCES);
  Capability c = capability(40);
  c.node = "n1";
  CHECK_EQUAL(borrow(path, s, proof(c), false, patience_ms, fd), EACCES);
  CHECK_EQUAL(borrow(path, s, proof(capability(41)), false, patience_ms, fd), ENOENT);
  CHECK_EQUAL(borrow(path, s, "nonsense", false, patience_ms, fd), EHOSTDOWN);
  CHECK_EQUAL(s, -1);
  CHECK_EQUAL(borrow(path, s, std::string(5000, 'x'), false, patience_ms, fd), EHOSTDOWN);
  CHECK_EQUAL(borrow(path, s, proof(capability(40)), false, patience_ms, fd), 0);
  close(fd);
  close(s);
}

TEST_MAIN
