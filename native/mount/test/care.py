"""End-to-end test of what looks after XtreemFS: counters, objects of nobody, dumps, an OSD that is taken away.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-osd, xos-mount

Needs root, /dev/fuse, openssl. usage: care.py BUILD_DIRECTORY [name part of tests]
Volume `work` has one OSD a file (n1's); a and b are a test's directory as n1 and n2 see it.
"""
import base64, errno, os, random, re, shutil, signal, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite
from cluster import Cluster, until
from suite import object_of, read, refused, write

TESTS = []


def test(f):
    TESTS.append(f)
    return f


def metrics(c, name):
    """Series -> value, after a look that every line is as Prometheus wants it and every family is described once."""
    text = c.control(name, {"op": "metrics"})["text"]
    found, described = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
            assert family not in described, line
            described.add(family)
        elif not line.startswith("#"):
            m = re.fullmatch(r'([a-z_0-9]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? ([0-9.]+)', line)
            assert m, line
            assert m[1] in described or re.sub("_(bucket|sum|count)$", "", m[1]) in described, line
            found[m[1] + (m[2] or "")] = float(m[3])
    return found


@test
def servers_and_mounts_count_what_they_do(c, a, b):
    before = {n: metrics(c, n) for n in ("mrc", "osd-n1", "mount-n1", "mount-n2")}
    data = random.Random(1).randbytes(100_000)
    for i in range(7):
        write(f"{a}/f{i}", data)
    for i in range(5):
        assert read(f"{b}/f{i}") == data
    os.rename(f"{a}/f0", f"{a}/g0")
    for _ in range(50):
        os.stat(f"{b}/f1")
    after = {n: metrics(c, n) for n in before}

    def grown(name, series):
        return after[name].get(series, 0) - before[name].get(series, 0)

    assert grown("mrc", 'xos_mrc_request_seconds_count{op="create"}') == 7
    assert grown("mrc", 'xos_mrc_request_seconds_count{op="rename"}') == 1
    assert grown("osd-n1", "xos_osd_written_bytes_total") == 700_000
    assert grown("osd-n1", "xos_osd_read_bytes_total") >= 500_000
    assert grown("mount-n1", "xos_mount_written_bytes_total") == 700_000
    assert grown("mount-n2", "xos_mount_read_bytes_total") >= 500_000
    assert grown("mount-n1", 'xos_mount_request_seconds_count{op="create"}') == 7
    assert grown("mount-n2", 'xos_mount_request_seconds_sum{op="read"}') > 0
    hits = sum(grown("mount-n2", f'xos_mount_cache_hits_total{{cache="{k}"}}') for k in ("attributes", "names"))
    assert hits >= 1, after["mount-n2"]
    assert after["mrc"]["xos_mrc_sessions"] == 2 and after["mrc"]["xos_mrc_database_pages"] > 0
    assert after["mrc"]['xos_mrc_osd_up{osd="n1"}'] == 1
    assert after["osd-n1"]["xos_osd_objects"] >= 7


@test
def corrupt_blocks_are_counted_when_found_and_when_mended(c, a, b):
    data = random.Random(2).randbytes(50_000)
    write(f"{a}/f", data)
    before = metrics(c, "osd-n1")
    path = object_of(c, f"{a}/f")
    with open(path, "r+b", buffering=0) as f:
        f.seek(20_000)
        byte = f.read(1)
        f.seek(20_000)
        f.write(bytes([byte[0] ^ 1]))
    try:
        read(f"{b}/f")
        raise AssertionError("a corrupt block was read")
    except OSError:
        pass
    found = metrics(c, "osd-n1")
    assert found["xos_osd_checksum_errors_total"] == before["xos_osd_checksum_errors_total"] + 1
    assert found["xos_osd_corrupt_blocks"] == before["xos_osd_corrupt_blocks"] + 1
    with open(f"{b}/f", "r+b", buffering=0) as f:
        f.write(data)
    mended = metrics(c, "osd-n1")
    assert mended["xos_osd_checksum_repaired_total"] == before["xos_osd_checksum_repaired_total"] + 1
    assert mended["xos_osd_corrupt_blocks"] == before["xos_osd_corrupt_blocks"]
    assert read(f"{a}/f") == data


