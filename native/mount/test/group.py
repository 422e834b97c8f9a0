"""End-to-end test of a group of MRCs (docs/decisions/0034-metadata-replication.md): leaders that are killed or stopped under mounts that work.

    n1: xos-mrc, xos-osd, xos-mount        n2: xos-mrc, xos-osd, xos-mount        n3: xos-mrc

Needs root, /dev/fuse, openssl. XOS_ROUNDS: how often the leader is killed under writers (3).
usage: group.py BUILD_DIRECTORY [name part of tests]
"""
import errno, hashlib, os, random, signal, socket, sys, threading, time

import e2e, suite
from cluster import Cluster, until
from suite import fails, read, refused, write

ROUNDS = int(os.environ.get("XOS_ROUNDS", "3"))
NODES = ("n1", "n2", "n3")
TESTS = []


def test(f):
    TESTS.append(f)
    return f


def state(c, node):
    """None of one that does not answer."""
    try:
        return c.control("mrc-" + node, {"op": "state"})
    except (OSError, ValueError):
        return None


def order(s):
    return s["standing"] == "whole", s["position"]["term"], s["position"]["sequence"]


def promote(c, but=()):
    """Has the one with the most records lead, as xosd will; says which."""
    seen = []

    def tried():
        there = {n: s for n in NODES if n not in but and (s := state(c, n))}
        if not there:
            return None
        c.term = max(c.term, *(s["term"] for s in there.values())) + 1
        node = max(there, key=lambda n: order(there[n]))
        try:
            c.control("mrc-" + node, {"op": "lead", "term": c.term})
        except (OSError, ValueError) as e:
            seen.append(str(e))
            return None
        c.mrc = "mrc-" + node
        return node
    try:
        return until(tried, "one of them leads", 60)
    except AssertionError as e:
        raise AssertionError(f"{e}: {seen[-3:]}") from None


def others(c):
    return [n for n in NODES if "mrc-" + n != c.mrc]


def caught_up(c, nodes=NODES):
    """All are there and have the same; the digests are compared once nothing changes."""
    def same():
        states = [state(c, n) for n in nodes]
        if None in states or any(s["standing"] != "whole" for s in states) or len({str(s["position"]) for s in states}) != 1:
            return None
        digests = [c.control("mrc-" + n, {"op": "digest"}) for n in nodes]
        return digests if len({str(d["position"]) for d in digests}) == 1 else None
    digests = until(same, "all members are at the same record")
    assert len({d["digest"] for d in digests}) == 1, digests


def kill_leader(c, sig=signal.SIGKILL):
    """Its node."""
    c.kill(c.mrc, sig)
    return c.mrc[4:]


def ensure_all(c):
    """The group as a test finds it, whatever the one before left."""
    for n in NODES:
        p = c.processes.get("mrc-" + n)
        if p is None or p.poll() is not None:
            c.start("mrc-" + n)
    if not any((s := state(c, n)) and s["role"] == "leader" and s["serves"] for n in NODES):
        promote(c)
    caught_up(c)


class Writer(threading.Thread):
    """Makes, fills, renames and removes files, and remembers what was acknowledged: name -> checksum, or None when it is gone."""

    def __init__(self, directory, seed):
        super().__init__(daemon=True)
        self.directory, self.random, self.known, self.pause, self.done, self.error = directory, random.Random(seed), {}, 0.0, 0, None
        self.ending = threading.Event()
        os.mkdir(directory)

    def run(self):
        try:
            while not self.ending.is_set():
                began = time.monotonic()
                self.once()
                self.pause = max(self.pause, time.monotonic() - began)
                self.done += 1
        except BaseException as e:
            self.error = e

    def once(self):
        there = [n for n, sum in self.known.items() if sum]
        what = self.random.random()
        if what < 0.6 or len(there) < 5:
            name = f"f{self.done}"
            data = self.random.randbytes(self.random.randrange(1, 3000))
            write(f"{self.directory}/{name}", data)
            self.known[name] = hashlib.sha256(data).digest()
        elif what < 0.8:
            name, new = self.random.choice(there), f"r{self.done}"
            os.rename(f"{self.directory}/{name}", f"{self.directory}/{new}")
            self.known[new], self.known[name] = self.known[name], None
        else:
            name = self.random.choice(there)
            os.unlink(f"{self.directory}/{name}")
            self.known[name] = None

    def end(self):
        self.ending.set()
        self.join(60)
        assert not self.is_alive(), "a writer hangs"
        if self.error:
            raise self.error

    def check(self, directory):
        names = set(os.listdir(directory))
        assert names == {n for n, sum in self.known.items() if sum}, names ^ {n for n, sum in self.known.items() if sum}
        for n in names:
            assert hashlib.sha256(read(f"{directory}/{n}")).digest() == self.known[n], n


