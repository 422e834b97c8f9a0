// The metadata service: decodes requests of one connection, runs them in the engine, keeps leases and open files right.
#pragma once
#include <string>

#include "capability.h"
#include "engine.h"
#include "moves.h"
#include "osd_table.h"
#include "sessions.h"
#include "wire.h"

namespace xos::fs::metadata {

class Service {
 public:
  Service(Store& store, Engine& engine, Sessions& sessions, OsdTable& osds, Moves& moves, std::string node);
  /// A connection whose first frame was received, until the peer leaves. Throws wire::Error, Malformed.
  void serve(wire::Connection& connection, const wire::FrameHeader& first, const std::vector<std::byte>& payload);
  /// Before anybody is served. Rights to write go through it.
  void use(class Snapshotter& snapshotter) { snapshotter_ = &snapshotter; }
  /// Before anybody is served. Rights to files with write replicas come from it.
  void use(class Mirrors& mirrors) { mirrors_ = &mirrors; }
  /// Capability for the MRC's own work on objects of a file (deleting, asking for the size).
  std::string own_capability(uint64_t file, uint8_t rights, uint32_t epoch, uint16_t osd, Mac& mac) const;

  struct Context {
    Sessions::Ptr session;
    RequestHead head;
    Writer out;
    bool names_leased = false;
    Reader* in;
  };

 private:
  int dispatch(uint16_t type, Context& c);
  int mutate(Context& c, const std::function<int(Txn&, Effects&)>& change);
  int mutate_entry(uint16_t type, Context& c);
  int read_attr(Context& c, uint64_t id, const std::function<int(const Txn&, Inode&)>& find);
  int lookup(Context& c);
  int readdir(Context& c);
  int create(uint16_t type, Context& c);
  int accessed(Context& c);
  int reserve(Context& c);
  int open(Context& c);
  int close(Context& c);
  int flush(Context& c);
  int set_attributes(Context& c);
  int xattr(uint16_t type, Context& c);
  int lock(uint16_t type, Context& c);
  int reclaim(Context& c);
  int statfs(Context& c);
  int list_osds(Context& c);
  int renew(uint16_t type, Context& c);
  int failed(Context& c);
  void put_attr(Context& c, const Inode& inode, bool leased);
  /// `contents`: whose objects they are, when those of another inode (borrowing.h).
  void put_opened(Context& c, const Inode& inode, uint8_t rights, uint64_t grow_to, const Inode* contents = nullptr);
  std::vector<size_t> copies_for(const Inode& inode, const std::string& node) const;
  bool hello(wire::Connection& connection, const wire::FrameHeader& h, const std::vector<std::byte>& payload, Sessions::Ptr& session);

  Store& store_;
  Engine& engine_;
  Sessions& sessions_;
  OsdTable& osds_;
  Moves& moves_;
  const std::string node_;
  const uint64_t instance_;
  Snapshotter* snapshotter_ = nullptr;
  Mirrors* mirrors_ = nullptr;
};

}  // namespace xos::fs::metadata