def put_object(c, number, data, node="n1", age_s=7200):
    """An object that no file has, as a client that writes once more by an old right leaves it."""
    path = c.path(f"osd-state-{node}", "objects", f"{number >> 24:02x}", f"{number >> 8 & 0xffff:04x}", f"{number:016x}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(path, data)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def sweep(c, **options):
    c.control("mrc", {"op": "sweep", "action": "start", "grace_ms": 0, **options})
    return swept(c)


def swept(c):
    deadline = time.time() + 60
    while True:
        p = c.control("mrc", {"op": "sweep"})
        if not p["running"]:
            return p
        assert time.time() < deadline, p
        time.sleep(0.02)


def settle_deletions(c):
    deadline = time.time() + 60
    while c.control("mrc", {"op": "stats"})["objects_to_delete"] > 0:
        assert time.time() < deadline
        time.sleep(0.1)
    # A sweep believes what is on the disk: fsync brings the database there.
    fd = os.open(f"{c.mountpoint('n1')}/work", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


@test
def what_belongs_to_no_file_is_found_and_removed_and_nothing_else(c, a, b):
    data = random.Random(3).randbytes(30_000)
    for i in range(50):
        write(f"{a}/f{i}", data)
    # Numbers of files that were there and have gone.
    gone = []
    for i in range(20):
        write(f"{a}/gone{i}", data)
        gone.append(os.stat(f"{a}/gone{i}").st_ino)
        os.unlink(f"{a}/gone{i}")
    settle_deletions(c)
    orphans = [put_object(c, n, data) for n in gone]
    elsewhere = put_object(c, os.stat(f"{a}/f7").st_ino, data, node="n2")  # its file has its contents at n1 only
    foreign = put_object(c, 1 << 60, data)
    # Open without a name, and just made: both must stay.
    held = open(f"{a}/held", "w+b", buffering=0)
    held.write(data)
    os.unlink(f"{a}/held")
    young = open(f"{b}/young", "w+b", buffering=0)
    young.write(data)
    counted = sweep(c)
    assert counted["whole"] and counted["orphans"] == 21 and counted["removed"] == 0 and counted["unknown"] == 1, counted
    assert all(os.path.exists(p) for p in orphans)
    removed = sweep(c, remove=True)
    assert removed["removed"] == 21 and removed["failed"] == 0, removed
    assert not any(os.path.exists(p) for p in [*orphans, elsewhere]) and os.path.exists(foreign)
    again = sweep(c, remove=True)
    assert again["orphans"] == 0 and again["unknown"] == 1, again
    for f in (held, young):
        f.seek(0)
        assert f.read() == data
        f.close()
    for i in range(50):
        assert read(f"{b}/f{i}") == data
    os.unlink(foreign)


@test
def what_was_changed_lately_is_left_alone(c, a, b):
    write(f"{a}/x", b"x")
    number = os.stat(f"{a}/x").st_ino
    os.unlink(f"{a}/x")
    settle_deletions(c)
    path = put_object(c, number, b"once more", age_s=0)
    p = sweep(c, remove=True, grace_ms=3_600_000)
    assert p["young"] == 1 and p["orphans"] == 0 and os.path.exists(path), p
    assert sweep(c, remove=True)["removed"] == 1 and not os.path.exists(path)


@test
def files_come_and_go_while_it_sweeps_and_servers_are_killed(c, a, b):
    """Every file that is there at the end has its contents, and no object of the others stays."""
    stop, errors, kept = threading.Event(), [], {}

    def churn(root, name):
        r = random.Random(name)
        i = 0
        while not stop.is_set():
            i += 1
            path, data = f"{root}/{name}-{i}", r.randbytes(r.choice((100, 5000, 200_000)))
            try:
                with open(path, "w+b", buffering=0) as f:
                    f.write(data)
                    if i % 3 == 0:
                        os.unlink(path)  # open and without a name
                        f.seek(0)
                        if f.read() != data:
                            errors.append(f"{path} lost its contents while it was open")
                    os.fsync(f.fileno())
                if i % 3 == 1:
                    kept[path] = data
                elif i % 3 == 2:
                    os.unlink(path)
            except OSError as e:
                errors.append(f"{path}: {e}")

    threads = [threading.Thread(target=churn, args=(root, f"t{i}")) for i, root in enumerate((a, a, b, b))]
    [t.start() for t in threads]
    sweeps = 0
    try:
        for round in range(6):
            for _ in range(3):
                p = sweep(c, remove=True)
                assert p["failed"] == 0, p
                sweeps += 1
            c.control("mrc", {"op": "sweep", "action": "start", "remove": True, "grace_ms": 0})
            name = ("mrc", "osd-n1")[round % 2]
            c.kill(name, signal.SIGKILL)
            c.start(name)
            c.tell_mrc() if name == "mrc" else c.tell_osd("n1")
            swept(c)
        until(lambda: errors or len(kept) > 20, "20 files are kept")
    finally:
        stop.set()
        [t.join() for t in threads]
    assert not errors, errors[:3]
    for path, data in kept.items():
        assert read(path) == data, path
    settle_deletions(c)
    assert sweep(c, remove=True)["orphans"] >= 0
    left = sweep(c)
    assert left["orphans"] == 0 and left["whole"], left


@test
def an_osd_that_is_away_is_said_to_be(c, a, b):
    c.kill("osd-n2", signal.SIGKILL)
    try:
        p = sweep(c)
        assert p["osds_away"] == 1 and p["osds_done"] == 1 and not p["whole"], p
    finally:
        c.start("osd-n2")
        c.tell_osd("n2")


def osd(c, name, action="status"):
    return c.control("mrc", {"op": "osd", "osd": name, "action": action})


def all_up(c):
    deadline = time.time() + 30
    while not all(o["up"] for o in c.control("mrc", {"op": "stats"})["osds"]):
        assert time.time() < deadline
        time.sleep(0.1)


def drained(c, name, seconds=60):
    deadline = time.time() + seconds
    while True:
        p = osd(c, name)
        if p["drained"]:
            return p
        assert time.time() < deadline, p
        time.sleep(0.05)


def objects_at(c, node):
    return {int(name, 16) for _, _, names in os.walk(c.path(f"osd-state-{node}", "objects")) for name in names if re.fullmatch("[0-9a-f]{16}", name)}


def spread(c, name):
    """A directory of volume `spread`, whose files are at all OSDs in turn, as both nodes see it."""
    all_up(c)
    for n in c.mounts:
        os.makedirs(f"{c.mountpoint(n)}/spread/{name}", exist_ok=True)
    return tuple(f"{c.mountpoint(n)}/spread/{name}" for n in c.mounts)


@test
def an_osd_is_emptied_and_taken_away(c, a, b):
    sa, sb = spread(c, "drain")
    r = random.Random(6)
    contents = {}
    for i in range(80):
        contents[f"f{i}"] = r.randbytes(r.choice((0, 1, 4096, 70_000, 3_000_000 if i % 20 == 0 else 100)))
        write(f"{sa}/f{i}", contents[f"f{i}"])
    with open(f"{sa}/holes", "wb") as f:  # larger than what is copied while somebody waits, but nearly all of it is a hole
        f.write(b"begin")
        f.seek(300 << 20)
        f.write(b"end")
        f.truncate(400 << 20)
    with open(f"{sa}/large", "wb") as f:
        for i in range(40):
            f.write(r.randbytes(1 << 20))
    before = tree(sa)
    assert any(os.stat(f"{sa}/{n}").st_ino in objects_at(c, "n2") for n in contents)
    large = read(f"{sa}/large")
    refused("XOS_IN_USE", osd, c, "n2", "remove")
    refused("XOS_NO_SERVER", osd, c, "n9", "drain")
    held = open(f"{sa}/large", "r+b", buffering=0)
    assert osd(c, "n2", "drain")["state"] == "draining"
    refused("XOS_NO_SERVER", osd, c, "n1", "drain")  # nobody would be left
    held.seek(5 << 20)
    held.write(b"while it moves")
    large = large[: 5 << 20] + b"while it moves" + large[(5 << 20) + 14:]
    p = drained(c, "n2")
    assert p["failed"] == 0, p
    assert os.pread(held.fileno(), 1 << 20, 4 << 20) == large[4 << 20: 5 << 20]
    held.close()
    for root in (sa, sb):
        for name, data in contents.items():
            assert read(f"{root}/{name}") == data, name
        assert read(f"{root}/large") == large
        with open(f"{root}/holes", "rb") as f:
            assert f.read(5) == b"begin" and os.fstat(f.fileno()).st_size == 400 << 20
            f.seek(300 << 20)
            assert f.read(3) == b"end"
    assert os.stat(f"{sa}/holes").st_blocks * 512 < 1 << 20
    after = tree(sa)
    assert {n: f[:5] for n, f in after.items()} == {n: f[:5] for n, f in before.items()}
    assert objects_at(c, "n2") == set()
    for i in range(10):
        write(f"{sb}/new{i}", b"new")
    assert objects_at(c, "n2") == set()
    assert osd(c, "n2", "remove")["state"] == "removed"
    c.kill("osd-n2", signal.SIGKILL)
    for name, data in contents.items():
        assert read(f"{sb}/{name}") == data, name
    c.start("osd-n2")
    c.tell_osd("n2")
    assert osd(c, "n2", "use")["state"] == "used"
    assert c.control("mrc", {"op": "check"})["problems"] == 0 and sweep(c)["orphans"] == 0


@test
def a_drain_is_given_up_and_what_is_passed_through_waits(c, a, b):
    sa, sb = spread(c, "abort")
    for i in range(40):
        write(f"{sb}/f{i}", bytes([i]) * 200_000)
    at_n2 = [i for i in range(40) if os.stat(f"{sb}/f{i}").st_ino in objects_at(c, "n2")]
    assert at_n2
    held = open(f"{sb}/f{at_n2[0]}", "r+b", buffering=0)  # by the mount of n2: the kernel may have the object itself
    passed = c.control("mount-n2", {"op": "stats"})["passed_through"] > 0
    osd(c, "n2", "drain")
    deadline = time.time() + 30
    while osd(c, "n2")["left"] > (1 if passed else 0):
        assert time.time() < deadline, osd(c, "n2")
        time.sleep(0.05)
    held.write(b"x" * 1000)
    if passed:
        p = osd(c, "n2")
        assert p["left"] == 1 and not p["drained"], p
        refused("XOS_NOT_EMPTY", osd, c, "n2", "remove")
    held.close()
    drained(c, "n2")
    assert osd(c, "n2", "use")["state"] == "used"
    assert read(f"{sa}/f{at_n2[0]}") == b"x" * 1000 + bytes([at_n2[0]]) * 199_000
    for i in range(40):
        assert i == at_n2[0] or read(f"{sa}/f{i}") == bytes([i]) * 200_000


@test
def a_drain_goes_on_after_servers_were_killed(c, a, b):
    roots = spread(c, "resume")
    r = random.Random(8)
    contents = {f"f{i}": r.randbytes(r.choice((10, 50_000, 300_000))) for i in range(150)}
    for name, data in contents.items():
        write(f"{roots[0]}/{name}", data)
    killed = 0
    for round in range(10):
        victim = ("n2", "n1")[round % 2]
        all_up(c)
        osd(c, victim, "drain")
        time.sleep(r.uniform(0, 0.4))
        for name in (("mrc",), ("osd-n1",), ("osd-n2",), ("mrc", "osd-n2"), ("mrc", "osd-n1"))[round % 5]:
            left = osd(c, victim)["left"] if "mrc" in c.processes else 1
            killed += left > 0
            c.kill(name, signal.SIGKILL)
        for name in ("osd-n1", "osd-n2", "mrc"):
            if name not in c.processes:
                c.start(name)
                c.tell_mrc() if name == "mrc" else c.tell_osd(name[4:])
        drained(c, victim)
        for root in roots:
            for name, data in contents.items():
                assert read(f"{root}/{name}") == data, (round, name)
        osd(c, victim, "use")
    assert killed > 0
    sweep(c, remove=True)
    left = sweep(c)
    assert left["orphans"] == 0 and c.control("mrc", {"op": "check"})["problems"] == 0, left


@test
def files_are_read_and_written_while_they_move_and_servers_are_killed(c, a, b):
    """Records with their number in them, written in place, appended and cut by both nodes, while OSDs are drained to and fro."""
    roots = spread(c, "busy")
    stop, errors, done = threading.Event(), [], [0]

    def record(name, at, generation):
        return f"{name} {at} {generation:09}".encode().ljust(4096, b".")

    def writer(root, name):
        r = random.Random(name)
        blocks, appended = {}, b""
        try:
            while not stop.is_set():
                with open(f"{root}/{name}", "r+b" if blocks else "w+b", buffering=0) as f:
                    for _ in range(20):
                        at, generation = r.randrange(64), r.randrange(10**9)
                        blocks[at] = record(name, at, generation)
                        os.pwrite(f.fileno(), blocks[at], at * 4096)
                        at = r.choice(list(blocks))
                        got = os.pread(f.fileno(), 4096, at * 4096)
                        if got != blocks[at]:
                            raise AssertionError(f"{name} at {at}: {got[:40]} instead of {blocks[at][:40]}")
                piece = r.randbytes(r.randrange(1, 3000))
                try:
                    with open(f"{root}/{name}.log", "ab", buffering=0) as f:
                        f.write(piece)
                    appended += piece
                except OSError as e:
                    # The answer of a killed OSD was lost: nobody knows whether the piece is there, and it is not appended twice.
                    if e.errno != errno.EIO:
                        raise
                    there = read(f"{root}/{name}.log")
                    if there not in (appended, appended + piece):
                        raise AssertionError(f"{name}.log is neither with nor without its last piece")
                    appended = there
                if len(appended) > 100_000:
                    os.truncate(f"{root}/{name}.log", 0)
                    appended = b""
                if os.stat(f"{root}/{name}.log").st_size != len(appended):
                    raise AssertionError(f"{name}.log has {os.stat(f'{root}/{name}.log').st_size} bytes instead of {len(appended)}")
                done[0] += 1
        except Exception as e:
            errors.append(f"{name}: {type(e).__name__} {e}")
        for other in roots:  # both nodes see it
            try:
                data = read(f"{other}/{name}")
                for at, block in blocks.items():
                    if data[at * 4096:(at + 1) * 4096] != block:
                        errors.append(f"{other}/{name} at {at}: {data[at * 4096:at * 4096 + 40]} instead of {block[:40]}")
                if read(f"{other}/{name}.log") != appended:
                    errors.append(f"{other}/{name}.log is another")
            except OSError as e:
                errors.append(f"{other}/{name}: {e}")

    threads = [threading.Thread(target=writer, args=(roots[i % 2], f"w{i}")) for i in range(6)]
    [t.start() for t in threads]
    moved = 0
    try:
        for round in range(8):
            victim = ("n1", "n2")[round % 2]
            all_up(c)
            osd(c, victim, "drain")
            time.sleep(0.3)
            moved += osd(c, victim)["moved"]
            name = ("mrc", "osd-n1", "mrc", "osd-n2")[round % 4]
            c.kill(name, signal.SIGKILL)
            c.start(name)
            c.tell_mrc() if name == "mrc" else c.tell_osd(name[4:])
            assert osd(c, victim)["state"] == "draining"
            time.sleep(1.5)
            osd(c, victim, "use")
            assert not errors, errors[:3]
        until(lambda: errors or done[0] > 20, "20 turns are done")
    finally:
        stop.set()
        [t.join() for t in threads]
    assert not errors, errors[:3]
    assert moved > 0, (done, moved)
    all_up(c)
    osd(c, "n2", "drain")
    drained(c, "n2")
    osd(c, "n2", "use")
    settle_deletions(c)
    assert sweep(c, remove=True)["failed"] == 0
    assert sweep(c)["orphans"] == 0 and c.control("mrc", {"op": "check"})["problems"] == 0


def dump(c, volume):
    transfer = c.control("mrc", {"op": "dump-begin", "volume": volume})["transfer"]
    pieces = []
    while True:
        r = c.control("mrc", {"op": "dump-read", "transfer": transfer})
        if r["end"]:
            return b"".join(pieces)
        pieces.append(base64.b64decode(r["data"]))


def restore(c, data, volume, commit=True, **options):
    transfer = c.control("mrc", {"op": "restore-begin"})["transfer"]
    for at in range(0, len(data), 100_000):
        c.control("mrc", {"op": "restore-write", "transfer": transfer, "data": base64.b64encode(data[at:at + 100_000]).decode()})
    return c.control("mrc", {"op": "restore-commit", "transfer": transfer, "volume": volume, **options}) if commit else transfer


def lose_the_database(c):
    c.kill("mrc", signal.SIGKILL)
    shutil.rmtree(c.path("mrc-state"))
    c.start("mrc")
    c.tell_mrc()


def tree(root):
    found = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            found[os.path.relpath(path, root)] = (st.st_ino, oct(st.st_mode), st.st_nlink, st.st_uid, st.st_size, st.st_mtime_ns if name in files else 0)
    return found


@test
def a_lost_database_is_made_again_of_a_dump(c, a, b):
    r = random.Random(5)
    contents = {}
    for i in range(300):
        os.makedirs(f"{a}/d{i % 7}", exist_ok=True)
        contents[f"d{i % 7}/f{i}"] = r.randbytes(r.choice((0, 10, 5000, 100_000)))
        write(f"{a}/d{i % 7}/f{i}", contents[f"d{i % 7}/f{i}"])
    os.link(f"{a}/d1/f1", f"{a}/second")
    os.symlink("d1/f1", f"{a}/link")
    os.setxattr(f"{a}/d1/f1", "user.colour", b"blue")
    os.chmod(f"{a}/d2", 0o2750)
    os.chown(f"{a}/d2", 1000, 2000)
    name = os.path.basename(a)
    before = tree(a)
    refused("XOS_NO_VOLUME", dump, c, "none")
    image = dump(c, "work")
    # Files are there: it is no copy.
    refused("XOS_BAD_DUMP", restore, c, image, "copy")
    # What is written after the dump is known to the OSDs only.
    write(f"{a}/d3/f3", b"later", mode="ab")
    contents["d3/f3"] += b"later"
    lose_the_database(c)
    assert c.control("mrc", {"op": "volume-list"})["volumes"] == []
    assert sweep(c, remove=True)["removed"] == 0  # the objects of lost files are nobody's to remove
    # Killed while it takes the dump, and while it makes the volume: nothing is there, and nothing is left.
    restore(c, image, "work", commit=False)
    c.kill("mrc", signal.SIGKILL)
    c.start("mrc")
    c.tell_mrc()
    refused("XOS_GONE", c.control, "mrc", {"op": "restore-commit", "transfer": 1, "volume": "work"})
    for cut in (image[:-1], image[: len(image) // 2], image[:5000] + bytes([image[5000] ^ 4]) + image[5001:], image + b"x", b"tar" * 1000, b""):
        refused("XOS_BAD_DUMP", restore, c, cut, "work")
    stats = c.control("mrc", {"op": "stats"})
    assert stats["inodes"] == 1, stats
    transfer = restore(c, image, "work", commit=False)
    killer = threading.Thread(target=lambda: (time.sleep(0.005), c.kill("mrc", signal.SIGKILL)))
    killer.start()
    try:
        c.control("mrc", {"op": "restore-commit", "transfer": transfer, "volume": "work"})
    except (OSError, ValueError):
        pass
    killer.join()
    c.start("mrc")
    c.tell_mrc()
    inodes = c.control("mrc", {"op": "stats"})["inodes"]
    assert c.control("mrc", {"op": "check"})["problems"] == 0
    if inodes == 1:  # the other end of the race: the whole volume is there
        done = restore(c, image, "work")
        assert done["empty"] == 0, done
        inodes = c.control("mrc", {"op": "stats"})["inodes"]
    assert inodes > 300, inodes
    refused("XOS_BAD_DUMP", restore, c, image, "work")
    deadline = time.time() + 30
    while True:
        after = tree(f"{c.mountpoint('n2')}/work/{name}")
        if after["d3/f3"][4] == len(contents["d3/f3"]) or time.time() > deadline:
            break
        time.sleep(0.1)
    assert set(after) == set(before)
    for path, facts in before.items():
        assert path == "d3/f3" or after[path] == facts, (path, facts, after[path])
    for root in (a, b):
        for path, data in contents.items():
            assert read(f"{root}/{path}") == data, path
        assert os.readlink(f"{root}/link") == "d1/f1" and os.getxattr(f"{root}/second", "user.colour") == b"blue"
    assert c.control("mrc", {"op": "check"})["problems"] == 0
    write(f"{b}/new", b"new")
    assert read(f"{a}/new") == b"new" and os.stat(f"{a}/new").st_ino not in {f[0] for f in before.values()}
    found = sweep(c)
    assert found["orphans"] == 0, found


@test
def a_dump_is_of_one_moment_while_files_come_and_go(c, a, b):
    """Files are made in order and each keeps its place: a dump has all up to some moment, and none behind it."""
    stop, made = threading.Event(), [0]

    def maker():
        while not stop.is_set():
            write(f"{a}/{made[0]:06}", b"x")
            made[0] += 1

    t = threading.Thread(target=maker)
    t.start()
    try:
        images = []
        for round in range(5):
            while made[0] < 200 * (round + 1) and t.is_alive():
                time.sleep(0.005)
            low = made[0]
            image = dump(c, "work")
            images.append((low, image, made[0]))
    finally:
        stop.set()
        t.join()
    for low, image, high in images:
        names = sorted(int(n) for n in re.findall(rb"\x06\x00(\d{6})", image))
        assert names == list(range(len(names))) and low <= len(names) <= high + 1, (low, len(names), high)
    refused("XOS_BAD_DUMP", restore, c, images[0][1], "copy")


def begin(c):
    root = c.volume("work")
    c.volume("spread", placement="spread")
    return suite.in_directories(root)


sys.exit(suite.run(TESTS, lambda: Cluster(sys.argv[1], osds=("n1", "n2"), mounts=("n1", "n2"), base=11000 + (os.getpid() % 90) * 200 + 150), begin))
