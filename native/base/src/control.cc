#include "control.h"

#include "log.h"
#include "unique_fd.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <vector>

namespace xos {
namespace {

constexpr size_t line_bytes_max = 1u << 20;
constexpr size_t backlog_bytes_max = 4u << 20;

struct Controller {
  unique_fd fd;
  std::string in;
  std::string out;
  bool dead = false;
};

/// Shared with the Reply closures, which may outlive the server: late replies then fall on the floor.
struct Shared {
  std::mutex mutex;
  std::map<uint64_t, Controller> controllers;  ///< by a number that is never reused
  unique_fd wake;
  bool closed = false;

  void send(uint64_t controller, const std::string& line) {
    std::lock_guard lock(mutex);
    if (closed) return;
    const auto found = controllers.find(controller);
    if (found == controllers.end()) return;
    queue(found->second, line);
    notify();
  }
  void broadcast(const std::string& line) {
    std::lock_guard lock(mutex);
    if (closed || controllers.empty()) return;
    for (auto& [number, controller] : controllers) queue(controller, line);
    notify();
  }

 private:
  void queue(Controller& controller, const std::string& line) {
    if (controller.dead) return;
    if (controller.out.size() + line.size() > backlog_bytes_max) {
      controller.dead = true;
      controller.out.clear();
      return;
    }
    controller.out += line;
  }
  void notify() {
    const uint64_t one = 1;
    if (write(wake.get(), &one, sizeof one) < 0) { /* full counter: already awake */ }
  }
};

std::string dump_line(const nlohmann::json& value) {
  // A name on disk may be no UTF-8: replace, never throw.
  return json_text(value) + "\n";
}

std::string error_line(const nlohmann::json& id, const std::string& code, const std::string& message) {
  return dump_line({{"id", id}, {"ok", false}, {"error", {{"code", code}, {"message", message}}}});
}

}  // namespace

struct ControlServer::Impl {
  std::string path;
  Handler handler;
  unique_fd listener;
  std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  std::atomic<bool> stop{false};
  uint64_t next_controller = 1;
  std::thread thread;

  void run() {
    while (!stop) {
      std::vector<pollfd> polls{{listener.get(), POLLIN, 0}, {shared->wake.get(), POLLIN, 0}};
      std::vector<uint64_t> numbers;
      {
        std::lock_guard lock(shared->mutex);
        for (auto it = shared->controllers.begin(); it != shared->controllers.end();) {
          if (it->second.dead) {
            log(Priority::warning, "control socket '%s': controller dropped (gone, or it does not read)", path.c_str());
            it = shared->controllers.erase(it);
            continue;
          }
          polls.push_back({it->second.fd.get(), static_cast<short>(POLLIN | (it->second.out.empty() ? 0 : POLLOUT)), 0});
          numbers.push_back(it->first);
          ++it;
        }
      }
      if (poll(polls.data(), polls.size(), -1) < 0) {
        if (errno == EINTR) continue;
        log(Priority::error, "control socket '%s': poll failed: %s", path.c_str(), strerror(errno));
        return;
      }
      if (polls[1].revents) {
        uint64_t count;
        if (read(shared->wake.get(), &count, sizeof count) < 0) { /* spurious */ }
      }
      for (size_t i = 0; i < numbers.size(); i++) {
        if (polls[i + 2].revents & POLLOUT) flush(numbers[i]);
        if (polls[i + 2].revents & (POLLIN | POLLHUP | POLLERR)) serve(numbers[i]);
      }
      if (polls[0].revents) accept_one();
    }
  }

  void accept_one() {
    unique_fd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    std::lock_guard lock(shared->mutex);
    shared->controllers[next_controller++].fd = std::move(fd);
  }

  void flush(uint64_t number) {
    std::lock_guard lock(shared->mutex);
    const auto found = shared->controllers.find(number);
    if (found == shared->controllers.end() || found->second.out.empty()) return;
    const ssize_t sent = ::send(found->second.fd.get(), found->second.out.data(), found->second.out.size(), MSG_NOSIGNAL);
    if (sent > 0) found->second.out.erase(0, sent);
    else if (sent < 0 && errno != EAGAIN && errno != EINTR) found->second.dead = true;
  }

