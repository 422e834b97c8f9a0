"""Rates of a mounted volume, the rows of the file-system bench: measure.py BUILD_DIRECTORY [files] [metadata untar data million]

XOS_GROUP: how many MRCs there are in a group; without, one that is in none.
"""
import os, subprocess, sys, time, json, shutil
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster


CLUSTER = None


def cpu_us():
    """CPU time of the three daemons: on a busy machine the steadier figure."""
    used = {}
    for name, p in CLUSTER.processes.items():
        fields = open(f"/proc/{p.pid}/stat").read().rsplit(")", 1)[1].split()
        kind = name.split("-")[0]
        used[kind] = used.get(kind, 0) + (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")
    return used


def rate(n, work):
    before = cpu_us()
    t = time.perf_counter()
    work()
    t = time.perf_counter() - t
    after = cpu_us()
    return {"per s": round(n / t), "cpu us": {k: round((after[k] - before[k]) / n) for k in after}}


def drop_caches():
    try:
        open("/proc/sys/vm/drop_caches", "w").write("3")
    except OSError:
        pass


def metadata(c, a, n):
    d = a + "/many"
    os.mkdir(d)
    names = [f"{d}/f{i}" for i in range(n)]
    rows = {}

    def create():
        for p in names:
            with open(p, "wb", buffering=0) as f:
                f.write(b"x" * 1000)

    def create_empty():
        for p in names:
            os.close(os.open(p + "e", os.O_CREAT | os.O_WRONLY))

    def read():
        for p in names:
            fd = os.open(p, os.O_RDONLY)
            os.read(fd, 4096)
            os.close(fd)

    rows["create"] = rate(n, create)
    rows["create empty"] = rate(n, create_empty)
    remount(c)
    rows["stat cold"] = rate(n, lambda: [os.stat(p) for p in names])
    rows["stat repeated"] = rate(n, lambda: [os.stat(p) for p in names])
    rows["open+read+close"] = rate(n, read)
    rows["open+read+close again"] = rate(n, read)
    rows["rename"] = rate(n, lambda: [os.rename(p, p + "r") for p in names])
    rows["unlink"] = rate(n, lambda: [os.unlink(p + "r") for p in names])
    return rows


def million(c, a, n):
    """Creating in a directory of `n` entries against an empty one, in turns; listing it; memory of the MRC."""
    import signal, statistics
    os.mkdir(a + "/big")
    os.mkdir(a + "/small")
    c.kill("mrc", signal.SIGTERM)
    t = time.perf_counter()
    subprocess.run([os.path.join(c.binaries, "metadata/metadata-fill"), c.path("mrc-state"), "home", "big", str(n)], check=True)
    fill = time.perf_counter() - t
    c.start("mrc")
    c.tell_mrc()
    os.stat(a + "/small")
    rows, rates = {"entries": n, "fill s": round(fill, 1), "MRC KiB before": c.memory_kib("mrc")}, {"big": [], "small": []}
    for turn in range(5):
        for d in ("big", "small"):
            names = [f"{a}/{d}/new-{turn}-{i}" for i in range(1000)]
            t = time.perf_counter()
            for p in names:
                os.close(os.open(p, os.O_CREAT | os.O_WRONLY))
            rates[d].append(1000 / (time.perf_counter() - t))
    for d in rates:
        rows[f"create /s, {d} directory"] = round(statistics.median(rates[d]))
    remount(c)
    t = time.perf_counter()
    seen = sum(1 for _ in os.scandir(a + "/big"))
    rows["names of the big directory, cold s"] = round(time.perf_counter() - t, 1)
    assert seen == n + 5000, seen
    if n <= 100_000:  # a question for each file's access list: minutes for a million
        remount(c)
        t = time.perf_counter()
        subprocess.run(["ls", "-lU", a + "/big"], check=True, stdout=subprocess.DEVNULL)
        rows["ls -lU of it, cold s"] = round(time.perf_counter() - t, 1)
    rows["stat /s in it"] = rate(5000, lambda: [os.stat(f"{a}/big/file-{i * (n // 5000)}") for i in range(5000)])["per s"]
    state = os.stat(c.path("mrc-state", "data.mdb"))
    rows["database bytes a file"] = round(state.st_blocks * 512 / n)
    rows["MRC KiB not of the map"] = sum(int(l.split()[1]) for l in open(f"/proc/{c.processes['mrc'].pid}/status") if l.startswith("RssAnon"))
    return rows


def remount(c):
    import signal
    c.kill("mount-n1", signal.SIGTERM)
    c.start("mount-n1")
    c.tell_mount("n1")
    drop_caches()


def untar(c, a):
    tree = "/usr/share/python3" if not os.path.exists("/usr/lib/python3.13") else "/usr/lib/python3.13"
    tar = c.path("tree.tar")
    subprocess.run(["tar", "cf", tar, "-C", os.path.dirname(tree), os.path.basename(tree)], check=True)
    os.mkdir(a + "/untar")
    files = int(subprocess.run(f"tar tf {tar} | wc -l", shell=True, capture_output=True, text=True).stdout)
    t = time.perf_counter()
    subprocess.run(["tar", "xf", tar, "-C", a + "/untar"], check=True)
    untar = time.perf_counter() - t
    remount(c)
    t = time.perf_counter()
    subprocess.run(["ls", "-lR", a + "/untar"], check=True, stdout=subprocess.DEVNULL)
    return {"untar files": files, "untar s": round(untar, 2), "ls -lR cold s": round(time.perf_counter() - t, 2)}


def fio(a, name, *args):
    r = subprocess.run(["fio", "--name=" + name, "--filename=" + a + "/fio", "--output-format=json", *args], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(r.stdout + r.stderr)
    return json.loads(r.stdout[r.stdout.index("{"):])["jobs"][0]


def data(c, a):
    rows = {}
    t = time.perf_counter()
    fio(a, "w", "--rw=write", "--bs=1M", "--size=1G", "--end_fsync=1", "--ioengine=psync")
    rows["write 1 GiB + fsync MiB/s"] = round(1024 / (time.perf_counter() - t))
    remount(c)
    j = fio(a, "r", "--rw=read", "--bs=1M", "--size=1G", "--ioengine=psync")
    rows["read 1 GiB cold MiB/s"] = round(j["read"]["bw"] / 1024)
    remount(c)
    j = fio(a, "rr", "--rw=randread", "--bs=4k", "--size=1G", "--ioengine=psync", "--runtime=5", "--time_based")
    rows["random read 4k IOPS"] = round(j["read"]["iops"])
    j = fio(a, "rw", "--rw=randwrite", "--bs=4k", "--size=1G", "--ioengine=psync", "--runtime=5", "--time_based")
    rows["random write 4k IOPS"] = round(j["write"]["iops"])
    return rows


def main():
    build = sys.argv[1]
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    wanted = sys.argv[3:] or ["metadata", "untar", "data"]
    global CLUSTER
    group = tuple(f"n{i + 1}" for i in range(int(os.environ.get("XOS_GROUP", "0"))))
    c = CLUSTER = Cluster(build, osds=("n1",), mounts=("n1",), group=group)
    try:
        c.up()
        a = c.volume("home")["n1"]
        rows = {}
        if "metadata" in wanted:
            rows |= metadata(c, a, n)
        if "million" in wanted:
            rows |= million(c, a, n)
        if "untar" in wanted:
            rows |= untar(c, a)
        if "data" in wanted:
            rows |= data(c, a)
        for row, value in rows.items():
            print(f"{row:28}", value)
        print({p: c.memory_kib(p) for p in c.processes})
    finally:
        c.down()


main()
