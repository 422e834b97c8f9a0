"""Conformance of XtreemFS: on a volume programs must find what a file system of the kernel gives them.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-osd, xos-mount        n3: xos-osd

usage: main.py BUILD_DIRECTORY [--short] [name part of tests]
With --short: random operations compared with a model and with the kernel's own file system, some seconds (CTest `fs-conformance`). Without it
also programs of Debian, as far as they are installed (`npm test -- conformance` has them all). XOS_ROUNDS: so many times the random operations,
each with other seeds. Needs root, /dev/fuse, openssl.
"""
import os, subprocess, sys, time, traceback

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import data, names, programs, suite
from cluster import Cluster


def contents(volume, seed, steps, **options):
    def run(c, views):
        a, b = (f"{views[volume][n]}/contents-{seed}" for n in ("n1", "n2"))
        data.Shuffle([a, b], seed, **options).run(steps)
    run.__name__ = f"contents_of_{volume}_as_in_memory_{seed}"
    return run


def name_space(volume, seed, steps):
    def run(c, views):
        reference = c.path("reference", f"{volume}-{seed}")
        os.makedirs(reference)
        a, b = (f"{views[volume][n]}/names-{seed}" for n in ("n1", "n2"))
        os.mkdir(a)
        names.Shuffle(f"{reference}/", [f"{a}/", f"{b}/"], seed).run(steps)
    run.__name__ = f"names_of_{volume}_as_by_the_kernel_{seed}"
    return run


def shuffles(rounds, steps):
    for i in range(rounds):
        yield contents("work", 4 * i + 1, steps * 3)
        yield contents("striped", 4 * i + 2, steps * 2)
        yield contents("limited", 4 * i + 3, steps, mappings=False)
        yield name_space("work", 4 * i + 4, steps)


def tests(short):
    rounds = int(os.environ.get("XOS_ROUNDS", "1"))
    yield from shuffles(rounds, 100 if short else 800)
    if not short:
        yield from programs.TESTS


def main():
    if not suite.can_run():
        return suite.SKIPPED
    arguments = [x for x in sys.argv[1:] if x != "--short"]
    part = arguments[1] if len(arguments) > 1 else ""
    c = Cluster(arguments[0], osds=("n1", "n2", "n3"), mounts=("n1", "n2"), base=11000 + (os.getpid() % 90) * 200 + 190)
    failed = passed = skipped = 0
    try:
        os.chmod(c.directory, 0o711)  # for the programs' user
        c.up()
        os.mkdir(c.path("reference"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777", "tmpfs", c.path("reference")], check=True)
        views = {"work": c.volume("work"), "striped": c.volume("striped", stripe_size=65536, width=3, placement="spread"), "limited": c.volume("limited")}
        c.control("mrc", {"op": "quota-set", "volume": "limited", "bytes_max": 1 << 33})
        for t in tests("--short" in sys.argv):
            if part not in t.__name__:
                continue
            start = time.time()
            try:
                t(c, views)
                passed += 1
                print(f"ok   {t.__name__} ({time.time() - start:.1f} s)", flush=True)
            except programs.Missing as e:
                skipped += 1
                print(f"skip {t.__name__}: '{e}' is not installed", flush=True)
            except BaseException as e:
                failed += 1
                print(f"FAIL {t.__name__}: {e}", flush=True)
                if not isinstance(e, AssertionError):
                    traceback.print_exc()
                if isinstance(e, KeyboardInterrupt):
                    break
        failed += suite.complaints(c)
    finally:
        if failed and "--logs" in sys.argv:
            suite.print_logs(c)
        subprocess.run(["umount", "-l", c.path("reference")], capture_output=True)
        c.down()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
