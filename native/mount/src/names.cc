// FUSE operations on names: lookup, create, mkdir, mknod, symlink, link, unlink, rmdir, rename, readlink.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "mount.h"

namespace xos::fs {

using namespace metadata;

namespace {

void reply_entry(fuse_req_t req, Mount& m, const Attr& attr, bool name_leased, Cache::Token token) {
  fuse_entry_param e = entry_of(m, attr, name_leased, token);
  fuse_reply_entry(req, &e);
}

/// "There is no such name", which the kernel may remember under a lease.
void reply_absent(fuse_req_t req, Mount& m, bool name_leased) {
  fuse_entry_param e{};
  e.entry_timeout = name_leased && m.kernel_names ? m.cache.seconds_left() : 0;
  if (e.entry_timeout > 0) fuse_reply_entry(req, &e);
  else fuse_reply_err(req, ENOENT);
}

bool names_leased(const RpcClient::Answer& answer) { return answer.flags & flag_names_leased; }

/// Notes our own change of names, if we may keep them.
void changed(Mount& m, const RpcClient::Answer& answer, uint64_t directory, const std::vector<Cache::Change>& changes, Cache::Token token) {
  if (names_leased(answer)) m.cache.entries_changed(directory, changes, token);
  else m.cache.forget_entries(directory);
}

void lookup_op(fuse_req_t req, fuse_ino_t parent, const char* raw) {
  Mount& m = mount_of(req);
  std::string name = raw;
  uint64_t id = 0;
  Attr attr;
  if (name.size() > name_bytes_max) {
    fuse_reply_err(req, ENAMETOOLONG);
    return;
  }
  m.kernel_sees(parent);
  auto token = m.cache.token(parent);
  // Asked for by the kernel when it makes the path of a directory anew (open_by_handle_at(2)); no listing has them.
  const bool own = name == "." || name == "..";
  auto found = own ? Cache::Found::no : m.cache.entry(parent, name, id);
  // The one name besides that no listing has.
  if (found == Cache::Found::negative && name != snapshots_name) {
    reply_absent(req, m, true);
    return;
  }
  if (found == Cache::Found::yes) {
    int r = m.attributes(req, id, attr);
    if (r == 0) {
      reply_entry(req, m, attr, true, token);
      return;
    }
    if (r != ESTALE) {
      fuse_reply_err(req, r);
      return;
    }
  }
  RpcClient::Answer answer;
  int r = m.call(req, lookup, Writer().put<uint64_t>(parent).text(name), answer);
  if (r == 0) {
    Reader in(answer.begin(), answer.size());
    attr = get_attr(in);
    Attr directory = get_attr(in);
    m.cache.keep_attr(directory, token);
    m.cache.keep_attr(attr, token);
    if (names_leased(answer) && !own) m.cache.keep_entry(parent, name, attr.id, token);
    r = m.settle_size(attr);
  } else if (r == ENOENT && names_leased(answer)) {
    m.cache.keep_entry(parent, name, 0, token);
  }
  bool kept = names_leased(answer) && m.cache.token(parent).remote == token.remote;
  if (r == 0) reply_entry(req, m, attr, kept, token);
  else if (r == ENOENT) reply_absent(req, m, kept);
  else fuse_reply_err(req, r);
}

/// What every operation that makes a name does with its answer (Attr, Attr of the directory).
Attr keep_made(Mount& m, uint64_t parent, const std::string& name, const RpcClient::Answer& answer, Reader& in, Cache::Token token) {
  Attr attr = get_attr(in), directory = get_attr(in);
  m.cache.keep_attr(attr, token);
  m.cache.keep_attr(directory, token);
  changed(m, answer, parent, {{name, attr.id}}, token);
  return attr;
}

void make(fuse_req_t req, uint16_t type, fuse_ino_t parent, const std::string& name, const Writer& arguments) {
  Mount& m = mount_of(req);
  auto token = m.cache.token(parent);
  RpcClient::Answer answer;
  int r = m.call(req, type, arguments, answer);
  if (r != 0) {
    if (r == EEXIST) m.cache.forget_entries(parent);
    fuse_reply_err(req, r);
    return;
  }
  Reader in(answer.begin(), answer.size());
  Attr attr = keep_made(m, parent, name, answer, in, token);
  if (type == mkdir && names_leased(answer)) m.cache.complete_new(attr.id, token);
  reply_entry(req, m, attr, names_leased(answer) && m.cache.token(parent).remote == token.remote, token);
}

/// The umask goes along: whether it counts is up to the directory's default list of access control, which the MRC knows.
uint32_t mode_of(fuse_req_t req, mode_t mode) { return with_umask(mode, fuse_req_ctx(req)->umask); }

void mkdir_op(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  make(req, mkdir, parent, name, Writer().put<uint64_t>(parent).text(name).put(mode_of(req, mode)));
}

void mknod_op(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  make(req, mknod, parent, name, Writer().put<uint64_t>(parent).text(name).put(mode_of(req, mode)).put<uint32_t>(static_cast<uint32_t>(rdev)));
}

void symlink_op(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  make(req, symlink, parent, name, Writer().put<uint64_t>(parent).text(name).text(target));
}

void link_op(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char* name) {
  make(req, link, parent, name, Writer().put<uint64_t>(ino).put<uint64_t>(parent).text(name));
}

void reply_created(Mount& m, fuse_req_t req, uint64_t parent, const Attr& attr, Opened opened, Cache::Token token, bool writes, bool name_leased,
                   fuse_file_info* fi) {
  Handle* h = m.make_handle(attr, std::move(opened), writes);
  if (m.cache.token(parent).remote != token.remote) m.files.mark_shared(attr.id);
  m.files.set_kernel_version(attr.id, attr.data_version);
  fi->fh = reinterpret_cast<uint64_t>(h);
  m.choose_path(req, *h, attr.size, fi);
  fuse_entry_param e = entry_of(m, attr, name_leased && m.cache.token(parent).remote == token.remote, token);
  if (fuse_reply_create(req, &e, fi) != 0) {
    // The caller was interrupted: nobody will close the handle.
    m.leave_path(req, *h);
    m.files.queue_close(attr.id, writes);
    m.files.release(h->file, writes);
    delete h;
  }
}

/// Another node was faster: without O_EXCL its file is opened instead.
int open_existing(Mount& m, fuse_req_t req, uint64_t parent, const char* name, uint32_t flags, Attr& attr, Opened& opened) {
  RpcClient::Answer answer;
  if (int r = m.call(req, lookup, Writer().put<uint64_t>(parent).text(name), answer); r != 0) return r == ENOENT ? ESTALE : r;
  Reader found(answer.begin(), answer.size());
  attr = get_attr(found);
  if (!S_ISREG(attr.mode)) return ESTALE;  // the kernel walks the path again and finds what it is
  if (int r = m.call(req, open, Writer().put(attr.id).put(flags & ~static_cast<uint32_t>(O_TRUNC)), answer); r != 0) return r;
  Reader in(answer.begin(), answer.size());
  attr = get_attr(in);
  opened = get_opened(in);
  return m.settle_size(attr);
}

void create_op(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  const uint32_t flags = static_cast<uint32_t>(fi->flags);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  auto token = m.cache.token(parent);
  RpcClient::Answer answer;
  int r = m.call(req, create, Writer().put<uint64_t>(parent).text(name).put(mode_of(req, mode)).put(flags), answer);
  if (r == 0) {
    Reader in(answer.begin(), answer.size());
    Attr attr = keep_made(m, parent, name, answer, in, token);
    reply_created(m, req, parent, attr, get_opened(in), token, writes, names_leased(answer), fi);
    return;
  }
  if (r == EEXIST) {
    m.cache.forget_entries(parent);
    Attr attr;
    Opened opened;
    if (!(flags & O_EXCL)) r = open_existing(m, req, parent, name, flags, attr, opened);
    if (r == 0) {
      reply_created(m, req, parent, attr, std::move(opened), token, writes, false, fi);
      return;
    }
  }
  fuse_reply_err(req, r);
}

void tmpfile_op(fuse_req_t req, fuse_ino_t parent, mode_t mode, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  const uint32_t flags = static_cast<uint32_t>(fi->flags);
  auto token = m.cache.token(parent);
  RpcClient::Answer answer;
  if (int r = m.call(req, tmpfile, Writer().put<uint64_t>(parent).put(mode_of(req, mode)).put(flags), answer); r != 0) {
    fuse_reply_err(req, r);
    return;
  }
  Reader in(answer.begin(), answer.size());
  Attr attr = get_attr(in);
  m.cache.keep_attr(attr, token);
  reply_created(m, req, parent, attr, get_opened(in), token, true, false, fi);
}

void unlink_op(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Mount& m = mount_of(req);
  auto token = m.cache.token(parent);
  RpcClient::Answer answer;
  int r = m.call(req, unlink, Writer().put<uint64_t>(parent).text(name), answer);
  if (r == 0) {
    Reader in(answer.begin(), answer.size());
    uint64_t id = in.get<uint64_t>();
    bool there = in.get<uint8_t>() != 0;
    if (there) m.cache.keep_attr(get_attr(in), token);
    else m.cache.forget_attr(id);
    m.cache.keep_attr(get_attr(in), token);
    changed(m, answer, parent, {{name, 0}}, token);
  }
  fuse_reply_err(req, r);
}

void rmdir_op(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Mount& m = mount_of(req);
  auto token = m.cache.token(parent);
  RpcClient::Answer answer;
  int r = m.call(req, rmdir, Writer().put<uint64_t>(parent).text(name), answer);
  if (r == 0) {
    Reader in(answer.begin(), answer.size());
    uint64_t id = in.get<uint64_t>();
    m.cache.keep_attr(get_attr(in), token);
    changed(m, answer, parent, {{name, 0}}, token);
    m.cache.forget_attr(id);
    m.cache.forget_entries(id);
  }
  fuse_reply_err(req, r);
}

void rename_op(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent, const char* new_name, unsigned flags) {
  Mount& m = mount_of(req);
  auto token = m.cache.token(parent);
  auto new_token = m.cache.token(new_parent);
  uint64_t moved = 0, replaced = 0;
  bool known = m.cache.entry(parent, name, moved) == Cache::Found::yes;
  bool target_known = m.cache.entry(new_parent, new_name, replaced) != Cache::Found::no;
  RpcClient::Answer answer;
  int r = m.call(req, rename, Writer().put<uint64_t>(parent).text(name).put<uint64_t>(new_parent).text(new_name).put<uint32_t>(flags), answer);
  if (r == 0) {
    Reader in(answer.begin(), answer.size());
    Attr from = get_attr(in), to = get_attr(in);
    if (from.id) m.cache.keep_attr(from, token);
    if (to.id) m.cache.keep_attr(to, new_token);
    if (known && target_known && flags != RENAME_EXCHANGE && moved != replaced) {
      if (parent == new_parent) {
        changed(m, answer, parent, {{name, 0}, {new_name, moved}}, token);
      } else {
        changed(m, answer, parent, {{name, 0}}, token);
        changed(m, answer, new_parent, {{new_name, moved}}, new_token);
      }
    } else {
      m.cache.forget_entries(parent);
      m.cache.forget_entries(new_parent);
    }
    // Their link counts, times and ".." have changed.
    if (moved) m.cache.forget_attr(moved);
    if (replaced) m.cache.forget_attr(replaced);
  }
  fuse_reply_err(req, r);
}

void readlink_op(fuse_req_t req, fuse_ino_t ino) {
  Mount& m = mount_of(req);
  RpcClient::Answer answer;
  int r = m.call(req, readlink, Writer().put<uint64_t>(ino), answer);
  if (r != 0) {
    fuse_reply_err(req, r);
    return;
  }
  Reader in(answer.begin(), answer.size());
  fuse_reply_readlink(req, std::string(in.text()).c_str());
}

void forget_op(fuse_req_t req, fuse_ino_t ino, uint64_t) {
  mount_of(req).kernel_forgets(ino);
  fuse_reply_none(req);
}

void forget_multi_op(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
  Mount& m = mount_of(req);
  for (size_t i = 0; i < count; ++i) m.kernel_forgets(forgets[i].ino);
  fuse_reply_none(req);
}

}  // namespace

void register_name_operations(fuse_lowlevel_ops& ops) {
  ops.lookup = lookup_op;
  ops.mkdir = mkdir_op;
  ops.mknod = mknod_op;
  ops.symlink = symlink_op;
  ops.link = link_op;
  ops.create = create_op;
  ops.tmpfile = tmpfile_op;
  ops.unlink = unlink_op;
  ops.rmdir = rmdir_op;
  ops.rename = rename_op;
  ops.readlink = readlink_op;
  // Node ids are the MRC's file ids, so there is nothing to count.
  ops.forget = forget_op;
  ops.forget_multi = forget_multi_op;
}

}  // namespace xos::fs
