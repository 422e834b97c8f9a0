#include "mrc_client.h"

#include <sys/random.h>

#include <cerrno>

#include "log.h"

namespace xos::fs {

using namespace metadata;

namespace {

uint64_t random_id() {
  uint64_t id = 0;
  while (id == 0) {
    if (getrandom(&id, sizeof id, 0) != sizeof id) id = 0;
  }
  return id;
}

bool changes(uint16_t type) {
  switch (type) {
    case setattr: case create: case tmpfile: case flush: case mkdir: case mknod: case symlink: case link: case unlink: case rmdir: case rename:
    case setxattr: case removexattr: return true;
    default: return false;
  }
}

}  // namespace

MrcClient::MrcClient(wire::TlsContext& tls, std::function<void(Writer&)> put_reclaim, std::function<void()> reset)
    : tls_(tls), put_reclaim_(std::move(put_reclaim)), reset_(std::move(reset)), instance_(random_id()) {}

void MrcClient::set_servers(std::vector<Server> servers) {
  std::lock_guard lock(mutex_);
  if (client_ && servers_ == servers) return;
  servers_ = std::move(servers);
  std::string names;
  std::vector<RpcClient::Endpoint> endpoints;
  for (auto& s : servers_) {
    names += (names.empty() ? "'" : ", '") + s.node + "'";
    endpoints.push_back({s.host, s.port});
  }
  client_ = std::make_shared<RpcClient>(tls_, "MRC " + names, std::move(endpoints), [this](wire::Connection& c) { greet(c, false); });
}

int MrcClient::silence_ms() const {
  std::lock_guard lock(mutex_);
  return servers_.size() > 1 ? another_ms : call_timeout_ms;
}

void MrcClient::look_elsewhere() {
  std::lock_guard lock(mutex_);
  if (client_ && servers_.size() > 1) client_->abandon();
}

bool MrcClient::known() const { return client() != nullptr; }

std::shared_ptr<RpcClient> MrcClient::client() const {
  std::lock_guard lock(mutex_);
  return client_;
}

void MrcClient::trim(size_t keep) {
  if (auto c = client()) c->trim(keep);
}

void MrcClient::greet(wire::Connection& c, bool callbacks) {
  // One at a time: the first connection to a new MRC (or a new session) reclaims before any other one may ask for something.
  std::lock_guard lock(greet_mutex_);
  const int timeout_ms = silence_ms();
  Writer w;
  w.put(instance_).put<uint8_t>(callbacks);
  iovec piece{w.bytes().data(), w.size()};
  std::vector<std::byte> payload;
  if (callbacks) reset_();
  c.send({0, hello, 0, 0}, {&piece, 1}, timeout_ms);
  c.receive(payload, timeout_ms);
  uint64_t server;
  bool known;
  try {
    Reader r(payload.data(), payload.size());
    const auto status = r.get<int32_t>();
    if (status == not_leading) throw wire::Error(wire::ErrorCode::unreachable, "it follows another MRC of its group");
    if (status != 0) throw Malformed("hello refused");
    server = r.get<uint64_t>();
    r.get<uint32_t>();
    known = r.get<uint8_t>() != 0;
  } catch (const Malformed& e) {
    throw wire::Error(wire::ErrorCode::malformed, e.what());
  }
  if (callbacks || (known && server == server_instance_)) return;
  if (server_instance_ != 0) log(Priority::notice, "new session with the MRC: bringing back open files and locks");
  reset_();
  Writer reclaim_request;
  put(reclaim_request, RequestHead{});
  put_reclaim_(reclaim_request);
  piece = {reclaim_request.bytes().data(), reclaim_request.size()};
  c.send({0, reclaim, 0, 1}, {&piece, 1}, timeout_ms);
  c.receive(payload, timeout_ms);
  server_instance_ = server;
}

std::unique_ptr<wire::Connection> MrcClient::open_callbacks() {
  auto at = client();
  if (!at) return nullptr;
  auto c = wire::Connection::connect(tls_, at->host(), at->port(), 3000);
  greet(*c, true);
  return c;
}

uint16_t MrcClient::take_slot() {
  std::lock_guard lock(slot_mutex_);
  if (free_slots_.empty()) return slots_made_++;
  uint16_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void MrcClient::give_slot(uint16_t slot) {
  std::lock_guard lock(slot_mutex_);
  free_slots_.push_back(slot);
}

int MrcClient::call(uint16_t type, const Caller& caller, const Writer& arguments, RpcClient::Answer& answer, const Groups& groups) {
  auto c = client();
  if (!c) return EHOSTDOWN;
  struct Slot {
    MrcClient& client;
    bool taken;
    uint16_t number;
    ~Slot() {
      if (taken) client.give_slot(number);
    }
  } slot{*this, changes(type), 0};
  RequestHead head;
  head.caller = caller;
  if (slot.taken) {
    head.slot = slot.number = take_slot();
    head.sequence = sequence_.fetch_add(1);
  }
  const int64_t again_until = monotonic_ms() + ask_again_max_ms;
  for (int attempt = 0;; ++attempt) {
    Writer w;
    put(w, head);
    iovec pieces[2] = {{w.bytes().data(), w.size()}, {const_cast<char*>(arguments.bytes().data()), arguments.size()}};
    int status = c->call(type, pieces, answer, call_timeout_ms, true);
    if (status == need_groups) {
      if (attempt > 2 || head.caller.groups_known) return EACCES;
      head.caller.groups_known = true;
      if (groups) head.caller.groups = groups();
    } else if (status == ask_again) {
      if (monotonic_ms() > again_until) return ETIMEDOUT;
      attempt = 0;  // the MRC says so only while it goes on
    } else if (status == session_gone) {
      if (attempt > 4) return EIO;
      c->trim(0);
    } else {
      return status;
    }
  }
}

}  // namespace xos::fs