  /// Reads what is there and handles each complete line; the handler runs without the lock.
  void serve(uint64_t number) {
    std::vector<std::string> lines;
    {
      std::lock_guard lock(shared->mutex);
      const auto found = shared->controllers.find(number);
      if (found == shared->controllers.end() || found->second.dead) return;
      Controller& controller = found->second;
      char buffer[65536];
      const ssize_t got = recv(controller.fd.get(), buffer, sizeof buffer, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (got <= 0) {
        shared->controllers.erase(found);
        return;
      }
      controller.in.append(buffer, got);
      size_t start = 0, end;
      while ((end = controller.in.find('\n', start)) != std::string::npos) {
        if (end > start) lines.push_back(controller.in.substr(start, end - start));
        start = end + 1;
      }
      controller.in.erase(0, start);
      if (controller.in.size() > line_bytes_max) controller.dead = true;
    }
    for (const auto& line : lines) handle(number, line);
  }

  void handle(uint64_t number, const std::string& line) {
    nlohmann::json request = parse_json(line);
    if (!request.is_object() || !request.contains("op") || !request["op"].is_string()) {
      shared->send(number, error_line(nullptr, "XOS_MALFORMED", "cannot serve a control request: the line is no JSON object with \"op\""));
      return;
    }
    const nlohmann::json id = request.value("id", nlohmann::json());
    const std::string op = request["op"];
    auto once = std::make_shared<std::atomic<bool>>(false);
    Reply reply = [shared = shared, number, id, once](nlohmann::json result) {
      if (once->exchange(true)) return;
      if (!result.is_object()) result = nlohmann::json::object();
      result["id"] = id;
      result["ok"] = true;
      shared->send(number, dump_line(result));
    };
    Fail fail = [shared = shared, number, id, once](const std::string& code, const std::string& message) {
      if (!once->exchange(true)) shared->send(number, error_line(id, code, message));
    };
    try {
      handler(op, request, reply, fail);
    } catch (const CodedError& error) {
      fail(error.code, error.what());
    } catch (const nlohmann::json::exception& error) {
      fail("XOS_MALFORMED", "cannot serve '" + op + "': a field is missing or of the wrong type: " + error.what());
    } catch (const std::exception& error) {
      fail("XOS_INTERNAL", "cannot serve '" + op + "': " + error.what());
    }
  }
};

ControlServer::ControlServer(std::string path, Handler handler) : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  impl_->handler = std::move(handler);
  const auto refuse = [&](const char* step) -> CodedError {
    return CodedError("XOS_CONTROL", std::string("cannot serve control socket '") + impl_->path + "': " + step + ": " + strerror(errno));
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (impl_->path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    throw refuse("path");
  }
  memcpy(address.sun_path, impl_->path.c_str(), impl_->path.size() + 1);
  impl_->listener.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!impl_->listener) throw refuse("socket");
  impl_->shared->wake.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!impl_->shared->wake) throw refuse("eventfd");
  unlink(impl_->path.c_str());
  // The mode is set on the socket inode before bind, so that there is no moment at which others may connect (unix(7)).
  fchmod(impl_->listener.get(), 0600);
  if (bind(impl_->listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) throw refuse("bind");
  if (listen(impl_->listener.get(), 16) < 0) throw refuse("listen");
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

ControlServer::~ControlServer() {
  impl_->stop = true;
  const uint64_t one = 1;
  if (write(impl_->shared->wake.get(), &one, sizeof one) < 0) { /* already awake */ }
  impl_->thread.join();
  std::lock_guard lock(impl_->shared->mutex);
  impl_->shared->closed = true;
  impl_->shared->controllers.clear();
  unlink(impl_->path.c_str());
}

void ControlServer::emit(const nlohmann::json& event) { impl_->shared->broadcast(dump_line(event)); }

}  // namespace xos
