"""An MRC, OSDs and mounts on loopback, each with a node certificate of its own, for the end-to-end tests and measurements.

Must run as root in a private mount namespace (the tests' main does unshare). Servers listen on 127.0.0.1, ports from `base`.
"""
import json, os, shutil, signal, socket, subprocess, tempfile, time

CA = """[req]
distinguished_name=dn
prompt=no
[dn]
O=demo
CN=node CA
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign
"""


def run(*args, **kw):
    return subprocess.run(args, check=True, capture_output=True, text=True, **kw)


class Spawner:
    """Starts the daemons from a process that has no file of the volumes open: a child that executes closes those, and the
    kernel's FLUSH would wait for the very server that is being started."""

    def __init__(self):
        self.here, there = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.here.close()
            self.serve(there.makefile("rw"))
            os._exit(0)
        there.close()
        self.channel = self.here.makefile("rw")

    def serve(self, channel):
        running = {}
        for line in channel:
            op, *args = json.loads(line)
            if op == "start":
                log = open(args[1], "ab")
                p = subprocess.Popen(args[0], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
                log.close()
                running[p.pid] = p
                answer = p.pid
            elif op == "poll":
                answer = running[args[0]].poll()
            else:
                try:
                    answer = running[args[0]].wait(20)
                except subprocess.TimeoutExpired:
                    answer = None
            channel.write(json.dumps(answer) + "\n")
            channel.flush()

    def ask(self, *request):
        self.channel.write(json.dumps(request) + "\n")
        self.channel.flush()
        return json.loads(self.channel.readline())

    def close(self):
        self.channel.close()
        self.here.close()
        os.waitpid(self.pid, 0)


class Process:
    def __init__(self, spawner, args, log):
        self.spawner = spawner
        self.pid = spawner.ask("start", args, log)

    def poll(self):
        return self.spawner.ask("poll", self.pid)

    def send_signal(self, sig):
        os.kill(self.pid, sig)

    def wait(self):
        return self.spawner.ask("wait", self.pid)


def until(check, what="it holds", seconds=120):
    """Asks until it holds, and returns the answer: how much is done in a time says something of the machine only."""
    end = time.time() + seconds
    while not (found := check()):
        assert time.time() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found


class Cluster:
    def __init__(self, binaries, osds=("n1", "n2"), mounts=("n1", "n2"), base=17000, directory=None, group=()):
        """group: the nodes of which each has an MRC, "mrc-NODE"; without, there is one MRC, "mrc", on n1."""
        self.binaries, self.osds, self.mounts, self.base, self.group = binaries, osds, mounts, base, group
        self.directory = directory or tempfile.mkdtemp(prefix="xos-fs-")
        self.mrc = "mrc-" + group[0] if group else "mrc"  # the one that serves
        self.processes = {}
        self.spawner = Spawner()
        self.keys = {n: os.urandom(32).hex() for n in osds}
        self.make_certificates()

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def make_certificates(self):
        open(self.path("ca.cnf"), "w").write(CA)
        run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", self.path("ca.key"), "-out", self.path("ca.pem"),
            "-days", "2", "-config", self.path("ca.cnf"), "-extensions", "ca")
        for node in sorted(set(self.osds) | set(self.mounts) | set(self.group) | {"n1", "stranger"}):
            os.makedirs(self.path(node), exist_ok=True)
            vo = "demo" if node != "stranger" else "other"
            run("openssl", "req", "-newkey", "ed25519", "-nodes", "-keyout", self.path(node, "key.pem"), "-out", self.path(node, "csr.pem"),
                "-subj", f"/O={vo}/CN={node}")
            ext = self.path(node, "ext.cnf")
            open(ext, "w").write(f"subjectAltName=URI:xos://{vo}/node/{node},DNS:{node}.{vo}.xos,DNS:xos-node\n")
            run("openssl", "x509", "-req", "-in", self.path(node, "csr.pem"), "-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"),
                "-CAcreateserial", "-days", "2", "-out", self.path(node, "cert.pem"), "-extfile", ext)
            shutil.copy(self.path("ca.pem"), self.path(node, "ca.pem"))

    def start(self, name):
        """name: mrc, mrc-NODE, osd-NODE or mount-NODE."""
        kind, _, node = name.partition("-")
        node = node or "n1"
        rundir = self.path("run-" + node)
        os.makedirs(rundir, exist_ok=True)
        args = [os.path.join(self.binaries, {"mrc": "metadata/xos-mrc", "osd": "object/xos-osd", "mount": "mount/xos-mount"}[kind]),
                "--node", node, "--vo", "demo", "--credentials", self.path(node), "--run", rundir]
        if kind == "mrc":
            args += ["--listen", f"127.0.0.1:{self.mrc_port(node)}", "--state", self.path(name.replace("mrc", "mrc-state", 1))]
            control = "mrc.ctl"
        elif kind == "osd":
            args += ["--listen", f"127.0.0.1:{self.osd_port(node)}", "--state", self.path("osd-state-" + node)]
            os.makedirs(self.path("osd-state-" + node), exist_ok=True)
            control = "osd.ctl"
        else:
            args += ["--mount", self.mountpoint(node)]
            control = "mount-demo.ctl"
        self.processes[name] = Process(self.spawner, args, self.path(name + ".log"))
        path = os.path.join(rundir, control)
        deadline = time.time() + 10
        while True:
            try:
                self.control(name, {"op": "state" if kind == "mrc" else "stats"})
                break
            except (OSError, ValueError):
                if time.time() > deadline or self.processes[name].poll() is not None:
                    raise RuntimeError(f"{name} did not start: " + open(self.path(name + ".log")).read())
                time.sleep(0.02)
        return path

    def mrc_port(self, node):
        return self.base + 100 + self.group.index(node) if self.group else self.base

    def mrcs(self):
        return [{"node": n, "address": "127.0.0.1", "port": self.mrc_port(n)} for n in self.group or ["n1"]]

    def osd_port(self, node):
        return self.base + 1 + self.osds.index(node)

    def mountpoint(self, node):
        return self.path("grid-" + node)

    def control(self, name, request):
        kind, _, node = name.partition("-")
        node = node or "n1"
        path = self.path("run-" + node, {"mrc": "mrc.ctl", "osd": "osd.ctl", "mount": "mount-demo.ctl"}[kind])
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(path)
            s.sendall((json.dumps({"id": 1, **request}) + "\n").encode())
            answer = b""
            while not answer.endswith(b"\n"):
                piece = s.recv(65536)
                if not piece:
                    raise ValueError("control connection closed")
                answer += piece
        answer = json.loads(answer)
        if not answer["ok"]:
            raise ValueError(f"{name} {request['op']}: {answer['error']}")
        return answer

    def tell_osd(self, node):
        self.control("osd-" + node, {"op": "keys", "keys": [{"mrc": n, "key": self.keys[node]} for n in self.group or ["n1"]]})

    def tell_mrc(self):
        self.control(self.mrc, {"op": "osds", "osds": [{"osd": n, "node": n, "address": "127.0.0.1", "port": self.osd_port(n), "key": self.keys[n],
                                                     "free_bytes": 1 << 33, "up": True} for n in self.osds]})

    def tell_mount(self, node):
        self.control("mount-" + node, {"op": "servers", "mrc": self.mrcs() if self.group else self.mrcs()[0],
                                       "osds": [{"osd": n, "node": n, "address": "127.0.0.1", "port": self.osd_port(n)} for n in self.osds]})

    def up(self):
        for n in self.osds:
            self.start("osd-" + n)
            self.tell_osd(n)
        if self.group:
            self.group_up()
        else:
            self.start("mrc")
            self.tell_mrc()
        for n in self.mounts:
            self.start("mount-" + n)
            self.tell_mount(n)

    def group_up(self):
        """Makes a group of MRCs, the database of the first of them is what they have; that one leads."""
        for n in self.group:
            self.start("mrc-" + n)
            self.control("mrc-" + n, {"op": "group", "members": self.mrcs(), "seed": n == self.group[0]})
            self.processes.pop("mrc-" + n).wait()
            self.start("mrc-" + n)
        self.term = 1
        self.control(self.mrc, {"op": "lead", "term": 1})
        self.tell_mrc()

    def volume(self, name, uid=0, gid=0, mode=0o777, **policy):
        self.control(self.mrc, {"op": "volume-create", "name": name, "uid": uid, "gid": gid, "mode": mode, "policy": policy})
        return {n: os.path.join(self.mountpoint(n), name) for n in self.mounts}

    def kill(self, name, sig=signal.SIGKILL):
        p = self.processes.pop(name)
        try:
            p.send_signal(sig)
        except ProcessLookupError:  # it has ended by itself
            return None
        return p.wait()

    def memory_kib(self, name):
        for line in open(f"/proc/{self.processes[name].pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])

    def down(self):
        for name in [n for n in self.processes if n.startswith("mount")] + [n for n in self.processes if not n.startswith("mount")]:
            self.kill(name, signal.SIGTERM)
        for n in self.mounts:
            subprocess.run(["umount", "-l", self.mountpoint(n)], capture_output=True)
        self.spawner.close()
        shutil.rmtree(self.directory, ignore_errors=True)
