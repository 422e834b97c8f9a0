"""End-to-end test of XtreemFS's metadata over real mounts: access control, nameless files, quotas, locks, access times, policies.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-osd, xos-mount

Needs root, /dev/fuse, openssl, and the package acl for one test. usage: metadata_e2e.py BUILD_DIRECTORY [name part of tests]
"""
import ctypes, errno, os, random, shutil, stat, struct, subprocess, sys, time

import e2e
from e2e import ALICE, BOB, TEAM, Locker, as_user, libc
from suite import fails, read, write

TESTS = []
MIB = 1 << 20
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32


def test(f):
    TESTS.append(f)
    return f


def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", e[0], e[1], e[2] if len(e) > 2 else 0xffffffff) for e in entries)


def decided(call):
    """0, or the errno with which call() was refused."""
    try:
        call()
        return 0
    except OSError as e:
        return e.errno


def give_name(fd, path):
    """linkat(2) with AT_SYMLINK_FOLLOW, which os.link does not do."""
    if libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, os.fsencode(path), 0x400) != 0:
        raise OSError(ctypes.get_errno(), "linkat")


def control(c, op, **request):
    return c.control("mrc", {"op": op, **request})


@test
def access_lists_are_enforced_on_both_nodes_and_changes_count_at_once(c, a, b):
    os.chmod(a, 0o777)
    os.umask(0o022)
    write(f"{a}/f", b"data")
    os.chown(f"{a}/f", ALICE, TEAM)
    os.chmod(f"{a}/f", 0o600)
    may_read = lambda node, uid: decided(lambda: as_user(uid, uid, [], lambda: read(f"{node}/f").decode()))
    assert may_read(b, BOB) == errno.EACCES
    for _ in range(20):
        os.setxattr(f"{a}/f", ACCESS, acl((USER_OBJ, 6), (USER, 4, BOB), (GROUP_OBJ, 0), (MASK, 4), (OTHER, 0)))
        assert os.stat(f"{b}/f").st_mode & 0o777 == 0o640
        assert may_read(b, BOB) == 0 and may_read(a, BOB) == 0
        assert decided(lambda: as_user(BOB, BOB, [], lambda: write(f"{b}/f", b"x", "r+b"))) == errno.EACCES
        os.setxattr(f"{b}/f", ACCESS, acl((USER_OBJ, 6), (USER, 0, BOB), (GROUP_OBJ, 4), (MASK, 4), (OTHER, 4)))
        assert may_read(a, BOB) == errno.EACCES and may_read(b, BOB) == errno.EACCES and may_read(a, BOB + 1) == 0
        os.removexattr(f"{a}/f", ACCESS)
        fails(errno.ENODATA, os.getxattr, f"{b}/f", ACCESS)
    fails(errno.EPERM, as_user, BOB, BOB, [], lambda: os.setxattr(f"{b}/f", ACCESS, acl((USER_OBJ, 6), (GROUP_OBJ, 6), (OTHER, 6))))
    fails(errno.EINVAL, os.setxattr, f"{a}/f", ACCESS, acl((USER_OBJ, 6), (OTHER, 6)))


@test
def default_lists_are_inherited_instead_of_the_umask(c, a, b):
    os.mkdir(f"{a}/d", 0o777)
    default = acl((USER_OBJ, 7), (USER, 7, BOB), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 0))
    os.setxattr(f"{a}/d", DEFAULT, default)
    os.umask(0o077)
    write(f"{b}/d/f", b"1")
    os.mkdir(f"{b}/d/sub")
    os.mkfifo(f"{b}/d/sub/fifo", 0o666)
    write(f"{b}/plain", b"1")
    os.umask(0o022)
    assert os.stat(f"{a}/d/f").st_mode & 0o777 == 0o660
    assert os.getxattr(f"{a}/d/sub", DEFAULT) == default and os.stat(f"{a}/d/sub").st_mode & 0o777 == 0o770
    assert os.stat(f"{a}/d/sub/fifo").st_mode & 0o777 == 0o660
    assert os.stat(f"{a}/plain").st_mode & 0o777 == 0o600
    as_user(BOB, BOB, [], lambda: write(f"{a}/d/sub/g", b"by bob"))
    fails(errno.EACCES, as_user, ALICE, ALICE, [], lambda: read(f"{a}/d/sub/g").decode())
    os.symlink("f", f"{a}/d/link")
    assert stat.S_ISLNK(os.lstat(f"{b}/d/link").st_mode)


