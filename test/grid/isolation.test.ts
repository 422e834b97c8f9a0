// n1: alice's session; n2: where her jobs run, in cells that the VO's policy narrows. Needs root.
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 2, users: ['bob'] })

test.serial('setuid programs and device nodes in a volume have no effect, in a session and in a job', async (t) => {
  await grid.exec('true') // her home is there
  const made = await grid.root('n1', 'cd /grid/demo/home.alice && cp /usr/bin/id . && chown 0:0 id && chmod 6755 id && stat -c %A id; mknod null c 1 3 && echo made')
  t.log('root may', made.stdout.trim().replaceAll('\n', ' ') || made.stderr.trim())
  const { stdout, stderr } = await grid.exec(`cp /usr/bin/id own-id; chmod 6755 own-id
for id in ./id ./own-id; do [ ! -e $id ] || for run in xlocal "xrun --node n2"; do $run $id -u; done; done
[ ! -c null ] || { echo x > null; echo device $?; }; findmnt -no OPTIONS -T .`)
  const uids = stdout.split('\n').filter((line) => /^\d+$/.test(line))
  t.true(uids.length >= 2, stderr)
  t.deepEqual([...new Set(uids)], ['1879113729'], `nobody became root: ${stdout}${stderr}`)
  t.regex(stdout, /\bnosuid,nodev\b/)
  t.notRegex(stdout, /^device 0$/m)
})

test.serial("an isolated and untrusted VO's jobs see nobody else, and are as they were when that is taken back", async (t) => {
  await grid.exec('true', { user: 'bob@demo' })
  await grid.root('n2', 'echo secret > /tmp/of-others; chmod 644 /tmp/of-others')
  const look = 'xrun --node n2 sh -c "ls /home /grid; ls /tmp | grep -c of-others; grep -E \'^(NoNewPrivs|Seccomp_filters)\' /proc/self/status; ls /sys/class/net; test -e /dev/fuse && echo fuse"'
  const before = await grid.exec(look)
  t.regex(before.stdout, /\n1\nNoNewPrivs:\t0\nSeccomp_filters:\t1\n/, before.stderr)
  t.is((await grid.root('n1', 'xvo policy set demo isolated=yes trust=untrusted')).status, 0)
  t.regex((await grid.root('n2', 'xnode limits')).stdout, /isolated +yes +VO/)
  await grid.until('the relay of n2 makes narrow cells', async () => (await grid.exec(look)).stdout.includes('NoNewPrivs:\t1'))
  const narrow = await grid.exec(look)
  t.is(narrow.stdout, '/grid:\ndemo\n\n/home:\nalice\n0\nNoNewPrivs:\t1\nSeccomp_filters:\t2\nlo\n', narrow.stderr)
  const work = await grid.exec('echo kept > f; xrun --node n2 sh -c "cat f; echo more > /tmp/t && cat /tmp/t; python3 -c \'import socket; socket.create_connection((\\"10.255.255.1\\", 80), 2)\' 2>&1 | tail -1"')
  t.regex(work.stdout, /^kept\nmore\nOSError: .*unreachable/, work.stderr)
  t.is((await grid.root('n1', 'xvo policy set demo isolated= trust=')).status, 0)
  await grid.until('the relay of n2 makes wide cells again', async () => (await grid.exec(look)).stdout.includes('NoNewPrivs:\t0'))
  // The site has the last word, and a file that cannot be read changes nothing.
  await grid.root('n2', 'echo \'{"vo":{"*":{"trust":"untrusted"}}}\' > /etc/xos/site.json')
  await grid.until('the site is heard', async () => (await grid.exec(look)).stdout.includes('NoNewPrivs:\t1'))
  t.regex((await grid.root('n2', 'xnode limits')).stdout, /trust +untrusted +site/)
  await grid.root('n2', 'echo nonsense > /etc/xos/site.json')
  await grid.until('the mistake is told', async () => (await grid.root('n2', 'xnode limits')).stderr.includes('site.json'))
  t.regex((await grid.exec(look)).stdout, /NoNewPrivs:\t1/)
})

test.serial('a member writes in no folder of the services, leads nobody away by a link, and speaks with no socket that is for root', async (t) => {
  const looked = await grid.exec(`xlocal find /run /var /etc /usr /grid /home -xdev \\( -type d -o -type f \\) -writable 2> /dev/null
for place in $(xlocal find /run/xos /var/lib/xos /etc/xos /usr/lib/xos /grid /home -xdev -maxdepth 3 -type d 2> /dev/null); do
  case $place in /home/alice* | /grid/demo*) continue;; esac
  { xlocal ln -s /etc/shadow $place/led-away || xlocal mv $place $place.away; } 2> /dev/null && echo taken $place
done
xlocal python3 -c 'import socket, sys
for path in sys.argv[1:]:
    try: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(path); print("spoken with", path)
    except OSError as error: print(path, type(error).__name__)' /run/xos/agent.sock /run/xos/relayd.ctl /run/xos/mount-demo.ctl`)
  const [sockets, others] = [/ PermissionError$/, /^(?:\/var\/tmp|\/run\/lock|\/home\/alice|\/grid\/demo|(?:taken )?\/run\/xos\/local(?:\/1879113729)?)$/].map((pattern) => looked.stdout.trim().split('\n').filter((line) => pattern.test(line)))
  t.is(sockets?.length, 3, looked.stdout + looked.stderr)
  t.deepEqual(looked.stdout.trim().split('\n').filter((line) => !sockets?.includes(line) && !others?.includes(line)), [], 'what else she could write, take or speak with')
  // One folder is for all, as /tmp is: copies of programs that stay here. Who takes another's place in it gets nothing, and gives nothing to run.
  t.is((await grid.root('n2', 'rm -rf /run/xos/local/1879113729; stat -c "%a %U" /run/xos/local')).stdout, '1777 root\n')
  const trap = await grid.exec('mkdir -m 777 /tmp/trap && xlocal ln -s /tmp/trap /run/xos/local/1879113729 && xlocal ls -l /run/xos/local', { node: 'n2', user: 'bob@demo' })
  t.regex(trap.stdout, /1879113729 -> \/tmp\/trap/, trap.stderr)
  t.is((await grid.exec('xlocal python3 -c "print(6 * 7)"; xlocal ls -A /tmp/trap', { node: 'n2' })).stdout, '42\n')
  t.not((await grid.exec('xlocal rm /run/xos/local/1879113729', { node: 'n2' })).status, 0, 'it is sticky')
  t.is((await grid.root('n2', 'rm /run/xos/local/1879113729')).status, 0)
})
