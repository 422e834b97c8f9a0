"""Random operations on names and attributes by several users, done on a volume and on a file system of the kernel: result, error, and what changed
must be the same, times included.

Left out is what the two are known to differ in: sizes of directories, device files (a volume has none), attributes other than `user.`.
"""
import ctypes, errno, os, random, stat

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2
ALICE, BOB, TEAM = 1879048193, 1879048194, 1879048000
PEOPLE = [(0, 0, [])] * 3 + [(ALICE, ALICE, []), (ALICE, ALICE, [TEAM]), (BOB, BOB, []), (BOB, BOB, [TEAM])]
FLAGS = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)


def renameat2(old, new, flags):
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def linkat(old, new, follow):
    if libc.linkat(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), 0x400 if follow else 0) != 0:
        raise OSError(ctypes.get_errno(), "linkat")


class As:
    """Effective user of this process, which has one thread and comes back to root."""

    def __init__(self, uid, gid, groups):
        self.who = (uid, gid, groups)

    def __enter__(self):
        uid, gid, groups = self.who
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)

    def __exit__(self, *_):
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


def facts(path, s=None):
    s = s or os.lstat(path)
    kind = stat.S_IFMT(s.st_mode)
    size = s.st_size if kind != stat.S_IFDIR else None
    attributes = {}
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        attributes = {n: os.getxattr(path, n) for n in os.listxattr(path) if n.startswith("user.")}
    return (oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, size, os.readlink(path) if kind == stat.S_IFLNK else None, attributes)


def tree(root):
    """path -> (facts, (mtime, ctime), inode number)"""
    found = {}
    pending = ["."]
    while pending:
        name = pending.pop()
        path = f"{root}/{name}"
        s = os.lstat(path)
        found[name] = (facts(path, s), (s.st_mtime_ns, s.st_ctime_ns), s.st_ino)
        if stat.S_ISDIR(s.st_mode):
            pending += [f"{name}/{n}" for n in os.listdir(path)]
    return found


