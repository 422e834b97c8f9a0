// Messages between the xos-mrc of a group (wire types 0x03a_), on connections that begin with one of them. Each is answered by a frame of type
// group_answer: i32 GroupStatus, u64 term promised, u64 + u64 position, u8 standing. docs/decisions/0034-metadata-replication.md.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "codec.h"
#include "records.h"
#include "wire.h"

namespace xos::fs::metadata {

enum GroupType : uint16_t {
  group_promise = 0x03a0,  ///< u64 term: I want to lead it; answered when whoever led before does so no more by our word
  group_append = 0x03a1,   ///< u64 term, position before, u64 sequence at which the log is whole, n × {position, u32 bytes, record}; without records: are you there?
  group_copy = 0x03a2,     ///< u64 term, u64 copy, u32 number (0: begins), u8 last, position (of the whole), a record that puts rows
  group_sync = 0x03a3,     ///< u64 term: what you have is to reach the disk; the position is one that has
  group_part = 0x03a4,     ///< bytes that belong before the payload of the next frame of another type; not answered
  group_answer = 0x03af,
};
inline bool is_group_type(uint16_t type) { return type >= group_promise && type <= group_part; }

/// `older`: another term, or another one in it, was promised. `led`: somebody leads. `behind`: the log does not end where the records begin, or is not whole.
enum class GroupStatus : int32_t { ok = 0, older = 1, led = 2, behind = 3 };

inline constexpr int lead_ms = 1500;     ///< how long who leads answers without a word of a majority
inline constexpr int promise_ms = 1650;  ///< how long a member that heard of it promises nothing to others; clocks may differ by a tenth
inline constexpr int beat_ms = 300;
inline constexpr size_t portion_bytes = 1u << 20;

struct Peer {
  std::string node, address;
  uint16_t port = 0;
};

/// What a member tells of itself.
struct MemberState {
  GroupStatus status = GroupStatus::ok;
  uint64_t term = 0;
  Position position;
  records::Standing standing = records::Standing::whole;
};

inline void put(Writer& w, Position p) { w.put(p.term).put(p.sequence); }
inline Position get_position(Reader& r) {
  Position p;
  p.term = r.get<uint64_t>();
  p.sequence = r.get<uint64_t>();
  return p;
}
inline void put(Writer& w, const MemberState& s) {
  w.put(static_cast<int32_t>(s.status)).put(s.term);
  put(w, s.position);
  w.put(static_cast<uint8_t>(s.standing));
}
inline MemberState get_member_state(Reader& r) {
  MemberState s;
  s.status = static_cast<GroupStatus>(r.get<int32_t>());
  s.term = r.get<uint64_t>();
  s.position = get_position(r);
  s.standing = static_cast<records::Standing>(r.get<uint8_t>());
  r.finish();
  return s;
}

}  // namespace xos::fs::metadata
