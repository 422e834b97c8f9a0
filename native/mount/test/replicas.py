"""End-to-end test of read-only replicas.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-osd, xos-mount        n3, n4: xos-osd

Needs root, /dev/fuse, openssl. usage: replicas.py BUILD_DIRECTORY [name part of tests]
Volume `work` has one OSD a file (n1's), `striped` two in stripes of 64 KiB; a and b are a test's directory as n1 and n2 see it.
"""
import errno, os, random, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite
from cluster import Cluster, until
from suite import drop_caches, fails, fsync, object_of, read, refused, write

TESTS = []
OSDS = ("n1", "n2", "n3", "n4")


def test(f):
    TESTS.append(f)
    return f


def holders(c, number):
    return [n for n in OSDS if os.path.exists(object_of(c, number, n))]


def replicas(c, path, action="status", **request):
    """`path`: a file, or its number."""
    return c.control("mrc", {"op": "replicas", "inode": path if isinstance(path, int) else os.stat(path).st_ino, "action": action, **request})


def settled(c, path, copies):
    """Waits until there are so many copies, all whole; the names of their OSDs."""
    def look():
        now = replicas(c, path)["copies"]
        return now if len(now) == copies and all(x["state"] == "whole" for x in now) else None
    return [[osd["osd"] for osd in x["osds"]] for x in until(look)]


def grow(c, path, count):
    """To so many copies. Closes are told to the MRC behind, and a server that was killed by an earlier test may be away for it for two seconds."""
    def look():
        try:
            replicas(c, path, "count", count=count)
            return True
        except ValueError as e:
            assert "XOS_BUSY" in str(e) or "XOS_NO_SERVER" in str(e), e
    until(look)


def closed(c, path):
    grow(c, path, 2)


def all_up(c):
    until(lambda: all(o["up"] for o in c.control("mrc", {"op": "stats"})["osds"]))


def restart(c, node):
    c.start("osd-" + node)
    c.tell_osd(node)


def made(c, a, name="f", size=300_000, seed=1):
    data = random.Random(seed).randbytes(size)
    write(f"{a}/{name}", data)
    closed(c, f"{a}/{name}")
    return data


@test
def a_replicated_file_is_the_same_everywhere_and_is_not_changed(c, a, b):
    data = made(c, a)
    settled(c, f"{a}/f", 2)
    grow(c, f"{a}/f", 3)
    copies = settled(c, f"{a}/f", 3)
    number = os.stat(f"{a}/f").st_ino
    assert sorted(sum(copies, [])) == holders(c, number) and len(holders(c, number)) == 3
    assert all(read(object_of(c, number, n)) == data for n in holders(c, number))
    for path in (f"{a}/f", f"{b}/f"):
        drop_caches()
        assert read(path) == data
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDONLY | os.O_TRUNC):
            fails(errno.EROFS, os.open, path, flags)
        fails(errno.EROFS, os.truncate, path, 5)
        assert os.stat(path).st_size == len(data) and read(path) == data
    # Its name and rights are no part of it.
    os.rename(f"{b}/f", f"{b}/g")
    os.chmod(f"{a}/g", 0o600)
    os.link(f"{a}/g", f"{a}/h")
    os.setxattr(f"{a}/g", "user.x", b"1")
    assert read(f"{b}/h") == data
    refused("XOS_NO_SERVER", lambda: replicas(c, f"{a}/g", "count", count=5))
    refused("XOS_NO_SERVER", lambda: replicas(c, f"{a}/g", "add", osd=copies[1][0]))
    os.unlink(f"{a}/g")
    os.unlink(f"{b}/h")
    fsync(a)  # objects go when the removal is on the disk
    until(lambda: not holders(c, number))


@test
def what_is_being_written_gets_no_replicas(c, a, b):
    with open(f"{a}/f", "wb", buffering=0) as f:
        f.write(b"x" * 1000)
        refused("XOS_BUSY", lambda: replicas(c, f"{a}/f", "count", count=2))
        f.write(b"y")
    closed(c, f"{a}/f")
    settled(c, f"{b}/f", 2)
    os.mkdir(f"{a}/d")
    refused("XOS_NO_FILE", lambda: replicas(c, f"{a}/d", "count", count=2))
    os.mknod(f"{a}/empty")
    refused("XOS_BAD_ARGUMENT", lambda: replicas(c, f"{a}/empty", "count", count=2))
    refused("XOS_BAD_ARGUMENT", lambda: replicas(c, f"{a}/f", "count", count=0))


@test
def holes_and_empty_files_are_copied(c, a, b):
    with open(f"{a}/f", "wb", buffering=0) as f:
        f.seek(50_000_000)
        f.write(b"end")
        f.truncate(60_000_001)
    open(f"{a}/none", "wb").close()
    for name in ("f", "none"):
        closed(c, f"{a}/{name}")
        copies = settled(c, f"{a}/{name}", 2)
        number = os.stat(f"{a}/{name}").st_ino
        if name == "none":
            continue  # what is empty has no object
        other = os.stat(object_of(c, number, copies[1][0]))
        assert other.st_size == os.stat(f"{a}/{name}").st_size and other.st_blocks * 512 < 5_000_000
    replicas(c, f"{a}/f", "drop", osd=copies[0][0])
    settled(c, f"{b}/f", 1)
    with open(f"{b}/f", "rb", buffering=0) as f:
        assert os.lseek(f.fileno(), 0, os.SEEK_DATA) >= 49_000_000
        f.seek(49_999_999)
        assert f.read(5) == b"\0end\0" and f.seek(0, 2) == 60_000_001