@test
def all_members_have_the_same_database(c, a, b):
    for i in range(50):
        write(f"{a}/f{i}", b"x" * i)
        os.setxattr(f"{b}/f{i}", "user.i", b"y" * i)
    os.makedirs(f"{b}/d/e")
    for i in range(0, 50, 2):
        os.unlink(f"{b}/f{i}")
    caught_up(c)
    s = state(c, c.mrc[4:])
    assert s["role"] == "leader" and s["position"]["sequence"] > 100 and {f["node"] for f in s["followers"]} == set(others(c))
    for n in others(c):
        assert state(c, n)["role"] == "follower"
        refused("XOS_NOT_LEADING", c.control, "mrc-" + n, {"op": "volume-list"})


@test
def what_was_acknowledged_is_there_whenever_the_leader_is_killed(c, a, b):
    r = random.Random(7)
    writers = [Writer(f"{a}/one", 1), Writer(f"{b}/two", 2)]
    for w in writers:
        w.start()
    for _ in range(ROUNDS):
        time.sleep(r.uniform(0.2, 2))
        dead = kill_leader(c)
        promote(c)
        done = [w.done for w in writers]
        until(lambda: all(w.error or w.done > n for w, n in zip(writers, done)), "both writers go on")
        time.sleep(r.uniform(0, 1))
        c.start("mrc-" + dead)
        until(lambda: (s := state(c, dead)) and s["standing"] == "whole" and s["position"]["term"] == c.term, "the one that was killed follows")
    for w in writers:
        w.end()
    print(f"     {[w.done for w in writers]} operations, the longest took {max(w.pause for w in writers):.1f} s")
    caught_up(c)
    for w, name in zip(writers, ("one", "two")):
        for d in (a, b):
            w.check(f"{d}/{name}")
    assert c.control(c.mrc, {"op": "check"})["problems"] == 0


@test
def locks_and_open_files_outlive_the_leader(c, a, b):
    write(f"{a}/f", bytes(100))
    write(f"{a}/unlinked", b"before")
    x, y = e2e.Locker(f"{a}/f"), e2e.Locker(f"{b}/f")
    busy = (str(errno.EAGAIN), str(errno.EACCES))
    fd = os.open(f"{a}/unlinked", os.O_RDWR)
    try:
        os.unlink(f"{a}/unlinked")
        assert x.do("try w 0 0") == "ok" and y.do("try w 0 0") in busy
        for _ in range(2):
            dead = kill_leader(c)
            promote(c)
            assert y.do("try w 0 0") in busy
            os.pwrite(fd, b"after", 0)
            os.fsync(fd)
            assert os.pread(fd, 10, 0) == b"aftere"
            c.start("mrc-" + dead)
            caught_up(c)
        fails(errno.ENOENT, os.stat, f"{b}/unlinked")
        y.send("wait w 0 0")
        time.sleep(0.3)
        dead = kill_leader(c)
        promote(c)
        assert x.do("try u 0 0") == "ok"
        assert y.answer() == "ok"
    finally:
        os.close(fd)
        x.close()
        y.close()


