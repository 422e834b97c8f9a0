// The home end of jobs: proxies, placement, the job table.
#pragma once
#include "json.h"
#include "kernel_proxies.h"
#include "link.h"
#include "placement.h"
#include "sessions.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>

namespace xos::relay {

class Home;
class Proxy;

/// A job that is being moved to another node (move.cc).
struct Move {
  std::string from, to, directory;
  Link* fitting = nullptr;       ///< to the node that is asked whether it is fit
  nlohmann::json needs;          ///< what that node must have
  bool asks_again = false;       ///< soon, since the node may not have heard of the session yet
  bool holds = false;            ///< from its last moment where it was
  std::vector<uint8_t> typed;    ///< terminal input that the job had not read there
  nlohmann::json refusal;        ///< why it could not go where it should; null: nothing is against it
  nlohmann::json cut;            ///< the result of a restore whose node was lost, once its copy has surely ended
  uint64_t bytes = 0;
  int64_t frozen_ms = 0;         ///< it stood still until `gone_ms`
  int64_t gone_ms = 0;
  int64_t due_ms = 0;            ///< Loop::now_ms() when it goes on without what it waits for: an answer, or the end of a copy; 0: it waits for nothing
};

/// The checkpoint from which a protected job goes on when its node is lost.
struct Kept {
  std::string directory;   ///< empty: none yet
  int64_t made_ms = 0;     ///< since 1970
  uint64_t input = 0;      ///< position in the job's stdin that it holds
  bool stopped = false;
};

struct Job {
  uint64_t number = 0;
  std::string id, name, node, session, user, vo, wanted;
  std::vector<std::string> arguments;
  uid_t uid = 0;
  std::string state = "starting";
  Proxy* proxy = nullptr;
  pid_t proxy_pid = 0;
  Link* link = nullptr;               ///< where it runs; null when it does not
  std::vector<uint8_t> order;         ///< session, id and Spec: kept until the job has begun, for another try elsewhere
  std::set<std::string> tried;
  int64_t retry_until_ms = 0;         ///< so long the node it was meant for may not have heard of its session; 0: it was meant for none
  std::vector<uint8_t> unbegun;       ///< frames for that node, which a refusal there would lose
  uint8_t kinds[3] = {};
  bool has_terminal = false, reads_terminal = false;
  bool detached = false;              ///< restored without a proxy: its output goes nowhere
  int32_t process_group = 0;
  uint32_t in_flight[stream_count] = {};  ///< input that the proxy sent and the far end did not take yet
  bool awaits_proxy = false;          ///< restored for a proxy that is to come: it is told the whole output and the end, whenever they were
  std::vector<uint8_t> waiting;       ///< frames for that proxy
  std::vector<uint8_t> returned_input;///< stdin that a checkpoint did not take in, and what came since
  bool input_closed = false;          ///< the proxy's stdin is at its end
  int64_t started_ms = 0, ended_ms = 0;
  Exit exit;
  bool begun = false, ended = false, counted = false;
  bool proxy_stopped = false;         ///< by SIGSTOP, as the kernel told; the job was stopped for it
  std::function<void(const nlohmann::json&)> control;  ///< who waits for the result of a checkpoint, check or restore
  std::string control_op, control_directory, state_before;
  nlohmann::json restore_order;       ///< of the restore that is under way
  bool control_leaves_running = false, control_protects = false;
  int64_t control_began_ms = 0;
  std::unique_ptr<Move> move;
  std::vector<uint8_t> held;          ///< frames of the proxy that came while the job was between two nodes
  uint32_t held_typed = 0;            ///< bytes of terminal input in it: the last ones of Proxy::typed

