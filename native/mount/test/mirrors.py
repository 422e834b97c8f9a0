"""End-to-end test of files with write replicas.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-osd, xos-mount        n3, n4: xos-osd

Needs root, /dev/fuse, openssl. usage: mirrors.py BUILD_DIRECTORY [name part of tests]
Files of volume `work` have three copies, of which a write takes two; those of `strict` take all. a and b are a test's directory as n1 and n2 see it.
XOS_ROUNDS: how often servers are killed under a writer; without it the tests that take long are left out.
"""
import os, random, signal, struct, sys, threading, time, zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite
from cluster import Cluster, until
from suite import fsync, object_of, read, refused

TESTS = []
OSDS = ("n1", "n2", "n3", "n4")
ROUNDS = int(os.environ.get("XOS_ROUNDS", "0"))
RECORD = 4096


def test(f):
    TESTS.append(f)
    return f


def long_test(f):
    """One that waits for leases and servers: with XOS_ROUNDS, or when it is named."""
    f.long = True
    return test(f)


def write(path, data, mode="wb"):
    with open(path, mode, buffering=0) as f:
        while data:
            data = data[f.write(data):]
        os.fsync(f.fileno())


def members(c, path):
    """Names of the OSDs in step, the one that leads first; and of those that are behind."""
    copies = c.control("mrc", {"op": "replicas", "inode": os.stat(path).st_ino, "action": "status"})["copies"]
    names = lambda state: [x["osds"][0]["osd"] for x in copies if x["state"] == state]
    return names("whole"), names("behind")


def in_step(c, path, count=3):
    """Waits until there are so many copies, all in step."""
    def look():
        now, behind = members(c, path)
        return now if len(now) == count and not behind else None
    return until(look, f"{count} copies of {path} are in step")


def same_everywhere(c, path):
    number = os.stat(path).st_ino
    contents = {n: open(object_of(c, number, n), "rb").read() for n in in_step(c, path)}
    first = read(path)
    for n, data in contents.items():
        assert data == first, f"the copy at {n} differs from byte {next((i for i in range(min(len(data), len(first))) if data[i] != first[i]), min(len(data), len(first)))} on ({len(data)} and {len(first)} bytes)"
    return contents


def restart(c, node):
    c.start("osd-" + node)
    c.tell_osd(node)


def record(number, turn):
    body = struct.pack("<QQ", number, turn) + random.Random(number * 1000 + turn).randbytes(RECORD - 20)
    return body + struct.pack("<I", zlib.crc32(body))


def checked(data, place):
    """Turn of a record; None for one that was never written."""
    if data == bytes(len(data)):
        return None
    assert len(data) == RECORD and zlib.crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0], f"record {place} is torn"
    number, turn = struct.unpack("<QQ", data[:16])
    assert number == place, f"at {place} is record {number}"
    return turn


class Writer(threading.Thread):
    """Writes records at random places of a file; what is acknowledged must be read by everybody from then on."""

    def __init__(self, path, seed, records=64):
        super().__init__(daemon=True)
        self.path, self.random, self.records = path, random.Random(seed), records
        self.acknowledged = {}
        self.begun = {}
        self.error = None
        self.ended = False
        self.longest = 0.0
        self.written = 0

    def run(self):
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            turn = 0
            while not self.ended:
                turn += 1
                number = self.random.randrange(self.records)
                self.begun[number] = turn
                start = time.monotonic()
                assert os.pwrite(fd, record(number, turn), number * RECORD) == RECORD
                if turn % 8 == 0:
                    os.fsync(fd)
                self.longest = max(self.longest, time.monotonic() - start)
                self.acknowledged[number] = turn
                self.written += 1
            os.close(fd)
        except BaseException as e:
            self.error = e

    def stop(self):
        self.ended = True
        self.join(120)
        assert not self.is_alive(), "the writer hangs"
        if self.error:
            raise self.error


