#include "async.h"
#include "certificates.h"
#include "test.h"
#include "unique_fd.h"
#include "wire.h"

#include <csignal>
#include <fstream>
#include <arpa/inet.h>
#include <functional>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <thread>

using namespace xos;
using namespace xos::wire;

namespace {

constexpr int patience_ms = 10000;

struct World {
  test::Certificates certificates;
  World() {
    certificates.make_ca("ca");
    certificates.make_ca("other");
    certificates.make_node("n1", "URI:xos://demo/node/n1", "ca", "ca");
    certificates.make_node("n2", "URI:xos://demo/node/n2", "ca", "ca");
    certificates.make_node("stranger", "URI:xos://demo/node/n3", "other", "ca");
    certificates.make_node("foreign", "URI:xos://elsewhere/node/n3", "ca", "ca");
    certificates.make_node("user", "URI:xos://demo/user/alice", "ca", "ca");
    n1 = std::make_unique<TlsContext>(path("n1"));
    n2 = std::make_unique<TlsContext>(path("n2"));
  }
  std::string path(const std::string& node) { return certificates.root() + "/" + node; }
  std::unique_ptr<TlsContext> n1, n2;
};

World& world() {
  static World made;
  return made;
}

uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

struct Pair { std::unique_ptr<Connection> client, server; };

// TLS 1.3: a client learns that its certificate was refused with its first read only, so the server's error is what counts.
Pair connected(TlsContext& client, TlsContext& server) {
  unique_fd listener(listen_tcp("127.0.0.1", 0));
  Pair pair;
  std::exception_ptr failed;
  std::thread accepting([&] {
    try {
      pair.server = Connection::accept(server, accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), patience_ms);
    } catch (...) {
      failed = std::current_exception();
    }
  });
  try {
    pair.client = Connection::connect(client, "127.0.0.1", port_of(listener.get()), patience_ms);
  } catch (...) {
    accepting.join();
    throw;
  }
  accepting.join();
  if (failed) std::rethrow_exception(failed);
  return pair;
}

ErrorCode refused(const std::string& credentials) {
  try {
    TlsContext context(world().path(credentials));
    connected(context, *world().n2);
  } catch (const Error& error) {
    return error.code;
  }
  test::fail(__FILE__, __LINE__, "'" + credentials + "' was accepted");
}

std::vector<std::byte> pattern(size_t bytes) {
  std::vector<std::byte> data(bytes);
  for (size_t i = 0; i < bytes; i++) data[i] = static_cast<std::byte>(i * 31 + i / 7919);
  return data;
}

}  // namespace

TEST("two nodes of a VO prove who they are") {
  Pair pair = connected(*world().n1, *world().n2);
  CHECK_EQUAL(pair.client->peer().node, "n2");
  CHECK_EQUAL(pair.server->peer().node, "n1");
  CHECK_EQUAL(pair.server->peer().vo, "demo");
}

TEST("frames of every size arrive whole: empty, one byte, around a record, the largest") {
  Pair pair = connected(*world().n1, *world().n2);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16368}, size_t{16369}, size_t{32768}, size_t{100001}, size_t{payload_bytes_max}}) {
    const auto data = pattern(size);
    std::thread sending([&] {
      const size_t cut = size / 3;
      const iovec pieces[] = {{const_cast<std::byte*>(data.data()), cut}, {const_cast<std::byte*>(data.data()) + cut, size - cut}};
      pair.client->send({0, 0x0101, 3, 42}, pieces, patience_ms);
    });
    std::vector<std::byte> got;
    const FrameHeader header = pair.server->receive(got, patience_ms);
    sending.join();
    CHECK_EQUAL(header.length, size);
    CHECK_EQUAL(header.type, 0x0101);
    CHECK_EQUAL(header.id, 42u);
    CHECK(got == data);
  }
}

