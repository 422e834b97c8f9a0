"""Nodes on this machine for tests of the job path: namespaces, certificates, relays, sessions.

   n1 (10.99.0.1) ── veth ── n2 (10.99.0.2), and so to each other one, each with a mount namespace of its own (/run/xos); /home is a tmpfs that both see.

Needs root. Run as:  unshare -m --propagation unchanged -n -p -f --kill-child python3 SCRIPT BUILD
"""
import ctypes, json, os, pty, select, shutil, signal, socket, subprocess, sys, time

CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWUSER = 0x20000, 0x40000000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
UID = 1879113729
libc = ctypes.CDLL(None, use_errno=True)
SESSION, SECRET = 'a' * 32, '0123456789abcdef' * 2


def mount(source, target, kind, flags=0, data=None):
    encode = lambda text: text.encode() if text is not None else None
    if libc.mount(encode(source), encode(target), encode(kind), flags, encode(data)) != 0:
        raise OSError(ctypes.get_errno(), f'mount {target}')


def is_mount_point(path):
    return any(line.split()[4] == path for line in open('/proc/self/mountinfo'))


def own_root():
    """A root as a node has it: a mount, and no chroot (cells need the first, user namespaces and CRIU the second)."""
    libc.mount(None, b'/', None, MS_REC | MS_PRIVATE, None)  # fails in a chroot, whose mounts are private already
    where = '/tmp/xos-relay-root'
    os.makedirs(where, exist_ok=True)
    if not is_mount_point('/'):
        mount('/', where, None, MS_BIND | MS_REC)
        os.chroot(where)
    root, namespace = os.open('/', os.O_RDONLY), os.open('/proc/self/ns/mnt', os.O_RDONLY)
    os.setns(namespace, CLONE_NEWNS)  # leaves the chroot
    os.fchdir(root)
    pivot_root = 155
    if libc.syscall(pivot_root, b'.', b'.') == 0:
        libc.umount2(b'.', 2)
        os.chroot('.')
    elif ctypes.get_errno() != 16:  # EBUSY: it is the namespace's root already
        raise OSError(ctypes.get_errno(), 'pivot_root')
    os.chdir('/')
    os.close(root)
    os.close(namespace)
    mount('proc', '/proc', 'proc')
    for folder in ('/run', '/home'):
        mount('tmpfs', folder, 'tmpfs', 0, 'mode=0755')
    os.makedirs('/home/alice')
    os.makedirs('/home/bin')
    for program in ('bash', 'ls', 'xargs', 'seq', 'cat', 'true'):  # as the image marks what is cheap
        with open(f'/usr/bin/{program}', 'rb') as file:
            data = bytearray(file.read())
        data[9] = 0x78
        with open(f'/home/bin/{program}', 'wb') as file:
            file.write(data)
        os.chmod(f'/home/bin/{program}', 0o755)
    os.chown('/home/alice', UID, UID)
    os.makedirs('/home/certificates')


def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificates(node):
    d = f'/home/certificates/{node}'
    os.makedirs(d)
    ca = '/home/certificates/ca'
    if not os.path.exists(ca + '.crt'):
        sh(f'openssl req -x509 -newkey ed25519 -nodes -keyout {ca}.key -out {ca}.crt -days 2 -subj /CN=ca')
    sh(f'openssl req -newkey ed25519 -nodes -keyout {d}/key.pem -out {d}/csr -subj /CN={node}')
    with open(f'{d}/ext', 'w') as file:
        file.write(f'subjectAltName=URI:xos://demo/node/{node},DNS:xos-node\n')
    sh(f'openssl x509 -req -in {d}/csr -CA {ca}.crt -CAkey {ca}.key -days 2 -extfile {d}/ext -out {d}/cert.pem')
    shutil.copy(ca + '.crt', f'{d}/ca.pem')
    return d


class Control:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.file = self.socket.makefile('rwb')
        self.number, self.events = 0, []

    def call(self, op, **fields):
        self.number += 1
        self.file.write(json.dumps({'id': self.number, 'op': op, **fields}).encode() + b'\n')
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if answer.get('id') == self.number:
                return answer
            self.events.append(answer)


