#include "control.h"
#include "flags.h"
#include "test.h"
#include "unique_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>

using nlohmann::json;

namespace {

/// A controller's end of the socket, with a bounded wait for each line.
struct Client {
  xos::unique_fd fd;
  std::string buffer;
  explicit Client(const std::string& path) : fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path.c_str());
    CHECK(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  void send(const std::string& text) { CHECK(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size())); }
  json receive() {
    size_t end;
    while ((end = buffer.find('\n')) == std::string::npos) {
      pollfd wait{fd.get(), POLLIN, 0};
      CHECK(poll(&wait, 1, 5000) == 1);
      char bytes[4096];
      const ssize_t got = read(fd.get(), bytes, sizeof bytes);
      CHECK(got > 0);
      buffer.append(bytes, got);
    }
    json value = json::parse(buffer.substr(0, end));
    buffer.erase(0, end + 1);
    return value;
  }
};

struct Server {
  std::string path = "/tmp/xos-base-test-" + std::to_string(getpid()) + ".ctl";
  xos::ControlServer::Reply held;
  xos::ControlServer control{path, [this](const std::string& op, const json& request, auto reply, auto fail) {
    if (op == "echo") reply({{"value", request.at("value")}});
    else if (op == "hold") held = reply;
    else if (op == "coded") throw xos::CodedError("XOS_TEST", "told");
    else fail("XOS_UNKNOWN_OPERATION", "no such operation");
  }};
};

}  // namespace

TEST("a descriptor is closed once and moves") {
  int pipes[2];
  CHECK(pipe2(pipes, O_CLOEXEC) == 0);
  xos::unique_fd read_end(pipes[0]);
  {
    xos::unique_fd write_end(pipes[1]);
    xos::unique_fd moved = std::move(write_end);
    CHECK(!write_end.valid());
    CHECK(moved.valid());
  }
  CHECK(fcntl(pipes[1], F_GETFD) == -1);
}

TEST("control answers, reports coded errors and refuses what is no request") {
  Server server;
  struct stat info{};
  CHECK(stat(server.path.c_str(), &info) == 0);
  CHECK_EQUAL(info.st_mode & 0777, 0600u);
  Client client(server.path);
  client.send("{\"id\":7,\"op\":\"echo\",\"value\":\"a\\nb\"}\n{\"id\":8,\"op\":\"coded\"}\n");
  json answer = client.receive();
  CHECK_EQUAL(answer["id"], 7);
  CHECK_EQUAL(answer["value"], "a\nb");
  answer = client.receive();
  CHECK_EQUAL(answer["error"]["code"], "XOS_TEST");
  client.send("not json\n");
  CHECK_EQUAL(client.receive()["error"]["code"], "XOS_MALFORMED");
  client.send("{\"id\":9,\"op\":\"echo\"}\n");
  CHECK_EQUAL(client.receive()["error"]["code"], "XOS_MALFORMED");
}

TEST("a request in pieces is one request, and a late reply from another thread arrives") {
  Server server;
  Client client(server.path);
  client.send("{\"id\":1,\"op\":");
  client.send("\"hold\"}\n");
  client.send("{\"id\":2,\"op\":\"echo\",\"value\":1}\n");
  CHECK_EQUAL(client.receive()["id"], 2);
  std::thread([&] { server.held({{"late", true}}); server.held({{"twice", true}}); }).join();
  json answer = client.receive();
  CHECK_EQUAL(answer["id"], 1);
  CHECK_EQUAL(answer["late"], true);
}

TEST("events reach every controller; one that left or does not read disturbs nobody") {
  Server server;
  Client first(server.path), deaf(server.path);
  { Client gone(server.path); }
  first.send("{\"id\":1,\"op\":\"echo\",\"value\":0}\n");
  first.receive();
  deaf.send("{\"id\":1,\"op\":\"echo\",\"value\":0}\n");
  deaf.receive();
  server.control.emit({{"event", "x"}});
  CHECK_EQUAL(first.receive()["event"], "x");
  for (int i = 0; i < 12; i++) {
    server.control.emit({{"event", "big"}, {"text", std::string(500000, 'x')}});
    first.receive();
  }
  first.send("{\"id\":2,\"op\":\"echo\",\"value\":3}\n");
  CHECK_EQUAL(first.receive()["value"], 3);
}

TEST("a line over the limit ends the connection") {
  Server server;
  Client client(server.path);
  const std::string chunk(100000, 'x');
  ssize_t sent = 1;
  for (int i = 0; i < 40 && sent > 0; i++) sent = send(client.fd.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL);
  pollfd wait{client.fd.get(), POLLIN, 0};
  CHECK(poll(&wait, 1, 5000) == 1);
  char byte;
  CHECK(read(client.fd.get(), &byte, 1) <= 0);
}

TEST("addresses split into host and port, or are refused") {
  std::string host;
  uint16_t port = 0;
  CHECK(xos::split_address("0.0.0.0:7002", host, port) && host == "0.0.0.0" && port == 7002);
  CHECK(xos::split_address("[::1]:65535", host, port) && host == "::1" && port == 65535);
  for (const char* bad : {"", "x", ":1", "a:", "a:65536", "a:1x", "::1:5", "[]:1"}) CHECK(!xos::split_address(bad, host, port));
}

TEST_MAIN