class Reader(threading.Thread):
    """Reads records past the page cache, and compares them with what was acknowledged before."""

    def __init__(self, path, writer):
        super().__init__(daemon=True)
        self.path, self.writer, self.error, self.reads = path, writer, None, 0

    def run(self):
        choice = random.Random(7)
        try:
            while not self.writer.ended:
                number = choice.randrange(self.writer.records)
                least = self.writer.acknowledged.get(number, 0)
                fd = os.open(self.path, os.O_RDONLY)
                try:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    data = os.pread(fd, RECORD, number * RECORD)
                finally:
                    os.close(fd)
                turn = checked(data, number) if len(data) == RECORD else None
                assert (turn or 0) >= least, f"record {number} is of turn {turn}, and {least} was acknowledged before"
                self.reads += 1
        except BaseException as e:
            self.error = e


def compare(path, writer):
    data = read(path)
    for number, turn in writer.acknowledged.items():
        found = checked(data[number * RECORD:(number + 1) * RECORD], number)
        assert found is not None and found >= turn, f"record {number}: {found} instead of {turn}"


def under_load(c, a, b, rounds, hurt, heal):
    """`hurt` and `heal` get the name of a server; readers and writers go on all the time."""
    path = f"{a}/load"
    writer = Writer(path, seed=len(a))
    writer.start()
    until(lambda: writer.written > 20 or writer.error, "the writer writes")
    reader = Reader(f"{b}/load", writer)
    reader.start()
    for n in range(rounds):
        now = in_step(c, path)
        victim = now[0] if n % 2 == 0 else now[1 + n // 2 % 2]
        before = writer.written
        hurt(victim)
        until(lambda: writer.written > before + 20 or writer.error or reader.error, "the writer goes on without a server", 60)
        assert not writer.error and not reader.error, (writer.error, reader.error)
        heal(victim)
        in_step(c, path)
    reads = reader.reads
    until(lambda: reader.reads > reads or reader.error, "the reader goes on", 60)
    writer.stop()
    reader.join(60)
    if reader.error:
        raise reader.error
    compare(path, writer)
    compare(f"{b}/load", writer)
    same_everywhere(c, path)
    print(f"     {rounds} rounds, {writer.written} writes, {reader.reads} reads, longest pause of the writer {writer.longest:.1f} s", flush=True)


@test
def what_is_written_is_at_three_servers(c, a, b):
    data = random.Random(1).randbytes(3_000_001)
    write(f"{a}/f", data)
    assert len(in_step(c, f"{a}/f")) == 3
    assert set(same_everywhere(c, f"{a}/f").values()) == {data}
    assert read(f"{b}/f") == data
    with open(f"{b}/f", "r+b", buffering=0) as f:
        f.seek(1000)
        f.write(b"x" * 100_000)
        f.truncate(2_000_000)
        os.posix_fallocate(f.fileno(), 2_500_000, 100)
        os.fsync(f.fileno())
    data = (data[:1000] + b"x" * 100_000 + data[101_000:2_000_000]).ljust(2_500_100, b"\0")
    assert read(f"{a}/f") == data
    assert set(same_everywhere(c, f"{a}/f").values()) == {data}
    os.truncate(f"{a}/f", 10)
    assert read(f"{b}/f") == data[:10] and set(same_everywhere(c, f"{a}/f").values()) == {data[:10]}
    number, nodes = os.stat(f"{a}/f").st_ino, members(c, f"{a}/f")[0]
    os.unlink(f"{a}/f")
    fsync(a)  # objects go when the removal is on the disk
    until(lambda: not any(os.path.exists(object_of(c, number, n)) for n in nodes), "the copies go with the file")


@test
def servers_are_killed_under_a_writer(c, a, b):
    under_load(c, a, b, ROUNDS or 2, lambda n: c.kill("osd-" + n), lambda n: restart(c, n))


@long_test
def a_server_that_stands_still_is_no_leader_afterwards(c, a, b):
    """What a partition looks like to all others: it answers nobody, and knows nothing of it when it goes on."""
    under_load(c, a, b, ROUNDS // 2 or 1, lambda n: c.processes["osd-" + n].send_signal(signal.SIGSTOP), lambda n: c.processes["osd-" + n].send_signal(signal.SIGCONT))


@long_test
def appends_are_done_once(c, a, b):
    """By writers of two nodes, while who leads is killed."""
    path = f"{a}/log"
    write(path, b"")
    failed, ended, lines = [], threading.Event(), [0, 0]

    def append(who, path):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            while not ended.is_set():
                line = f"{who} {lines[who]} ".encode().ljust(99, b".") + b"\n"
                assert os.write(fd, line) == len(line)
                lines[who] += 1
            os.close(fd)
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=append, args=(n, f"{d}/log"), daemon=True) for n, d in enumerate((a, b))]
    for t in threads:
        t.start()
    until(lambda: min(lines) > 5 or failed, "both append")
    leader = in_step(c, path)[0]
    c.kill("osd-" + leader)
    before = list(lines)
    until(lambda: all(n > m + 5 for n, m in zip(lines, before)) or failed, "both go on", 60)
    ended.set()
    for t in threads:
        t.join(60)
    assert not failed, failed
    restart(c, leader)
    found = [line.split()[:2] for line in read(path).splitlines()]
    for who in (0, 1):
        numbers = [int(n) for w, n in found if int(w) == who]
        assert numbers == list(range(lines[who])), f"writer {who} of {lines[who]} lines: {len(numbers)} there"
    same_everywhere(c, path)