class Node:
    """A process that lives in the node's namespaces and runs functions there on demand."""

    def __init__(self, name, number, build):
        self.name, self.address, self.build = name, f'10.99.0.{number}', build
        self.credentials = certificates(name)
        ready, self.go = os.pipe(), os.pipe()
        self.holder = os.fork()
        if self.holder == 0:
            os.unshare(CLONE_NEWNS | CLONE_NEWNET)
            mount('tmpfs', '/run', 'tmpfs', 0, 'mode=0755')
            os.makedirs('/run/xos')
            mount('tmpfs', '/var/lib', 'tmpfs', 0, 'mode=0755')
            shutil.copytree(f'/home/certificates/{name}', '/var/lib/xos/node')
            os.write(ready[1], b'x')
            while True:
                signal.pause()
        os.read(ready[0], 1)
        self.relay, self.control = None, None

    def enter(self):
        root = os.open(f'/proc/{self.holder}/root', os.O_RDONLY | os.O_CLOEXEC)
        fds = [(os.open(f'/proc/{self.holder}/ns/{kind}', os.O_RDONLY | os.O_CLOEXEC), flag) for kind, flag in (('net', CLONE_NEWNET), ('mnt', CLONE_NEWNS))]
        for fd, flag in fds:
            os.setns(fd, flag)
            os.close(fd)
        os.fchdir(root)
        os.chroot('.')
        os.close(root)

    def start(self):
        log = open(f'/home/{self.name}.log', 'ab')
        self.relay = subprocess.Popen(
            [f'{self.build}/relay/xos-relayd', '--node', self.name, '--vo', 'demo', '--credentials', '/var/lib/xos/node', '--listen', f'{self.address}:7002',
             '--run', '/run/xos', '--state', '/run/state'],
            env={'XOS_CELL_PROGRAM': f'{self.build}/cell/xos-cell', 'PATH': os.environ['PATH']}, preexec_fn=self.enter, stderr=log, stdout=log)
        path = f'/proc/{self.holder}/root/run/xos/relayd.ctl'
        for _ in range(100):
            try:
                self.control = Control(path)
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f'relay of {self.name} does not start:\n' + open(f'/home/{self.name}.log').read())

    def join(self, nodes, origin):
        self.control.call('peers', nodes=[{'node': n.name, 'address': n.address, 'port': 7002} for n in nodes])
        self.control.call('placement', nodes=[{'node': n.name, 'cpus': 2, 'running': 0, 'load': 0, 'memory_free_bytes': 1 << 30, 'eligible': True} for n in nodes])
        assert self.control.call('session-add', session=SESSION, uid=UID, gid=UID, groups=[UID - 1], user='alice@demo', vo='demo', home='/home/alice', origin=origin,
                                 expires_ms=int(time.time() * 1000) + 3600000, **({'secret': SECRET} if origin == self.name else {}))['ok']


def can_redirect():
    """A user namespace cannot be made in a chroot, and then there is no binfmt_misc of one's own."""
    pid = os.fork()
    if pid == 0:
        try:
            os.unshare(CLONE_NEWUSER)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def redirect_typed_names(build):
    """In a child, as root: a user namespace with binfmt_misc of its own, as pam_xos makes it."""
    child = os.getpid()
    ready, done = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(ready[1])
        if not os.read(ready[0], 1):
            os._exit(1)
        for kind in ('uid_map', 'gid_map'):
            with open(f'/proc/{child}/{kind}', 'w') as file:
                file.write('0 0 4294967295')
        os.write(done[1], b'x')
        os._exit(0)
    os.unshare(CLONE_NEWUSER | CLONE_NEWNS)
    os.write(ready[1], b'x')
    os.read(done[0], 1)
    for fd in ready + done:
        os.close(fd)
    os.wait()
    mount('binfmt_misc', '/proc/sys/fs/binfmt_misc', 'binfmt_misc')
    with open('/proc/sys/fs/binfmt_misc/register', 'wb', buffering=0) as file:
        file.write(rb':xos:M:0:\x7fELF\x02\x01\x01\x00\x00\x00:\xff\xff\xff\xff\xff\xff\xff\x00\x00\xff:' + build.encode() + b'/relay/xexec:PF')


def become_alice(node, secret=SECRET, uid=UID, typed=False):
    """In a child: alice's login session on the node, without a terminal of its own. `typed`: names go to the grid."""
    node.enter()
    if typed:
        redirect_typed_names(node.build)
    keyctl, add_key = 250, 248
    libc.syscall(keyctl, 1, None)  # a new session keyring
    payload = f'{SESSION}:{secret}'.encode()
    assert libc.syscall(add_key, b'user', b'xos:session', payload, len(payload), -3) > 0
    os.setgroups([uid - 1])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.environ.clear()
    os.environ.update({'PATH': '/home/bin:/usr/bin:/bin', 'HOME': '/home/alice', 'TERM': 'xterm', 'LANG': 'C.UTF-8'})
    os.chdir('/home/alice')
    os.umask(0o022)


