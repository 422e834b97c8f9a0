"""End-to-end test of the data side of XtreemFS: integrity, holes, copies, striping, objects that the kernel passes through.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-osd, xos-mount        n3: xos-osd

Needs root, /dev/fuse, openssl. usage: data.py BUILD_DIRECTORY [name part of tests]
Volume `work` has one OSD a file (n1's), `striped` three in stripes of 64 KiB; a and b are a test's directory as n1 and n2 see it.
"""
import ctypes, errno, glob, hashlib, mmap, os, random, signal, subprocess, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite
from cluster import Cluster, until
from suite import drop_caches, fails, object_of, read, write

TESTS = []
KEEP, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32
libc = ctypes.CDLL(None, use_errno=True)


def test(f):
    TESTS.append(f)
    return f


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def flip(path, at):
    with open(path, "r+b", buffering=0) as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def striped(c, name, node="n1"):
    d = f"{c.mountpoint(node)}/striped/{name}"
    os.makedirs(d, exist_ok=True)
    return d


@test
def a_corrupt_block_is_an_error_and_never_data(c, a, b):
    data = random.Random(1).randbytes(3 << 20)
    write(f"{a}/f", data)
    write(f"{a}/small", data[:5000])
    flip(object_of(c, f"{a}/f"), 2 << 20)
    flip(object_of(c, f"{a}/small"), 4999)
    for path, at in ((f"{b}/f", 2 << 20), (f"{b}/small", 4096)):
        with open(path, "rb", buffering=0) as f:
            assert f.read(4096) == data[:4096]
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            f.seek(at)
            fails(errno.EIO, f.read, 4096)
    log = open(c.path("osd-n1.log")).read()
    assert f"of file {os.stat(f'{a}/f').st_ino:x} is corrupt at bytes {2 << 20} to {(2 << 20) + 4095}" in log, log[-2000:]
    assert c.control("osd-n1", {"op": "stats"})["corrupt_blocks"] == 2
    # What is written anew is right again.
    write(f"{b}/small", data[:5000])
    assert read(f"{b}/small") == data[:5000]
    os.unlink(f"{a}/f")


