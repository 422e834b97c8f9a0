#include "osd_table.h"

#include <algorithm>

namespace xos::fs::metadata {

namespace {

constexpr uint64_t reserve_bytes = 64u << 20;  // an OSD with less gets no new files

std::string encode_osd(const Osd& o) {
  Writer w;
  w.put<uint8_t>(1).put(o.number).text(o.node).text(o.address).put(o.port).text(o.key);
  return std::move(w.bytes());
}

Osd decode_osd(std::string_view name, std::string_view bytes) {
  Reader r(bytes);
  if (r.get<uint8_t>() != 1) throw StoreError(MDB_CORRUPTED, "OSD record of an unknown format");
  Osd o;
  o.name = name;
  o.number = r.get<uint16_t>();
  o.node = r.text();
  o.address = r.text();
  o.port = r.get<uint16_t>();
  o.key = r.text();
  return o;
}

std::string state_key(const std::string& osd) { return "osd-state:" + osd; }

}  // namespace

OsdTable::OsdTable(Store& store, wire::TlsContext& tls, std::string mrc_node) : store_(store), tls_(tls), mrc_node_(std::move(mrc_node)) {
  store_.read([&](const Txn& txn) {
    txn.scan(table_osd, "", [&](std::string_view name, std::string_view bytes) {
      Osd o = decode_osd(name, bytes);
      std::string_view state;
      if (txn.get(table_meta, state_key(o.name), state)) o.state = static_cast<OsdState>(state[0]);
      o.free_bytes = reserve_bytes + 1;  // until the first measurement
      osds_[o.number] = o;
      return true;
    });
  });
}

void OsdTable::set(std::vector<Osd> told) {
  std::lock_guard one_at_a_time(set_mutex_);
  std::unique_lock lock(mutex_);
  uint16_t next = 0;
  for (auto& [number, o] : osds_) next = std::max<uint16_t>(next, static_cast<uint16_t>(number + 1));
  for (auto& t : told) {
    auto known = std::find_if(osds_.begin(), osds_.end(), [&](auto& o) { return o.second.name == t.name; });
    t.number = known == osds_.end() ? next++ : known->first;
    if (known == osds_.end()) continue;
    if (t.total_bytes == 0) t.total_bytes = known->second.total_bytes;
    t.state = known->second.state;
  }
  // Not under mutex_: transactions of others ask place(), which takes it.
  lock.unlock();
  store_.write([&](Txn& txn) {
    for (auto& t : told) {
      std::string_view v;
      std::string bytes = encode_osd(t);
      if (!txn.get(table_osd, t.name, v) || v != bytes) txn.put(table_osd, t.name, bytes);
    }
  });
  lock.lock();
  for (auto& [number, o] : osds_) o.up = false;
  for (auto& t : told) {
    auto it = osds_.find(t.number);
    if (it != osds_.end() && (it->second.address != t.address || it->second.port != t.port)) clients_.erase(t.number);
    osds_[t.number] = t;
  }
}

bool OsdTable::set_state(const std::string& name, OsdState state) {
  std::lock_guard one_at_a_time(set_mutex_);
  auto find = [&] { return std::find_if(osds_.begin(), osds_.end(), [&](auto& o) { return o.second.name == name; }); };
  {
    std::lock_guard lock(mutex_);
    if (find() == osds_.end()) return false;
  }
  store_.write([&](Txn& txn) {
    const char byte = static_cast<char>(state);
    if (state == OsdState::used) txn.erase(table_meta, state_key(name));
    else txn.put(table_meta, state_key(name), {&byte, 1});
  });
  store_.sync();
  std::lock_guard lock(mutex_);
  find()->second.state = state;
  return true;
}

OsdState OsdTable::state(const std::string& name) const {
  std::lock_guard lock(mutex_);
  auto it = std::find_if(osds_.begin(), osds_.end(), [&](auto& o) { return o.second.name == name; });
  return it == osds_.end() ? OsdState::removed : it->second.state;
}

std::vector<Osd> OsdTable::list() const {
  std::lock_guard lock(mutex_);
  std::vector<Osd> all;
  for (auto& [number, o] : osds_) all.push_back(o);
  return all;
}

bool OsdTable::find(uint16_t number, Osd& osd) const {
  std::lock_guard lock(mutex_);
  auto it = osds_.find(number);
  if (it == osds_.end()) return false;
  osd = it->second;
  return true;
}

void OsdTable::set_space(uint16_t number, uint64_t total_bytes, uint64_t free_bytes, bool up) {
  std::lock_guard lock(mutex_);
  auto it = osds_.find(number);
  if (it == osds_.end()) return;
  it->second.up = up;
  if (!up) return;
  it->second.total_bytes = total_bytes;
  it->second.free_bytes = free_bytes;
}

std::vector<uint16_t> OsdTable::place(const VolumePolicy& policy, const std::string& node) {
  std::lock_guard lock(mutex_);
  std::vector<const Osd*> usable;
  for (auto& [number, o] : osds_)
    if (o.up && o.state == OsdState::used && o.free_bytes > reserve_bytes) usable.push_back(&o);
  if (usable.empty()) return {};
  // Round robin, then the preferred node first.
  std::rotate(usable.begin(), usable.begin() + next_++ % usable.size(), usable.end());
  const std::string& preferred = policy.placement == "with-mrc" ? mrc_node_ : policy.placement == "local" ? node : std::string();
  std::stable_partition(usable.begin(), usable.end(), [&](const Osd* o) { return !preferred.empty() && o->node == preferred; });
  std::vector<uint16_t> chosen;
  for (size_t i = 0; i < usable.size() && chosen.size() < std::max<size_t>(policy.width, policy.copies); ++i) chosen.push_back(usable[i]->number);
  return chosen;
}

std::shared_ptr<RpcClient> OsdTable::client(uint16_t number) {
  std::lock_guard lock(mutex_);
  auto& c = clients_[number];
  if (!c) {
    auto it = osds_.find(number);
    if (it == osds_.end()) return nullptr;
    c = std::make_shared<RpcClient>(tls_, "OSD '" + it->second.name + "'", it->second.address, it->second.port);
  }
  return c;
}

}  // namespace xos::fs::metadata