class Reader(threading.Thread):
    """Reads a file over and over, past the page cache; `slowest`: seconds of one read."""

    def __init__(self, path, data):
        super().__init__()
        self.path, self.data, self.end, self.error, self.reads, self.slowest = path, data, threading.Event(), None, 0, 0
        self.start()

    def run(self):
        r = random.Random(9)
        try:
            with open(self.path, "rb", buffering=0) as f:
                while not self.end.is_set():
                    os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    at, n = r.randrange(len(self.data)), r.randrange(1, 100_000)
                    began = time.time()
                    got = os.pread(f.fileno(), n, at)
                    self.slowest = max(self.slowest, time.time() - began)
                    assert got == self.data[at:at + n], f"wrong bytes at {at}"
                    self.reads += 1
        except BaseException as e:
            self.error = e

    def stop(self):
        self.end.set()
        self.join()
        if self.error:
            raise self.error


@test
def readers_go_on_while_servers_are_killed(c, a, b):
    # Not n2's own: what the kernel reads by itself would not notice.
    for name, volume in (("f", "work"), ("g", "striped")):
        here = a.replace("/work/", f"/{volume}/")
        there = b.replace("/work/", f"/{volume}/")
        os.makedirs(here, exist_ok=True)
        data = made(c, here, name, 3_000_000)
        copies = settled(c, f"{here}/{name}", 2)
        readers = [Reader(f"{here}/{name}", data), Reader(f"{there}/{name}", data)]
        try:
            for node in sum(copies, []):
                c.kill("osd-" + node)
                # Those that have it open, and one that begins with it now.
                seen = [r.reads for r in readers]
                until(lambda: all(r.error or r.reads > s + 20 for r, s in zip(readers, seen)))
                drop_caches()
                assert read(f"{there}/{name}") == data
                restart(c, node)
                until(lambda: c.control("osd-" + node, {"op": "stats"})["keys"] > 0)
        finally:
            for r in readers:
                r.stop()
        print(f"     {name}: {[r.reads for r in readers]} reads, the slowest {max(r.slowest for r in readers):.1f} s")


@test
def who_opened_it_before_learns_of_its_replicas(c, a, b):
    data = random.Random(3).randbytes(100_000)
    write(f"{a}/f", data)
    with open(f"{b}/f", "rb", buffering=0) as f:
        assert f.read(10) == data[:10]
        closed(c, f"{a}/f")
        copies = settled(c, f"{a}/f", 2)
        c.kill("osd-" + copies[0][0])
        try:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(f.fileno(), 100_000, 0) == data
        finally:
            restart(c, copies[0][0])


@test
def kills_while_it_replicates_cost_time_only(c, a, b):
    datas = {}
    for i in range(6):
        datas[i] = random.Random(i).randbytes(4_000_000)
        write(f"{a}/f{i}", datas[i])
    for i in datas:
        closed(c, f"{a}/f{i}")
        grow(c, f"{a}/f{i}", 3)
    r = random.Random(5)
    for round in range(6):
        time.sleep(r.random() * 0.3)
        victim = r.choice(("mrc", "osd-n2", "osd-n3", "osd-n1", "osd-n4"))
        c.kill(victim)
        c.start(victim)
        if victim != "mrc":
            c.tell_osd(victim[4:])
    c.tell_mrc()
    for i in datas:
        settled(c, f"{a}/f{i}", 3)
    number = [os.stat(f"{a}/f{i}").st_ino for i in datas]
    for i in datas:
        for node in holders(c, number[i]):
            assert read(object_of(c, number[i], node)) == datas[i], (i, node)
        drop_caches()
        assert read(f"{b}/f{i}") == datas[i]


def flip(path, at):
    with open(path, "r+b", buffering=0) as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


@test
def a_bad_block_is_read_elsewhere_and_mended(c, a, b):
    whole = {}
    for volume, size in (("work", 100_000), ("striped", 500_001)):
        here, there = (x.replace("/work/", f"/{volume}/") for x in (a, b))
        os.makedirs(here, exist_ok=True)
        data = made(c, here, "f", size)
        number = os.stat(f"{here}/f").st_ino
        for at, copy in enumerate(settled(c, f"{here}/f", 2)):
            path = object_of(c, number, copy[0])
            whole[path] = read(path)
            flip(path, 20_000 * (at + 1))
            if at == 0:
                flip(path, len(whole[path]) - 1)  # in a block that is not full
        drop_caches()
        assert read(f"{here}/f") == data and read(f"{there}/f") == data
    # Who does not read it is the scrubber, once a week or when told.
    for node in OSDS:
        c.control("osd-" + node, {"op": "scrub", "action": "start"})
    until(lambda: all(read(path) == data for path, data in whole.items()))
    until(lambda: all(c.control("osd-" + node, {"op": "stats"})["corrupt_blocks"] == 0 for node in OSDS))
    text = c.control("mrc", {"op": "metrics"})["text"]
    assert int(text.split("\nxos_mrc_replica_blocks_mended_total ")[1].split()[0]) >= 6, text


