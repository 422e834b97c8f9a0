"""End-to-end test of what looks after XtreemFS: counters, objects of nobody.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-osd, xos-mount

Needs root, /dev/fuse, openssl. usage: care.py BUILD_DIRECTORY [name part of tests]
Volume `work` has one OSD a file (n1's); a and b are a test's directory as n1 and n2 see it.
"""
import glob, os, random, re, signal, subprocess, sys, threading, time, traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster

TESTS = []


def test(f):
    TESTS.append(f)
    return f


def write(path, data, mode="wb"):
    with open(path, mode, buffering=0) as f:
        while data:
            data = data[f.write(data):]


def read(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()


def object_of(c, path, node="n1"):
    number = os.stat(path).st_ino
    return c.path(f"osd-state-{node}", "objects", f"{number >> 24:02x}", f"{number >> 8 & 0xffff:04x}", f"{number:016x}")


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
    finally:
        stop.set()
        [t.join() for t in threads]
    assert not errors, errors[:3]
    assert len(kept) > 20, len(kept)
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


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skip: needs root and /dev/fuse")
        return 77
    os.unshare(os.CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True)
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    c = Cluster(sys.argv[1], osds=("n1", "n2"), mounts=("n1", "n2"), base=11000 + (os.getpid() % 90) * 200 + 150)
    failed = passed = 0
    try:
        c.up()
        root = c.volume("work")
        for t in TESTS:
            if part not in t.__name__:
                continue
            a, b = (f"{root[n]}/{t.__name__}" for n in ("n1", "n2"))
            os.mkdir(a)
            start = time.time()
            try:
                t(c, a, b)
                passed += 1
                print(f"ok   {t.__name__} ({time.time() - start:.1f} s)", flush=True)
            except BaseException as e:
                failed += 1
                print(f"FAIL {t.__name__}", flush=True)
                traceback.print_exc()
                if isinstance(e, KeyboardInterrupt):
                    break
        for log in glob.glob(c.path("*.log")):
            bad = [l for l in open(log, errors="replace") if "runtime error" in l or "Sanitizer" in l or "terminate called" in l]
            if bad:
                failed += 1
                print(f"FAIL {log}: {''.join(bad[:5])}")
    finally:
        if failed:
            for log in glob.glob(c.path("*.log")):
                print("---", os.path.basename(log))
                print(open(log, errors="replace").read()[-3000:])
        c.down()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
