"""A node for the tests: a private copy of the root with our modules in place, and nothing of it left behind when the test ends.

A login's user namespace cannot be made from a chroot (unshare(2), EPERM), so the test moves itself to a root that is one: it clones the
tree of mounts it sees, and pivots into it. /usr and /etc are overlays in memory; /run and /home are empty.
"""
import ctypes
import glob
import os
import shutil
import stat
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
OPEN_TREE, MOVE_MOUNT, PIVOT_ROOT = 428, 429, 155
CLONE_NEWNS, MS_REC, MS_PRIVATE, MS_SHARED, MNT_DETACH = 0x20000, 0x4000, 1 << 18, 1 << 20, 2
OPEN_TREE_CLONE, AT_RECURSIVE, MOVE_EMPTY_PATH, AT_FDCWD = 1, 0x8000, 4, -100
SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIRST = 1879048192
LIB = '/usr/lib/x86_64-linux-gnu'


def check(result, what):
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f'{what}: {os.strerror(error)}')
    return result


def mount(source, target, kind, flags=0, data=''):
    check(libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), f'mount {target}')


def overlay(path):
    name = path.strip('/').replace('/', '-')
    for part in ('upper', 'work'):
        os.makedirs(f'/mnt/{name}/{part}')
    mount('overlay', path, 'overlay', 0, f'lowerdir={path},upperdir=/mnt/{name}/upper,workdir=/mnt/{name}/work')


def own_root():
    """Makes `/` the root of a mount namespace of our own. Works from a chroot and from a container."""
    check(libc.unshare(CLONE_NEWNS), 'unshare')
    tree = check(libc.syscall(OPEN_TREE, AT_FDCWD, b'/', OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC), 'open_tree')
    here = os.open('/proc/self/ns/mnt', os.O_RDONLY | os.O_CLOEXEC)
    check(libc.setns(here, CLONE_NEWNS), 'setns')  # out of a chroot: "/" is now that of the namespace
    os.close(here)
    check(libc.mount(None, b'/', None, MS_REC | MS_PRIVATE, None), 'make private')
    check(libc.syscall(MOVE_MOUNT, tree, b'', AT_FDCWD, b'/tmp', MOVE_EMPTY_PATH), 'move_mount')
    os.close(tree)
    os.chdir('/tmp')
    check(libc.syscall(PIVOT_ROOT, b'.', b'.'), 'pivot_root')
    check(libc.umount2(b'.', MNT_DETACH), 'umount')
    os.chdir('/')
    check(libc.mount(None, b'/', None, MS_REC | MS_SHARED, None), 'make shared')  # as xgrid has it: homes reach open sessions


def mark(path):
    """Sets the mark of a local program, once. By a new file: the old one may be running."""
    with open(path, 'rb') as program:
        data = bytearray(program.read())
    data[9] = 0x78
    info = os.stat(path)
    with open(path + '.new', 'wb') as program:
        program.write(data)
    os.chown(path + '.new', info.st_uid, info.st_gid)
    os.chmod(path + '.new', stat.S_IMODE(info.st_mode))
    os.replace(path + '.new', path)


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)
    os.chmod(path, mode)


LOCAL = ['bash', 'dash', 'cat', 'ls', 'id', 'keyctl', 'stty', 'tty', 'env', 'getent', 'login', 'su', 'stat', 'chown', 'grep', 'passwd',
         'sleep', 'sort', 'wc', 'mount', 'kill', 'tail', 'readlink', 'python3.13', 'setpriv']


def install(build, programs):
    """Puts our three files, from `build`, where a node has them, and the tests' interpreter where xexec is."""
    shutil.copy(f'{build}/pam_xos.so', f'{LIB}/security/pam_xos.so')
    shutil.copy(f'{build}/libnss_xos.so.2', f'{LIB}/libnss_xos.so.2')
    os.makedirs('/usr/lib/xos/bin', exist_ok=True)
    shutil.copy(f'{build}/xenter', '/usr/lib/xos/bin/xenter')
    shutil.copy(f'{programs}/interpreter', '/usr/lib/xos/bin/xexec')
    mark('/usr/lib/xos/bin/xexec')
    for program in LOCAL:
        if os.path.exists(f'/usr/bin/{program}'):
            mark(f'/usr/bin/{program}')
    for path in glob.glob('/usr/bin/*') + glob.glob('/usr/sbin/*'):  # the image marks these too: elsewhere they would be nobody's
        if os.stat(path, follow_symlinks=False).st_mode & 0o6000:
            mark(path)
    for service in os.listdir(f'{SOURCE}/pam.d'):
        shutil.copy(f'{SOURCE}/pam.d/{service}', f'/etc/pam.d/{service}')
    write('/etc/nsswitch.conf', 'passwd: files xos\ngroup: files xos\nshadow: files\nhosts: files\n')


def add_user(name, number, vo=1, shell='/bin/bash'):
    """A grid user with a home, as xosd would list it."""
    base = FIRST + 65536 * vo
    uid = base + number
    home = f'/home/{name}'
    os.makedirs(home, exist_ok=True)
    os.chown(home, uid, uid)
    with open('/run/xos/passwd', 'a') as file:
        file.write(f'{name}:x:{uid}:{uid}:{name}:{home}:{shell}\n')
    with open('/run/xos/group', 'a') as file:
        file.write(f'{name}:x:{uid}:\n')
    return uid


def enter(build, programs):
    """The calling process, which must have no threads yet, becomes a process of the test node."""
    build, programs = os.path.abspath(build), os.path.abspath(programs)
    own_root()
    mount('tmpfs', '/mnt', 'tmpfs')
    overlay('/usr')
    overlay('/etc')
    mount('tmpfs', '/run', 'tmpfs', 0, 'mode=755')
    mount('tmpfs', '/home', 'tmpfs', 0, 'mode=755')
    os.umask(0o022)
    os.makedirs('/run/xos')
    write('/run/xos/passwd', '')
    write('/run/xos/group', '')
    # A local user with a password, to see that nothing of ours stands in his way. Before our name service module is there: when it is
    # built with the sanitizers only a program that is so too can load it.
    subprocess.run(['useradd', '--create-home', '--shell', '/bin/bash', 'local'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(['chpasswd'], input='local:native\n', text=True, check=True, stdout=subprocess.DEVNULL)
    install(build, programs)