@test
def a_scrub_finds_what_nobody_reads(c, a, b):
    data = random.Random(2).randbytes(1 << 20)
    for i in range(5):
        write(f"{a}/f{i}", data)
    before = c.control("osd-n1", {"op": "stats"})["corrupt_blocks"]
    flip(object_of(c, f"{a}/f3"), 777777)
    c.control("osd-n1", {"op": "scrub", "action": "start", "bytes_per_second": 2 << 20})
    fails_busy = False
    try:
        c.control("osd-n1", {"op": "scrub", "action": "start"})
    except ValueError as e:
        fails_busy = "XOS_BUSY" in str(e)
    assert fails_busy
    c.control("osd-n1", {"op": "scrub", "action": "stop"})
    wait_scrub(c)
    c.control("osd-n1", {"op": "scrub", "action": "start"})
    s = wait_scrub(c)
    assert s["files"] >= 5 and s["bytes"] >= 5 << 20 and s["corrupt_blocks"] == before + 1, s
    number = os.stat(f"{a}/f3").st_ino
    assert {"file": number, "offset": 777777 // 4096 * 4096} in c.control("osd-n1", {"op": "corrupt"})["blocks"]
    # Nor does the kernel get the object by itself.
    drop_caches()
    fails(errno.EIO, read, f"{a}/f3")
    os.unlink(f"{a}/f3")


def soon(call, *args):
    """The MRC hears with a delay that an OSD has space again."""
    deadline = time.time() + 20
    while True:
        try:
            return call(*args)
        except OSError as e:
            assert e.errno in (errno.ENOSPC, errno.EHOSTDOWN) and time.time() < deadline, e
            time.sleep(0.2)


def wait_scrub(c, node="n1"):
    deadline = time.time() + 30
    while (s := c.control("osd-" + node, {"op": "scrub"}))["running"]:
        assert time.time() < deadline, s
        time.sleep(0.05)
    return s


@test
def allocation_modes_and_holes(c, a, b):
    for d, other in ((a, b), (striped(c, "modes"), striped(c, "modes", "n2"))):
        model = bytearray(random.Random(3).randbytes(2 << 20))
        write(f"{d}/f", bytes(model))
        for opened in ("r+b",):
            with open(f"{d}/f", opened, buffering=0) as f:
                fd = f.fileno()
                fallocate(fd, PUNCH | KEEP, 100000, 700000)
                model[100000:800000] = bytes(700000)
                assert read(f"{d}/f") == model and read(f"{other}/f") == model
                fallocate(fd, ZERO, 900001, 5)
                model[900001:900006] = bytes(5)
                fallocate(fd, KEEP, 4 << 20, 1 << 20)
                assert os.fstat(fd).st_size == len(model) == os.stat(f"{other}/f").st_size
                fallocate(fd, ZERO | KEEP, (2 << 20) - 10, 1000)
                model[-10:] = bytes(10)
                assert os.fstat(fd).st_size == len(model)
                fallocate(fd, ZERO, (2 << 20) - 5, 100)
                model += bytes(95)
                assert os.fstat(fd).st_size == len(model) == os.stat(f"{other}/f").st_size
                fallocate(fd, 0, 0, 3 << 20)
                model += bytes((3 << 20) - len(model))
                assert read(f"{other}/f") == model == read(f"{d}/f")
                for mode in (COLLAPSE, INSERT, PUNCH, 64):
                    fails(errno.EOPNOTSUPP, fallocate, fd, mode, 0, 4096)
                fails(errno.EINVAL, fallocate, fd, 0, 0, 0)
                # A mapping sees it, too.
                with mmap.mmap(fd, 2 << 20) as m:
                    m[0:10] = b"0123456789"
                    fallocate(fd, PUNCH | KEEP, 4, 4)
                    assert m[0:10] == b"0123\0\0\0\x0089"
            with open(f"{d}/f", "rb", buffering=0) as f:
                fails(errno.EBADF, fallocate, f.fileno(), 0, 0, 10)


@test
def data_and_holes_are_found(c, a, b):
    block = 64 << 10
    for d, other in ((a, b), (striped(c, "seek"), striped(c, "seek", "n2"))):
        written = sorted(random.Random(4).sample(range(200), 30))
        with open(f"{d}/f", "w+b", buffering=0) as f:
            for i in written:
                f.seek(i * block)
                f.write(bytes([i + 1]) * block)
            os.truncate(f"{d}/f", 210 * block + 5)
            for path in (f"{d}/f", f"{other}/f"):
                with open(path, "rb", buffering=0) as g:
                    found, at = set(), 0
                    while True:
                        try:
                            start = os.lseek(g.fileno(), at, os.SEEK_DATA)
                        except OSError as e:
                            assert e.errno == errno.ENXIO
                            break
                        at = os.lseek(g.fileno(), start, os.SEEK_HOLE)
                        assert at > start
                        found |= set(range(start // block, (at + block - 1) // block))
                    assert found == set(written), (sorted(found), written)
                    size = 210 * block + 5
                    assert os.lseek(g.fileno(), 209 * block, os.SEEK_HOLE) == 209 * block
                    fails(errno.ENXIO, os.lseek, g.fileno(), size, os.SEEK_HOLE)
                    fails(errno.ENXIO, os.lseek, g.fileno(), size + 10, os.SEEK_DATA)
                    assert os.lseek(g.fileno(), 0, os.SEEK_END) == size
        with open(f"{d}/full", "w+b", buffering=0) as f:
            f.write(b"x" * 300000)
            assert os.lseek(f.fileno(), 0, os.SEEK_HOLE) == 300000 and os.lseek(f.fileno(), 7, os.SEEK_DATA) == 7


@test
def copies_inside_the_servers(c, a, b):
    rng = random.Random(5)
    model = rng.randbytes(3 << 20)
    s, s2 = striped(c, "copy"), striped(c, "copy", "n2")
    for source, target, other in ((a, a, b), (s, s, s2), (a, s, s2), (s, a, b)):
        write(f"{source}/from", model)
        with open(f"{source}/from", "rb", buffering=0) as f, open(f"{target}/to", "w+b", buffering=0) as t:
            expected = bytearray()
            for from_offset, to_offset, n in ((0, 0, 3 << 20), (5, 1 << 20, 100000), (3 * 65536, 6 * 65536, 300000), (100, 3 << 20, 5000), (1 << 20, 5 << 20, 10 << 20)):
                done = 0
                while done < n:
                    got = os.copy_file_range(f.fileno(), t.fileno(), n - done, from_offset + done, to_offset + done)
                    if got == 0:
                        break
                    done += got
                assert done == min(n, len(model) - from_offset)
                expected.extend(bytes(max(0, to_offset + done - len(expected))))
                expected[to_offset:to_offset + done] = model[from_offset:from_offset + done]
                assert os.pread(t.fileno(), done, to_offset) == expected[to_offset:to_offset + done]
            assert os.fstat(t.fileno()).st_size == len(expected)
        assert read(f"{other}/to") == expected
        assert os.stat(f"{other}/to").st_size == len(expected)
        os.unlink(f"{target}/to")
    # Within one file, and what is behind the end is not there.
    with open(f"{a}/from", "r+b", buffering=0) as f:
        assert os.copy_file_range(f.fileno(), f.fileno(), 1000, 0, 2 << 20) == 1000
        fails(errno.EINVAL, os.copy_file_range, f.fileno(), f.fileno(), 1000, 0, 10)
        assert os.copy_file_range(f.fileno(), f.fileno(), 1000, 3 << 20, 0) == 0
    assert read(f"{b}/from")[2 << 20:(2 << 20) + 1000] == model[:1000]


@test
def a_copy_of_holes_is_zeros(c, a, b):
    s = striped(c, "holes")
    for d in (a, s):
        with open(f"{d}/from", "w+b", buffering=0) as f, open(f"{d}/to", "w+b", buffering=0) as t:
            f.seek(900000)
            f.write(b"end")
            t.write(b"x" * 1000000)
            assert os.copy_file_range(f.fileno(), t.fileno(), 900003, 0, 0) == 900003
            assert os.pread(t.fileno(), 1000000, 0) == bytes(900000) + b"end" + b"x" * (1000000 - 900003)


@test
def striped_files_grow_shrink_and_append_at_once(c, a, b):
    s, s2 = striped(c, "at-once"), striped(c, "at-once", "n2")
    write(f"{s}/log", b"")
    record = 1000

    def append(d, who):
        fd = os.open(f"{d}/log", os.O_WRONLY | os.O_APPEND)
        for i in range(150):
            os.write(fd, f"{who}{i:05d}".encode() * (record // 6) + b"." * (record % 6))
        os.close(fd)
    threads = [threading.Thread(target=append, args=(d, w)) for d, w in ((s, "a"), (s2, "b"), (s, "c"))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    log = read(f"{s2}/log")
    assert len(log) == 450 * record, len(log)
    seen = {log[i:i + 6] for i in range(0, len(log), record)}
    assert len(seen) == 450 and all(log[i:i + record - record % 6] == log[i:i + 6] * (record // 6) for i in range(0, len(log), record))
    # Random changes from both nodes agree with a model.
    rng, model = random.Random(6), bytearray()
    write(f"{s}/m", b"")
    for i in range(200):
        d = rng.choice((s, s2))
        at, n = rng.randrange(1 << 20), rng.randrange(1, 300000)
        if i % 10 == 9:
            os.truncate(f"{d}/m", at)
            del model[at:]
            model.extend(bytes(at - len(model)))
        else:
            piece = bytes([i % 255 + 1]) * n
            with open(f"{d}/m", "r+b", buffering=0) as f:
                f.seek(at)
                f.write(piece)
            model.extend(bytes(max(0, at + n - len(model))))
            model[at:at + n] = piece
        if i % 10 == 5:
            assert read(f"{s}/m") == model == read(f"{s2}/m"), i
        assert os.stat(f"{s2}/m").st_size == len(model)
    used = [os.path.getsize(object_of(c, f"{s}/m", n)) for n in c.osds]
    assert all(used) and sum(used) == len(model), used


@test
def the_kernel_works_on_local_objects(c, a, b):
    data = random.Random(7).randbytes(5 << 20)
    write(f"{a}/f", data)
    before = c.control("mount-n1", {"op": "stats"})["passed_through"]
    assert read(f"{a}/f") == data
    if c.control("mount-n1", {"op": "stats"})["passed_through"] == before:
        print("     (skipped: this kernel does not pass through here)")
        return
    elsewhere = c.control("mount-n2", {"op": "stats"})["passed_through"]
    model = bytearray(data)
    with open(f"{a}/f", "r+b", buffering=0) as f, open(f"{b}/f", "r+b", buffering=0) as g:
        for i in range(60):
            at = random.Random(i).randrange(5 << 20)
            piece = bytes([i + 1]) * 5000
            (f, g)[i % 2].seek(at)
            (f, g)[i % 2].write(piece)
            model.extend(bytes(max(0, at + 5000 - len(model))))
            model[at:at + 5000] = piece
            # Each sees at once what the other one wrote, and how long the file is.
            assert os.pread(g.fileno(), 5000, at) == piece == os.pread(f.fileno(), 5000, at)
            assert os.fstat(f.fileno()).st_size == os.fstat(g.fileno()).st_size == len(model)
        with open(f"{a}/f", "ab", buffering=0) as h:
            h.write(b"appended")
        model += b"appended"
        assert os.fstat(f.fileno()).st_size == len(model)
        with mmap.mmap(f.fileno(), 1 << 20) as m:
            m[100:108] = b"mapped!!"
            m.flush()
        model[100:108] = b"mapped!!"
        assert os.pread(g.fileno(), 8, 100) == b"mapped!!"
        os.ftruncate(g.fileno(), 3 << 20)
        del model[3 << 20:]
        assert os.fstat(f.fileno()).st_size == 3 << 20 and os.pread(f.fileno(), 10, 3 << 20) == b""
        # The servers may die: what was written is there.
        c.kill("osd-n1")
        os.pwrite(f.fileno(), b"while the OSD was away", 1000)
        model[1000:1022] = b"while the OSD was away"
        c.start("osd-n1")
        c.tell_osd("n1")
    assert read(f"{b}/f") == model and read(f"{a}/f") == model
    assert os.stat(f"{b}/f").st_size == len(model)
    assert c.control("mount-n2", {"op": "stats"})["passed_through"] == elsewhere
    # A descriptor that was open outlives the file, and nobody else's data come to it.
    f = open(f"{a}/f", "rb", buffering=0)
    os.unlink(f"{b}/f")
    for i in range(30):
        write(f"{a}/other{i}", b"other" * 50000)
    assert f.read() == model
    f.close()


@test
def what_was_written_to_a_local_object_survives_the_mount(c, a, b):
    write(f"{a}/f", b"x" * (1 << 20))
    fd = os.open(f"{a}/f", os.O_RDWR)
    os.pwrite(fd, b"before the end", 5 << 20)
    c.kill("mount-n1")
    try:
        os.close(fd)
    except OSError:
        pass
    deadline = time.time() + 15
    while os.stat(f"{b}/f").st_size != (5 << 20) + 14:
        assert time.time() < deadline, os.stat(f"{b}/f").st_size
        time.sleep(0.1)
    assert read(f"{b}/f")[-14:] == b"before the end"
    c.start("mount-n1")
    c.tell_mount("n1")
    assert read(f"{a}/f")[-14:] == b"before the end"


@test
def a_full_disk_is_told_to_the_writer_and_nothing_is_corrupt(c, a, b):
    """The OSD of n4 lives on a tmpfs of 100 MiB, alone in a second grid; n5 mounts it from elsewhere, so that writes go behind."""
    d = Cluster(c.binaries, osds=("n4",), mounts=("n4", "n5"), base=c.base + 100)
    state = d.path("osd-state-n4")
    os.makedirs(state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100M", "tmpfs", state], check=True)
    try:
        d.up()
        v = d.volume("v")
        kept = random.Random(8).randbytes(3000000)
        write(f"{v['n5']}/kept", kept)
        for node in ("n4", "n5"):
            fd = soon(os.open, f"{v[node]}/fill", os.O_CREAT | os.O_RDWR)
            seen = []

            def note(call, *args):
                try:
                    return call(*args)
                except OSError as e:
                    seen.append(e.errno)

            for _ in range(120):
                note(os.write, fd, b"f" * (1 << 20))
            note(os.fsync, fd)
            note(os.close, fd)
            assert errno.ENOSPC in seen and set(seen) <= {errno.ENOSPC}, seen
            # Behind, the last write fails when nobody is in write(2) any more: fsync or close says so.
            size = os.stat(f"{v[node]}/fill").st_size
            filled = read(f"{v[node]}/fill")
            assert len(filled) == size and filled.count(b"f") + filled.count(b"\0") == size
            os.unlink(f"{v[node]}/fill")
            deadline = time.time() + 20
            while d.control("osd-n4", {"op": "stats"})["free_bytes"] < 90 << 20:
                assert time.time() < deadline
                time.sleep(0.1)
        fd = soon(os.open, f"{v['n5']}/late", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"f" * (1 << 20))
        os.fsync(fd)
        subprocess.run(["fallocate", "-l", str(d.control("osd-n4", {"op": "stats"})["free_bytes"] - (2 << 20)), f"{state}/ballast"], check=True)
        errors = 0
        for i in range(8):  # all of them fit into what may be under way
            try:
                os.write(fd, b"f" * (1 << 20))
            except OSError as e:
                assert e.errno == errno.ENOSPC
                errors += 1
        try:
            os.fsync(fd)
        except OSError as e:
            assert e.errno == errno.ENOSPC
            errors += 1
        os.close(fd)
        assert errors > 0
        os.unlink(f"{state}/ballast")
        assert read(f"{v['n4']}/kept") == kept
        d.control("osd-n4", {"op": "scrub", "action": "start"})
        s = wait_scrub(d, "n4")
        assert s["corrupt_blocks"] == 0 and s["files"] >= 1, s
    finally:
        for n in list(d.processes):
            d.kill(n, signal.SIGTERM)
        subprocess.run(["umount", "-l", state])
        d.down()


@test
def osds_killed_under_striped_load_lose_nothing(c, a, b):
    s, s2 = striped(c, "kill"), striped(c, "kill", "n2")
    stop, errors, wrote = threading.Event(), [], {}

    def load(d, who):
        i = 0
        rng = random.Random(who)
        while not stop.is_set():
            data = rng.randbytes(300000)
            try:
                with open(f"{d}/{who}{i}", "wb", buffering=0) as f:
                    f.write(data)
                wrote[f"{who}{i}"] = hashlib.sha256(data).digest()
            except OSError as e:
                errors.append(e)
            i += 1
    threads = [threading.Thread(target=load, args=x) for x in ((s, "p"), (s2, "q"))]
    [t.start() for t in threads]
    for i in range(6):
        time.sleep(0.4)
        victim = f"n{i % 3 + 1}"
        c.kill("osd-" + victim)
        c.start("osd-" + victim)
        c.tell_osd(victim)
    until(lambda: errors or len(wrote) > 20, "20 files are written")
    stop.set()
    [t.join() for t in threads]
    assert not errors, errors[:3]
    for name, digest in wrote.items():
        assert hashlib.sha256(read(f"{s2}/{name}")).digest() == digest, name
    for n in c.osds:
        c.control("osd-" + n, {"op": "scrub", "action": "start"})
    for n in c.osds:
        s = wait_scrub(c, n)
        assert n == "n1" or s["corrupt_blocks"] == 0, s


@test
def stripes_move_to_another_osd_while_they_are_written_and_appended_to(c, a, b):
    c.volume("pairs", stripe_size=65536, width=2, placement="spread")
    root = {n: f"{c.mountpoint(n)}/pairs" for n in c.mounts}
    data = {f"f{i}": random.Random(i).randbytes(i * 50_000) for i in range(12)}
    for name, contents in data.items():
        write(f"{root['n1']}/{name}", contents)
    stop, errors, records = threading.Event(), [], {n: 0 for n in c.mounts}

    def appender(node):  # both nodes append to one file, and open it anew now and then: what is open for writing does not move
        try:
            while not stop.is_set():
                with open(f"{root[node]}/log", "ab", buffering=0) as f:
                    for _ in range(10):
                        f.write(f"{node} {records[node]:08} ".encode().ljust(1000, node[1:].encode()))
                        records[node] += 1
                time.sleep(0.02)
        except OSError as e:
            errors.append(e)

    threads = [threading.Thread(target=appender, args=(n,)) for n in c.mounts]
    [t.start() for t in threads]
    try:
        for victim in ("n2", "n3", "n1", "n2"):
            c.control("mrc", {"op": "osd", "osd": victim, "action": "drain"})
            deadline = time.time() + 10
            while time.time() < deadline and c.control("mrc", {"op": "osd", "osd": victim})["left"] > 1:
                time.sleep(0.05)
            for name, contents in data.items():
                assert read(f"{root['n2']}/{name}") == contents, (victim, name)
            c.control("mrc", {"op": "osd", "osd": victim, "action": "use"})
    finally:
        stop.set()
        [t.join() for t in threads]
    assert not errors, errors[:3]
    log = read(f"{root['n2']}/log")
    assert len(log) == 1000 * sum(records.values())
    for node in c.mounts:
        seen = [int(log[at + 3:at + 11]) for at in range(0, len(log), 1000) if log[at:at + 2] == node.encode()]
        assert seen == list(range(records[node])), (node, len(seen), records[node])
    c.control("mrc", {"op": "osd", "osd": "n3", "action": "drain"})
    deadline = time.time() + 60
    while not c.control("mrc", {"op": "osd", "osd": "n3"})["left"] <= len(glob.glob(f"{c.mountpoint('n1')}/striped/**/*", recursive=True)):
        assert time.time() < deadline
        time.sleep(0.1)
    assert read(f"{root['n1']}/log") == log
    c.control("mrc", {"op": "osd", "osd": "n3", "action": "use"})


def begin(c):
    root = c.volume("work")
    c.volume("striped", stripe_size=65536, width=3, placement="spread")
    return suite.in_directories(root)


sys.exit(suite.run(TESTS, lambda: Cluster(sys.argv[1], osds=("n1", "n2", "n3"), mounts=("n1", "n2"), base=11000 + (os.getpid() % 90) * 200 + 50), begin, suite.print_memory))
