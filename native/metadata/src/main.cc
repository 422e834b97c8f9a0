// xos-mrc: metadata and replica catalogue of a VO's volumes.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <thread>
#include <utility>

#include "control.h"
#include "flags.h"
#include "frame_server.h"
#include "group.h"
#include "log.h"
#include "protocol.h"
#include "services.h"
#include "store.h"

using namespace xos;
using namespace xos::fs;
using namespace xos::fs::metadata;
using nlohmann::json;

namespace {

/// A clean end writes everything out, so that the next start of the machine has nothing to give up.
void end_when_told(Store& store, const sigset_t& ends) {
  int signal = 0;
  while (sigwait(&ends, &signal) != 0) continue;
  try {
    store.sync_here();
  } catch (const StoreError& e) {
    log(Priority::error, "cannot write the metadata out at the end: %s", e.what());
  }
  _exit(0);
}

using Answer = std::function<json()>;

void settle(const Answer& answer, const ControlServer::Reply& reply, const ControlServer::Fail& fail) {
  try {
    reply(answer());
  } catch (const CodedError& e) {
    fail(e.code, e.what());
  } catch (const json::exception& e) {
    fail("XOS_BAD_REQUEST", e.what());
  } catch (const std::exception& e) {
    fail("XOS_INTERNAL", e.what());
  }
}

void aside(Answer answer, ControlServer::Reply reply, ControlServer::Fail fail) {
  std::thread([=] { settle(answer, reply, fail); }).detach();
}

/// Does one thing after the other, without keeping who asks.
class InOrder {
 public:
  void add(std::function<void()> task) {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (!std::exchange(running_, true)) std::thread([this] { run(); }).detach();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
    running_ = false;
  }
  std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
  bool running_ = false;
};

/// To a mount that should ask another member.
void refuse(wire::Connection& c, const wire::FrameHeader& first) {
  Writer w;
  w.put<int32_t>(not_leading);
  iovec piece{w.bytes().data(), w.size()};
  c.send({0, answer, 0, first.id}, {&piece, 1}, io_timeout_ms);
}

}  // namespace

int main(int argc, char** argv) {
  DaemonFlags flags = parse_flags(argc, argv, needs_listen | needs_state);
  prepare_process();
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  try {
    Store store(flags.state);
    if (store.lost_changes()) log(Priority::warning, "the machine was stopped without us: went back to the metadata that was on the disk, of at most 5 s before");
    std::thread([&] { end_when_told(store, ends); }).detach();
    wire::TlsContext tls(flags.credentials);
    std::atomic<Services*> services{nullptr};
    Group group(store, tls, flags.node, [&] {
      auto* s = new Services(store, flags, tls);
      s->start();
      services = s;
    });
    group.start();
    // Of a group that has no majority they wait, and what is asked of the group itself does not.
    InOrder in_order;
    ControlServer server(flags.run + "/mrc.ctl", [&](const std::string& op, const json& request, ControlServer::Reply reply, ControlServer::Fail fail) {
      Services* s = services;
      if (Group::knows(op)) {
        auto answer = [&group, op, request] { return group.answer(op, request); };
        if (op == "state") return reply(answer());
        return aside(answer, reply, fail);
      }
      if (!s) throw CodedError("XOS_NOT_LEADING", "cannot do '" + op + "': this MRC follows another one of its group; ask the one that leads");
      auto answer = [s, op, request] { return s->answer(op, request); };
      // It waits for clients and OSDs; what else is asked does not wait for it.
      if (op == "snapshot") return aside(answer, reply, fail);
      if (group.member().members().empty()) return reply(answer());
      in_order.add([=] { settle(answer, reply, fail); });
    });
    log(Priority::info, "metadata service of VO '%s' on %s:%u, database in '%s'", flags.vo.c_str(), flags.listen_address.c_str(),
        flags.listen_port, flags.state.c_str());
    serve_frames(tls, flags.listen_address, flags.listen_port, 2000, [&](wire::Connection& c) {
      std::vector<std::byte> payload;
      const wire::FrameHeader first = c.receive(payload, 10000);
      Services* s = services;
      if (is_group_type(first.type)) group.member().serve(c, first, std::move(payload));
      else if (s) s->serve(c, first, payload);
      else refuse(c, first);
    });
  } catch (const std::exception& e) {
    log(Priority::error, "cannot start the metadata service: %s", e.what());
    return 1;
  }
}
