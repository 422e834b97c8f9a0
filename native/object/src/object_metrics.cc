#include "object_metrics.h"

#include "capability.h"
#include "frame_server.h"
#include "object_store.h"
#include "scrubber.h"

namespace xos::fs {

namespace {

struct Named {
  uint16_t type;
  const char* name;
};
constexpr Named kinds[] = {
    {object::read, "read"},       {object::write, "write"}, {object::append, "append"}, {object::extent, "extent"},     {object::truncate, "truncate"},
    {object::remove, "remove"},   {object::sync, "sync"},   {object::space, "space"},   {object::reserve, "reserve"},   {object::allocate, "allocate"},
    {object::seek, "seek"},       {object::copy, "copy"}, {object::list, "list"}, {object::fence, "fence"}, {object::damaged, "damaged"},
};

}  // namespace

ObjectMetrics& ObjectMetrics::instance() {
  static ObjectMetrics& one = *new ObjectMetrics;  // never destroyed: detached threads count while the process exits
  return one;
}

std::string describe_osd(const ObjectStore& store, const Scrubber& scrubber, const CapabilityVerifier& verifier) {
  ObjectMetrics& m = ObjectMetrics::instance();
  metrics::Text t;
  t.family("xos_osd_request_seconds", "histogram", "Requests by kind, from their last byte to the answer's.");
  for (auto& [type, name] : kinds) t.histogram(m.of(type), {{"op", name}});
  t.one("xos_osd_read_bytes_total", "counter", "Bytes of files that were sent to clients.", m.read_bytes.value());
  t.one("xos_osd_written_bytes_total", "counter", "Bytes of files that clients have written.", m.written_bytes.value());
  t.one("xos_osd_refused_total", "counter", "Requests whose capability was not good for them.", m.refused.value());
  t.one("xos_osd_lent_total", "counter", "Objects handed to mounts of this node for the kernel's passthrough, whose bytes are counted nowhere.", m.lent.value());
  const auto counts = store.counts();
  t.one("xos_osd_checksum_errors_total", "counter", "Blocks that were found corrupt.", counts.corrupt_found);
  t.one("xos_osd_checksum_repaired_total", "counter", "Corrupt blocks that were written anew.", counts.corrupt_mended);
  t.one("xos_osd_corrupt_blocks", "gauge", "Blocks that are known to be corrupt now.", store.corrupt().size());
  t.one("xos_osd_open_files", "gauge", "Objects that the process has at hand.", counts.open_files);
  const Space s = store.space();
  t.one("xos_osd_objects", "gauge", "Objects on the disk.", s.objects);
  t.one("xos_osd_total_bytes", "gauge", "Size of the file system with the objects.", s.total_bytes);
  t.one("xos_osd_free_bytes", "gauge", "Free bytes of it.", s.free_bytes);
  const auto p = scrubber.progress();
  t.one("xos_osd_scrub_running", "gauge", "1 while all objects are compared with their checksums.", p.running);
  t.one("xos_osd_scrub_files", "gauge", "Objects that this scrub (else the last one) has looked at.", p.files);
  t.one("xos_osd_scrub_files_total", "gauge", "Objects that there were when it began.", p.files_total);
  t.one("xos_osd_scrub_bytes", "gauge", "Bytes that it has looked at.", p.bytes);
  t.one("xos_osd_scrub_finished_seconds", "gauge", "When the last whole scrub ended, since 1970; 0: never.", static_cast<uint64_t>(p.finished_ms / 1000));
  t.one("xos_osd_has_keys", "gauge", "0 while it refuses everything, since no MRC is known.", verifier.has_keys());
  t.one("xos_osd_connections", "gauge", "Connections of clients and MRCs.", frame_connections());
  return t.process("xos_osd").take();
}

}  // namespace xos::fs
