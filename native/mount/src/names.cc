// FUSE operations on names: lookup, create, mkdir, mknod, symlink, link, unlink, rmdir, rename, readlink.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "mount.h"

namespace xos::fs {

using namespace metadata;

namespace {

void reply_entry(fuse_req_t req, const Attr& attr) {
  fuse_entry_param e = entry_of(attr);
  fuse_reply_entry(req, &e);
}

void lookup_op(fuse_req_t req, fuse_ino_t parent, const char* raw) {
  Mount& m = mount_of(req);
  std::string name = raw;
  uint64_t id = 0;
  Attr attr;
  auto found = m.cache.entry(parent, name, id);
  if (found == Cache::Found::negative) {
    fuse_reply_err(req, ENOENT);
    return;
  }
  if (found == Cache::Found::yes) {
    int r = m.attributes(req, id, attr);
    if (r == 0) {
      reply_entry(req, attr);
      return;
    }
    if (r != ESTALE) {
      fuse_reply_err(req, r);
      return;
    }
  }
  auto token = m.cache.token(parent);
  RpcClient::Answer answer;
  int r = m.call(req, lookup, Writer().put<uint64_t>(parent).text(name), answer);
  if (r == 0) {
    Reader in(answer.begin(), answer.size());
    attr = get_attr(in);
    Attr directory = get_attr(in);
    m.cache.keep_attr(directory, token);
    m.cache.keep_attr(attr, token);
    if (name != "." && name != "..") m.cache.keep_entry(parent, name, attr.id, token);
    r = m.settle_size(attr);
  } else if (r == ENOENT) {
    m.cache.keep_entry(parent, name, 0, token);
  }
  if (r == 0) reply_entry(req, attr);
  else fuse_reply_err(req, r);
}

/// What every operation that makes a name does with its answer (Attr, Attr of the directory).
Attr keep_made(Mount& m, uint64_t parent, const std::string& name, Reader& in, Cache::Token token) {
  Attr attr = get_attr(in), directory = get_attr(in);
  m.cache.keep_attr(attr, token);
  m.cache.keep_attr(directory, token);
  m.cache.entries_changed(parent, {{name, attr.id}}, token);
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
  Attr attr = keep_made(m, parent, name, in, token);
  if (type == mkdir) m.cache.complete_new(attr.id, token);
  reply_entry(req, attr);
}

void mkdir_op(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  make(req, mkdir, parent, name, Writer().put<uint64_t>(parent).text(name).put<uint32_t>(mode));
}

void mknod_op(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  make(req, mknod, parent, name, Writer().put<uint64_t>(parent).text(name).put<uint32_t>(mode).put<uint32_t>(static_cast<uint32_t>(rdev)));
}

void symlink_op(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  make(req, symlink, parent, name, Writer().put<uint64_t>(parent).text(name).text(target));
}

void link_op(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char* name) {
  make(req, link, parent, name, Writer().put<uint64_t>(ino).put<uint64_t>(parent).text(name));
}

void create_op(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* fi) {
  Mount& m = mount_of(req);
  auto token = m.cache.token(parent);
  RpcClient::Answer answer;
  int r = m.call(req, create, Writer().put<uint64_t>(parent).text(name).put<uint32_t>(mode).put<uint32_t>(static_cast<uint32_t>(fi->flags)), answer);
  if (r != 0) {
    if (r == EEXIST) m.cache.forget_entries(parent);
    fuse_reply_err(req, r);
    return;
  }
  Reader in(answer.begin(), answer.size());
  Attr attr = keep_made(m, parent, name, in, token);
  Handle* h = m.make_handle(attr, get_opened(in), (fi->flags & O_ACCMODE) != O_RDONLY);
  if (m.cache.token(parent).remote != token.remote) m.files.mark_shared(attr.id);
  m.files.set_kernel_version(attr.id, attr.data_version);
  fi->fh = reinterpret_cast<uint64_t>(h);
  fi->keep_cache = 1;
  fi->direct_io = (fi->flags & O_APPEND) != 0;
  fuse_entry_param e = entry_of(attr);
  if (fuse_reply_create(req, &e, fi) != 0) {
    // The caller was interrupted: nobody will close the handle.
    m.files.queue_close(attr.id, h->writes);
    m.files.release(h->file, h->writes);
    delete h;
  }
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
    m.cache.entries_changed(parent, {{name, 0}}, token);
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
    m.cache.entries_changed(parent, {{name, 0}}, token);
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
        m.cache.entries_changed(parent, {{name, 0}, {new_name, moved}}, token);
      } else {
        m.cache.entries_changed(parent, {{name, 0}}, token);
        m.cache.entries_changed(new_parent, {{new_name, moved}}, new_token);
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

void forget_op(fuse_req_t req, fuse_ino_t, uint64_t) { fuse_reply_none(req); }
void forget_multi_op(fuse_req_t req, size_t, fuse_forget_data*) { fuse_reply_none(req); }

}  // namespace

void register_name_operations(fuse_lowlevel_ops& ops) {
  ops.lookup = lookup_op;
  ops.mkdir = mkdir_op;
  ops.mknod = mknod_op;
  ops.symlink = symlink_op;
  ops.link = link_op;
  ops.create = create_op;
  ops.unlink = unlink_op;
  ops.rmdir = rmdir_op;
  ops.rename = rename_op;
  ops.readlink = readlink_op;
  // Node ids are the MRC's file ids, so there is nothing to count and nothing to forget.
  ops.forget = forget_op;
  ops.forget_multi = forget_multi_op;
}

}  // namespace xos::fs
