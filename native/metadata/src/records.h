// Records: what a transaction changed in the shared tables, as the rows that it put and erased. Applied in their order to a database that was
// equal before they make it equal again. The newest ones are kept in table_log, for members that were away for a while.
//
// Record: n × {u8 table (its top bit: erased), u16 bytes + key, u32 bytes + value (not of what was erased)}.
// Row of table_log: key u64 sequence (big endian); u64 term, u64 bytes of all records to the end of this one, the record.
// Rows of table_local: "standing", and those of member.cc.
#pragma once
#include <string>
#include <string_view>

#include "store.h"

namespace xos::fs::metadata {

/// Of a record: no two that differ have the same.
struct Position {
  uint64_t term = 0, sequence = 0;
  auto operator<=>(const Position&) const = default;
};

namespace records {

void add_put(std::string& record, Table table, std::string_view key, std::string_view value);
void add_erase(std::string& record, Table table, std::string_view key);

inline constexpr uint64_t kept_max = 200000, kept_bytes_max = 64u << 20;
/// Adds it to the log, and forgets the oldest ones beyond the limits; never the newest.
void append(Txn& txn, Position at, std::string_view record, uint64_t records_max = kept_max, uint64_t bytes_max = kept_bytes_max);
/// Does what a record says. Throws Malformed for one that is none: nothing may be committed then.
void redo(Txn& txn, std::string_view record);
/// Does it, and adds it to the log. Throws Malformed.
void apply(Txn& txn, Position at, std::string_view record);
/// The log is empty and goes on after `at`: after a copy of the whole.
void start_after(Txn& txn, Position at);
/// {0, 0} when there was never one.
Position newest(const Txn& txn);
/// True when the log shows that the database had exactly this history.
bool has(const Txn& txn, Position at);
/// Calls `each(position, record)` for those behind `sequence`, until it returns false.
void scan_after(const Txn& txn, uint64_t sequence, const std::function<bool(Position, std::string_view)>& each);

/// Of a member's database. `forgot`: its machine lost power, and with it some of what it may have acknowledged. `partial`: a copy that is not complete.
enum class Standing : uint8_t { whole = 0, forgot = 1, partial = 2 };
Standing standing(const Txn& txn);
void set_standing(Txn& txn, Standing standing);

/// SHA-256 of all rows of the shared tables, in hexadecimal.
std::string digest(const Txn& txn);

}  // namespace records
}  // namespace xos::fs::metadata
