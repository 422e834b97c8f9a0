// The whole way on machines: login at the console, a program by its bare name on another machine, checkpoint there, restart here, logout.
//
//   n1 (founds VO demo; alice at ttyS0; xos_cred loaded) ── switch in this process ── n2 (joined; runs the job)
import test from 'ava'
import { consoleLogin, foundGrid } from '../support/grid.ts'
import type { Guest } from '../support/guest.ts'

const counter = `import sys, time
for n in range(1, 61):
    print(n, open('/proc/sys/kernel/hostname').read().strip(), flush=True)
    time.sleep(0.5)
sys.exit(7)
`

test.serial('a member logs in at the console, and runs, moves and ends programs on both machines', async (t) => {
  t.timeout(1_500_000)
  const grid = await foundGrid(t, ['n1', 'n2'])
  const [n1, n2] = grid.guests as [Guest, Guest]
  await n1.load('xos_cred')
  const alice = await consoleLogin(n1, grid.user, grid.password)

  t.regex((await alice.run('id')).output, /^uid=1879113729\(alice@demo\) gid=1879113729\(alice@demo\) .*members@demo/)
  t.is((await alice.run('tty; pwd')).output, '/dev/ttyS0\n/home/alice\n')
  t.is((await n1.must("who | awk '{print $1, $2}'; stat -c %U /dev/ttyS0")), 'alice@demo ttyS0\nalice@demo\n')

  // Her credential is in the kernel's keeping: shown to her session, and not to root beside it.
  t.is(await n1.must("awk '/xos:credential/ {print $8}' /proc/keys"), 'xos_cred\n')
  t.is((await alice.run('xlocal keyctl pipe "$(xlocal keyctl search @s xos_cred xos:credential)" | head -n 1')).output, '-----BEGIN CERTIFICATE-----\n')
  t.regex((await n1.run("keyctl print $((0x$(awk '/xos:credential/ {print $1}' /proc/keys)))")).stderr, /Permission denied/)

  // By its bare name: nothing but the wish for a node in the environment.
  await alice.run('export XOS_NODE=n2')
  const there = await alice.run('python3 -c "print(open(\'/proc/sys/kernel/hostname\').read().strip()); exit(5)"')
  t.deepEqual(there, { output: 'n2\n', status: 5 })
  t.is((await alice.run('echo through | python3 -c "print(input() + \' a pipe\')" | cat')).output, 'through a pipe\n')

  await n1.put(Buffer.from(counter), '/run/count.py')
  await alice.run('cp /run/count.py count.py; python3 count.py > out.txt & sleep 5')
  t.is((await n2.must('pgrep -u 1879113729 -cf count.py')).trim() !== '0', true, 'it runs on the second machine')
  const taken = await alice.run('xcheckpoint $! --name kept')
  t.is(taken.status, 0, taken.output)
  t.is((await n2.run('pgrep -u 1879113729 -f count.py')).stdout, '', 'and is gone there')
  const restarted = await alice.run('xrestart kept --node n1')
  t.is(restarted.status, 0, restarted.output)
  t.is((await n1.must('pgrep -u 1879113729 -cf "python3 count.py"')).trim() !== '0', true, 'it runs on the first machine')
  t.regex((await alice.run('wait $!; echo status $?')).output, /status 7\n$/)
  t.is((await alice.run('cut -d" " -f1 out.txt | paste -sd" "')).output, `${Array.from({ length: 60 }, (_, n) => n + 1).join(' ')}\n`)
  t.is((await alice.run('cut -d" " -f2 out.txt | uniq | paste -sd" "')).output, 'n2 n1\n')

  await alice.exit()
  await n1.until("! who | grep -q alice && ! pgrep -u 1879113729")
  await n2.until('! pgrep -u 1879113729')
  await n1.until('! grep -q xos:credential /proc/keys')
  await n1.until("xnode status --json | grep -q '\"sessions\": 0'")
  for (const g of grid.guests) t.is(await g.splats(), '')
})