class Shuffle:
    """`reference`: an empty directory of a kernel's file system. `views`: another one, as each node sees it."""

    def __init__(self, reference, views, seed):
        self.reference, self.views, self.seed = reference, list(views), seed
        self.r = random.Random(seed)
        self.open = []  # (descriptor of the reference, of a view)
        self.last = []
        self.operations = [self.op_open] * 5 + [self.op_mkdir] * 3 + [self.op_rename] * 5 + [self.op_link] * 2 + [self.op_unlink] * 2 + [
            self.op_rmdir, self.op_symlink, self.op_mknod, self.op_chmod, self.op_chmod, self.op_chown, self.op_truncate, self.op_utime, self.op_setxattr, self.op_getxattr,
            self.op_removexattr, self.op_access, self.op_list, self.op_readlink, self.op_stat, self.op_descriptor, self.op_descriptor, self.op_tmpfile]

    def name(self):
        r = self.r
        x = r.random()
        if x < 0.86:
            return f"n{r.randrange(7)}"
        return r.choice(("", ".", "..", "n0/", "n1/.", "n2/..", "l" * 255, "l" * 256, "missing/x", "\udcff\udc80", "n3//n1", "./n4", "up"))

    def path(self):
        return "/".join(f"n{self.r.randrange(7)}" for _ in range(self.r.choice((0, 0, 1, 1, 2)))) + "/" + self.name()

    # Each returns what it was about, and a function of a root.
    def op_open(self):
        p, flags, mode = self.path(), self.r.choice(FLAGS), self.r.choice((0o666, 0o600, 0o444, 0o6777, 0o1777, 0))
        for flag in (os.O_CREAT, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_APPEND):
            if self.r.random() < 0.3:
                flags |= flag
        if flags & os.O_CREAT and flags & os.O_DIRECTORY:
            flags &= ~os.O_DIRECTORY  # what it does has changed between kernels
        keep, data = self.r.random() < 0.15, self.r.randbytes(self.r.randrange(100))

        def do(root):
            fd = os.open(root + p, flags | os.O_NONBLOCK, mode)
            try:
                n = os.write(fd, data) if flags & 3 and stat.S_ISREG(os.fstat(fd).st_mode) and data else None
            except BaseException:
                os.close(fd)
                raise
            return ("fd", fd, n) if keep else (os.close(fd), n)
        return f"open({p!r}, {flags:o}, {mode:o}) {len(data)}", do

    def op_mkdir(self):
        p, mode = self.path(), self.r.choice((0o777, 0o700, 0o2775, 0o1777, 0o555))
        return f"mkdir({p!r}, {mode:o})", lambda root: os.mkdir(root + p, mode)

    def op_rename(self):
        p, q, flags = self.path(), self.path(), self.r.choice((0, 0, 0, NOREPLACE, EXCHANGE))
        return f"rename({p!r}, {q!r}, {flags})", lambda root: renameat2(root + p, root + q, flags)

    def op_link(self):
        p, q, follow = self.path(), self.path(), self.r.random() < 0.5
        return f"link({p!r}, {q!r}, {follow})", lambda root: linkat(root + p, root + q, follow)

    def op_unlink(self):
        p = self.path()
        return f"unlink({p!r})", lambda root: os.unlink(root + p)

    def op_rmdir(self):
        p = self.path()
        return f"rmdir({p!r})", lambda root: os.rmdir(root + p)

    def op_symlink(self):
        p, target = self.path(), self.r.choice(("n0", "n1", "../n2", "n3/n1", "missing", ".", "..", "n4", "t" * 300, "t" * 4095, "t" * 4096, ""))
        return f"symlink({target[:20]!r}, {p!r})", lambda root: os.symlink(target, root + p)

    def op_mknod(self):
        p, kind, mode = self.path(), self.r.choice((stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG)), self.r.choice((0o666, 0o640, 0o4755))
        return f"mknod({p!r}, {kind | mode:o})", lambda root: os.mknod(root + p, kind | mode)

    def op_chmod(self):
        p, mode = self.path(), self.r.randrange(0o10000) if self.r.random() < 0.7 else 0o777
        return f"chmod({p!r}, {mode:o})", lambda root: os.chmod(root + p, mode)

    def op_chown(self):
        p, uid, gid, follow = self.path(), self.r.choice((-1, -1, 0, ALICE, BOB)), self.r.choice((-1, -1, 0, ALICE, BOB, TEAM)), self.r.random() < 0.7
        return f"chown({p!r}, {uid}, {gid}, {follow})", lambda root: os.chown(root + p, uid, gid, follow_symlinks=follow)

    def op_truncate(self):
        p, size = self.path(), self.r.choice((0, 1, 5000, self.r.randrange(200), -1))
        return f"truncate({p!r}, {size})", lambda root: os.truncate(root + p, size)

    def op_utime(self):
        p, times, follow = self.path(), self.r.choice((None, (1, 2), (10**18, 10**18 + 1), (0, 0))), self.r.random() < 0.7
        return f"utime({p!r}, {times}, {follow})", lambda root: os.utime(root + p, ns=times, follow_symlinks=follow) if times else os.utime(root + p, follow_symlinks=follow)

    def attribute(self):
        return self.r.choice(("user.a", "user.b", "user.", "nothing", "user." + "x" * 250, "user." + "x" * 251, "user.a"))

    def op_setxattr(self):
        p, name, value, flags = self.path(), self.attribute(), self.r.randbytes(self.r.choice((0, 1, 30))), self.r.choice((0, 0, 1, 2))
        return f"setxattr({p!r}, {name[:12]!r}, {len(value)}, {flags})", lambda root: os.setxattr(root + p, name, value, flags)

    def op_getxattr(self):
        p, name = self.path(), self.attribute()
        return f"getxattr({p!r}, {name[:12]!r})", lambda root: os.getxattr(root + p, name)

    def op_removexattr(self):
        p, name = self.path(), self.attribute()
        return f"removexattr({p!r}, {name[:12]!r})", lambda root: os.removexattr(root + p, name)

    def op_access(self):
        p, mode = self.path(), self.r.randrange(8)
        return f"access({p!r}, {mode})", lambda root: os.access(root + p, mode, effective_ids=True)

    def op_list(self):
        p = self.path()
        return f"list({p!r})", lambda root: sorted(os.listdir(root + p))

    def op_readlink(self):
        p = self.path()
        return f"readlink({p!r})", lambda root: os.readlink(root + p)

    def op_stat(self):
        p = self.path()
        return f"stat({p!r})", lambda root: facts(root + p, os.stat(root + p))[:4]

    def op_tmpfile(self):
        p, q, mode = self.path(), self.path(), self.r.choice((0o666, 0o4700, 0))

        def do(root):
            fd = os.open(root + p, os.O_TMPFILE | os.O_RDWR, mode)
            try:
                os.write(fd, b"nameless")
                linkat(f"/proc/self/fd/{fd}", root + q, True)
            finally:
                os.close(fd)
        return f"tmpfile({p!r}, {mode:o}) as {q!r}", do

    def op_descriptor(self):
        """On something that was opened before, perhaps by somebody else, and that may be gone by now."""
        if not self.open:
            return self.op_open()
        at = self.r.randrange(len(self.open))
        what = self.r.choice(("write", "read", "fstat", "fchmod", "fchown", "ftruncate", "fsync", "futime", "list", "close", "create in"))
        fds = self.open[at]

        def do(root):
            fd = fds[0] if root == self.reference else fds[1]
            if what == "write": return os.write(fd, b"by descriptor")
            if what == "read": return os.pread(fd, 1000, 0)
            if what == "fstat":
                s = os.fstat(fd)
                return oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, s.st_size if stat.S_ISREG(s.st_mode) else None
            if what == "fchmod": return os.fchmod(fd, 0o750)
            if what == "fchown": return os.fchown(fd, -1, TEAM)
            if what == "ftruncate": return os.ftruncate(fd, 50)
            if what == "fsync": return None if stat.S_ISFIFO(os.fstat(fd).st_mode) else os.fsync(fd)
            if what == "futime": return os.utime(fd, ns=(5, 6))
            if what == "list": return sorted(os.listdir(fd))
            if what == "create in": return os.close(os.open("n0", os.O_CREAT | os.O_WRONLY, 0o666, dir_fd=fd))
            return os.close(fd)
        if what == "close":
            del self.open[at]
        return f"{what} of descriptor {at}", do

    def outcome(self, who, do, root):
        with As(*who):
            try:
                return do(root)
            except OSError as e:
                return errno.errorcode.get(e.errno, str(e.errno))

    def step(self):
        what, do = self.r.choice(self.operations)()
        who, mask, view = self.r.choice(PEOPLE), self.r.choice((0, 0o022, 0o077)), self.r.choice(self.views)
        self.last.append(f"{what} as {who} with umask {mask:03o} at view {self.views.index(view)}")
        del self.last[:-40]
        before = tree(self.reference), tree(view)
        os.umask(mask)
        results = [self.outcome(who, do, root) for root in (self.reference, view)]
        os.umask(0)
        if any(isinstance(x, tuple) and x[0] == "fd" for x in results):
            if all(isinstance(x, tuple) and x[0] == "fd" for x in results):
                self.open.append((results[0][1], results[1][1]))
                results = [x[2] for x in results]
        assert results[0] == results[1], f"{results[1]} instead of {results[0]}"
        self.last[-1] += f" -> {results[0]!r}"[:60]
        after = tree(self.reference), *(tree(v) for v in self.views)
        for i, found in enumerate(after[1:]):
            self.compare(after[0], found, f"view {i}")
        self.compare_times(before, (after[0], after[1 + self.views.index(view)]))

    def compare(self, expected, found, where):
        if {n: x[0] for n, x in expected.items()} == {n: x[0] for n, x in found.items()}:
            return
        for n in sorted(expected.keys() | found.keys()):
            x, y = (t[n][0] if n in t else None for t in (expected, found))
            assert x == y, f"{where}, {n!r}: {y} instead of {x}"

    def compare_times(self, before, after):
        """Which times moved, of what kept its name and is the same file."""
        for n in sorted(after[0].keys() & before[0].keys()):
            if after[0][n][2] != before[0][n][2] or n not in before[1]:
                continue
            moved = [tuple(x != y for x, y in zip(a[n][1], b[n][1])) for a, b in zip(after, before)]
            assert moved[0] == moved[1], f"{n!r}: change of (mtime, ctime) is {moved[1]} instead of {moved[0]}"

    def run(self, steps):
        mask = os.umask(0)
        step = 0
        try:
            for root in (self.reference, self.views[0]):
                os.chmod(root, 0o777)
            for step in range(steps):
                self.step()
        except (AssertionError, OSError) as e:
            raise AssertionError(f"seed {self.seed}, step {step}: {e}\n  " + "\n  ".join(self.last)) from e
        finally:
            os.umask(mask)
            for fds in self.open:
                for fd in fds:
                    os.close(fd)
