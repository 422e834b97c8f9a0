// The far end of jobs: starts them in cells and pumps their streams.
#pragma once
#include "cells.h"
#include "cgroup.h"
#include "json.h"
#include "lease_guard.h"
#include "link.h"
#include "sessions.h"

#include <map>
#include <string>

namespace xos::relay {

class Far;

/// A job that runs on this node.
class FarJob : public CellUser, public Watcher {
 public:
  FarJob(Far& far, Link& home, uint64_t number) : far_(far), home_(home), number_(number) {}
  ~FarJob() override;
  bool start(const Session& session, const std::string& job, Bytes spec_bytes, const Spec& spec);
  bool restore(const Session& session, const std::string& job, const nlohmann::json& request);
  void take(const Header& header, Bytes payload);
  void cell_frame(const Header& header, std::span<const uint8_t> payload, std::vector<int>& fds) override;
  void cell_gone() override;
  void ready(uint32_t events) override;
  void link_drained();
  /// Kills everything of the job; the owner then forgets it.
  void kill_cell();
  void tick();

  std::string job, session;
  uid_t uid = 0;
  pid_t cell_pid() const { return cell_ ? cell_->pid() : -1; }
  const Link& home() const { return home_; }
  uint64_t number() const { return number_; }

 private:
  struct Source {             ///< a stream from the job
    unique_fd fd;
    uint32_t credit = window_bytes;
    bool watched = false;
    int64_t final_left = -1;  ///< after the job's end: bytes still to fetch, -1 before
  };
  Far& far_;
  Link& home_;
  uint64_t number_;
  Cell* cell_ = nullptr;
  std::string vo_, group_;  ///< group_: path of the job's control group; empty: none
  Source sources_[stream_count];  ///< out, err, tty
  unique_fd input_;
  unique_fd input_rest_;  ///< a reading end of the closed input, to see how much of it was read
  bool input_careful_ = false, input_closing_ = false, input_watched_ = false, input_broken_ = false, terminal_broken_ = false;
  std::vector<uint8_t> input_queue_, terminal_queue_;
  bool terminal_watched_out_ = false;
  uint64_t written_ = 0, taken_ = 0;  ///< of stdin
  uint32_t input_credit_ = 0, terminal_credit_ = 0;
  Termios termios_;
  bool termios_known_ = false;
  bool ended_ = false, paused_ = false, restoring_ = false, fitting_ = false, moving_ = false, checkpointing_ = false, leave_running_ = false, reported_ = false;
  std::vector<uint8_t> typed_;  ///< for a restored job: what was typed before it was moved, and shown already
  Exit exit_;
  bool cell_released_ = false;
  int lease_ = -1;  ///< with the guard

  void adopt(uint16_t stream, int fd);
  void set_watch(uint16_t stream, bool on);
  void watch_terminal();
  void pump(uint16_t stream, uint32_t events);
  ssize_t fetch(uint16_t stream, size_t room);
  void check_termios();
  void queue_input(Bytes data);
  void write_input();
  void credit_input(uint32_t bytes);
  void write_terminal();
  void finish_if_drained();
  void report();
  void return_typed();
  void send(uint16_t type, uint16_t flags, Bytes payload);
  void control_result(nlohmann::json result, std::vector<int>& fds);
  void type_again();
  void adopt_restored(const nlohmann::json& result, std::vector<int>& fds);
  void refuse(bool elsewhere, uint8_t status, const std::string& code, const std::string& message);
  void gone();
  bool enter_group(const Session& owner);
  void take_lease();
  void drop_lease();
  void tell_what_befell();
};

class Far : public End {
 public:
  Far(Loop& loop, Sessions& sessions, Cells& cells, LeaseGuard& guard, std::string node) : loop_(loop), sessions_(sessions), cells_(cells), guard_(guard), node_(std::move(node)) {}
  /// What the jobs of a VO may have here. Returns what could not be done, empty when all was.
  std::string limit_vo(const std::string& vo, const cell::GroupLimits& limits, uint64_t memory_max);
  void take(Link& link, const Header& header, Bytes payload) override;
  void link_down(Link& link, const std::string& reason, bool began) override;
  void link_drained(Link& link) override;
  void end_session(const std::string& session);
  void tick();
  struct Seen { std::string job, home, session; uid_t uid; pid_t cell; };
  std::vector<Seen> jobs() const;

 private:
  friend class FarJob;
  Loop& loop_;
  Sessions& sessions_;
  Cells& cells_;
  LeaseGuard& guard_;
  std::string node_;
  cell::Groups groups_;
  std::map<std::string, uint64_t> memory_max_;  ///< by VO, bytes; for what the user is told
  std::map<std::pair<const Link*, uint64_t>, std::unique_ptr<FarJob>> jobs_;
  std::vector<std::unique_ptr<FarJob>> graves_;
  void spawn(Link& link, uint64_t number, Bytes payload);
  void control(Link& link, uint64_t number, Bytes payload);
  void refuse(Link& link, uint64_t number, const std::string& code, const std::string& message);
  void forget(FarJob& job);
};

}  // namespace xos::relay