@test
def one_that_leads_no_more_tells_nothing_and_follows(c, a, b):
    """It is stopped, and does not know when it goes on that another one leads."""
    write(f"{a}/f", b"1")
    old = c.mrc
    c.processes[old].send_signal(signal.SIGSTOP)
    promote(c, but=(old[4:],))
    write(f"{a}/g", b"2")
    os.unlink(f"{b}/f")
    # It goes on before anybody can tell it.
    for n in NODES:
        c.processes["mrc-" + n].send_signal(signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(c.path("run-" + old[4:], "mrc.ctl"))
        asked.sendall(b'{"id":1,"op":"volume-list"}\n')
        c.processes[old].send_signal(signal.SIGCONT)
        asked.settimeout(2)
        try:
            raise AssertionError(f"it answered {asked.recv(65536)}")
        except TimeoutError:
            pass
        for n in NODES:
            c.processes["mrc-" + n].send_signal(signal.SIGCONT)
        asked.settimeout(60)
        assert asked.recv(65536) == b""
    for _ in range(50):
        assert sorted(os.listdir(a)) == sorted(os.listdir(b)) == ["g"]
    until(lambda: c.processes[old].poll() is not None, "the old leader has ended")
    c.start(old)
    caught_up(c)


@test
def records_that_nobody_acknowledged_are_dropped(c, a, b):
    """Both followers are stopped: what the leader commits then is at no majority."""
    write(f"{a}/f", b"1")
    caught_up(c)
    before = state(c, c.mrc[4:])["position"]["sequence"]
    for n in others(c):
        c.processes["mrc-" + n].send_signal(signal.SIGSTOP)
    pid = os.fork()
    if pid == 0:
        try:
            os.mkdir(f"{a}/lost-or-not")
        finally:
            os._exit(0)
    # Committed by one of three, and not answered.
    until(lambda: state(c, c.mrc[4:])["position"]["sequence"] > before, "the leader has committed it")
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    dead = kill_leader(c)
    for n in NODES:
        if n != dead:
            c.processes["mrc-" + n].send_signal(signal.SIGCONT)
    promote(c)
    # The mount asks again: now it is made, once.
    os.waitpid(pid, 0)
    assert os.path.isdir(f"{b}/lost-or-not")
    write(f"{b}/g", b"2")
    c.start("mrc-" + dead)
    caught_up(c)
    assert "copy of the whole database" in open(c.path(f"mrc-{dead}.log")).read()


def copies(c, node):
    """How often it has got a copy of everything."""
    return open(c.path(f"mrc-{node}.log")).read().count("has a copy of the whole database now")


@test
def one_that_was_away_gets_what_is_behind_or_everything(c, a, b):
    away = others(c)[0]
    before = copies(c, away)
    c.kill("mrc-" + away)
    for i in range(20):
        write(f"{a}/f{i}", b"1")
    c.start("mrc-" + away)
    caught_up(c)
    assert copies(c, away) == before
    # More than a log keeps.
    c.kill("mrc-" + away)
    for i in range(1200):
        os.setxattr(f"{b}/f1", "user.x", i.to_bytes(4, "little") * 15000)
    c.start("mrc-" + away)
    caught_up(c)
    assert copies(c, away) == before + 1


@test
def without_a_majority_nothing_is_answered_and_nothing_is_lost(c, a, b):
    write(f"{a}/f", b"1")
    dead = others(c)
    c.kill("mrc-" + dead[0])
    write(f"{a}/g", b"2")  # two of three
    c.kill("mrc-" + dead[1])
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.mkdir(f"{b}/d")
            status = 0
        finally:
            os._exit(status)
    time.sleep(3)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    refused("XOS_BUSY", c.control, c.mrc, {"op": "lead", "term": c.term + 1})
    c.start("mrc-" + dead[0])
    assert os.waitpid(pid, 0)[1] == 0 and os.path.isdir(f"{a}/d")
    c.start("mrc-" + dead[1])
    caught_up(c)


@test
def who_may_not_lead_does_not(c, a, b):
    followers = others(c)
    refused("XOS_BUSY", c.control, "mrc-" + followers[0], {"op": "lead", "term": c.term + 10})
    refused("XOS_OLD_TERM", c.control, "mrc-" + followers[0], {"op": "lead", "term": c.term})
    c.term += 10
    ensure_all(c)
    # One that has less, and says who has more.
    behind, ahead = others(c)
    c.kill("mrc-" + behind)
    write(f"{a}/f", b"1")
    caught_up(c, [c.mrc[4:], ahead])
    dead = kill_leader(c)
    c.start("mrc-" + behind)
    c.term += 1
    try:
        c.control("mrc-" + behind, {"op": "lead", "term": c.term})
        raise AssertionError("one with less than a majority has leads")
    except ValueError as e:
        assert "XOS_BEHIND" in str(e) and f"'{ahead}'" in str(e), e
    # The same term again, by the one with more: it was promised.
    refused("XOS_OLD_TERM", c.control, "mrc-" + ahead, {"op": "lead", "term": c.term})
    assert promote(c) == ahead
    assert read(f"{b}/f") == b"1"
    c.start("mrc-" + dead)
    refused("XOS_EXISTS", c.control, "mrc-" + dead, {"op": "group", "members": [m for m in c.mrcs() if m["node"] != ahead]})


@test
def a_leader_that_is_told_to_follow_hands_over(c, a, b):
    write(f"{a}/f", b"1")
    old = c.mrc
    c.term += 1
    try:
        c.control(old, {"op": "follow", "term": c.term})
    except (OSError, ValueError):
        pass  # it ends instead of answering
    until(lambda: c.processes[old].poll() is not None, "it has ended")
    c.start(old)
    promote(c)
    assert read(f"{b}/f") == b"1"
    write(f"{b}/g", b"2")


def begin(c):
    root = c.volume("work")
    call = suite.in_directories(root)

    def with_all(c, test):
        ensure_all(c)
        call(c, test)
    return with_all


if __name__ == "__main__":
    sys.exit(suite.run(TESTS, lambda: Cluster(sys.argv[1], mounts=("n1", "n2"), group=NODES, base=11000 + (os.getpid() % 90) * 200), begin))