@long_test
def a_lost_server_is_replaced(c, a, b):
    data = random.Random(3).randbytes(700_000)
    write(f"{a}/f", data)
    now = in_step(c, f"{a}/f")
    lost = now[1]
    c.kill("osd-" + lost)
    with open(f"{a}/f", "r+b", buffering=0) as f:
        f.write(b"new")
    data = b"new" + data[3:]
    then = until(lambda: (lambda x: x if len(x) == 3 and lost not in x else None)(members(c, f"{a}/f")[0]), "another server has the third copy")
    assert set(then) | {lost} == set(OSDS)
    assert set(same_everywhere(c, f"{a}/f").values()) == {data}
    restart(c, lost)


@long_test
def all_of_them(c, a, b):
    """Policy `all`: with a server away the file can be read, and writers wait until there is another copy."""
    path = c.path("grid-n1", "strict", "f")
    write(path, b"one")
    now = in_step(c, path)
    c.kill("osd-" + now[2])
    assert read(c.path("grid-n2", "strict", "f")) == b"one"
    write(path, b"two")  # waits
    assert now[2] not in members(c, path)[0] and len(members(c, path)[0]) == 3
    restart(c, now[2])
    assert set(same_everywhere(c, path).values()) == {b"two"}


@long_test
def too_few_are_none(c, a, b):
    """With one of three nothing is done, and nothing lost."""
    path = f"{a}/f"
    write(path, b"before")
    now = in_step(c, path)
    others = [n for n in OSDS if n != now[0]]
    for n in others:
        c.kill("osd-" + n)
    done = []
    waits = threading.Thread(target=lambda: (write(path, b"after!", "r+b"), done.append(1)), daemon=True)
    waits.start()
    waits.join(4)
    assert not done, "written with one copy of three"
    for n in others:
        restart(c, n)
    waits.join(60)
    assert done, "not written with all copies back"
    assert set(same_everywhere(c, path).values()) == {b"after!"}


