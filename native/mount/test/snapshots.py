"""End-to-end test of snapshots.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-osd, xos-mount        n3: xos-osd

Needs root, /dev/fuse, openssl. usage: snapshots.py BUILD_DIRECTORY [name part of tests]
Each test has a volume of its own, in stripes of 64 KiB over two OSDs; a and b are its root as n1 and n2 see it.
"""
import errno, hashlib, os, random, signal, subprocess, sys, tempfile, threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite
from cluster import Cluster, until
from suite import drop_caches, fails, fsync, read, refused

TESTS, LONG = [], []
OSDS = ("n1", "n2", "n3")
ROUNDS = int(os.environ.get("XOS_ROUNDS", "1"))


def test(f):
    TESTS.append(f)
    return f


def long(f):
    """Left out of a run without XOS_ROUNDS."""
    LONG.append(f)
    return f


def write(path, data, at=None):
    fd = os.open(path, os.O_WRONLY | (os.O_CREAT | os.O_TRUNC if at is None else 0), 0o644)
    try:
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], (at or 0) + done)
    finally:
        os.close(fd)


def snapshot(c, action, name=None):
    return c.control("mrc", {"op": "snapshot", "volume": c.volume_name, "action": action, **({"name": name} if name else {})})


def sound(c):
    report = c.control("mrc", {"op": "check"})
    assert report["problems"] == 0, report["found"]


def objects(c):
    """What the OSDs have, by number: of a file the OSDs with something of it."""
    found = {}
    for n in OSDS:
        for directory, _, files in os.walk(c.path("osd-state-" + n, "objects")):
            for f in files:
                if len(f) == 16:
                    found.setdefault(int(f, 16), set()).add(n)
    return found


def bytes_at_osds(c):
    return sum(os.stat(os.path.join(d, f)).st_blocks * 512 for n in OSDS for d, _, files in os.walk(c.path("osd-state-" + n, "objects"))
               for f in files if len(f) == 16)


def all_up(c):
    until(lambda: all(o["up"] for o in c.control("mrc", {"op": "stats"})["osds"]))


def restart(c, name):
    c.kill(name)
    c.start(name)
    if name == "mrc":
        c.tell_mrc()
    else:
        c.tell_osd(name.partition("-")[2])


