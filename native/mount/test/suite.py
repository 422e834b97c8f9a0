"""What the end-to-end tests of this folder share: how a list of tests runs on a cluster of its own, and small helpers.

A test is a function; its name says what holds. `run` gives the exit status that CTest knows: 0, 1, or 77 for "skipped".
"""
import errno, glob, os, subprocess, sys, time, traceback

SKIPPED = 77
SANITIZERS = ("runtime error", "Sanitizer", "terminate called")


def fails(code, call, *args, **kw):
    try:
        call(*args, **kw)
    except OSError as e:
        assert e.errno == code, f"errno {errno.errorcode.get(e.errno)} instead of {errno.errorcode[code]}"
        return
    raise AssertionError(f"did not fail with {errno.errorcode[code]}")


def refused(code, call, *args, **kw):
    try:
        call(*args, **kw)
    except ValueError as e:
        assert code in str(e), e
        return
    raise AssertionError(f"did not fail with {code}")


def write(path, data, mode="wb"):
    with open(path, mode, buffering=0) as f:
        while data:
            data = data[f.write(data):]


def read(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()


def fsync(directory):
    fd = os.open(directory, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def drop_caches():
    open("/proc/sys/vm/drop_caches", "w").write("3")


def object_of(c, file, node="n1"):
    """Where an OSD keeps what it has of a file; `file`: its path or its number."""
    number = file if isinstance(file, int) else os.stat(file).st_ino
    return c.path(f"osd-state-{node}", "objects", f"{number >> 24:02x}", f"{number >> 8 & 0xffff:04x}", f"{number:016x}")


def part_wanted():
    return sys.argv[2] if len(sys.argv) > 2 else ""


def can_run():
    """In a mount namespace of its own from now on; False where nothing can be mounted."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skip: needs root and /dev/fuse")
        return False
    os.unshare(os.CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True)
    return True


def complaints(c):
    """How many logs have one of a sanitizer, or of a program that gave up; they are printed."""
    found = 0
    for log in glob.glob(c.path("*.log")):
        bad = [l for l in open(log, errors="replace") if any(words in l for words in SANITIZERS)]
        if bad:
            found += 1
            print(f"FAIL {log}: {''.join(bad[:5])}")
    return found


def print_logs(c):
    for log in glob.glob(c.path("*.log")):
        print("---", os.path.basename(log))
        print(open(log, errors="replace").read()[-3000:])


def print_memory(c):
    print("memory KiB", {n: c.memory_kib(n) for n in c.processes if c.processes[n].poll() is None})


def in_directories(root):
    """Runs a test on a directory of its own, as n1 and n2 see it; root: where a volume is, by node."""
    def call(c, test):
        a, b = (f"{root[n]}/{test.__name__}" for n in ("n1", "n2"))
        os.mkdir(a)
        test(c, a, b)
    return call


def run(tests, make, begin, after=lambda c: None):
    """make() -> Cluster, begin(c) -> call(c, test) that runs one test on the cluster that is up, after(c): when all are over."""
    if not can_run():
        return SKIPPED
    c = make()
    failed = passed = 0
    try:
        c.up()
        call = begin(c)
        for test in tests:
            if part_wanted() not in test.__name__:
                continue
            start = time.time()
            try:
                call(c, test)
                passed += 1
                print(f"ok   {test.__name__} ({time.time() - start:.1f} s)", flush=True)
            except BaseException as e:
                failed += 1
                print(f"FAIL {test.__name__}", flush=True)
                traceback.print_exc()
                if isinstance(e, KeyboardInterrupt):
                    break
                for name, process in c.processes.items():
                    if (status := process.poll()) is not None:
                        print(f"     {name} has ended with {status}")
        after(c)
        failed += complaints(c)
    finally:
        if failed:
            print_logs(c)
        c.down()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
