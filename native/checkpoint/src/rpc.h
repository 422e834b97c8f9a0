// The messages of CRIU's RPC that the engine uses, in protobuf wire format.
//
// Field numbers and types are those of rpc.proto (CRIU 4.2.1; that file is MIT licensed). Unknown fields of an answer are skipped, as
// protobuf wants; a field of the wrong wire type or a length that leaves the message makes the whole message malformed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace xos::checkpoint::rpc {

enum class Type : uint32_t { empty = 0, dump = 1, restore = 2, check = 3, notify = 6, version = 10 };

/// criu_network_lock_method: what keeps packets away from dumped TCP connections.
enum class NetworkLock : uint32_t { iptables = 1, nftables = 2, skip = 3 };

/// criu_opts, as far as we set it.
struct Options {
  int images_dir_fd = -1;
  int work_dir_fd = -1;
  pid_t pid = 0;  ///< dump only
  bool leave_running = false;
  bool restore_as_sibling = false;  ///< rst_sibling
  bool tcp_established = false;
  uint32_t ghost_bytes_max = 0;  ///< size of deleted files that are taken along; 0: CRIU's default
  uint32_t timeout_s = 0;        ///< for freezing the tree; 0: CRIU's default
  int log_level = 2;
  std::vector<std::pair<std::string, int>> inherit_fd;  ///< ("pipe:[ino]", descriptor of the criu process)
  std::vector<std::string> external;
};

/// A request of type dump or restore with notifications, or version without options. With `keep_open` CRIU takes another request after it
/// (it does so for version only).
std::string encodeRequest(Type type, const Options* options, bool keep_open = false);
/// The answer to a notification.
std::string encodeNotifyAnswer(bool success);

struct Response {
  Type type = Type::empty;
  bool success = false;
  std::optional<pid_t> restored_pid;
  std::string notify_script;
  pid_t notify_pid = 0;
  int criu_errno = 0;
  std::string criu_message;
  int version_major = 0, version_minor = 0, version_sublevel = 0;
};

/// Empty when the bytes are no whole criu_resp.
std::optional<Response> decodeResponse(std::string_view bytes);

/// Times of a dump from CRIU's `stats-dump` image: magic numbers, length, StatsEntry{dump=1}.
struct DumpStats {
  uint32_t freezing_us = 0, frozen_us = 0;
};
std::optional<DumpStats> decodeDumpStats(std::string_view image);

}  // namespace xos::checkpoint::rpc
