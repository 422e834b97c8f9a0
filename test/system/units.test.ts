// The daemons under systemd: set-up starts them, each may die alone, and nothing runs on a machine that was told nothing.
//
//   n1 (founds the VO 'demo', all roles) ── switch in this process ── n2 (joins: osd, relay, mount)
import test, { type ExecutionContext } from 'ava'
import { bootGuests, type Guest } from './support/guest.ts'

const set_up_ms = 400_000
const login_ms = 240_000
/** An xosd that was just killed comes up for minutes where the cores are busy elsewhere; a login waits some 15 s for an answer. */
const again_ms = 600_000
const password = 'correct-horse-1'
const daemons = ['xosd', 'xos-relayd', 'xos-osd', 'xos-mrc', 'xos-mount']

const pids = async (g: Guest): Promise<Record<string, string>> => Object.fromEntries(await Promise.all(daemons.map(async (name) =>
  [name, (await g.must(`systemctl show --value --property MainPID ${name}`)).trim()] as const)))

/** What is missing is in the words of the failure. */
const ready = "xnode status; xnode status --json | grep -q '\"state\": \"ready\"'"

/** A line for the shell of a session of alice, as a console login opens one. */
const asAlice = (line: string): string => `printf '%s\\n' ${password} > /run/pw && xenter=/usr/lib/xos/bin/xenter && $xenter --service xgrid --password-fd 3 alice@demo -- bash -c ${JSON.stringify(line)} 3< /run/pw`

/** A login waits a moment for the other nodes to have its session; who is slower has it a little later (src/session/spread.ts). */
const n2_knows = 'for try in {1..150}; do xrun --node n2 true 2> /dev/null && break; sleep 1; done; '

/** What a line prints in a session of alice, who tries again when told to. */
async function alice (t: ExecutionContext, g: Guest, line: string): Promise<string> {
  const end = performance.now() + again_ms
  for (;;) {
    const { status, stdout, stderr } = await g.run(asAlice(line), { timeout_ms: login_ms })
    if (status === 0) return stdout
    const told = await g.must('journalctl --output cat --unit xosd --no-pager --lines 5')
    if (performance.now() > end || !stderr.includes('try again later')) throw new Error(`no session of alice on '${g.name}': ${stdout}${stderr}${told}`)
    t.log(`again: ${stderr.trim()}; xosd says: ${told}`)
  }
}

test.serial('two machines become nodes with one command each, and their daemons are units', async (t) => {
  t.timeout(2_400_000)
  const [n1, n2] = await bootGuests(t, ['n1', 'n2']) as [Guest, Guest]
  t.is((await n1.run(`systemctl is-active ${daemons.join(' ')}`)).stdout, 'inactive\n'.repeat(daemons.length), 'nothing starts before it is told')

  const founded = await n1.must(`echo ${password} | xnode found demo --admin alice --password-stdin --address ${n1.address} --timeout 380`, { timeout_ms: set_up_ms })
  t.is(founded, 'this machine is node n1 of VO demo, and its registry\n')
  t.is(await n1.must(`echo ${password} | xnode found demo --admin alice --password-stdin --timeout 380`, { timeout_ms: set_up_ms }), founded, 'twice is as once')
  const token = (await n1.must('xvo node invite demo n2')).trim()
  t.is(await n2.must(`xnode join - --address ${n2.address} --timeout 380 <<< ${token}`, { timeout_ms: set_up_ms }), 'this machine is node n2 of VO demo\n')
  await n1.until('[ "$(xnode list --quiet | wc -l)" = 2 ]', login_ms)
  for (const g of [n1, n2]) t.regex(await g.must("stat -c '%a' /etc/xos/node.json; findmnt -no FSTYPE /grid/demo"), /^600\nfuse\.xtreemfs\n$/)

  const said = await alice(t, n1, n2_knows + 'id -un; echo kept > file; xrun --node n2 cat /proc/sys/kernel/hostname; xrun --node n2 cat file')
  t.is(said, 'alice@demo\nn2\nkept\n')

  // Each daemon is killed in turn: it comes back, and no other one was touched.
  for (const name of daemons) {
    const before = await pids(n1)
    await n1.must(`systemctl kill --signal=KILL --kill-whom=main ${name}`)
    await n1.until(`pid=$(systemctl show --value --property MainPID ${name}); [ "$pid" != 0 ] && [ "$pid" != ${before[name]} ] && systemctl is-active ${name}`, login_ms)
    const after = await pids(n1)
    for (const other of daemons) if (other !== name) t.is(after[other], before[other], `${other} lives on when ${name} is killed`)
  }
  await n1.until(ready, again_ms)
  t.is(await alice(t, n1, n2_knows + 'cat file; xrun --node n2 cat file'), 'kept\nkept\n')

  // What systemd's own tools show of them.
  for (const name of ['xos-osd', 'xos-mrc']) t.regex(await n1.must(`systemctl show --property CapabilityBoundingSet,ProtectSystem,NoNewPrivileges ${name}`), /CapabilityBoundingSet=\n(?:.*\n)*NoNewPrivileges=yes\nProtectSystem=strict|ProtectSystem=strict/)
  t.regex(await n1.must('journalctl --output cat --unit xosd --no-pager'), /this node is part of its VO node=n1 vo=demo/)
  await n1.must('systemctl restart xosd xos-osd xos-mrc')
  await n1.until(ready, again_ms)
  t.is((await n1.run('systemctl --failed --plain --no-legend')).stdout, '')
  for (const g of [n1, n2]) t.is(await g.splats(), '')
})