  // Fault tolerance (homeprotect.cc). Positions count the bytes of stdin from the job's start.
  uint16_t protect = 0;               ///< as SpecHead has it; at most protect_no: not protected
  Kept kept;
  uint64_t input_sent = 0;            ///< position of the next byte that goes to the far end
  uint64_t input_base = 0;            ///< position where the far end began to count
  uint64_t input_again = 0;           ///< bytes sent a second time: the proxy has had their credit
  std::vector<uint8_t> input_log;     ///< what was sent since the kept checkpoint, up to input_sent
  int64_t fenced_until_ms = 0;        ///< Loop::now_ms() from which on the lost copy has surely ended
  std::string recovery_failure;       ///< why the last node could not restore it
  bool stopped_before = false;        ///< as its proxy is
  bool stops_quietly = false;         ///< it arrives stopped: its new cell tells so, the proxy knows
};

/// So long after a login a node may not have heard of it.
inline constexpr int64_t session_spread_ms = 20000;

void append_frame(std::vector<uint8_t>& frames, uint16_t type, uint16_t flags, Bytes payload);
/// A JSON request to the cell of a job, by the link of its node; the answer comes as frame_result.
void send_order(Link& link, const Job& job, const nlohmann::json& order);
/// The answer of an operation that came to nothing.
nlohmann::json failure(const std::string& code, const std::string& message);

/// A connection of /run/xos/relay.sock.
class Proxy : public Watcher {
 public:
  Proxy(Home& home, int fd, uid_t uid, pid_t pid) : home_(home), fd_(fd), uid_(uid), pid_(pid) {}
  void ready(uint32_t events) override;
  void send(uint16_t type, uint16_t flags, Bytes payload);
  void send_raw(Bytes frames);
  /// Closes the connection once everything is out.
  void finish();
  int fd() const { return fd_.get(); }
  uid_t uid() const { return uid_; }
  pid_t pid() const { return pid_; }
  Job* job = nullptr;
  int32_t terminal = -1;            ///< its descriptor of its terminal
  std::vector<uint8_t> typed;       ///< terminal input that the job has not taken, as far as it is known here
  std::vector<uint8_t> end;         ///< the end of its job, while it is asked for what was typed last

 private:
  Home& home_;
  unique_fd fd_;
  uid_t uid_;
  pid_t pid_;
  Buffer in_;
  std::vector<uint8_t> out_;
  size_t out_done_ = 0;
  bool finishing_ = false, watched_out_ = false, flush_due_ = false, gone_ = false;
  friend class Home;
  void flush();
  bool receive();
};

class Home : public End {
 public:
  using Emit = std::function<void(const nlohmann::json&)>;
  using Answer = std::function<void(const nlohmann::json&)>;
  using LinkTo = std::function<Link*(const std::string& node, bool may_wait)>;
  /// `link_to`: the link to a node, or null when it cannot be reached now; with `may_wait` also one that is being opened.
  Home(Loop& loop, Sessions& sessions, Placer& placer, std::string node, const std::string& state_directory, LinkTo link_to, Emit emit);
  void take(Link& link, const Header& header, Bytes payload) override;
  void link_up(Link& link) override;
  void link_down(Link& link, const std::string& reason, bool began) override;

  void accept_proxy(int fd, uid_t uid, pid_t pid);
  void take_proxy(Proxy& proxy, const Header& header, Bytes payload);
  void proxy_gone(Proxy& proxy);
  void end_session(const std::string& session);
  void tick();

  nlohmann::json jobs() const;
  /// A line for the job's user. Throws CodedError.
  void notice(const std::string& job, const std::string& text);
  /// Whether a VO's jobs are protected when nobody says anything.
  void protect_by_default(const std::string& vo, uint16_t protect) { protect_default_[vo] = protect; }
  void signal(const std::string& job, int number, uid_t uid);
  void control(const nlohmann::json& request, Answer answer);

 private:
  friend class Proxy;
  Loop& loop_;
  Sessions& sessions_;
  Placer& placer_;
  std::string node_, counter_path_;
  LinkTo link_to_;
  Emit emit_;
  uint64_t next_ = 1, reserved_ = 1;
  std::map<uint64_t, std::unique_ptr<Job>> jobs_;
  std::deque<uint64_t> ended_;
  std::vector<uint64_t> awaiting_;  ///< jobs for a node that has not heard of their session yet
  std::map<Proxy*, std::unique_ptr<Proxy>> proxies_;
  std::vector<std::unique_ptr<Proxy>> graves_;
  KernelProxies kernel_;
  std::map<std::string, uint16_t> protect_default_;  ///< by VO