def records(path, record):
    """How many numbered records there are, one after the other. The last one may be there in part: a write that is under way at several OSDs."""
    data = read(path)
    for i in range(len(data) // record):
        if data[i * record:(i + 1) * record] != (i + 1).to_bytes(8, "little") * (record // 8):
            assert (i + 1) * record >= len(data), f"record {i} of {path} is torn or missing"
            return i
    return len(data) // record


def tree(root):
    """Everything below, as text: names, modes, sizes, times and contents. Size and links of a directory are its file system's own business."""
    lines = []
    for directory, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(directories + files):
            path = os.path.join(directory, name)
            st = os.lstat(path)
            what = os.readlink(path) if os.path.islink(path) else hashlib.sha1(read(path)).hexdigest() if os.path.isfile(path) else ""
            counts = "" if os.path.isdir(path) and not os.path.islink(path) else f"{st.st_nlink} {st.st_size}"
            lines.append(f"{os.path.relpath(path, root)} {st.st_mode:o} {st.st_uid} {counts} {st.st_mtime_ns} {what}")
    return lines


@test
def a_snapshot_is_what_was_there_whatever_happens_then(c, a, b):
    rng = random.Random(1)
    os.makedirs(f"{a}/d/e")
    contents = {name: rng.randbytes(size) for name, size in (("small", 100), ("pages", 20_000), ("d/large", 1_500_000), ("d/e/cut", 400_000), ("gone", 300_000))}
    for name, data in contents.items():
        write(f"{a}/{name}", data)
    with open(f"{a}/holes", "wb") as f:
        f.truncate(5_000_000)
        f.seek(2_000_000)
        f.write(b"middle")
    open(f"{a}/empty", "w").close()
    os.symlink("small", f"{a}/link")
    os.link(f"{a}/pages", f"{a}/d/again")
    os.setxattr(f"{a}/small", "user.colour", b"red")
    os.chmod(f"{a}/gone", 0o640)
    before, used = tree(a), bytes_at_osds(c)
    made = snapshot(c, "create", "monday")
    assert made["files"] == 11 and [s["name"] for s in made["snapshots"]] == ["monday"], made
    assert bytes_at_osds(c) == used
    for root in (a, b):
        assert ".snapshot" not in os.listdir(root) and os.listdir(f"{root}/.snapshot") == ["monday"]
        assert tree(f"{root}/.snapshot/monday") == before
    # All that a program can do to the files, from both nodes.
    write(f"{b}/small", b"SMALL", at=5)
    write(f"{a}/pages", rng.randbytes(30_000))
    write(f"{b}/d/large", rng.randbytes(70_000), at=100_000)
    os.truncate(f"{a}/d/e/cut", 1000)
    os.unlink(f"{b}/gone")
    with open(f"{a}/holes", "r+b") as f:
        f.seek(4_000_000)
        f.write(b"more")
    with open(f"{a}/empty", "ab") as f:
        f.write(b"not any more")
    os.rename(f"{b}/d", f"{b}/moved")
    os.unlink(f"{a}/link")
    os.setxattr(f"{b}/small", "user.colour", b"blue")
    write(f"{a}/new", b"new")
    for root in (a, b):
        drop_caches()
        assert tree(f"{root}/.snapshot/monday") == before
    assert os.getxattr(f"{b}/.snapshot/monday/small", "user.colour") == b"red"
    # And the present is the present.
    assert read(f"{b}/small")[:12] == contents["small"][:5] + b"SMALL" + contents["small"][10:12]
    large = read(f"{a}/moved/large")
    assert large[:100_000] == contents["d/large"][:100_000] and large[170_000:] == contents["d/large"][170_000:] and large != contents["d/large"]
    assert read(f"{b}/moved/e/cut") == contents["d/e/cut"][:1000]
    with tempfile.TemporaryDirectory() as copy:
        subprocess.run(["cp", "-a", f"{b}/.snapshot/monday", copy], check=True)
        copied = tree(f"{copy}/monday")
        assert copied == before, set(copied) ^ set(before)
    sound(c)
    restart(c, "mrc")
    restart(c, "osd-n2")
    assert tree(f"{b}/.snapshot/monday") == before
    snapshot(c, "remove", "monday")
    fails(errno.ENOENT, os.stat, f"{a}/.snapshot")
    sound(c)


@test
def nothing_in_a_snapshot_can_be_changed(c, a, b):
    os.mkdir(f"{a}/d")
    write(f"{a}/d/f", b"contents")
    snapshot(c, "create", "s")
    s = f"{b}/.snapshot/s"
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDONLY | os.O_TRUNC):
        fails(errno.EROFS, os.open, f"{s}/d/f", flags)
    for call, *args in ((os.unlink, f"{s}/d/f"), (os.mkdir, f"{s}/new"), (os.rmdir, f"{s}/d"), (os.rename, f"{s}/d/f", f"{s}/g"), (os.rename, f"{s}/d/f", f"{b}/g"),
                        (os.truncate, f"{s}/d/f", 0), (os.chmod, f"{s}/d/f", 0o600), (os.chown, f"{s}/d/f", 5, 5), (os.utime, f"{s}/d/f"), (os.symlink, "x", f"{s}/x"),
                        (os.setxattr, f"{s}/d/f", "user.a", b"1"), (open, f"{s}/d/new", "w"), (os.mkdir, f"{b}/.snapshot/new"), (os.rmdir, f"{b}/.snapshot/s"),
                        (os.rename, f"{b}/d/f", f"{s}/d/f")):
        fails(errno.EROFS, call, *args)
    fails(errno.EXDEV, os.link, f"{s}/d/f", f"{b}/f2")
    fails(errno.EEXIST, os.mkdir, f"{b}/.snapshot")
    number = os.stat(f"{s}/d/f").st_ino
    refused("XOS_READ_ONLY", lambda: c.control("mrc", {"op": "replicas", "inode": number, "action": "count", "count": 2}))
    refused("XOS_READ_ONLY", lambda: c.control("mrc", {"op": "policy-set", "inode": number, "policy": {"width": 1}}))
    refused("XOS_EXISTS", snapshot, c, "create", "s")
    for name in ("a/b", ".", "..", "n" * 256):
        refused("XOS_BAD_ARGUMENT", snapshot, c, "create", name)
    refused("XOS_NO_SNAPSHOT", snapshot, c, "remove", "other")
    assert read(f"{a}/.snapshot/s/d/f") == b"contents"


@test
@long
def a_removed_snapshot_gives_its_room_back(c, a, b):
    write(f"{a}/changed", os.urandom(1 << 20))
    write(f"{a}/removed", os.urandom(1 << 20))
    write(f"{a}/kept", os.urandom(1 << 20))
    fsync(a)
    until(lambda: set(objects(c)) == live(a), "what earlier tests had is gone")
    before = objects(c)
    for name in ("one", "two"):
        snapshot(c, "create", name)
    write(f"{b}/changed", b"x", at=1000)
    os.unlink(f"{a}/removed")
    snapshot(c, "create", "three")
    one, three = read(f"{a}/.snapshot/one/changed"), read(f"{a}/.snapshot/three/changed")
    assert one != three and one[:1000] == three[:1000]
    write(f"{b}/changed", b"y", at=2000)
    assert len(objects(c)) == len(before) + 2
    # The one that has the bytes of two goes first.
    snapshot(c, "remove", "two")
    sound(c)
    assert read(f"{b}/.snapshot/one/changed") == one
    snapshot(c, "remove", "three")
    snapshot(c, "remove", "one")
    until(lambda: set(objects(c)) == set(before) & live(a), "only what files have is left")
    sound(c)


def live(root):
    return {os.lstat(os.path.join(d, f)).st_ino for d, _, files in os.walk(root) for f in files}


@test
def writers_go_on_while_snapshots_are_made_and_each_holds_what_was_acknowledged(c, a, b):
    """Three writers on two nodes put numbered records into files, one after the other: first into x, then into y. A snapshot has all that was
    acknowledged before it began, nothing that began after it, no gap, and never a record in y that is not in x."""
    record = 4096 + 512  # over pages and stripes
    count, stop, errors = [0, 0, 0], threading.Event(), []

    def writer(n, root, mode):
        try:
            x, y = (os.open(f"{root}/{name}{n}", os.O_CREAT | os.O_WRONLY | (os.O_APPEND if mode == "append" else 0), 0o644) for name in "xy")
            while not stop.is_set():
                i = count[n]
                for fd in (x, y):
                    data = (i + 1).to_bytes(8, "little") * (record // 8)
                    assert (os.write(fd, data) if mode == "append" else os.pwrite(fd, data, i * record)) == record
                count[n] = i + 1
            os.close(x), os.close(y)
        except BaseException as e:
            errors.append(f"writer {n}: {e!r}")

    threads = [threading.Thread(target=writer, args=(0, a, "pwrite")), threading.Thread(target=writer, args=(1, b, "append")), threading.Thread(target=writer, args=(2, b, "pwrite"))]
    for t in threads:
        t.start()
    seen = []
    for i in range(4 + 2 * ROUNDS):
        until(lambda: errors or all(n > 20 * i for n in count), "the writers go on")
        least = list(count)
        made = snapshot(c, "create", f"s{i}")
        seen.append((least, list(count)))
        assert made["writing"] >= 6, made
    stop.set()
    for t in threads:
        t.join(60)
    assert not errors, errors
    for i, (least, most) in enumerate(seen):
        for n in range(3):
            x, y = (records(f"{(b, a, a)[n]}/.snapshot/s{i}/{name}{n}", record) for name in "xy")
            assert least[n] <= y <= x <= most[n] + 1, (i, n, least[n], y, x, most[n])
    for n in range(3):
        assert all(os.stat(f"{a}/{name}{n}").st_size == count[n] * record and records(f"{a}/{name}{n}", record) == count[n] for name in "xy")
    sound(c)


@test
def what_is_written_behind_is_in_it(c, a, b):
    """One node writes large pieces that are answered before the OSDs have them."""
    fd = os.open(f"{a}/f", os.O_CREAT | os.O_RDWR, 0o644)
    data = os.urandom(8 << 20)
    for i in range(8):
        assert os.pwrite(fd, data[i << 20:(i + 1) << 20], i << 20) == 1 << 20
    snapshot(c, "create", "s")
    assert os.pwrite(fd, b"later" * 1000, 0) == 5000
    assert read(f"{b}/.snapshot/s/f") == data
    os.ftruncate(fd, 100)
    os.close(fd)
    drop_caches()
    assert read(f"{a}/.snapshot/s/f") == data and read(f"{b}/f") == (b"later" * 20)


@test
@long
def who_reads_a_snapshot_goes_on_when_the_file_changes_and_when_it_is_removed(c, a, b):
    data = os.urandom(700_000)
    write(f"{a}/f", data)
    snapshot(c, "create", "s")
    fds = [os.open(f"{root}/.snapshot/s/f", os.O_RDONLY) for root in (a, b)]
    assert os.pread(fds[1], 1000, 0) == data[:1000]
    write(f"{a}/f", os.urandom(700_000))
    for fd in fds:
        drop_caches()
        assert os.pread(fd, len(data), 0) == data
    snapshot(c, "remove", "s")
    drop_caches()
    for fd in fds:
        assert os.pread(fd, len(data), 0) == data
        os.close(fd)
    fsync(a)
    until(lambda: set(objects(c)) == live(a), "the contents of the snapshot are gone")
    sound(c)


@test
def a_local_file_is_read_by_passthrough_and_written_through_its_server(c, a, b):
    """On one OSD, so that the kernel may have it; a program that writes past the OSD keeps a snapshot from being made, until it has closed the file."""
    number = os.stat(a).st_ino
    c.control("mrc", {"op": "policy-set", "inode": number, "policy": {"width": 1, "placement": "local"}})
    data = os.urandom(1 << 20)
    write(f"{a}/f", data)
    passed = lambda: c.control("mount-n1", {"op": "stats"}).get("passed_through", 0)
    began = passed()
    fd = os.open(f"{a}/f", os.O_RDWR)
    os.pwrite(fd, b"1", 0)
    if passed() > began:
        refused("XOS_BUSY", snapshot, c, "create", "s")
        os.close(fd)
        began = passed()
        fd = os.open(f"{a}/f", os.O_RDWR)
        assert passed() == began
    else:
        print("     (no passthrough here)")
    made = snapshot(c, "create", "s")
    assert made["writing"] == 1
    assert os.pwrite(fd, b"2", 0) == 1
    os.close(fd)
    data = b"1" + data[1:]
    for root in (a, b):
        drop_caches()
        assert read(f"{root}/.snapshot/s/f") == data and read(f"{root}/f") == b"2" + data[1:]
    # A reader of the snapshot has what is lent, and not the object itself.
    write(f"{a}/g", data)
    snapshot(c, "create", "t")
    reader = os.open(f"{a}/.snapshot/t/g", os.O_RDONLY)
    assert os.pread(reader, 10, 0) == data[:10]
    write(f"{a}/g", b"x" * 10, at=0)
    drop_caches()
    assert os.pread(reader, 10, 0) == data[:10]
    os.close(reader)


@test
@long
def replicated_files_are_in_it_and_outlive_their_replicas(c, a, b):
    number = os.stat(a).st_ino
    c.control("mrc", {"op": "policy-set", "inode": number, "policy": {"width": 1}})
    data = os.urandom(300_000)
    write(f"{a}/f", data)
    file = os.stat(f"{a}/f").st_ino

    def count(n):
        def ask():
            try:
                c.control("mrc", {"op": "replicas", "inode": file, "action": "count", "count": n})
            except ValueError as e:
                assert "XOS_BUSY" in str(e) or "XOS_NO_SERVER" in str(e), e
                return False
            return True
        until(ask)
        until(lambda: len(r := c.control("mrc", {"op": "replicas", "inode": file})["copies"]) == n and all(x["state"] == "whole" for x in r))

    count(2)
    snapshot(c, "create", "s")
    fails(errno.EROFS, os.open, f"{a}/f", os.O_WRONLY)
    assert read(f"{b}/.snapshot/s/f") == data
    count(1)
    write(f"{b}/f", b"changed", at=0)
    drop_caches()
    assert read(f"{a}/.snapshot/s/f") == data and read(f"{a}/f") == b"changed" + data[7:]
    sound(c)


@test
@long
def an_osd_is_drained_of_what_snapshots_have(c, a, b):
    for i in range(6):
        write(f"{a}/f{i}", os.urandom(200_000))
    before = tree(a)
    snapshot(c, "create", "s")
    for i in range(3):
        write(f"{a}/f{i}", b"changed", at=0)
    os.unlink(f"{a}/f5")
    c.control("mrc", {"op": "osd", "osd": "n2", "action": "drain"})
    # The rest changes while it is moved.
    write(f"{b}/f3", b"changed", at=0)
    until(lambda: c.control("mrc", {"op": "osd", "osd": "n2"})["drained"], "n2 has nothing any more")
    assert not any("n2" in at for at in objects(c).values())
    drop_caches()
    assert tree(f"{b}/.snapshot/s") == before
    write(f"{b}/f4", b"changed", at=0)
    assert tree(f"{b}/.snapshot/s") == before
    c.control("mrc", {"op": "osd", "osd": "n2", "action": "use"})
    done = c.control("mrc", {"op": "sweep", "action": "start", "remove": True, "grace_ms": 0})
    done = until(lambda: not (now := c.control("mrc", {"op": "sweep"}))["running"] and now)
    drop_caches()
    assert tree(f"{a}/.snapshot/s") == before
    sound(c)


@test
@long
def what_a_killed_mount_had_sent_is_in_it_and_what_it_may_still_send_is_not(c, a, b):
    fd = os.open(f"{b}/f", os.O_CREAT | os.O_WRONLY, 0o644)
    data = os.urandom(50_000)  # small enough to be at the OSDs when write() returns
    assert os.write(fd, data) == len(data)
    c.kill("mount-n2")
    made = snapshot(c, "create", "at once")
    assert made["writing"] == 1 and read(f"{a}/.snapshot/at once/f") == data
    until(lambda: c.control("mrc", {"op": "stats"})["sessions"] == 1, "the MRC has given the mount up")
    # The right that it had is good for an hour, whoever may have kept it: the file gets a fence once more, and then no more.
    names = [f"later {i}" for i in range(1000)]
    until(lambda: snapshot(c, "create", names.pop())["writing"] == 0)
    try:
        os.close(fd)
    except OSError:
        pass
    c.start("mount-n2")
    c.tell_mount("n2")
    assert read(f"{b}/.snapshot/later 999/f") == data
    write(f"{b}/f", b"again", at=0)
    assert read(f"{a}/.snapshot/at once/f") == data == read(f"{a}/.snapshot/later 999/f")
    sound(c)


@test
@long
def without_an_osd_that_has_an_open_file_there_is_no_snapshot_and_no_trace_of_one(c, a, b):
    fd = os.open(f"{a}/f", os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(fd, os.urandom(200_000))
    write(f"{a}/closed", b"closed")
    at = objects(c)[os.stat(f"{a}/f").st_ino]
    gone = sorted(at)[-1]
    c.kill("osd-" + gone)
    refused("XOS_NO_SERVER", snapshot, c, "create", "s")
    fails(errno.ENOENT, os.stat, f"{a}/.snapshot")
    assert snapshot(c, "list")["snapshots"] == []
    c.start("osd-" + gone)
    c.tell_osd(gone)
    all_up(c)
    os.write(fd, b"it goes on")
    os.close(fd)
    snapshot(c, "create", "s")
    assert os.stat(f"{b}/.snapshot/s/f").st_size == 200_010
    sound(c)


@test
@long
def who_waits_for_a_copy_longer_than_for_an_answer_gets_it(c, a, b):
    """The OSDs stand still until the MRC has told the writer to ask again."""
    data = os.urandom(1 << 20)
    write(f"{a}/f", data)
    snapshot(c, "create", "s")
    opens = lambda: sum(float(line.split()[-1]) for line in c.control("mrc", {"op": "metrics"})["text"].splitlines()
                        if "_count" in line and 'op="open"' in line)
    began = opens()
    stopped = [c.processes["osd-" + n].pid for n in objects(c)[os.stat(f"{a}/f").st_ino]]
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        errors = []

        def change():
            try:
                write(f"{b}/f", b"changed", at=0)
            except OSError as e:
                errors.append(e)

        t = threading.Thread(target=change)
        t.start()
        until(lambda: opens() > began, "the MRC has answered")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    t.join(60)
    assert not t.is_alive() and not errors, errors
    drop_caches()
    assert read(f"{a}/f") == b"changed" + data[7:] and read(f"{a}/.snapshot/s/f") == data


@test
def servers_are_killed_while_snapshots_are_made(c, a, b):
    """The MRC or an OSD is killed at a random moment; a snapshot is there whole or not at all, and the writer loses nothing."""
    rng = random.Random(7)
    fixed = os.urandom(300_000)
    write(f"{a}/fixed", fixed)
    record, state = 5000, {"count": 0, "stop": False, "error": None}

    def writer():
        try:
            fd = os.open(f"{b}/log", os.O_CREAT | os.O_WRONLY, 0o644)
            while not state["stop"]:
                i = state["count"]
                os.pwrite(fd, (i + 1).to_bytes(8, "little") * (record // 8), i * record)
                state["count"] = i + 1
            os.close(fd)
        except BaseException as e:
            state["error"] = repr(e)

    t = threading.Thread(target=writer)
    t.start()
    known = {}
    for i in range(3 * ROUNDS):
        until(lambda: state["error"] or state["count"] > 10 * i)
        least = state["count"]
        done = threading.Event()

        def make():
            try:
                snapshot(c, "create", f"k{i}")
                known[f"k{i}"] = least
            except (OSError, ValueError):
                pass
            done.set()

        maker = threading.Thread(target=make)
        maker.start()
        done.wait(rng.uniform(0, 0.1))
        restart(c, ("mrc", "osd-n1", "osd-n2")[i % 3])
        maker.join()
        write(f"{a}/fixed", b"%08d" % i, at=0)
    state["stop"] = True
    t.join(120)
    assert state["error"] is None, state["error"]
    names = [s["name"] for s in snapshot(c, "list")["snapshots"]]
    assert set(known) <= set(names), (known, names)
    snapshot(c, "create", "last")
    known["last"] = state["count"]
    assert sorted(os.listdir(f"{a}/.snapshot")) == sorted(names + ["last"])
    for name in names + ["last"]:
        data = read(f"{a}/.snapshot/{name}/fixed")
        assert len(data) == len(fixed) and data[8:] == fixed[8:], name
        whole = records(f"{a}/.snapshot/{name}/log", record)
        assert whole >= known.get(name, 0), (name, whole, known)
    assert read(f"{a}/log") == read(f"{a}/.snapshot/last/log") and len(read(f"{a}/log")) == state["count"] * record
    sound(c)
    for name in names + ["last"]:
        snapshot(c, "remove", name)
    fsync(a)
    sound(c)


def clear(c):
    all_up(c)
    if any(v["name"] == c.volume_name for v in c.control("mrc", {"op": "volume-list"})["volumes"]):
        c.control("mrc", {"op": "volume-remove", "name": c.volume_name, "force": True})


def begin(c):
    def call(c, test):
        c.volume_name = test.__name__[:60]
        root = c.volume(c.volume_name, stripe_size=65536, width=2, placement="spread")
        try:
            test(c, root["n1"], root["n2"])
        finally:
            clear(c)
    return call


def after(c):
    # A server that is killed leaves a copy half made, of nobody: the sweeper's.
    all_up(c)
    until(lambda: not c.control("mrc", {"op": "stats"})["objects_to_delete"])
    c.control("mrc", {"op": "sweep", "action": "start", "remove": True, "grace_ms": 0})
    until(lambda: not objects(c), "removed volumes leave no objects")


wanted = [t for t in TESTS if suite.part_wanted() or ROUNDS != 1 or t not in LONG]
sys.exit(suite.run(wanted, lambda: Cluster(sys.argv[1], osds=OSDS, mounts=("n1", "n2"), base=11000 + (os.getpid() % 90) * 200 + 120), begin, after))
