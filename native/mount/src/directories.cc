// FUSE operations on directories: pages of names with attributes, kept per open directory.
#include <sys/stat.h>

#include <cerrno>
#include <mutex>
#include <vector>

#include "frame_server.h"
#include "mount.h"

namespace xos::fs {

using namespace metadata;

namespace {

constexpr uint32_t page_bytes = 128 << 10;

/// An open directory. Offsets are 0 ".", 1 "..", then the number of the entry + 2; a page is found again by the name before it.
struct Listing {
  std::mutex mutex;
  uint64_t id = 0;
  struct Page {
    uint64_t first;     // number of its first entry
    std::string after;  // the name before it
  };
  std::vector<Page> pages{{0, ""}};
  std::vector<std::pair<std::string, Attr>> entries;  // of the page at hand
  uint64_t first = 0;
  bool loaded = false, end = false;
  bool whole = true;  // read in one go from the start, so far
  Cache::Token token;
};

Listing& listing_of(fuse_file_info* fi) { return *reinterpret_cast<Listing*>(fi->fh); }

int load_page(Mount& m, fuse_req_t req, Listing& l, const Listing::Page& page) {
  RpcClient::Answer answer;
  auto token = m.cache.token(l.id);
  if (page.first == 0) {
    l.token = token;
    l.whole = true;
  }
  if (int r = m.call(req, readdir, Writer().put(l.id).text(page.after).put(page_bytes), answer); r != 0) return r;
  const bool leased = answer.flags & flag_names_leased;
  Reader in(answer.begin(), answer.size());
  l.end = in.get<uint8_t>() != 0;
  uint16_t n = in.get<uint16_t>();
  l.entries.clear();
  for (uint16_t i = 0; i < n; ++i) {
    std::string name(in.text());
    Attr attr = get_attr(in);
    m.cache.keep_attr(attr, token);
    if (leased) m.cache.keep_entry(l.id, name, attr.id, token);
    l.entries.emplace_back(std::move(name), attr);
  }
  l.first = page.first;
  l.loaded = true;
  if (!leased) l.whole = false;
  if (l.end && l.whole) m.cache.complete(l.id, l.token);
  return 0;
}

/// Entry number `number`, or null at the end.
int entry_at(Mount& m, fuse_req_t req, Listing& l, uint64_t number, const std::pair<std::string, Attr>*& found) {
  for (;;) {
    if (l.loaded && number >= l.first && number < l.first + l.entries.size()) {
      found = &l.entries[number - l.first];
      return 0;
    }
    if (l.loaded && number >= l.first + l.entries.size() && l.end) {
      found = nullptr;
      return 0;
    }
    if (l.loaded && number == l.first + l.entries.size()) {
      Listing::Page next{number, l.entries.empty() ? l.pages.back().after : l.entries.back().first};
      if (l.pages.back().first < number) l.pages.push_back(next);
      if (int r = load_page(m, req, l, next); r != 0) return r;
      continue;
    }
    // Somewhere else: the last page that begins at or before it.
    l.whole = false;
    size_t at = l.pages.size() - 1;
    while (at > 0 && l.pages[at].first > number) --at;
    if (l.loaded && l.pages[at].first == l.first) {
      found = nullptr;
      return 0;
    }
    Listing::Page page = l.pages[at];
    if (int r = load_page(m, req, l, page); r != 0) return r;
  }
}

void opendir_op(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  mount_of(req).kernel_sees(ino);
  auto* l = new Listing;
  l->id = ino;
  fi->fh = reinterpret_cast<uint64_t>(l);
  if (fuse_reply_open(req, fi) != 0) delete l;
}

void list(fuse_req_t req, size_t size, off_t offset, fuse_file_info* fi, bool plus) {
  Mount& m = mount_of(req);
  Listing& l = listing_of(fi);
  std::unique_lock lock(l.mutex);
  if (offset == 0) {
    l.loaded = false;  // rewound: as it is now
    m.note_read(l.id);
  }
  auto buffer = BufferPool::instance().take(size);
  size_t used = 0;
  for (uint64_t at = static_cast<uint64_t>(offset);; ++at) {
    Attr attr;
    std::string name;
    if (at < 2) {
      name = at == 0 ? "." : "..";
      attr.id = l.id;
      attr.mode = S_IFDIR;
    } else {
      const std::pair<std::string, Attr>* found = nullptr;
      int r = entry_at(m, req, l, at - 2, found);
      if (r != 0) {
        if (used > 0) break;
        lock.unlock();
        fuse_reply_err(req, r);
        return;
      }
      if (!found) break;
      name = found->first;
      attr = found->second;
    }
    size_t n;
    if (plus) {
      // The page may be older than a change of our own: the kernel gets what the cache says now, else the name only (node 0). It must not
      // take "." for a child either, nor a size that is the OSDs' to tell.
      uint64_t id = 0;
      auto token = m.cache.token(l.id);
      bool known = at >= 2 && m.cache.entry(l.id, name, id) == Cache::Found::yes && id == attr.id && !m.files.find(id);
      auto now = known ? m.cache.attr(id) : std::nullopt;
      if (now) attr = *now;
      fuse_entry_param e = entry_of(m, attr, true, token);
      if (!now || attr.writers == writers_others) e.ino = 0;
      e.attr.st_ino = attr.id;
      n = fuse_add_direntry_plus(req, buffer.data + used, size - used, name.c_str(), &e, static_cast<off_t>(at + 1));
    } else {
      struct stat st = stat_of(attr);
      n = fuse_add_direntry(req, buffer.data + used, size - used, name.c_str(), &st, static_cast<off_t>(at + 1));
    }
    if (n > size - used) break;
    used += n;
  }
  lock.unlock();  // once it is answered the listing may be closed and gone
  fuse_reply_buf(req, buffer.data, used);
}

void readdir_op(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) { list(req, size, offset, fi, false); }
void readdirplus_op(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) { list(req, size, offset, fi, true); }

void releasedir_op(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  delete &listing_of(fi);
  fuse_reply_err(req, 0);
}

void fsyncdir_op(fuse_req_t req, fuse_ino_t, int, fuse_file_info*) {
  RpcClient::Answer answer;
  fuse_reply_err(req, mount_of(req).call_as_node(metadata::sync, Writer(), answer));
}

}  // namespace

void register_directory_operations(fuse_lowlevel_ops& ops) {
  ops.opendir = opendir_op;
  ops.readdir = readdir_op;
  ops.readdirplus = readdirplus_op;
  ops.releasedir = releasedir_op;
  ops.fsyncdir = fsyncdir_op;
}

}  // namespace xos::fs
