// Pid 1 of a cell: one job at a time, its signals and its end, its checkpoints.
#pragma once
#include "channel.h"
#include "json.h"
#include "spawn.h"
#include "usage.h"

#include <sys/resource.h>

namespace xos::cell {

class Cell {
 public:
  /// `socket` leads to the relay, `signals` is a signalfd of SIGCHLD. Neither is owned.
  Cell(int socket, int signals) : socket_(socket), signals_(signals) {}
  /// Serves until the relay is gone; then everything in the cell dies with pid 1.
  void run();

 private:
  int socket_, signals_;
  uint64_t id_ = 0;  ///< the job's number in frames
  Started job_;
  relay::Identity identity_;
  std::string job_name_, node_;
  std::vector<std::string> arguments_;
  std::string path_, cwd_;
  unique_fd group_;      ///< control group of the next job
  GroupCounters counters_;  ///< of the job's control group; none after a restore, where pid 1 and the engine are in it too
  Filter filter_;        ///< empty: the VO is trusted
  std::string unfit_;    ///< not empty: the cell could not be made as its VO wants it, and runs nothing
  bool running_ = false, stopped_ = false, wants_terminal_ = false, used_up_ = false, frozen_ = false;
  int64_t tell_usage_at_ms_ = -1;
  int64_t began_ms_ = 0;  ///< when the job began in this cell, by the clock of file times (job_clock_ms)
  int64_t kill_at_ms_ = -1;  ///< when what the job left behind is killed

  void take_frame();
  void spawn(relay::Reader& in, std::vector<int>& fds);
  void make_narrower(const nlohmann::json& request);
  void signal_job(int number, bool from_terminal);
  void continue_job();
  void give_terminal(bool to_job);
  void to_group(int number);
  void reap();
  void root_ended(int status, const rusage& usage);
  void tell_usage();
  void say_state(relay::JobState state, int signal);
  /// Nothing of the last job is left: tells the relay whether the cell may serve another one.
  void say_empty();
  bool send(uint16_t type, std::span<const uint8_t> payload, std::span<const int> fds = {});
  void say(uint16_t type, const nlohmann::json& value, std::span<const int> fds = {});

  void control(const nlohmann::json& request);
  void checkpoint(const nlohmann::json& request);
  void check();
  void restore(const nlohmann::json& request);
  void fit(const nlohmann::json& request);
  void die_with_relay();  ///< called while the engine works
};

/// Unix time by the clock that gives files their times: it may lie a few milliseconds behind the precise one, and a file must never seem
/// older than the job that made it.
int64_t job_clock_ms();

}  // namespace xos::cell
