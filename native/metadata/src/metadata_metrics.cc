#include "metadata_metrics.h"

#include "control_requests.h"
#include "frame_server.h"
#include "osd_table.h"
#include "sessions.h"

namespace xos::fs::metadata {

namespace {

struct Named {
  uint16_t type;
  const char* name;
};
constexpr Named kinds[] = {
    {lookup, "lookup"},       {getattr, "getattr"},     {setattr, "setattr"},         {create, "create"},           {open, "open"},
    {close, "close"},         {flush, "flush"},         {mkdir, "mkdir"},             {mknod, "mknod"},             {symlink, "symlink"},
    {link, "link"},           {unlink, "unlink"},       {rmdir, "rmdir"},             {rename, "rename"},           {readlink, "readlink"},
    {readdir, "readdir"},     {statfs, "statfs"},       {getxattr, "getxattr"},       {setxattr, "setxattr"},       {listxattr, "listxattr"},
    {removexattr, "removexattr"}, {lock_get, "lock_get"}, {lock_set, "lock_set"},     {sync, "sync"},               {reclaim, "reclaim"},
    {osd_list, "osd_list"},   {capability, "capability"}, {prepare_truncate, "prepare_truncate"}, {tmpfile, "tmpfile"}, {accessed, "accessed"},
    {reserve, "reserve"},     {right_failed, "right_failed"},
};

void describe_database(Mrc& m, metrics::Text& t) {
  uint64_t inodes = 0, entries = 0, deletions = 0, orphans = 0;
  m.store.read([&](const Txn& txn) {
    inodes = txn.entries(table_inode);
    entries = txn.entries(table_entry);
    deletions = txn.entries(table_deletion);
    orphans = txn.entries(table_orphan);
  });
  t.one("xos_mrc_inodes", "gauge", "Files, directories and links of all volumes.", inodes);
  t.one("xos_mrc_entries", "gauge", "Names in directories.", entries);
  t.one("xos_mrc_orphans", "gauge", "Files without a name that somebody has open.", orphans);
  t.one("xos_mrc_objects_to_delete", "gauge", "Removed files whose objects are still at OSDs.", deletions);
  auto [transactions, changes] = m.store.counters();
  t.one("xos_mrc_transactions_total", "counter", "Transactions of the database.", transactions);
  t.one("xos_mrc_changes_total", "counter", "Changes in them; by their quotient one sees how well they are grouped.", changes);
  const auto size = m.store.size();
  t.one("xos_mrc_database_pages", "gauge", "Pages of the database file that are or were in use.", size.pages);
  t.one("xos_mrc_database_page_bytes", "gauge", "Bytes of a page.", size.page_bytes);
  t.one("xos_mrc_database_pages_max", "gauge", "Pages that the database may have.", size.pages_max);
}

}  // namespace

MetadataMetrics& MetadataMetrics::instance() {
  static MetadataMetrics& one = *new MetadataMetrics;  // never destroyed: detached threads count while the process exits
  return one;
}

std::string describe_mrc(Mrc& m) {
  MetadataMetrics& counted = MetadataMetrics::instance();
  metrics::Text t;
  t.family("xos_mrc_request_seconds", "histogram", "Requests by kind, with the time that they waited for leases of other mounts.");
  for (auto& [type, name] : kinds) t.histogram(counted.of(type), {{"op", name}});
  t.family("xos_mrc_callbacks_total", "counter", "Callbacks to mounts by kind, without those that only renew leases.");
  t.sample(counted.invalidations.value(), {{"kind", "invalidate"}}).sample(counted.lock_retries.value(), {{"kind", "lock_retry"}});
  t.one("xos_mrc_callback_waits_total", "counter", "Changes that had to wait for other mounts' leases.", counted.waits.value());
  const auto counts = m.sessions.counts();
  t.one("xos_mrc_sessions", "gauge", "Mounts that are known.", counts.sessions);
  t.one("xos_mrc_open_files", "gauge", "Files that mounts have open.", counts.open_files);
  t.one("xos_mrc_locks", "gauge", "Locks of fcntl and flock.", counts.locks);
  t.one("xos_mrc_leases", "gauge", "Attributes and directories that mounts may keep.", counts.leases);
  describe_database(m, t);
  t.one("xos_mrc_replica_blocks_mended_total", "counter", "Corrupt blocks of files with replicas that were written anew from another one.", m.replicator.repaired());
  t.one("xos_mrc_mirror_members_caught_up_total", "counter", "Members of files with write replicas that were brought in step again.", m.mirrors.caught_up());
  const auto osds = m.osds.list();
  t.family("xos_mrc_osd_up", "gauge", "1 for an OSD that gets new files.");
  for (auto& o : osds) t.sample(o.up, {{"osd", o.name}});
  t.family("xos_mrc_osd_free_bytes", "gauge", "Free bytes of an OSD as it said last.");
  for (auto& o : osds) t.sample(o.free_bytes, {{"osd", o.name}});
  t.one("xos_mrc_connections", "gauge", "Connections of mounts.", frame_connections());
  return t.process("xos_mrc").take();
}

}  // namespace xos::fs::metadata
