// VOs that cannot hurt each other: control groups, firewall and cells of two VOs on one machine.
//
//   VO a ── jobs in cells ──┐
//   VO b ── jobs in cells ──┴── n1 (systemd, cgroup v2, nftables, kernel 6.12)
import test from 'ava'
import { firewallRules } from '../../../src/isolation/firewall.ts'
import { merge } from '../../../src/isolation/policy.ts'
import { placeSession, scopeName } from '../../../src/isolation/sessions.ts'
import { systemClock } from '../../../src/platform/clock.ts'
import { quietLog } from '../../support/ports.ts'
import { bootVoGuest } from './vo-guest.ts'

test.serial("a job is born in its VO's group, systemd's tools show it, and its group goes with it", async (t) => {
  const { g, limit, job } = await bootVoGuest(t)
  const slice = await limit('a', { 'cpu.weight': '50' })
  const first = job('a', 'cat /proc/self/cgroup; exec sleep 77')
  await g.until('pgrep -x sleep -u 1879179265')
  t.regex(await g.must('systemd-cgls --no-pager /xos.slice'), /xos-a\.slice[\s\S]*xos-cells-a\.service[\s\S]*job-n1-1[\s\S]*sleep 77/)
  await g.must('pkill -x sleep -u 1879179265')
  const { status, stdout, stderr } = await first
  t.is(status, 143, stderr)
  t.regex(stdout, /^0::\/xos\.slice\/xos-a\.slice\/xos-cells-a\.service\/user-[0-9]+\/job-n1-1\n/m)
  t.is(await g.must(`cat ${slice}/cpu.weight`), '50\n')
  t.regex(await g.must('systemctl status --no-pager xos-a.slice'), /xos-cells-a\.service/)
  await g.until(`! find ${slice} -name 'job-*' | grep .`)
  // A relay that is killed leaves nothing behind: its cells die with it, and the next one removes their groups.
  const running = g.start(`sh /run/in-session ${Buffer.from('a---------------').toString('hex')} 1879179265 'sleep 1000'`)
  await g.until(`find ${slice} -name 'job-*' | grep .`)
  await g.must('systemctl kill --signal=KILL --kill-whom=main xos-relayd')
  t.is((await running.finished).status, 137)
  await g.until("systemctl is-active xos-relayd && test -S /run/xos/relayd.ctl && ! pgrep -x sleep -u 1879179265")
  await limit('b', {})
  await g.must(`python3 /run/control`, { input: `${JSON.stringify({ op: 'vo-limits', vo: 'a', cells: {}, directory: `${slice}/xos-cells-a.service` })}\n` })
  await g.until(`! find ${slice} -name 'job-*' | grep .`)
  t.is(await g.splats(), '')
})

test.serial('a memory hog and a fork bomb of one VO are held, told in plain words, and do not make the other one fail', async (t) => {
  const { g, limit, job } = await bootVoGuest(t)
  const a = await limit('a', { 'pids.max': '60', 'memory.max': '134217728' })
  const b = await limit('b', {})
  const memory = await job('a', "exec perl -e '$x = \"x\" x (400 << 20); print length $x'")
  t.is(memory.status, 137)
  t.regex(memory.stderr, /killed: memory limit of VO 'a' \(128 MiB\) on node 'n1'/)
  const bomb = await job('a', "exec perl -e 'while (1) { my $p = fork; defined $p or do { print \"refused\\n\"; exit 3 }; $p or sleep 60, exit }'")
  t.is(bomb.stdout, 'refused\n', bomb.stderr)
  t.is(bomb.status, 3)
  t.regex(await g.must(`cat ${a}/pids.events ${a}/memory.events`), /max [1-9][\s\S]*oom_kill [1-9]/)
  t.is((await job('b', 'echo well')).stdout, 'well\n')
  t.regex(await g.must(`cat ${b}/pids.events ${b}/memory.events`), /max 0[\s\S]*oom_kill 0/)
})

test.serial("a VO's firewall holds for its jobs alone, keeps them off the grid's ports, and leaves other tables as they are", async (t) => {
  const { g, limit, job } = await bootVoGuest(t)
  await limit('a', {})
  await limit('b', {})
  await g.must('nft add table inet other; nft add chain inet other keep')
  const policy = merge({ 'firewall.deny': '127.0.0.2:9000 10.0.0.0/8' }, {})
  const options = { vo: 'a', group: 'xos.slice/xos-a.slice', service_ports: [7001, 7002, 7003, 7004] }
  await g.must('nft -f -', { input: firewallRules(policy, options) })
  await g.must('nft -f -', { input: firewallRules(policy, options) })
  t.is((await g.must('nft list ruleset')).match(/jump vo_a/g)?.length, 1, 'set twice is there once')
  await g.must('ip link add dummy0 type dummy; ip address add 10.9.9.9/8 dev dummy0; ip link set dummy0 up')
  await g.put(Buffer.from("import socket,sys\ns=socket.socket()\ns.settimeout(5)\ntry:\n s.connect((sys.argv[1],int(sys.argv[2])));print('connected')\nexcept OSError as e: print(e.errno)\n"), '/usr/bin/try-port')
  const from = async (vo: string, port: string): Promise<string> => (await job(vo, `python3 /usr/bin/try-port ${port}`)).stdout.trim()
  t.is(await from('b', '127.0.0.1 7002'), 'connected', 'the relay listens')
  t.is(await from('a', '127.0.0.1 7002'), '111')
  t.is(await from('b', '127.0.0.1 9'), '111')
  t.not(await from('b', '10.1.2.3 9'), '13')
  t.is(await from('a', '10.1.2.3 9'), '113', 'administratively prohibited')
  await g.must('nft list table inet other')
  await g.must('nft delete table inet xos')
  t.is(await from('a', '127.0.0.1 7002'), 'connected', 'and it can be taken away')
})

test.serial("a login's processes are taken under the VO's slice, also those that it has started", async (t) => {
  const { g, limit, ports } = await bootVoGuest(t)
  await limit('a', {})
  const login = g.start('sleep 1000 & echo $$ $!; wait')
  const [, shell = '', child = ''] = await login.seen(/([0-9]+) ([0-9]+)\n/)
  const id = 'c'.repeat(32)
  const held = { session: id, user: 'x', vo: 'a', uid: 1, gid: 1, groups: [], roles: [], origin: 'n1', home: '', expires_ms: 0, started_ms: 0, pid: Number(shell) }
  const placed = placeSession(held, { vo: 'a', hierarchy: 'systemd', clock: systemClock, ...ports, log: quietLog }, new AbortController().signal)
  // What the login started before it was taken in, or what another module of PAM took out, is fetched.
  await g.until(`grep -q ${scopeName(id)} /proc/${child}/cgroup`)
  await g.must(`echo ${child} >/sys/fs/cgroup/user.slice/cgroup.procs`)
  await placed
  for (const pid of [shell, child]) t.is(await g.must(`cat /proc/${pid}/cgroup`), `0::/xos.slice/xos-a.slice/${scopeName(id)}\n`)
  t.regex(await g.must(`systemctl status --no-pager ${scopeName(id)}`), /Session of x@a/)
  await g.must(`kill ${child} ${shell}`)
  await g.until(`! systemctl is-active ${scopeName(id)}`)
})