TEST("a frame over the limit is neither sent nor received") {
  Pair pair = connected(*world().n1, *world().n2);
  const auto data = pattern(payload_bytes_max + 1);
  const iovec piece{const_cast<std::byte*>(data.data()), data.size()};
  CHECK_THROWS(pair.client->send({0, 1, 0, 1}, {&piece, 1}, patience_ms));
  const FrameHeader lying{payload_bytes_max + 1, 1, 0, 1};
  const iovec forged{const_cast<FrameHeader*>(&lying), sizeof lying};
  pair.client->send({0, 1, 0, 1}, {&forged, 1}, patience_ms);
  CHECK_EQUAL(pair.server->receive_header(patience_ms).length, sizeof lying);
  try {
    pair.server->receive_header(patience_ms);
    test::fail(__FILE__, __LINE__, "accepted");
  } catch (const Error& error) {
    CHECK(error.code == ErrorCode::malformed);
  }
}

TEST("a clean end is 'closed', silence is 'timed_out', a port without listener 'unreachable'") {
  Pair pair = connected(*world().n1, *world().n2);
  const auto code_of = [](const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.code;
    }
    test::fail(__FILE__, __LINE__, "did not throw");
  };
  CHECK(code_of([&] { pair.server->receive_header(50); }) == ErrorCode::timed_out);
  pair.client.reset();
  CHECK(code_of([&] { pair.server->receive_header(patience_ms); }) == ErrorCode::closed);
  uint16_t free_port;
  { unique_fd listener(listen_tcp("127.0.0.1", 0)); free_port = port_of(listener.get()); }
  CHECK(code_of([&] { Connection::connect(*world().n1, "127.0.0.1", free_port, patience_ms); }) == ErrorCode::unreachable);
}

TEST("a stranger's CA, another VO and a user's certificate are refused") {
  CHECK(refused("stranger") == ErrorCode::not_admitted);
  CHECK(refused("foreign") == ErrorCode::not_admitted);
  CHECK_THROWS(TlsContext(world().path("user")));
}

