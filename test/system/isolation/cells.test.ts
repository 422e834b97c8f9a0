// Jobs of a VO that is isolated, and of one that is not trusted, beside jobs of another VO: what they see of the machine and of the others.
//
//   VO a (isolated, or untrusted) ── job ──┐
//   VO b ── job, file, sockets ────────────┴── n1 (systemd, kernel 6.12)
import test from 'ava'
import { bootVoGuest } from './vo-guest.ts'

const [a_uid, b_uid] = [1879179265, 1879244801]

/** A process of VO b that listens everywhere where another could hear it, and leaves files where everybody may read. */
const neighbour = `import os, socket, time
sockets = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket()]
sockets[0].bind('\\0xos-of-b')
sockets[1].bind('/tmp/socket-of-b')
sockets[2].bind(('127.0.0.1', 7777))
for each in sockets: each.listen()
os.chmod('/tmp/socket-of-b', 0o777)
for path in ('/tmp/file-of-b', '/dev/shm/file-of-b'): open(path, 'w').write('of b')
time.sleep(600)`

/** What of it a job can see and reach, one word each. */
const look = `import os, socket
def reach(family, address):
    try:
        socket.socket(family).connect(address)
        return 'reached'
    except OSError as error: return type(error).__name__
print('processes', sorted(int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) not in (1, os.getpid(), os.getppid())))
print('uids', sorted({os.stat('/proc/' + name).st_uid for name in os.listdir('/proc') if name.isdigit()} - {0, os.getuid()}))
for path in ('/tmp/file-of-b', '/dev/shm/file-of-b', '/tmp/socket-of-b', '/sys/fs/cgroup/xos.slice'): print(path, os.path.exists(path))
print('abstract', reach(socket.AF_UNIX, '\\0xos-of-b'), 'xos-of-b' in open('/proc/net/unix').read())
print('path', reach(socket.AF_UNIX, '/tmp/socket-of-b'))
print('port', reach(socket.AF_INET, ('127.0.0.1', 7777)))
print('interfaces', [name for _, name in socket.if_nameindex()])
print('listening', ':1E61' in open('/proc/net/tcp').read())`

const python = (text: string): string => `exec python3 -c "${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`

test.serial('a job of an isolated VO sees no process, file or socket of another VO, while one of an ordinary VO sees what the machine shows', async (t) => {
  const { g, limit, job } = await bootVoGuest(t)
  await limit('b', {})
  const slice = await limit('a', { isolated: 'yes' }, { isolated: true, own_network: true })
  void job('b', python(neighbour), 600_000).catch(() => {})
  await g.until('test -e /dev/shm/file-of-b')
  const seen = await job('b', python(look))
  t.is(seen.status, 0, seen.stderr)
  for (const line of ['/tmp/file-of-b True', '/dev/shm/file-of-b True', 'abstract reached True', 'path reached', 'port reached', 'listening True']) t.true(seen.stdout.includes(`${line}\n`), `${line}: ${seen.stdout}`)
  const hidden = await job('a', python(look))
  t.is(hidden.status, 0, hidden.stderr)
  t.is(hidden.stdout, `processes []
uids []
/tmp/file-of-b False
/dev/shm/file-of-b False
/tmp/socket-of-b False
/sys/fs/cgroup/xos.slice False
abstract ConnectionRefusedError False
path FileNotFoundError
port ConnectionRefusedError
interfaces ['lo']
listening False
`)
  // systemd's tools see all of it: who runs what for whom.
  const running = job('a', 'exec sleep 333', 600_000).catch(() => {})
  await g.until(`pgrep -x sleep -u ${a_uid}`)
  t.regex(await g.must('systemd-cgls --no-pager /xos.slice'), new RegExp(`xos-a\\.slice[^]*user-${a_uid}[^]*job-n1-\\d+[^]*sleep 333[^]*xos-b\\.slice[^]*user-${b_uid}[^]*job-n1-1[^]*python3`))
  t.regex(await g.must('systemctl status --no-pager xos-a.slice'), /Tasks: [1-9][^]*Memory: [^]*xos-cells-a\.service[^]*sleep 333/)
  t.regex(await g.must('systemd-cgtop --batch --iterations=1 --depth=3'), /xos\.slice\/xos-a\.slice/)
  await g.must(`pkill -x sleep -u ${a_uid}`)
  await running
  await g.until(`! find ${slice} -name 'job-*' | grep .`)
  t.is(await g.splats(), '')
})

test.serial('a job of an untrusted VO has no way to new privileges, devices or the odd corners of the kernel, and works', async (t) => {
  const { g, limit, job } = await bootVoGuest(t)
  await limit('a', { trust: 'untrusted' }, { untrusted: true, few_devices: true })
  await limit('b', {})
  await g.must('cp /usr/bin/id /usr/local/bin/id-as-root && chmod 4755 /usr/local/bin/id-as-root')
  const devices = 'ls /dev | wc -l'
  t.regex((await job('b', `grep -E "^(NoNewPrivs)" /proc/self/status; id-as-root -u; ${devices}`)).stdout, /^NoNewPrivs:\t0\n0\n[1-9][0-9]+\n$/)
  const first = await job('a', `grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status; id-as-root -u; ${devices}`)
  t.is(first.stdout, `NoNewPrivs:\t1\nSeccomp:\t2\n${a_uid}\n13\n`, first.stderr)
  const calls: Readonly<Record<string, readonly [call: string, errno: number]>> = {
    unshare: ['272, 0x10000000', 1], keyctl: ['250, 0, -3, 1', 1], bpf: ['321, 0, 0, 0', 1], mount: ['165, 0, 0, 0, 0, 0', 1], ptrace_of_pid_1: ['101, 16, 1, 0, 0', 1], finit_module: ['313, 0, 0, 0', 1],
    userfaultfd: ['323, 1', 1], io_uring_setup: ['425, 8, 0', 38], clone3: ['435, 0, 0', 38], packet_socket: ['41, 17, 3, 0', 97], netlink_of_netfilter: ['41, 16, 3, 12', 93],
  }
  const probe = Object.entries(calls).map(([name, [words]]) => `$! = 0; $r = syscall(${words}); print "${name} $r ", $! + 0, "\n";`).join(' ')
  const refused = await job('a', `exec perl -e '${probe}'`)
  t.is(refused.stdout, Object.entries(calls).map(([name, [, errno]]) => `${name} -1 ${errno}\n`).join(''), refused.stderr)
  t.is((await job('a', 'seq 1 3 | xargs -n1 -P3 sh -c "exit 0" && echo works | cat')).stdout, 'works\n')
  t.is(await g.splats(), '')
})
