// Our standard descriptors: what they are, careful reading of stdin, writing that never blocks the loop.
#pragma once
#include "protocol.h"

namespace xos::relay {

struct Streams {
  StreamKind kinds[3];
  int terminal = -1;        ///< descriptor that leads to the controlling terminal, or -1
  bool has_terminal = false;

  /// Looks at descriptors 0-2 and the controlling terminal. Opens /dev/tty when only that one leads to it.
  void inspect();
};

/// stdin of the job, read no further than needed (README, "Standard input").
class Input {
 public:
  void start(StreamKind kind);
  bool wants() const;            ///< poll descriptor 0 for input
  bool open() const { return open_; }
  /// Reads what is there and appends data and close frames to `out`.
  void read_some(Buffer& out);
  void credit(uint32_t bytes);
  /// Leaves stdin as the job would have left it: `consumed` is what it has read in all.
  void settle(uint64_t consumed);
  void stop() { open_ = false; }

 private:
  StreamKind kind_ = kind_closed;
  bool open_ = false;
  int64_t start_ = 0;          ///< file: offset at the beginning
  uint64_t sent_ = 0, taken_ = 0;
  uint32_t outstanding_ = 0;   ///< careful pipe: sent but still in our pipe
  int scratch_[2] = {-1, -1};
  bool careful() const { return kind_ == kind_pipe && taken_ < careful_bytes; }
  void end(Buffer& out);
};

/// Data on its way to one of our descriptors.
class Output {
 public:
  void start(int fd, uint16_t stream) { fd_ = fd; stream_ = stream; }
  int fd() const { return fd_; }
  bool waiting() const { return pending_.size() > done_; }
  bool broken() const { return broken_; }
  void add(const uint8_t* data, size_t bytes, bool strip_returns);
  /// Writes what can be written now; appends credit or close frames to `out`.
  void flush(Buffer& out);
  /// The reader of our descriptor has gone: tell the far side, so that the job gets its SIGPIPE.
  void broke(Buffer& out);

 private:
  int fd_ = -1;
  uint16_t stream_ = 0;
  Buffer pending_;
  size_t done_ = 0;
  uint32_t taken_ = 0;  ///< bytes the far side may be told about
  bool broken_ = false, held_return_ = false, cannot_nowait_ = false;
};

void append_frame(Buffer& out, uint16_t type, uint16_t flags, const void* payload, size_t bytes);

}  // namespace xos::relay