TEST("a peer that speaks no TLS is refused") {
  unique_fd listener(listen_tcp("127.0.0.1", 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_of(listener.get()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  unique_fd plain(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(connect(plain.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK(write(plain.get(), "GET / HTTP/1.0\r\n\r\n", 18) == 18);
  CHECK_THROWS(Connection::accept(*world().n2, accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), patience_ms));
}

TEST("the event-loop side speaks with the blocking side, both ways, in bulk") {
  unique_fd listener(listen_tcp("127.0.0.1", 0));
  auto client = AsyncConnection::connect(*world().n1, "127.0.0.1", port_of(listener.get()));
  constexpr int rounds = 40;
  std::exception_ptr failed;
  std::thread echo([&] {
    try {
      auto server = Connection::accept(*world().n2, accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), patience_ms);
      std::vector<std::byte> payload;
      for (int i = 0; i < rounds; i++) {
        FrameHeader header = server->receive(payload, patience_ms);
        const iovec piece{payload.data(), payload.size()};
        server->send(header, {&piece, 1}, patience_ms);
      }
    } catch (...) {
      failed = std::current_exception();
    }
  });
  const auto data = pattern(300000);
  for (uint64_t i = 0; i < rounds; i++) {
    const iovec piece{const_cast<std::byte*>(data.data()), static_cast<size_t>(i * 7500)};
    client->queue({0, 7, 0, i}, {&piece, 1});
  }
  uint64_t next = 0;
  bool good = true;
  while (next < rounds && client->state() != AsyncConnection::State::failed) {
    const bool more = client->drive([&](const FrameHeader& header, std::span<const std::byte> payload) {
      good = good && header.id == next && payload.size() == next * 7500 && memcmp(payload.data(), data.data(), payload.size()) == 0;
      next++;
    });
    if (more || next == rounds) continue;
    pollfd wait{client->fd(), static_cast<short>(client->events()), 0};  // EPOLLIN and EPOLLOUT have the values of POLLIN and POLLOUT
    CHECK(poll(&wait, 1, patience_ms) == 1);
  }
  echo.join();
  if (failed) std::rethrow_exception(failed);
  CHECK_EQUAL(next, static_cast<uint64_t>(rounds));
  CHECK(good);
  CHECK_EQUAL(client->peer().node, "n2");
}

TEST("renewed certificates are taken up, another node's are not") {
  const std::string n1 = world().path("n1"), spare = world().path("spare");
  std::filesystem::copy(n1, spare);
  TlsContext context(spare);
  context.reload();
  for (const char* file : {"key.pem", "cert.pem"})
    std::filesystem::copy_file(world().path("n2") + "/" + file, spare + "/" + file, std::filesystem::copy_options::overwrite_existing);
  CHECK_THROWS(context.reload());
  CHECK_EQUAL(context.self().node, "n1");
}

TEST("a renewed certificate is found by itself, and SIGHUP does no harm") {
  const std::string own = world().path("renewing");
  std::filesystem::copy(world().path("stranger"), own);
  TlsContext context(own);
  bool was_refused = false;
  try {
    connected(context, *world().n2);
  } catch (const Error&) {
    was_refused = true;
  }
  CHECK(was_refused);
  world().certificates.make_node("admitted", "URI:xos://demo/node/n3", "ca", "ca");
  for (const char* file : {"key.pem", "cert.pem"})
    std::filesystem::copy_file(world().path("admitted") + "/" + file, own + "/" + file, std::filesystem::copy_options::overwrite_existing);
  raise(SIGHUP);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // a context looks once a second at most
  Pair pair = connected(context, *world().n2);
  CHECK_EQUAL(pair.server->peer().node, "n3");
}

TEST("a revoked certificate is refused: on new connections, on open ones, and by the event-loop side") {
  const std::string judge_path = world().path("judge");
  std::filesystem::copy(world().path("n2"), judge_path);
  TlsContext judge(judge_path);
  Pair pair = connected(*world().n1, judge);
  unique_fd listener(listen_tcp("127.0.0.1", 0));
  auto async = AsyncConnection::connect(judge, "127.0.0.1", port_of(listener.get()));
  std::unique_ptr<Connection> other_end;
  std::thread accepting([&] { other_end = Connection::accept(*world().n1, accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), patience_ms); });
  while (async->state() != AsyncConnection::State::open) {
    async->drive([](auto&, auto) {});
    pollfd wait{async->fd(), static_cast<short>(async->events()), 0};
    poll(&wait, 1, 100);
  }
  accepting.join();
  other_end->send({0, 1, 0, 1}, {}, patience_ms);
  const std::string serial = pair.server->peer().serial;
  CHECK(serial.size() > 8);

  std::ofstream(judge_path + "/revoked") << "00" << serial << "\n4711\n";  // as a registry may write it, with leading zeros
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  const auto code = [](const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.code;
    }
    return ErrorCode::closed;
  };
  std::vector<std::byte> payload;
  pair.client->send({0, 1, 0, 1}, {}, patience_ms);
  CHECK(code([&] { pair.server->receive(payload, patience_ms); }) == ErrorCode::not_admitted);
  CHECK(code([&] { connected(*world().n1, judge); }) == ErrorCode::not_admitted);
  CHECK(code([&] { connected(judge, *world().n1); }) == ErrorCode::not_admitted);
  bool seen = false;
  async->drive([&](auto&, auto) { seen = true; });
  CHECK(async->state() == AsyncConnection::State::failed);
  CHECK(!seen);
  CHECK(async->reason().find("revoked") != std::string::npos);

  std::filesystem::remove(judge_path + "/revoked");  // nobody comes back by losing the list
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  CHECK(code([&] { connected(*world().n1, judge); }) == ErrorCode::not_admitted);
  std::ofstream(judge_path + "/revoked") << "4711\n";
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  CHECK_EQUAL(connected(*world().n1, judge).server->peer().node, "n1");
}

TEST_MAIN
