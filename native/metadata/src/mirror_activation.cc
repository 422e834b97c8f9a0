#include "mirror_activation.h"

#include <algorithm>
#include <cerrno>

namespace xos::fs::metadata {

namespace {

constexpr uint64_t block_bytes = 4096;
constexpr uint32_t digests_at_once = 1u << 17, copy_bytes_max = 1u << 20;
constexpr uint64_t unreadable = ~0ull;

struct Candidate {
  uint16_t osd = 0;
  bool joins = false, there = false;
  uint64_t session = 0;
  MirrorWorld::Object object;
};

size_t leader_of(const std::vector<Candidate>& all, const MirrorPlan& plan) {
  size_t best = all.size();
  auto rank = [&](const Candidate& c) {
    auto before = plan.sessions.find(c.osd);
    const bool stayed = before != plan.sessions.end() && before->second == c.session;
    return (c.osd == plan.avoid ? 4 : 0) + (stayed ? 0 : 2) + (c.osd == plan.in_step.front() ? 0 : 1);
  };
  for (size_t n = 0; n < all.size(); ++n) {
    if (!all[n].there || (all[n].joins && !plan.unknown)) continue;
    if (best == all.size()) best = n;
    else if (plan.unknown ? all[n].object.mtime_ns > all[best].object.mtime_ns : rank(all[n]) < rank(all[best])) best = n;
  }
  return best;
}

}  // namespace

int mirror_equal(MirrorWorld& world, uint64_t file, uint32_t epoch, uint16_t from, uint64_t bytes, uint16_t to, bool read, uint16_t& failed) {
  failed = to;
  if (int r = world.truncate(to, file, epoch, bytes); r != 0) return r;
  const uint64_t blocks = (bytes + block_bytes - 1) / block_bytes;
  for (uint64_t first = 0; first < blocks; first += digests_at_once) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(digests_at_once, blocks - first));
    std::vector<uint64_t> want, have;
    failed = from;
    if (int r = world.digest(from, file, epoch, first, count, read, want); r != 0) return r;
    if (want.size() != count || std::find(want.begin(), want.end(), unreadable) != want.end()) return EIO;
    failed = to;
    if (int r = world.digest(to, file, epoch, first, count, read, have); r != 0) return r;
    have.resize(count, unreadable);
    for (uint32_t at = 0; at < count;) {
      if (want[at] == have[at]) {
        ++at;
        continue;
      }
      uint32_t end = at + 1;
      while (end < count && want[end] != have[end] && (end - at) * block_bytes < copy_bytes_max) ++end;
      const uint64_t offset = (first + at) * block_bytes;
      if (int r = world.copy(from, to, file, epoch, offset, static_cast<uint32_t>(std::min((end - at) * block_bytes, bytes - offset))); r != 0) return r;
      at = end;
    }
  }
  return 0;
}

int mirror_activate(MirrorWorld& world, const MirrorPlan& plan, MirrorMembers& members) {
  std::vector<Candidate> all;
  for (uint16_t osd : plan.in_step) all.push_back({osd, false, false, 0, {}});
  for (uint16_t osd : plan.joining) all.push_back({osd, true, false, 0, {}});
  // The session first: a process that started after it was seen refuses the rights that name it.
  world.for_each(all.size(), [&](size_t n) {
    Candidate& c = all[n];
    c.session = world.session(c.osd);
    c.there = c.session != 0 && world.fence(c.osd, plan.file, plan.epoch, c.object) == 0;
  });
  const size_t leads = leader_of(all, plan);
  if (leads == all.size()) return EHOSTDOWN;
  // Who led last and did not get the fence may still answer readers: nobody else leads before that is over.
  const uint16_t last = plan.in_step.front();
  if (!all.front().there) {
    auto known = plan.sessions.find(last);
    world.give_up(last, known == plan.sessions.end() ? 0 : known->second);
  }
  const Candidate leader = all[leads];
  bool lost = false;
  world.for_each(all.size(), [&](size_t n) {
    Candidate& c = all[n];
    if (n == leads || !c.there) return;
    if (c.osd == plan.avoid && plan.drop_avoided) {
      c.there = false;
      return;
    }
    uint16_t failed = 0;
    const bool read = c.joins || plan.unknown || c.osd == plan.avoid;
    int r = mirror_equal(world, plan.file, plan.epoch, leader.osd, leader.object.bytes, c.osd, read, failed);
    if (r == 0 && read) r = world.sync(c.osd, plan.file, plan.epoch);
    if (r == 0) return;
    c.there = false;
    if (failed == leader.osd) lost = true;
  });
  if (lost) return EIO;
  members = {};
  members.in_step.push_back(leader.osd);
  members.sessions.push_back(leader.session);
  for (size_t n = 0; n < all.size(); ++n) {
    if (n == leads || !all[n].there) continue;
    members.in_step.push_back(all[n].osd);
    members.sessions.push_back(all[n].session);
  }
  members.writable = members.in_step.size() >= plan.needed;
  return members.in_step.size() >= plan.majority ? 0 : EHOSTDOWN;
}

}  // namespace xos::fs::metadata
