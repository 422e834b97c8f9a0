// What proxies, relays and cells say to each other. All three links carry frames with the 16-byte header of native/wire; a relay forwards most
// of them without looking inside.
//
//   proxy ── /run/xos/relay.sock ── home relay ── wire (TLS) ── far relay ── socket pair ── xos-cell
//
// header.id is the job's number at its home (0 between proxy and relay: one connection is one job), header.flags the stream of data, close and
// credit. The formats are private to one release: both ends of a link say version_now.
#pragma once
#include "codec.h"

#include <sys/types.h>

namespace xos::relay {

inline constexpr uint8_t version_now = 1;

#pragma pack(push, 1)
/// Same layout as xos::wire::FrameHeader; here for programs that do not link OpenSSL.
struct Header {
  uint32_t length;
  uint16_t type;
  uint16_t flags;
  uint64_t id;
};
#pragma pack(pop)
static_assert(sizeof(Header) == 16);

inline constexpr uint32_t frame_bytes_max = (4u << 20) + (64u << 10);
/// Bytes of a stream that may be under way and not yet taken by the other end: bounds all queues.
inline constexpr uint32_t window_bytes = 256u << 10;
/// Largest data frame: small enough that keystrokes and signals never wait long behind bulk.
inline constexpr uint32_t data_bytes_max = 64u << 10;
/// A pipe on stdin is only looked at, not consumed, until the job has read this much (see README, "Standard input").
inline constexpr uint32_t careful_bytes = 64u << 10;

enum Frame : uint16_t {
  frame_ping = 0x0101,     ///< i64: the sender's clock
  frame_pong = 0x0102,     ///< the payload of the ping that it answers
  frame_spawn = 0x0110,    ///< proxy→home: Prelude, Spec · home→far: session, job, Spec · far→cell: Identity, Spec with descriptors
  frame_attach = 0x0111,   ///< proxy→home: Prelude, job, window size
  frame_exit = 0x0112,     ///< Exit
  frame_refused = 0x0113,  ///< the job did not begin: code, message, exit status
  frame_state = 0x0114,    ///< far→home→proxy: JobState
  frame_lost = 0x0115,     ///< home→proxy: a line for the user; exit status 137
  frame_ready = 0x0116,    ///< home→proxy after attach: Spec streams as they are now
  frame_notice = 0x0117,   ///< far→home→proxy: a line for the user about the job, which goes on
  frame_usage = 0x0118,    ///< cell→far→home, each second: Usage
  frame_data = 0x0120,
  frame_close = 0x0121,    ///< no more data (from the writer), or nobody reads any more (from the reader)
  frame_credit = 0x0122,   ///< u32 bytes taken; for stream 0 in careful mode: bytes the job has read
  frame_signal = 0x0130,   ///< u8 signal, u8 1: typed at the terminal
  frame_winsize = 0x0131,  ///< 4 × u16
  frame_termios = 0x0132,  ///< far→home→proxy: Termios, as the job has set them · proxy→home→far: as a job begun in the background finds them
  frame_foreground = 0x0136,  ///< proxy→home→far→cell: u8 1: the job has the terminal at home, 0: it is in the background there
  frame_kill = 0x0134,     ///< home→far: end the job and its cell at once
  frame_unread = 0x0135,   ///< far→home: terminal input that the job did not read · home→proxy: the job is over, read the terminal no more · proxy→home: all is sent
  frame_yield = 0x0133,    ///< home→proxy: u8 1: another program of the process group reads the terminal
  frame_control = 0x0140,  ///< home→far→cell: JSON request (checkpoint, check, restore)
  frame_progress = 0x0141, ///< cell→far→home: JSON
  frame_result = 0x0142,   ///< cell→far→home: JSON, with descriptors of restored streams from the cell
  frame_cell_pty = 0x0150,   ///< cell→relay: index of the pty, with its master
  frame_cell_empty = 0x0151, ///< cell→relay: nothing of the job is left; u8 1: may be used again
  frame_cell_ready = 0x0152,
  frame_confine = 0x0153,    ///< relay→cell, before its first job: JSON (native/cell/src/confine.h)
  frame_leaf = 0x0154        ///< relay→cell, before a spawn or restore: the job's control group
};

enum Stream : uint16_t { stream_in = 0, stream_out = 1, stream_err = 2, stream_tty = 3, stream_count = 4 };

/// What a standard descriptor of the job is.
enum StreamKind : uint8_t {
  kind_closed = 0,
  kind_null = 1,      ///< /dev/null
  kind_tty = 2,       ///< the controlling terminal
  kind_pipe = 3,      ///< a pipe (stdin: looked at before it is consumed)
  kind_file = 4,      ///< a regular file (stdin: read ahead without harm)
  kind_as_out = 5,    ///< stderr only: the same open file as stdout, so their order stays
  kind_stream = 6,    ///< sockets and devices: like a pipe that cannot be looked into
  kind_last = kind_stream
};

enum JobState : uint8_t { state_running = 1, state_stopped = 2, state_checkpointed = 3, state_restored = 4 };

/// Whether checkpoints of a job are taken by themselves (docs/decisions/0030-fault-tolerance.md). Any other value of SpecHead::protect: seconds between them.
enum Protect : uint16_t { protect_unsaid = 0, protect_no = 1, protect_auto = 0xffff };

#pragma pack(push, 1)
struct WindowSize { uint16_t rows = 0, columns = 0, x = 0, y = 0; };

/// Terminal settings, as the kernel's termios without speeds.
struct Termios {
  uint32_t iflag = 0, oflag = 0, cflag = 0, lflag = 0;
  uint8_t cc[19] = {};
  uint8_t pad = 0;
};

/// The fixed part of a Spec.
struct SpecHead {
  uint8_t version = version_now;
  uint8_t streams[3] = {};
  uint8_t has_terminal = 0;
  uint8_t background = 0;  ///< begun in the background of its terminal
  uint16_t protect = protect_unsaid;  ///< seconds between checkpoints, or one of the enum Protect; read at home only
  uint32_t umask = 022;
  int32_t nice = 0;
  uint64_t ignored = 0;  ///< bit n-1: signal n
  uint64_t blocked = 0;
  uint64_t limits[16][2] = {};
  WindowSize window;
  Termios termios;
};
#pragma pack(pop)

/// What to run. Texts point into the frame.
struct Spec {
  SpecHead head;
  std::string_view cwd, path;
  Strings arguments, environment;
};

inline bool read_spec(Reader& in, Spec& spec) {
  in.raw(&spec.head, sizeof spec.head);
  spec.cwd = in.text(4095);
  spec.path = in.text(4095);
  spec.arguments = in.strings();
  spec.environment = in.strings();
  if (!in.ok() || in.left() || spec.head.version != version_now) return false;
  for (int i = 0; i < 3; i++)
    if (spec.head.streams[i] > kind_last || (i != 2 && spec.head.streams[i] == kind_as_out)) return false;
  const auto absolute = [](std::string_view path) { return !path.empty() && path[0] == '/' && path.find('\0') == path.npos; };
  return absolute(spec.cwd) && absolute(spec.path) && spec.arguments.count >= 1;
}

/// Who asks, in front of a spawn or attach from a proxy.
struct Prelude {
  std::string_view session, secret;  ///< 32 hexadecimal digits each
  std::string_view node;             ///< wanted node; empty: any
  int32_t process_group = 0;
  int32_t terminal = -1;             ///< the proxy's descriptor of its controlling terminal
};

inline void write_prelude(Writer& out, const Prelude& prelude) {
  out.u8(version_now);
  out.text(prelude.session);
  out.text(prelude.secret);
  out.text(prelude.node);
  out.u32(static_cast<uint32_t>(prelude.process_group));
  out.u32(static_cast<uint32_t>(prelude.terminal));
}

inline bool read_prelude(Reader& in, Prelude& prelude) {
  const bool version = in.u8() == version_now;
  prelude.session = in.text(64);
  prelude.secret = in.text(64);
  prelude.node = in.text(63);
  prelude.process_group = static_cast<int32_t>(in.u32());
  prelude.terminal = static_cast<int32_t>(in.u32());
  return in.ok() && version;
}

#pragma pack(push, 1)
/// How a job ended. `consumed` is how much of its stdin it has read.
struct Exit {
  uint8_t signal = 0;  ///< 0: ended by itself with `code`
  uint8_t code = 0;
  uint8_t reusable = 0;  ///< from the cell: nothing left behind
  uint8_t pad[5] = {};
  uint64_t cpu_us = 0;
  uint64_t memory_kb_max = 0;
  uint64_t consumed = 0;
  uint64_t system_us = 0;  ///< of cpu_us
};

/// What a job has used so far, and holds now.
struct Usage {
  uint64_t user_us = 0, system_us = 0;
  uint64_t memory_kb = 0;
};

/// Who the job runs as, from the relay to the cell; followed by job, node, groups and the Spec.
struct Identity {
  uint32_t uid = 0, gid = 0, group_count = 0;
};
#pragma pack(pop)

}  // namespace xos::relay
