#include "mirror.h"

#include <algorithm>
#include <cerrno>

#include "codec.h"
#include "data_sums.h"
#include "log.h"
#include "object_protocol.h"

namespace xos::fs {

namespace {

constexpr uint64_t all = ~0ull;
constexpr size_t appends_kept = 256;

/// What a request changes; the end when it changes the length.
std::pair<uint64_t, uint64_t> range_of(uint16_t type, uint16_t flags, std::string_view arguments) {
  if (type != object::write) return {0, all};
  Reader r(arguments);
  const auto offset = r.get<uint64_t>();
  const uint64_t bytes = flags & object::flag_checked ? r.get<uint32_t>() : r.left();
  return {offset, offset + std::max<uint64_t>(bytes, 1)};
}

}  // namespace

/// Changes of the same bytes come one after the other.
class Mirror::Turn {
 public:
  Turn(Mirror& mirror, uint64_t file, std::pair<uint64_t, uint64_t> range) : mirror_(mirror), file_(file) {
    std::unique_lock lock(mirror_.mutex_);
    Lead& lead = mirror_.leads_[file_];
    mine_ = lead.busy.insert(lead.busy.end(), {range.first, range.second});
    // In the order of their coming, so that nobody waits for ever.
    mirror_.changed_.wait(lock, [&] { return std::none_of(lead.busy.begin(), mine_, [&](const Range& r) { return r.from < range.second && range.first < r.to; }); });
  }
  ~Turn() {
    std::lock_guard lock(mirror_.mutex_);
    auto it = mirror_.leads_.find(file_);
    it->second.busy.erase(mine_);
    if (it->second.busy.empty() && it->second.broken_epoch == 0 && it->second.appended.empty()) mirror_.leads_.erase(it);
    else mirror_.changed_.notify_all();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Mirror& mirror_;
  const uint64_t file_;
  std::list<Range>::iterator mine_;
};

bool Mirror::changes(uint16_t type) {
  switch (type) {
    case object::write: case object::append_once: case object::truncate: case object::allocate: case object::sync: return true;
    default: return false;
  }
}

bool Mirror::is_broken(const Capability& c) {
  std::lock_guard lock(mutex_);
  auto it = leads_.find(c.file);
  return it != leads_.end() && c.epoch <= it->second.broken_epoch;
}

void Mirror::broke(const Capability& c) {
  std::lock_guard lock(mutex_);
  uint32_t& epoch = leads_[c.file].broken_epoch;
  epoch = std::max(epoch, c.epoch);
}

/// At the members and then here. Caller has the turn.
int Mirror::everywhere(const Capability& c, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<int()>& here) {
  if (!holds(c)) return -ESTALE;
  int r = peers_.ask(c.members, type, flags, arguments, {});
  if (r == 0) {
    r = -here();
    if (r == 0) return 0;
    log(Priority::warning, "file %lx was changed at its other members and not here (error %d): the metadata server has to make them equal", c.file, r);
  }
  broke(c);
  // What can be said to the program; all else is for the MRC to mend, and the client asks it.
  return r == ENOSPC || r == EFBIG || r == EDQUOT ? -r : -ESTALE;
}

int Mirror::perform(const Capability& c, uint16_t type, uint16_t flags, std::string_view arguments, const std::function<int()>& here) {
  if (type == object::sync) {
    int r = -EIO;
    const int others = peers_.ask(c.members, type, flags, arguments, [&] { r = here(); });
    if (r == 0 && others == 0) return holds(c) ? 0 : -ESTALE;
    broke(c);
    return -ESTALE;
  }
  Turn turn(*this, c.file, range_of(type, flags, arguments));
  return everywhere(c, type, flags, arguments, here);
}

bool Mirror::appended(uint64_t file, uint64_t identity, uint64_t& offset) {
  std::lock_guard lock(mutex_);
  auto it = leads_.find(file);
  if (it == leads_.end()) return false;
  for (auto& [who, where] : it->second.appended)
    if (who == identity) return offset = where, true;
  return false;
}

void Mirror::note_append(uint64_t file, uint64_t identity, uint64_t offset) {
  std::lock_guard lock(mutex_);
  auto& list = leads_[file].appended;
  list.emplace_back(identity, offset);
  if (list.size() > appends_kept) list.pop_front();
}

int Mirror::append(const Capability& c, uint64_t identity, std::string_view data, uint64_t& offset, Extent& extent) {
  Turn turn(*this, c.file, {0, all});
  if (appended(c.file, identity, offset)) return store_.extent(c.file, extent);
  if (int r = store_.extent(c.file, extent); r != 0) return r;
  offset = extent.bytes;
  std::vector<uint32_t> sums;
  sums_of(offset, data, sums);
  Writer w;
  w.put(identity).put(offset).put<uint32_t>(static_cast<uint32_t>(data.size())).raw(data).raw({reinterpret_cast<const char*>(sums.data()), sums.size() * 4});
  return everywhere(c, object::append_at, object::flag_checked, w.bytes(), [&] { return append_at(c, identity, offset, data, sums.data(), extent); });
}

int Mirror::append_at(const Capability& c, uint64_t identity, uint64_t offset, std::string_view data, const uint32_t* sums, Extent& extent) {
  const int r = store_.write(c.file, offset, data.data(), static_cast<uint32_t>(data.size()), extent, sums);
  if (r == 0) note_append(c.file, identity, offset);
  return r;
}

}  // namespace xos::fs