@test
def getfacl_and_setfacl_work(c, a, b):
    if not shutil.which("setfacl"):
        return "skipped: setfacl is not installed"
    run = lambda *args: subprocess.run(args, check=True, capture_output=True, text=True).stdout
    os.mkdir(f"{a}/d")
    write(f"{a}/d/f", b"1")
    run("setfacl", "-R", "-m", f"u:{BOB}:rX,g:{TEAM}:rw,d:u:{BOB}:rwX", f"{a}/d")
    shown = run("getfacl", "-n", "-p", f"{b}/d/f").splitlines()
    assert {f"user:{BOB}:r--", f"group:{TEAM}:rw-", "mask::rw-"} <= set(shown), shown
    run("setfacl", "-m", "m::r", f"{b}/d/f")
    assert os.stat(f"{a}/d/f").st_mode & 0o070 == 0o040
    backup = run("getfacl", "-n", "-p", "-R", f"{a}/d")
    run("setfacl", "-R", "-b", f"{a}/d")
    assert os.listxattr(f"{b}/d/f") == [] and f"user:{BOB}" not in run("getfacl", "-n", "-p", f"{b}/d/f")
    subprocess.run(["setfacl", "--restore=-"], input=backup, text=True, check=True, cwd="/")
    assert run("getfacl", "-n", "-p", "-R", f"{b}/d").replace(b, a) == backup
    # cp and ls know them
    run("cp", "-a", f"{a}/d/f", f"{a}/d/g")
    assert f"user:{BOB}:r--" in run("getfacl", "-n", "-p", f"{b}/d/g") and "+" in run("ls", "-l", f"{b}/d/g")


def random_access(r):
    """Mode bits or an access list."""
    bits = lambda: r.choice((0, 4, 6, 7, 5, 2, 1))
    if r.random() < 0.4:
        return r.randrange(0o1000)
    entries = [(USER_OBJ, bits())] + [(USER, bits(), u) for u in sorted(r.sample((ALICE, BOB), r.randrange(3)))] + [(GROUP_OBJ, bits())]
    entries += [(GROUP, bits(), g) for g in sorted(r.sample((TEAM, ALICE, BOB), r.randrange(3)))]
    return acl(*entries, (MASK, bits()), (OTHER, bits()))


