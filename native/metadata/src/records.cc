#include "records.h"

#include <openssl/evp.h>

#include <memory>

#include "codec.h"

namespace xos::fs::metadata::records {

namespace {

constexpr uint8_t erased = 0x80;
constexpr std::string_view standing_key = "standing";
constexpr int forgotten_at_once = 64;

struct Row {
  uint64_t term = 0, bytes_until = 0;
  std::string_view record;
};

Row parse(std::string_view value) {
  Reader r(value);
  Row row;
  row.term = r.get<uint64_t>();
  row.bytes_until = r.get<uint64_t>();
  row.record = r.rest();
  return row;
}

/// Goes by the log's first rows until it is within the limits.
void forget(Txn& txn, uint64_t newest, uint64_t bytes_until, uint64_t records_max, uint64_t bytes_max) {
  for (int i = 0; i < forgotten_at_once; ++i) {
    std::string oldest;
    txn.scan(table_log, "", [&](std::string_view key, std::string_view value) {
      if (newest - id_of(key) >= records_max || (id_of(key) != newest && bytes_until - parse(value).bytes_until > bytes_max)) oldest = key;
      return false;
    });
    if (oldest.empty()) return;
    txn.erase(table_log, oldest);
  }
}

}  // namespace

void add_put(std::string& record, Table table, std::string_view key, std::string_view value) {
  Writer w;
  w.put(static_cast<uint8_t>(table)).text(key).put(static_cast<uint32_t>(value.size())).raw(value);
  record += w.bytes();
}

void add_erase(std::string& record, Table table, std::string_view key) {
  Writer w;
  w.put(static_cast<uint8_t>(table | erased)).text(key);
  record += w.bytes();
}

void append(Txn& txn, Position at, std::string_view record, uint64_t records_max, uint64_t bytes_max) {
  std::string_view key, value;
  uint64_t bytes = txn.last(table_log, key, value) ? parse(value).bytes_until : 0;
  bytes += record.size();
  txn.put(table_log, key_of(at.sequence), Writer().put(at.term).put(bytes).raw(record).bytes());
  forget(txn, at.sequence, bytes, records_max, bytes_max);
}

void redo(Txn& txn, std::string_view record) {
  Reader r(record);
  while (r.left() > 0) {
    const uint8_t op = r.get<uint8_t>();
    const uint8_t number = op & static_cast<uint8_t>(~erased);
    if (number >= shared_tables) throw Malformed("record of table " + std::to_string(number));
    const Table table = static_cast<Table>(number);
    const std::string_view key = r.text();
    if (op & erased) {
      txn.erase(table, key);
    } else {
      const uint32_t bytes = r.get<uint32_t>();
      txn.put(table, key, r.raw(bytes));
    }
  }
}

void apply(Txn& txn, Position at, std::string_view record) {
  redo(txn, record);
  append(txn, at, record);
}

void start_after(Txn& txn, Position at) {
  txn.clear(table_log);
  append(txn, at, "");
}

Position newest(const Txn& txn) {
  std::string_view key, value;
  if (!txn.last(table_log, key, value)) return {};
  return {parse(value).term, id_of(key)};
}

bool has(const Txn& txn, Position at) {
  std::string_view value;
  return txn.get(table_log, key_of(at.sequence), value) && parse(value).term == at.term;
}

void scan_after(const Txn& txn, uint64_t sequence, const std::function<bool(Position, std::string_view)>& each) {
  txn.scan(table_log, key_of(sequence + 1), [&](std::string_view key, std::string_view value) {
    const Row row = parse(value);
    return each({row.term, id_of(key)}, row.record);
  });
}

Standing standing(const Txn& txn) {
  std::string_view value;
  if (!txn.get(table_local, standing_key, value)) return Standing::whole;
  return static_cast<Standing>(Reader(value).get<uint8_t>());
}

void set_standing(Txn& txn, Standing standing) {
  if (standing == Standing::whole) txn.erase(table_local, standing_key);
  else txn.put(table_local, standing_key, Writer().put(static_cast<uint8_t>(standing)).bytes());
}

std::string digest(const Txn& txn) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> sum(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(sum.get(), EVP_sha256(), nullptr);
  for (int t = 0; t < shared_tables; ++t) {
    txn.scan(static_cast<Table>(t), "", [&](std::string_view key, std::string_view value) {
      Writer head;
      head.put(static_cast<uint8_t>(t)).put(static_cast<uint32_t>(key.size())).put(static_cast<uint32_t>(value.size()));
      EVP_DigestUpdate(sum.get(), head.bytes().data(), head.size());
      EVP_DigestUpdate(sum.get(), key.data(), key.size());
      EVP_DigestUpdate(sum.get(), value.data(), value.size());
      return true;
    });
  }
  unsigned char bytes[32];
  EVP_DigestFinal_ex(sum.get(), bytes, nullptr);
  std::string text;
  for (unsigned char b : bytes) {
    constexpr char digits[] = "0123456789abcdef";
    text += digits[b >> 4];
    text += digits[b & 15];
  }
  return text;
}

}  // namespace xos::fs::metadata::records