  uint64_t new_number();
  void reserve_numbers();
  Job* find(const std::string& id) const;
  Job& owned(const nlohmann::json& request);
  void spawn(Proxy& proxy, Bytes payload);
  void attach(Proxy& proxy, Bytes payload);
  void refuse(Proxy& proxy, bool here, uint8_t status, const std::string& code, const std::string& message);
  bool place(Job& job);
  void give_up(Job& job, const std::string& code, const std::string& message, bool here, uint8_t status);
  void refused(Job& job, Bytes payload);
  void to_far(Job& job, const Header& header, Bytes payload);
  bool await_session(Job& job);
  bool await_session_to_restore(Job& job, const nlohmann::json& result);
  bool spreads(const std::string& session) const;
  void place_awaiting();
  void tell_end(Job& job, Bytes exit);
  void take_last_typed(Proxy& proxy, const Header& header, Bytes payload);
  void give_back_typed(Proxy& proxy);
  void ended(Job& job, Bytes payload);
  void lost(Job& job, const Link& link, const std::string& reason);
  void lost_for_good(Job& job, const std::string& reason);
  nlohmann::json describe(const Job& job) const;

  uint16_t default_protection(const std::string& vo) const;
  void decide_protection(Job& job, Spec& spec);
  void keep(Job& job, const nlohmann::json& result);
  void note_input(Job& job, Bytes data);
  void input_came_back(Job& job, Bytes data);
  bool recoverable(const Job& job) const;
  static int64_t fence_of(const Link& link);
  void begin_recovery(Job& job, const std::string& what, const std::string& reason, int64_t fenced_until_ms);
  void recover(Job& job);
  void recovered(Job& job);
  bool signal_recovering(Job& job, int number);
  void end_waiting(Job& job, int number);
  /// It waits for the time of its lost copy to be over, or is being restored after that.
  bool recovering(const Job& job) const { return job.state == "recovering" || (job.state == "restoring" && job.state_before == "recovering"); }
  /// It runs nowhere just now: what comes for it would be lost.
  bool between_nodes(const Job& job) const { return (job.move && job.move->holds) || recovering(job); }
  bool hold(Job& job, uint16_t type, uint16_t flags, Bytes payload);
  void release_held(Job& job);
  void replay(Job& job, Bytes frames);
  void say_to(Job& job, const std::string& text);
  void send_restore(Job& job, Link& link, const std::string& node, nlohmann::json order);
  void order_restore(Job& job, Link& link, const std::string& node);
  void restore_again(Job& job);
  void end(Job& job, const std::string& state);
  void set_state(Job& job, const std::string& state);
  void proxy_signalled(uint64_t number, KernelProxies::Event event);
  void to_proxy(Job& job, const Header& header, Bytes payload);
  void control_done(Job& job, Bytes payload);
  void control_over(Job& job, nlohmann::json result);
  void yield_terminal(Job& reader);
  void restore(const nlohmann::json& request, Answer answer);
  void restored(Job& job, const nlohmann::json& result);
  void migrate(const nlohmann::json& request, Answer answer);
  void moved(Job& job, nlohmann::json result);
  void ask_fitness(Job& job);
  void move_out(Job& job);
  void move_in(Job& job, const std::string& node);
  void arrived(Job& job, const nlohmann::json& result);
  void stranded(Job& job, const nlohmann::json& result);
  void move_over(Job& job, nlohmann::json result);
  bool move_cut(Job& job, Link& link, const std::string& why);
  void move_tick();
  bool holds_input(const Job& job) const;
  /// A job with a terminal is continued by its proxy, which gives it the terminal first.
  bool continued_by_kernel(const Job& job) const { return !job.has_terminal && kernel_.has(job.number); }
  void release_input(Job& job);
};

}  // namespace xos::relay