@test
def permissions_are_decided_as_by_a_local_file_system(c, a, b):
    """The same random cases on a tmpfs and on both mounts: who may do what must come out the same."""
    local = c.path("local")
    os.makedirs(local, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777", "tmpfs", local], check=True)
    os.chmod(a, 0o777)
    os.umask(0)
    r = random.Random(5)
    people = [(0, 0, []), (ALICE, ALICE, []), (BOB, BOB, []), (BOB, BOB, [TEAM]), (ALICE, TEAM, [BOB])]
    operations = {
        "read": lambda d: read(f"{d}/f"), "write": lambda d: os.close(os.open(f"{d}/f", os.O_WRONLY)), "list": lambda d: os.listdir(d),
        "stat": lambda d: os.stat(f"{d}/f"), "make": lambda d: os.close(os.open(f"{d}/new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)),
        "truncate": lambda d: os.truncate(f"{d}/f", 0), "chmod": lambda d: os.chmod(f"{d}/f", 0o2755), "chgrp": lambda d: os.chown(f"{d}/f", -1, TEAM),
        "give": lambda d: os.chown(f"{d}/f", BOB, -1), "utime": lambda d: os.utime(f"{d}/f", (1, 1)), "touch": lambda d: os.utime(f"{d}/f"),
        "unlink": lambda d: os.unlink(f"{d}/f"),
        "rename": lambda d: os.rename(f"{d}/f", f"{d}/g"), "link": lambda d: os.link(f"{d}/f", f"{d}/h"), "rmdir": lambda d: os.rmdir(f"{d}/sub"),
        "mkdir": lambda d: os.mkdir(f"{d}/sub2", 0o777), "xattr": lambda d: os.setxattr(f"{d}/f", "user.x", b"1"),
        "acl": lambda d: os.setxattr(f"{d}/f", ACCESS, acl((USER_OBJ, 6), (USER, 4, BOB), (GROUP_OBJ, 4), (MASK, 4), (OTHER, 0))),
    }
    operations["run"] = lambda d: (_ for _ in ()).throw(OSError(errno.EACCES, "x")) if not os.access(f"{d}/f", os.X_OK) else None
    if decided(lambda: (write(f"{local}/probe", b""), os.setxattr(f"{local}/probe", "user.x", b"1"))) != 0:
        del operations["xattr"]  # tmpfs has user.* since Linux 6.6
    facts = lambda d, n: (lambda s: (s.st_mode, s.st_uid, s.st_gid, s.st_nlink))(os.stat(f"{d}/{n}"))
    try:
        for i in range(500):
            names = {local: f"{local}/{i}", a: f"{a}/{i}", b: f"{b}/{i}"}
            of_dir, of_file = random_access(r), random_access(r)
            special = r.choice((0, 0, 0o1000, 0o2000))
            owners = [(r.choice((ALICE, BOB, 0)), r.choice((TEAM, ALICE, BOB))) for _ in range(2)]
            for d in (names[local], names[a]):
                os.mkdir(d)
                write(f"{d}/f", b"x")
                os.mkdir(f"{d}/sub")
                for path, access, owner, extra in ((f"{d}/f", of_file, owners[0], 0), (d, of_dir, owners[1], special)):
                    os.chown(path, *owner)
                    if isinstance(access, int):
                        os.chmod(path, access | extra)
                    else:
                        os.chmod(path, extra)
                        os.setxattr(path, ACCESS, access)
            who, (name, operation) = r.choice(people), r.choice(list(operations.items()))
            where = r.choice((a, b))
            expected = decided(lambda: as_user(*who, lambda: (operation(names[local]), 0)[1]))
            got = decided(lambda: as_user(*who, lambda: (operation(names[where]), 0)[1]))
            assert got == expected, (i, name, who, owners, of_dir, of_file, oct(special), errno.errorcode.get(got), errno.errorcode.get(expected))
            assert sorted(os.listdir(names[b])) == sorted(os.listdir(names[a])) == sorted(os.listdir(names[local])), (i, name)
            for n in os.listdir(names[local]):
                assert facts(names[b], n) == facts(names[local], n), (i, name, n, who, facts(names[b], n), facts(names[local], n))
    finally:
        os.umask(0o022)
        subprocess.run(["umount", local])


@test
def nameless_files_get_names_or_go(c, a, b):
    fd = os.open(a, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"nameless" * 1000)
    assert os.fstat(fd).st_nlink == 0 and os.listdir(b) == []
    give_name(fd, f"{a}/named")
    assert os.stat(f"{b}/named").st_nlink == 1 and read(f"{b}/named") == b"nameless" * 1000
    os.write(fd, b"!")
    os.close(fd)
    assert os.stat(f"{b}/named").st_size == 8001 and os.stat(f"{b}/named").st_mode & 0o777 == 0o640
    fd = os.open(a, os.O_TMPFILE | os.O_WRONLY | os.O_EXCL, 0o600)
    fails(errno.ENOENT, give_name, fd, f"{a}/never")
    os.write(fd, b"x" * 100000)
    other = os.open(b, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(other, b"kept over a restart of the MRC")
    c.kill("mrc")
    c.start("mrc")
    os.lseek(other, 0, 0)
    time.sleep(3.5)
    assert os.read(other, 100) == b"kept over a restart of the MRC"
    give_name(other, f"{b}/later")
    os.close(fd)
    os.close(other)
    assert sorted(os.listdir(a)) == ["later", "named"] and read(f"{a}/later") == b"kept over a restart of the MRC"
    deadline = time.time() + 15
    while (s := c.control("mrc", {"op": "stats"}))["orphans"] or s["objects_to_delete"]:
        assert time.time() < deadline, s
        time.sleep(0.1)
    os.chmod(a, 0o755)
    fails(errno.EACCES, as_user, BOB, BOB, [], lambda: os.open(b, os.O_TMPFILE | os.O_RDWR))


@test
def only_harmless_special_files_can_be_made(c, a, b):
    os.mknod(f"{a}/fifo", stat.S_IFIFO | 0o600)
    os.mknod(f"{a}/sock", stat.S_IFSOCK | 0o600)
    os.mknod(f"{a}/file", stat.S_IFREG | 0o600)
    assert [stat.S_IFMT(os.stat(f"{b}/{n}").st_mode) for n in ("fifo", "sock", "file")] == [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG]
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        fails(errno.EPERM, os.mknod, f"{a}/device", kind | 0o600, os.makedev(1, 3))
    for kind in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG):
        os.mknod(f"{a}/setuid", kind | 0o4711)
        os.chmod(f"{a}/setuid", 0o6711)
        os.chown(f"{b}/setuid", 1000, 1000)
        assert os.stat(f"{a}/setuid").st_mode & 0o7777 == 0o711
        os.unlink(f"{a}/setuid")
    # a file that was not opened when it was made has no place yet: the first write gives it one
    write(f"{b}/file", b"later", "r+b")
    assert read(f"{a}/file") == b"later"
    reader = os.open(f"{a}/fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(f"{a}/fifo", os.O_WRONLY)
    os.write(writer, b"local")
    assert os.read(reader, 10) == b"local"
    os.close(reader)
    os.close(writer)


@test
def sizes_beyond_32_and_40_bits(c, a, b):
    for size in ((1 << 32) + 5, (1 << 40) + 7):
        with open(f"{a}/f", "wb", buffering=0) as f:
            f.seek(size - 3)
            f.write(b"end")
        assert os.stat(f"{b}/f").st_size == size
        with open(f"{b}/f", "rb", buffering=0) as f:
            f.seek(size - 5)
            assert f.read() == b"\0\0end"
            assert os.pread(f.fileno(), 10, 1 << 31) == bytes(10)
        os.unlink(f"{b}/f")


@test
def access_times_move_as_relatime_says(c, a, b):
    write(f"{a}/f", b"1")
    written = os.stat(f"{a}/f")
    time.sleep(0.05)
    read(f"{b}/f")
    first = os.stat(f"{b}/f").st_atime_ns
    assert first > written.st_mtime_ns
    deadline = time.time() + 5
    while os.stat(f"{a}/f").st_atime_ns != first:
        assert time.time() < deadline, "the other node does not see it"
        time.sleep(0.02)
    read(f"{b}/f")
    read(f"{a}/f")
    time.sleep(0.1)
    assert os.stat(f"{a}/f").st_atime_ns == os.stat(f"{b}/f").st_atime_ns == first
    os.utime(f"{a}/f", (time.time() - 90000, time.time() - 90001))
    os.utime(f"{a}/f", (time.time() - 90000, time.time() - 90001))
    before = os.stat(f"{a}/f")
    assert before.st_ctime_ns > before.st_atime_ns
    with open(f"{a}/f", "rb") as f:
        f.read()
    deadline = time.time() + 5  # from the page cache: the kernel shows the old time for up to a second
    while os.stat(f"{a}/f").st_atime_ns <= before.st_atime_ns:
        assert time.time() < deadline
        time.sleep(0.05)
    assert os.stat(f"{b}/f").st_mtime_ns == before.st_mtime_ns
    os.listdir(b)
    assert os.stat(b).st_atime_ns >= os.stat(b).st_mtime_ns
    control(c, "policy-set", volume="other", policy={"atime": "noatime"})
    quiet = {n: c.mountpoint(n) + "/other" for n in ("n1", "n2")}
    write(quiet["n1"] + "/g", b"1")
    before = os.stat(quiet["n1"] + "/g").st_atime_ns
    time.sleep(0.05)
    read(quiet["n2"] + "/g")
    time.sleep(0.1)
    assert os.stat(quiet["n2"] + "/g").st_atime_ns == os.stat(quiet["n1"] + "/g").st_atime_ns == before


FILLER = """
import os, sys, errno
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | (os.O_APPEND if sys.argv[2] == 'append' else 0), 0o644)
done = 0
try:
    while True: done += os.write(fd, b'q' * 65536)
except OSError as e:
    assert e.errno == errno.EDQUOT, e
try:
    os.close(fd)
except OSError as e:
    pass
print(done)
"""


@test
def a_volume_never_grows_beyond_its_limit_under_parallel_writers(c, a, b):
    where = c.volume("limited")
    control(c, "quota-set", volume="limited", bytes_max=40 * MIB)
    p = [e2e.child(FILLER, f"{where[n]}/{k}{i}", k) for i, (n, k) in enumerate((("n1", "write"), ("n2", "write"), ("n1", "append"), ("n2", "append"), ("n1", "write")))]
    written = [int(x.communicate(timeout=100)[0]) for x in p]
    assert [x.returncode for x in p] == [0] * 5
    total = sum(os.stat(f"{where['n1']}/{n}").st_size for n in os.listdir(where["n1"]))
    assert total == sum(written), (total, written)
    assert 32 * MIB < total <= 40 * MIB, total / MIB
    v = os.statvfs(where["n2"])
    assert v.f_blocks * v.f_frsize == 40 * MIB and v.f_bavail * v.f_frsize <= 8 * MIB
    fails(errno.EDQUOT, os.truncate, f"{where['n2']}/write0", 41 * MIB)
    with open(f"{where['n2']}/write0", "r+b", buffering=0) as f:  # overwriting takes no room
        f.write(b"w" * 100000)
        fails(errno.EDQUOT, os.posix_fallocate, f.fileno(), 0, 41 * MIB)
    os.unlink(f"{where['n2']}/append2")
    deadline = time.time() + 5
    while decided(lambda: write(f"{where['n1']}/again", b"r" * 1000)) != 0:
        assert time.time() < deadline
        time.sleep(0.05)
    # closes are told in batches: what was reserved and not used comes back with them
    sizes = sum(os.stat(f"{where['n1']}/{n}").st_size for n in os.listdir(where["n1"]))
    while (shown := control(c, "usage", volume="limited"))["all"]["bytes"] != sizes:
        assert time.time() < deadline, (shown, sizes)
        time.sleep(0.05)
    assert shown["all"]["files"] == len(os.listdir(where["n1"])), shown


@test
def users_have_limits_too_and_an_open_file_learns_of_a_new_one(c, a, b):
    where = c.volume("shared")
    fd = os.open(f"{where['n2']}/open", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"o" * 1000)
    control(c, "quota-set", volume="shared", bytes_max=MIB)
    control(c, "quota-set", volume="shared", default=True, files_max=2, bytes_max=100000)

    def fill():
        for _ in range(32):
            os.write(fd, b"o" * 65536)
    fails(errno.EDQUOT, fill)
    os.close(fd)
    assert os.stat(f"{where['n1']}/open").st_size <= MIB
    os.unlink(f"{where['n1']}/open")
    make = lambda n, name: as_user(ALICE, ALICE, [], lambda: write(f"{where[n]}/{name}", b"a" * 10000))
    make("n1", "a1")
    make("n2", "a2")
    fails(errno.EDQUOT, make, "n1", "a3")
    fails(errno.EDQUOT, as_user, ALICE, ALICE, [], lambda: write(f"{where['n2']}/a1", b"a" * 99000, "r+b"))
    as_user(BOB, BOB, [], lambda: write(f"{where['n2']}/b1", b"b" * 50000))
    os.chown(f"{where['n1']}/a1", BOB, -1)
    make("n1", "a3")
    users = {u["uid"]: u for u in control(c, "usage", volume="shared")["users"]}
    assert (users[ALICE]["files"], users[BOB]["files"], users[BOB]["bytes"]) == (2, 2, 60000), users
    c.kill("mrc")
    c.start("mrc")
    fails(errno.EDQUOT, make, "n1", "a4")
    control(c, "quota-set", volume="shared", bytes_max=0)
    control(c, "quota-set", volume="shared", default=True, files_max=0, bytes_max=0)
    make("n1", "a4")


@test
def stripes_follow_the_policy_of_directory_and_file(c, a, b):
    os.mkdir(f"{a}/d")
    ino = lambda p: os.stat(p).st_ino
    show = lambda p: control(c, "inode-show", inode=ino(p))
    control(c, "policy-set", inode=ino(f"{a}/d"), policy={"stripe_size": 65536, "width": 2, "placement": "spread"})
    os.mkdir(f"{b}/d/sub")
    data = os.urandom(300000)
    write(f"{b}/d/sub/f", data)
    s = show(f"{a}/d/sub/f")
    assert s["stripes"]["width"] == 2 and s["stripes"]["stripe_size"] == 65536 and len(s["stripes"]["osds"]) == 2 and s["type"] == "file", s
    assert read(f"{a}/d/sub/f") == data
    write(f"{b}/plain", data)
    assert show(f"{a}/plain")["stripes"]["width"] == 1 and not show(f"{a}/plain")["own_policy"]
    write(f"{a}/empty", b"")
    time.sleep(0.2)
    control(c, "policy-set", inode=ino(f"{a}/empty"), policy={"stripe_size": 8192, "width": 2, "placement": "spread"})
    write(f"{b}/empty", data, "r+b")
    assert read(f"{a}/empty") == data and show(f"{b}/empty")["stripes"]["stripe_size"] == 8192
    try:
        control(c, "policy-set", inode=ino(f"{a}/plain"), policy={"width": 2})
        raise AssertionError("stripes of a file with contents were changed")
    except ValueError as e:
        assert "XOS_BUSY" in str(e), e
    assert show(a)["volume"] == "work" and show(a)["type"] == "directory"
    control(c, "policy-set", inode=ino(f"{a}/d"), policy=None)
    write(f"{b}/d/g", data)
    assert show(f"{a}/d/g")["stripes"]["width"] == 1


@test
def who_would_wait_for_itself_gets_edeadlk(c, a, b):
    for n in ("f", "g"):
        write(f"{a}/{n}", bytes(10))
    both = """
import fcntl, struct, sys, time
f, g = open(sys.argv[1], 'r+b'), open(sys.argv[2], 'r+b')
lock = lambda file, cmd, t: fcntl.fcntl(file, cmd, struct.pack('hhqqi', t, 0, 0, 0, 0))
lock(f, fcntl.F_SETLK, fcntl.F_WRLCK)
print('has', flush=True); sys.stdin.readline()
try:
    lock(g, fcntl.F_SETLKW, fcntl.F_WRLCK)
    print('got', flush=True); sys.stdin.readline()
except OSError as e:
    print(e.errno, flush=True)
"""
    x, y = e2e.child(both, f"{a}/f", f"{a}/g"), e2e.child(both, f"{b}/g", f"{b}/f")
    try:
        assert x.stdout.readline() == y.stdout.readline() == "has\n"
        x.stdin.write("\n")
        x.stdin.flush()
        time.sleep(0.3)
        y.stdin.write("\n")
        y.stdin.flush()
        assert y.stdout.readline().strip() == str(errno.EDEADLK)
        y.wait(10)
        assert x.stdout.readline() == "got\n"
    finally:
        for p in (x, y):
            p.kill()
            p.wait()


@test
def an_interrupted_wait_is_over_everywhere(c, a, b):
    """Who gave up waiting must neither get the lock later nor count as a link of a circle."""
    for n in ("f", "g"):
        write(f"{a}/{n}", bytes(10))
    x, y = Locker(f"{a}/f"), Locker(f"{b}/f")
    code = """
import fcntl, signal, struct, sys
def gone(*_): raise InterruptedError
signal.signal(signal.SIGALRM, gone)
f, g = open(sys.argv[1], 'r+b'), open(sys.argv[2], 'r+b')
whole = struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0)
fcntl.fcntl(g, fcntl.F_SETLK, whole)
signal.setitimer(signal.ITIMER_REAL, 0.4)
try:
    fcntl.fcntl(f, fcntl.F_SETLKW, whole); print('got', flush=True)
except InterruptedError:
    print('interrupted', flush=True)
sys.stdin.readline()
"""
    try:
        assert x.do("try w 0 0") == "ok"
        z = e2e.child(code, f"{b}/f", f"{b}/g")
        assert z.stdout.readline() == "interrupted\n"
        # z holds g and does not wait for f any more: waiting for g is no deadlock, and ends when z does.
        w = Locker(f"{a}/g")
        w.send("wait w 0 0")
        time.sleep(0.3)
        z.kill()
        z.wait()
        assert w.answer() == "ok"
        assert x.do("try u 0 0") == "ok" and y.do("try w 0 0") == "ok"
        w.close()
    finally:
        x.close()
        y.close()


@test
def the_database_agrees_with_itself_and_is_mended(c, a, b):
    """Also after what the tests before this one did to it."""
    os.makedirs(f"{a}/d/e")
    write(f"{b}/d/e/f", b"1" * 1000)
    os.link(f"{a}/d/e/f", f"{a}/d/g")
    report = control(c, "check")
    assert report["problems"] == 0 and report["inodes"] >= 6, report
    assert control(c, "check", repair=True)["problems"] == 0
    assert read(f"{a}/d/g") == b"1" * 1000 and os.stat(f"{b}/d/g").st_nlink == 2


if __name__ == "__main__":
    sys.exit(e2e.main(TESTS))
