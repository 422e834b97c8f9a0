// FUSE operations on attributes: getattr, setattr, extended attributes, statfs.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string_view>

#include "contents.h"
#include "mount.h"

namespace xos::fs {

using namespace metadata;

namespace {

void getattr_op(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
  Mount& m = mount_of(req);
  m.kernel_sees(ino);
  auto token = m.cache.token(ino);
  Attr attr;
  int r = m.attributes(req, ino, attr);
  if (r != 0 && ino == FUSE_ROOT_ID && r != EACCES) {
    // The mount point itself must be there for findmnt, ls and df even while no server is.
    attr = {};
    attr.id = root_id;
    attr.mode = S_IFDIR | 0755;
    attr.nlink = 2;
    attr.size = 4096;
    r = 0;
  }
  if (r != 0) {
    fuse_reply_err(req, r);
    return;
  }
  struct stat st = stat_of(attr);
  fuse_reply_attr(req, &st, attr_seconds(m, attr, token));
}

int cut_once(Mount& m, fuse_req_t req, uint64_t ino, uint64_t size, const OpenFilePtr& f) {
  Opened layout;
  bool have = false, opened_for_it = false;
  if (f) {
    std::lock_guard lock(f->mutex);
    have = f->writers > 0 && f->layout.width > 0;
  }
  if (have) {
    if (int r = m.refresh_capability(*f, right_truncate); r != 0) return r;
    if (int r = m.reserve(*f, size); r != 0) return r;
    layout = m.layout_of(*f);
  } else {
    RpcClient::Answer answer;
    if (int r = m.call(req, prepare_truncate, Writer().put(ino), answer); r != 0) return r;
    Reader in(answer.begin(), answer.size());
    get_attr(in);
    layout = get_opened(in);
    if (layout.width == 0 || size > layout.grow_to) {
      if (size == 0) return 0;
      // It has no OSDs yet, or needs room: opening for writing chooses them, and only a writer may ask for room.
      if (int r = m.call(req, open, Writer().put(ino).put<uint32_t>(O_WRONLY), answer); r != 0) return r;
      Reader opened(answer.begin(), answer.size());
      get_attr(opened);
      layout = get_opened(opened);
      const int r = size <= layout.grow_to ? 0 : m.call_as_node(metadata::reserve, Writer().put<uint64_t>(ino).put(size), answer);
      if (r != 0) {
        m.files.queue_close(ino, true);
        return r;
      }
      opened_for_it = true;
    }
  }
  ObjectIo::Summary s;
  int r = m.objects.truncate(layout, size, s);
  for (int attempt = 0; layout.mirrored && may_mend(r) && attempt < mirrored_tries; ++attempt) {
    m.right_failed(ino, layout);
    std::this_thread::sleep_for(std::chrono::milliseconds(20 * attempt));
    if (have) {
      {
        std::lock_guard lock(f->mutex);
        f->capability_until_ms = 0;
      }
      if (r = m.refresh_capability(*f, right_truncate); r != 0) continue;
      layout = m.layout_of(*f);
    } else {
      RpcClient::Answer answer;
      if (r = m.call(req, prepare_truncate, Writer().put(ino), answer); r != 0) continue;
      Reader in(answer.begin(), answer.size());
      get_attr(in);
      layout = get_opened(in);
    }
    r = m.objects.truncate(layout, size, s);
  }
  // Not before: until it is closed the MRC knows that there is somebody who may write.
  if (opened_for_it) m.files.queue_close(ino, true);
  if (r == 0 && f) {
    std::lock_guard lock(f->mutex);
    f->size = size;
    f->mtime_ns = s.mtime_ns;
    f->disk_bytes = s.disk_bytes;
  }
  return r;
}

/// Cuts the objects; the MRC learns the size afterwards. Again when they have moved to another OSD meanwhile.
int cut(Mount& m, fuse_req_t req, uint64_t ino, uint64_t size, const OpenFilePtr& f) {
  for (int attempt = 0;; ++attempt) {
    const int r = cut_once(m, req, ino, size, f);
    if (r != ESTALE || attempt >= fresh_max) return r;
    if (!f) continue;
    std::lock_guard lock(f->mutex);
    f->capability_until_ms = 0;
  }
}

void setattr_op(fuse_req_t req, fuse_ino_t ino, struct stat* st, int to_set, fuse_file_info*) {
  Mount& m = mount_of(req);
  m.kernel_sees(ino);
  auto token = m.cache.token(ino);
  SetAttr s;
  if (to_set & FUSE_SET_ATTR_MODE) s.mask |= set_mode, s.mode = st->st_mode;
  if (to_set & FUSE_SET_ATTR_UID) s.mask |= set_uid, s.uid = st->st_uid;
  if (to_set & FUSE_SET_ATTR_GID) s.mask |= set_gid, s.gid = st->st_gid;
  if (to_set & FUSE_SET_ATTR_SIZE) s.mask |= set_size, s.size = static_cast<uint64_t>(st->st_size);
  if (to_set & FUSE_SET_ATTR_ATIME) s.mask |= set_atime, s.atime_ns = st->st_atim.tv_sec * 1000000000LL + st->st_atim.tv_nsec;
  if (to_set & FUSE_SET_ATTR_MTIME) s.mask |= set_mtime, s.mtime_ns = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec;
  if (to_set & FUSE_SET_ATTR_ATIME_NOW) s.mask |= set_atime | set_atime_now;
  if (to_set & FUSE_SET_ATTR_MTIME_NOW) s.mask |= set_mtime | set_mtime_now;
  OpenFilePtr f = m.files.find(ino);
  int r = 0;
  // What was written before must not overwrite these times afterwards.
  if (f && (s.mask & (set_mtime | set_size))) r = m.push_size(req, f);
  if (r == 0 && (s.mask & set_size)) {
    if (f) forget_contents(*f);
    bool empty_already = false;
    if (f && s.size == 0) {
      std::lock_guard lock(f->mutex);
      empty_already = f->writers > 0 && !f->shared && f->size == 0;
    }
    if (!empty_already) r = cut(m, req, ino, s.size, f);
  }
  Attr attr;
  if (r == 0) {
    Writer w;
    w.put<uint64_t>(ino);
    put(w, s);
    RpcClient::Answer answer;
    r = m.call(req, setattr, w, answer);
    if (r == 0) {
      Reader in(answer.begin(), answer.size());
      attr = get_attr(in);
      m.cache.keep_attr(attr, token);
      if (f) {
        std::lock_guard lock(f->mutex);
        f->mode = attr.mode;
        if (s.mask & (set_mtime | set_size)) f->mtime_ns = attr.mtime_ns;
        if (s.mask & set_size) {
          if (s.size == 0 && !f->dirty) f->contents.emplace();
          f->contents_version = attr.data_version;
        }
      }
      if ((s.mask & set_size) && f) m.files.set_kernel_version(ino, m.files.kernel_has(ino, attr.data_version - 1) ? attr.data_version : 0);
      r = m.settle_size(attr);
    }
  }
  if (r != 0) {
    fuse_reply_err(req, r);
    return;
  }
  struct stat out = stat_of(attr);
  fuse_reply_attr(req, &out, attr_seconds(m, attr, token));
}

/// True when the attributes at hand say that there are no extended ones: most files have none, and ls -l asks for each.
bool has_none(Mount& m, uint64_t ino) {
  auto attr = m.cache.attr(ino);
  return attr && (attr->flags & (attr_has_user | attr_has_acl | attr_has_default_acl)) == 0;
}

/// Flag of the attributes that says whether there is one of this name; 0 for names that are not kept.
uint8_t flag_of(std::string_view name) {
  if (name == "system.posix_acl_access") return attr_has_acl;
  if (name == "system.posix_acl_default") return attr_has_default_acl;
  return name.starts_with("user.") ? attr_has_user : 0;
}

void getxattr_op(fuse_req_t req, fuse_ino_t ino, const char* name, size_t size) {
  Mount& m = mount_of(req);
  const uint8_t flag = flag_of(name);
  if (flag == 0) {  // the kernel asks for security.* often: no need to travel
    fuse_reply_err(req, std::string_view(name).starts_with("security.") ? ENODATA : EOPNOTSUPP);
    return;
  }
  const auto attr = m.cache.attr(ino);
  if (attr && !(attr->flags & flag)) {
    fuse_reply_err(req, ENODATA);
    return;
  }
  std::string value;
  auto kept = attr && flag != attr_has_user ? m.acls.find(ino, name, attr->change) : std::nullopt;
  if (kept) {
    value = std::move(*kept);
  } else {
    RpcClient::Answer answer;
    int r = m.call(req, getxattr, Writer().put<uint64_t>(ino).text(name), answer);
    if (r != 0) {
      fuse_reply_err(req, r);
      return;
    }
    Reader in(answer.begin(), answer.size());
    uint32_t bytes = in.get<uint32_t>();
    value = in.raw(bytes);
    // Only of the change that the attributes had before the question, and have still.
    auto now = m.cache.attr(ino);
    if (flag != attr_has_user && attr && now && now->change == attr->change) m.acls.keep(ino, name, attr->change, value);
  }
  if (size == 0) fuse_reply_xattr(req, value.size());
  else if (size < value.size()) fuse_reply_err(req, ERANGE);
  else fuse_reply_buf(req, value.data(), value.size());
}

void setxattr_op(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, size_t size, int flags) {
  Mount& m = mount_of(req);
  if (flag_of(name) == 0) {
    fuse_reply_err(req, EOPNOTSUPP);
    return;
  }
  RpcClient::Answer answer;
  int r = m.call(req, setxattr,
                 Writer().put<uint64_t>(ino).text(name).put<uint32_t>(static_cast<uint32_t>(flags)).put<uint32_t>(static_cast<uint32_t>(size)).raw({value, size}),
                 answer);
  m.cache.forget_attr(ino);
  fuse_reply_err(req, r);
}

void listxattr_op(fuse_req_t req, fuse_ino_t ino, size_t size) {
  Mount& m = mount_of(req);
  if (has_none(m, ino)) {
    if (size == 0) fuse_reply_xattr(req, 0);
    else fuse_reply_buf(req, nullptr, 0);
    return;
  }
  RpcClient::Answer answer;
  int r = m.call(req, listxattr, Writer().put<uint64_t>(ino), answer);
  if (r != 0) {
    fuse_reply_err(req, r);
    return;
  }
  Reader in(answer.begin(), answer.size());
  std::string list;
  for (uint16_t n = in.get<uint16_t>(); n > 0; --n) list.append(in.text()).push_back('\0');
  if (size == 0) fuse_reply_xattr(req, list.size());
  else if (size < list.size()) fuse_reply_err(req, ERANGE);
  else fuse_reply_buf(req, list.data(), list.size());
}

void removexattr_op(fuse_req_t req, fuse_ino_t ino, const char* name) {
  Mount& m = mount_of(req);
  RpcClient::Answer answer;
  int r = flag_of(name) != 0 ? m.call(req, removexattr, Writer().put<uint64_t>(ino).text(name), answer) : ENODATA;
  m.cache.forget_attr(ino);
  fuse_reply_err(req, r);
}

void statfs_op(fuse_req_t req, fuse_ino_t ino) {
  Mount& m = mount_of(req);
  struct statvfs v{};
  v.f_bsize = v.f_frsize = 4096;
  v.f_namemax = name_bytes_max;
  RpcClient::Answer answer;
  if (m.call(req, statfs, Writer().put<uint64_t>(ino), answer) == 0) {
    Reader in(answer.begin(), answer.size());
    v.f_blocks = in.get<uint64_t>() / 4096;
    v.f_bfree = v.f_bavail = in.get<uint64_t>() / 4096;
    v.f_files = in.get<uint64_t>() + (uint64_t{1} << 40);
    v.f_ffree = v.f_favail = uint64_t{1} << 40;
  }
  fuse_reply_statfs(req, &v);
}

}  // namespace

void register_attribute_operations(fuse_lowlevel_ops& ops) {
  ops.getattr = getattr_op;
  ops.setattr = setattr_op;
  ops.getxattr = getxattr_op;
  ops.setxattr = setxattr_op;
  ops.listxattr = listxattr_op;
  ops.removexattr = removexattr_op;
  ops.statfs = statfs_op;
}

}  // namespace xos::fs
