// The cells of this node: prepared ones, idle ones of a user, busy ones.
#pragma once
#include "loop.h"
#include "protocol.h"

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace xos::relay {

class Cells;

/// How the cells of a VO are made narrower (native/cell/src/confine.h); xosd decides.
struct Narrowness {
  bool isolated = false, untrusted = false, own_network = false, few_devices = false;
  bool any() const { return isolated || untrusted || own_network || few_devices; }
  bool operator==(const Narrowness&) const = default;
};

/// What the user of a cell hears from it.
class CellUser {
 public:
  virtual ~CellUser() = default;
  /// Descriptors in `fds` that are taken must be set to -1; the rest is closed.
  virtual void cell_frame(const Header& header, std::span<const uint8_t> payload, std::vector<int>& fds) = 0;
  virtual void cell_gone() = 0;
};

class Cell : public Watcher {
 public:
  ~Cell() override;
  void send(uint16_t type, uint64_t id, std::initializer_list<std::span<const uint8_t>> payload, std::vector<unique_fd> fds = {});
  void ready(uint32_t events) override;
  pid_t pid() const { return pid_; }
  int process() const { return process_.get(); }  ///< a pidfd, the cell's own

 private:
  friend class Cells;
  struct Message { std::vector<uint8_t> bytes; std::vector<unique_fd> fds; size_t done = 0; };
  Cells* cells_ = nullptr;
  CellUser* user_ = nullptr;
  pid_t pid_ = -1;
  unique_fd process_, socket_;
  uid_t uid_ = 0;
  std::string vo_;
  bool fresh_ = true, usable_ = true, gone_ = false;
  Narrowness narrowness_;
  int64_t idle_since_ms_ = 0, give_up_ms_ = -1;
  std::deque<Message> out_;
  std::vector<uint8_t> in_;
  std::vector<int> fds_in_;
  void flush();
  bool receive();
  void parse();
};

class Cells {
 public:
  Cells(Loop& loop, std::string program) : loop_(loop), program_(std::move(program)) {}
  /// A cell for one job of `uid` in `vo`: an idle one of the same user, else a prepared one, made as narrow as the VO's are to be. Null when
  /// none can be made (logged). `home`: the user's. `unused`: one in which nothing ever ran (restore).
  Cell* acquire(uid_t uid, const std::string& vo, const std::string& home, CellUser* user, bool unused = false);
  /// For the jobs that start from now on; idle cells that were made otherwise go.
  void narrow(const std::string& vo, const Narrowness& narrowness);
  /// The job has ended. `reusable`: nothing of it is left; else the cell waits for that, or is dropped after a few seconds.
  void release(Cell* cell, bool reusable);
  /// Kills everything in the cell.
  void drop(Cell* cell);
  /// Prepares cells, drops old ones, reaps. Called a few times a second.
  void tick();
  size_t count() const { return cells_.size(); }

 private:
  friend class Cell;
  Loop& loop_;
  std::string program_;
  std::map<std::string, Narrowness> narrowness_;  ///< by VO
  std::list<std::unique_ptr<Cell>> cells_;
  std::vector<std::unique_ptr<Cell>> graves_;  ///< destroyed at the end of the round
  Cell* make();
  void bury(Cell* cell);
};

}  // namespace xos::relay
