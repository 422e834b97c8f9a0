// Makes and removes snapshots of volumes, and copies what they share with files before those are changed (docs/decisions/0027-snapshots.md).
//
// A snapshot, which a kill or a loss of power may end at any point: it is there from the transaction of step 4 on.
//  1. The writers of the volume's files are called back: what they write behind is at the OSDs (bounded by the lease rule, sessions.h).
//  2. No right to write is given out any more (write_gate.h), and files do not move from OSD to OSD.
//  3. Files that are open for writing get the next epoch, stored and synced, and a fence at their OSDs: what was acknowledged is there, nothing
//     is under way, and the fence tells the size.
//  4. In one transaction the volume's inodes are copied. Synced.
//  5. Rights are given out again: to a file that is lent to the snapshot after its contents were copied.
//
// Copying the contents of a file that is to be changed: objects first, synced; then borrowing.h, hand_over(), synced; then its OSDs get a fence, since a
// reader of the snapshot may have a right to the file's objects of before. Rows say what is left to be done.
#pragma once
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"
#include "moves.h"
#include "osd_table.h"
#include "service.h"
#include "sessions.h"
#include "store.h"
#include "stripe.h"
#include "write_gate.h"

namespace xos::fs::metadata {

class Snapshotter {
 public:
  Snapshotter(Store& store, Engine& engine, Sessions& sessions, OsdTable& osds, Service& service, Moves& moves);
  Snapshotter(const Snapshotter&) = delete;
  Snapshotter& operator=(const Snapshotter&) = delete;
  struct Made {
    uint64_t files = 0;    ///< inodes
    uint64_t writing = 0;  ///< of those, files that were open for writing
  };
  /// Throws CodedError: XOS_EXISTS, XOS_BAD_ARGUMENT, XOS_BUSY, XOS_NO_SERVER, XOS_QUOTA.
  Made create(uint64_t volume, const std::string& name);
  /// Throws CodedError: XOS_NO_SNAPSHOT.
  void remove(uint64_t volume, const std::string& name);

  /// To be held from before a right to write to `id` is looked for until it was made: the file is lent to nobody then. 0; ask_again when
  /// that takes longer than clients wait; or why its contents could not be copied. `kept`: they were, and the inode has changed.
  int enter(uint64_t id, WriteGate::Pass& pass, bool& kept);
  WriteGate& gate() { return gate_; }

 private:
  struct Job {
    bool done = false;
    int error = 0;
  };
  struct Writing {
    uint64_t id = 0;
    uint32_t epoch = 0;
    std::vector<uint16_t> osds;
    StripePolicy stripes{1, 1};
  };
  [[noreturn]] void work();
  int keep(uint64_t id);
  int copy_for(const Inode& lender, const Inode& borrower);
  int fence_lender(uint64_t id);
  std::vector<Writing> writing(uint64_t volume) const;
  void settle(const std::vector<Writing>& files);
  void raise_epochs(std::span<Writing> files);
  int fence_at(uint16_t osd, Writing& file, RpcClient::Answer& answer);
  void begin(uint64_t volume, const std::string& what);
  void cancel(uint64_t volume);
  Made make(uint64_t volume, const std::string& name, const std::string& what);
  void fence(std::vector<Writing>& files, const std::string& what, std::map<uint64_t, Engine::Held>& held);
  int call(uint16_t osd, uint16_t type, uint64_t file, uint8_t rights, uint32_t epoch, const Writer& arguments, RpcClient::Answer& answer) const;

  Store& store_;
  Engine& engine_;
  Sessions& sessions_;
  OsdTable& osds_;
  Service& service_;
  Moves& moves_;
  WriteGate gate_;
  std::mutex create_mutex_;  // one snapshot at a time
  std::mutex mutex_;
  std::condition_variable wanted_, done_;
  std::deque<uint64_t> queue_;
  std::map<uint64_t, std::shared_ptr<Job>> jobs_;
};

}  // namespace xos::fs::metadata