def session(node, argv, wait=30, **options):
    """Runs argv in alice's session; CompletedProcess with returncode, stdout, stderr."""
    typed = options.pop('typed', False)
    options.setdefault('stdin', subprocess.DEVNULL)
    if 'input' in options:
        del options['stdin']
    options.setdefault('stdout', subprocess.PIPE)
    options.setdefault('stderr', subprocess.PIPE)
    return subprocess.run(argv, preexec_fn=lambda: become_alice(node, typed=typed), timeout=wait, **options)


def start(node, argv, **options):
    return subprocess.Popen(argv, preexec_fn=lambda: become_alice(node), **options)


class Terminal:
    """alice's session on a pty; what the screen shows comes from read()."""

    def __init__(self, node, argv, typed=False):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.fchown(0, UID, 5)  # as login does
                os.closerange(3, 1024)  # what the test itself inherited would keep typed programs local
                become_alice(node, typed=typed)
                os.environ['PS1'] = '$ '
                os.execvp(argv[0], argv)
            finally:
                os._exit(99)
        self.seen = b''

    def send(self, text):
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def expect(self, text, wait=30):
        """Waits until `text` appears after what was expected before; returns what came up to and with it."""
        text = text.encode()
        end = time.time() + wait
        while text not in self.seen:
            if time.time() > end or not select.select([self.fd], [], [], max(0, end - time.time()))[0]:
                raise AssertionError(f'{text!r} did not appear; the screen has {self.seen!r}')
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b''
            if not data:
                raise AssertionError(f'the terminal ended before {text!r}; the screen has {self.seen!r}')
            self.seen += data
        before, self.seen = self.seen.split(text, 1)
        return before + text

    def expect_at_prompt(self, text):
        """Presses Enter until the shell has told `text`, which it does before a prompt, when the job has come so far."""
        for _ in range(60):
            self.send('\n')
            try:
                return self.expect(text, 0.5)
            except AssertionError:
                pass
        return self.expect(text)

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.close(self.fd)
        return os.waitpid(self.pid, 0)[1]


def clear_mark(program):
    """The image marks cheap programs as local; the tests want some of them to be redirected: an unmarked copy is put in their place."""
    with open(program, 'rb') as file:
        content = bytearray(file.read())
    if content[9] != ord('x'):
        return
    content[9] = 0
    copy = f'/home/unmarked-{os.path.basename(program)}'
    with open(copy, 'wb') as file:
        file.write(content)
    os.chmod(copy, 0o755)
    mount(copy, os.path.realpath(program), None, MS_BIND)


def build_grid(build, count=2):
    own_root()
    for program in ('/usr/bin/dash', '/usr/bin/env'):
        clear_mark(program)
    os.environ['PATH'] = '/home/bin:' + os.environ['PATH']
    os.symlink(f'{build}/relay/xexec', '/home/bin/xrun')
    os.symlink(f'{build}/relay/xexec', '/home/bin/xlocal')
    nodes = [Node(f'n{number}', number, build) for number in range(1, count + 1)]
    home = f'nsenter -t {nodes[0].holder} -n ip'
    sh(f'{home} link set lo up; {home} addr add {nodes[0].address}/32 dev lo')
    for node in nodes[1:]:
        inside, line = f'nsenter -t {node.holder} -n ip', f'v{node.name[1:]}'
        sh(f'ip link add to-{node.name} netns {nodes[0].holder} type veth peer name {line} netns {node.holder}')
        sh(f'{home} link set to-{node.name} up; {home} route add {node.address}/32 dev to-{node.name} src {nodes[0].address}')
        sh(f'{inside} addr add {node.address}/24 dev {line}; {inside} link set {line} up; {inside} link set lo up')
    for node in nodes:
        node.start()
    for node in nodes:
        node.join(nodes, 'n1')
    end = time.time() + 10
    while time.time() < end:
        if session(nodes[0], ['xrun', '--node', 'n2', '/bin/true']).returncode == 0:
            return nodes
        time.sleep(0.1)
    raise SystemExit('the nodes do not meet:\n' + open('/home/n1.log').read() + open('/home/n2.log').read())