@long_test
def bad_blocks_are_mended(c, a, b):
    data = random.Random(5).randbytes(200_000)
    write(f"{a}/f", data)
    leader = in_step(c, f"{a}/f")[0]
    with open(object_of(c, os.stat(f"{a}/f").st_ino, leader), "r+b") as f:
        f.seek(50_000)
        f.write(b"flipped")
    assert read(f"{b}/f") == data
    assert c.control("osd-" + leader, {"op": "scrub", "action": "start"})
    until(lambda: set(same_everywhere(c, f"{a}/f").values()) == {data} if not c.control("osd-" + leader, {"op": "stats"})["corrupt_blocks"] else False, "the block is mended")


@long_test
def the_mrc_is_killed(c, a, b):
    writer = Writer(f"{a}/load", seed=3)
    writer.start()
    for _ in range(ROUNDS // 4 or 1):
        before = writer.written
        until(lambda: writer.written > before + 20 or writer.error)
        c.kill("mrc")
        c.start("mrc")
        c.tell_mrc()
        before = writer.written
        until(lambda: writer.written > before + 20 or writer.error, "the writer goes on", 60)
    writer.stop()
    compare(f"{b}/load", writer)
    same_everywhere(c, f"{a}/load")


@long_test
def a_server_is_emptied(c, a, b):
    write(f"{a}/f", b"contents")
    now = in_step(c, f"{a}/f")
    c.control("mrc", {"op": "osd", "osd": now[0], "action": "drain"})
    until(lambda: now[0] not in sum(members(c, f"{a}/f"), []), "it has nothing of the file")
    assert len(in_step(c, f"{a}/f")) == 3
    c.control("mrc", {"op": "osd", "osd": now[0], "action": "use"})
    assert set(same_everywhere(c, f"{a}/f").values()) == {b"contents"} and read(f"{b}/f") == b"contents"


@test
def what_is_not_done(c, a, b):
    write(f"{a}/f", b"x")
    number = os.stat(f"{a}/f").st_ino
    refused("XOS_NOT_SUPPORTED", c.control, "mrc", {"op": "snapshot", "volume": "work", "action": "create", "name": "now"})
    refused("XOS_BAD_ARGUMENT", c.control, "mrc", {"op": "replicas", "inode": number, "action": "count", "count": 4})
    refused("XOS_BAD_POLICY", c.control, "mrc", {"op": "policy-set", "volume": "work", "policy": {"width": 2}})
    refused("XOS_BUSY", c.control, "mrc", {"op": "policy-set", "inode": number, "policy": {"replication": "none"}})
    # Of a directory, and of one file that was never written to.
    plain = c.path("grid-n1", "plain")
    os.mkdir(f"{plain}/kept")
    c.control("mrc", {"op": "policy-set", "inode": os.stat(f"{plain}/kept").st_ino, "policy": {"replication": "quorum", "replicas": 3}})
    write(f"{plain}/kept/f", b"three")
    write(f"{plain}/f", b"one")
    os.mknod(f"{plain}/later")
    c.control("mrc", {"op": "policy-set", "inode": os.stat(f"{plain}/later").st_ino, "policy": {"replication": "quorum", "replicas": 3}})
    write(f"{plain}/later", b"three")
    assert [len(members(c, f"{plain}/{n}")[0]) for n in ("kept/f", "f", "later")] == [3, 1, 3]


def begin(c):
    root = c.volume("work", replication="quorum", replicas=3)
    c.volume("strict", replication="all", replicas=3)
    c.volume("plain")
    call = suite.in_directories(root)

    def when_all_are_there(c, test):
        until(lambda: all(o["up"] for o in c.control("mrc", {"op": "stats"})["osds"]), "all servers are there")
        call(c, test)
    return when_all_are_there


os.environ["XOS_MIRROR_REPLACE_MS"] = "2000"
wanted = [t for t in TESTS if ROUNDS or suite.part_wanted() or not hasattr(t, "long")]
sys.exit(suite.run(wanted, lambda: Cluster(sys.argv[1], osds=OSDS, mounts=("n1", "n2"), base=11000 + (os.getpid() % 90) * 200 + 180), begin))