@test
def without_replicas_it_is_written_again_and_nobody_sees_what_was(c, a, b):
    data = made(c, a, size=200_000)
    copies = settled(c, f"{a}/f", 2)
    number = os.stat(f"{a}/f").st_ino
    readers = [os.open(f"{x}/f", os.O_RDONLY) for x in (a, b)]
    try:
        assert all(os.pread(fd, 10, 0) == data[:10] for fd in readers)
        other = copies[1][0]
        c.kill("osd-" + other)
        replicas(c, f"{a}/f", "count", count=1)
        # The server that is away could still show it to who has a right of before: until it is back nobody writes.
        time.sleep(1)
        assert [x["state"] for x in replicas(c, f"{a}/f")["copies"]] == ["whole", "dropping"]
        fails(errno.EROFS, os.open, f"{a}/f", os.O_WRONLY)
        restart(c, other)
        if other in ("n1", "n2"):  # perhaps that node's kernel reads the object itself
            os.close(readers.pop(("n1", "n2").index(other)))
        settled(c, f"{a}/f", 1)
        until(lambda: holders(c, number) == copies[0])
        with open(f"{b}/f", "r+b", buffering=0) as f:
            f.write(b"new")
        for fd in readers:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(fd, 10, 0) == b"new" + data[3:10]
    finally:
        for fd in readers:
            os.close(fd)
    closed(c, f"{b}/f")
    settled(c, f"{a}/f", 2)
    assert all(read(object_of(c, number, n)) == b"new" + data[3:] for n in holders(c, number))


def drain(c, node):
    c.control("mrc", {"op": "osd", "osd": node, "action": "drain"})
    return until(lambda: (s := c.control("mrc", {"op": "osd", "osd": node, "action": "status"}))["drained"] and s)


@test
def a_drained_server_gives_its_replicas_up(c, a, b):
    data = made(c, a)
    settled(c, f"{a}/f", 2)
    grow(c, f"{a}/f", 4)
    settled(c, f"{a}/f", 4)
    write(f"{a}/g", data)
    closed(c, f"{a}/g")
    settled(c, f"{a}/g", 2)
    number = os.stat(f"{a}/f").st_ino
    try:
        for node in ("n1", "n3"):
            drain(c, node)
            # Four had one each: there is no other place. Of the other file both go on.
            assert node not in holders(c, number) and read(f"{b}/f") == data and read(f"{a}/g") == data
        assert len(settled(c, f"{a}/f", 2)) == len(settled(c, f"{a}/g", 2)) == 2
    finally:
        for node in ("n1", "n3"):
            c.control("mrc", {"op": "osd", "osd": node, "action": "use"})


@test
def replicas_are_nobody_elses_objects(c, a, b):
    data = made(c, a)
    settled(c, f"{a}/f", 2)
    fsync(a)
    c.control("mrc", {"op": "sweep", "action": "start", "grace_ms": 0, "remove": True})
    found = until(lambda: (p := c.control("mrc", {"op": "sweep"})) and not p["running"] and p)
    assert found["whole"] and found["removed"] == 0, found
    drop_caches()
    assert read(f"{b}/f") == data and len(settled(c, f"{a}/f", 2)) == 2
    assert c.control("mrc", {"op": "check"})["problems"] == 0


@test
def limits_count_every_copy(c, a, b):
    limited = c.volume("limited")
    c.control("mrc", {"op": "quota-set", "volume": "limited", "bytes_max": 1_000_000})
    path = f"{limited['n1']}/f"
    write(path, b"x" * 300_000)
    closed(c, path)
    settled(c, path, 2)
    usage = lambda: c.control("mrc", {"op": "usage", "volume": "limited"})["all"]["bytes"]
    assert usage() == 600_000
    grow(c, path, 3)
    settled(c, path, 3)
    all_up(c)
    refused("XOS_QUOTA", lambda: replicas(c, path, "count", count=4))
    os.chown(path, 1879048193, -1)
    assert usage() == 900_000 and c.control("mrc", {"op": "check"})["problems"] == 0
    replicas(c, path, "count", count=1)
    settled(c, path, 1)
    assert usage() == 300_000
    grow(c, path, 2)
    os.unlink(path)
    until(lambda: usage() == 0)


def begin(c):
    root = c.volume("work")
    c.volume("striped", stripe_size=65536, width=2, placement="spread")
    return suite.in_directories(root)


sys.exit(suite.run(TESTS, lambda: Cluster(sys.argv[1], osds=OSDS, mounts=("n1", "n2"), base=11000 + (os.getpid() % 90) * 200 + 170), begin))
