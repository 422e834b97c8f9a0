// The socket between a relay and one of its cells: frames of native/relay's protocol, descriptors ride on the first byte of a frame.
#pragma once
#include "protocol.h"

#include <initializer_list>
#include <span>
#include <sys/socket.h>
#include <vector>

namespace xos::cell {

inline constexpr int channel_fd = 3;      ///< of xos-cell
inline constexpr size_t fds_per_frame_max = 8;

/// Sends a frame and waits until it is out. False when the other end is gone.
bool send_frame(int socket, uint16_t type, uint64_t id, std::span<const uint8_t> payload, std::span<const int> fds = {});

/// Receives a whole frame; descriptors are CLOEXEC and the caller's. False when the other end is gone or spoke nonsense.
bool receive_frame(int socket, relay::Header& header, std::vector<uint8_t>& payload, std::vector<int>& fds);

/// Room for a control message with fds_per_frame_max descriptors, which must live as long as the message.
struct Ancillary {
  alignas(8) char space[256];
  /// The message carries these (none: nothing).
  void put(msghdr& message, std::span<const int> fds);
  /// What a recvmsg brought.
  static void collect(msghdr& message, std::vector<int>& fds);
};

}  // namespace xos::cell
