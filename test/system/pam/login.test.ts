// Logins on machines with systemd: at the console by getty and login, over the network by sshd, from node to node without a word; what a lock-out does
// there, what a logout leaves, and what a revocation takes.
//
//   n1 (founds VO demo: alice, an admin, and bob; sshd; xos_cred and xos_exec loaded) ── switch in this process ── n2 (joined; the same)
import test, { type ExecutionContext } from 'ava'
import { type ConsoleShell, consoleLogin, type GuestGrid, foundGrid } from '../support/grid.ts'
import type { Guest } from '../support/guest.ts'

const together_ms = 240_000
const [alice_uid, bob_uid] = [1879113729, 1879113730]
const bobs_password = 'second-horse-2'

/** What of a user is on a machine: processes, groups of systemd, keys, logins. */
const traces = (uid: number): string => `pgrep -u ${uid} -l; systemctl list-units --plain --no-legend 'xos-session-*'; grep -E 'xos:(session|credential)' /proc/keys; loginctl list-sessions --no-legend | grep -w ${uid}; true`

async function noTraces (guests: readonly Guest[], uid: number): Promise<void> {
  await Promise.all(guests.map((g) => g.until(`left=$(${traces(uid)}); echo "$left"; [ -z "$left" ]`, together_ms)))
}

/** ssh as a person uses it who types a password, by a program that is asked for it: the lines of /run/askpass.words, one for each prompt. */
const askpass = '#!/bin/sh\nhead -n 1 /run/askpass.words\nsed -i 1d /run/askpass.words\n'

async function ssh (g: Guest, user: string, passwords: readonly string[], line: string): Promise<{ readonly status: number, readonly stdout: string, readonly stderr: string }> {
  await g.put(Buffer.from(askpass), '/run/askpass', '0700')
  await g.put(Buffer.from(passwords.map((word) => `${word}\n`).join('')), '/run/askpass.words', '0600')
  const options = ['IdentityAgent=none', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', `NumberOfPasswordPrompts=${passwords.length}`, 'PreferredAuthentications=keyboard-interactive', 'ConnectTimeout=60']
  return await g.run(`SSH_ASKPASS=/run/askpass SSH_ASKPASS_REQUIRE=force ssh ${options.map((option) => `-o ${option}`).join(' ')} -l ${user} ${g.address} '${line}'`, { timeout_ms: together_ms })
}

/** The same with the right password, by who tries again when told to: an emulated machine whose cores are busy elsewhere answers later than a login waits. */
async function letIn (t: ExecutionContext, g: Guest, user: string, password: string, line: string): Promise<string> {
  for (const end = performance.now() + 600_000; ;) {
    const { status, stdout, stderr } = await ssh(g, user, [password], line)
    if (status === 0) return stdout
    const said = await g.must('journalctl --output cat --unit xosd --no-pager --lines 5')
    if (performance.now() > end) throw new Error(`'${user}' is not let in by ssh on '${g.name}': ${stderr}\n${said}`)
    t.log(`again: ${stderr.trim()}; xosd says: ${said.trim()}`)
  }
}

/** The console: getty, login, pam_xos; what of it is to be seen with systemd's own tools. */
async function atTheConsole (t: ExecutionContext, n1: Guest, alice: ConsoleShell): Promise<void> {
  t.is((await alice.run('id -un; pwd; tty')).output, 'alice@demo\n/home/alice\n/dev/ttyS0\n')
  const shell = (await alice.run('echo $$')).output.trim()
  await n1.until(`cat /proc/${shell}/cgroup; grep -q '^0::/xos.slice/xos-demo.slice/xos-session-.*[.]scope$' /proc/${shell}/cgroup`)
  t.regex(await n1.must('systemd-cgls --no-pager /xos.slice'), /xos-demo\.slice[^]*xos-session-[0-9a-f]+\.scope[^]*login -- alice@demo[^]*bash/)
  t.regex(await n1.must("systemctl status --no-pager 'xos-session-*'"), /Session of alice@demo/)
  t.regex(await n1.must('grep xos: /proc/keys'), /xos_cred +xos:credential/)
  t.regex(await n1.must('findmnt -no FSTYPE /home/alice'), /^fuse\.xtreemfs$/m)
}

/** Nobody but root puts anything where root's services look: no file, no link, no folder of theirs can be swapped. */
async function nothingToSwap (t: ExecutionContext, n1: Guest, alice: ConsoleShell): Promise<void> {
  const places = ['/run/xos', '/run/xos/ssh-agent', '/var/lib/xos', '/var/lib/xos/node', '/var/lib/xos/ssh', '/etc/xos']
  await n1.put(Buffer.from(`for place in ${places.join(' ')}; do ln -s /etc/shadow $place/mine 2> /dev/null && echo $place; done; cat /var/lib/xos/node/key.pem 2>&1 | grep -c denied`), '/run/try.sh')
  t.is((await alice.run('bash /run/try.sh')).output, '1\n')
  // Where members may write, each has files of his own: sticky, as /tmp.
  t.is(await n1.must('find /run/xos /var/lib/xos /etc/xos /usr/lib/xos -xdev -perm /022 ! -perm -1000 ! -type l ! -type s'), '')
}

/** sshd starts the session in another process than the one that asked for the password; from node to node it asks for none. */
async function overTheNetwork (t: ExecutionContext, n1: Guest, n2: Guest, alice: ConsoleShell): Promise<void> {
  for (const g of [n1, n2]) {
    await g.until('test -e /var/lib/xos/ssh/host-cert.pub', together_ms)
    await g.must('systemctl restart ssh')
    await g.until('ss -Hltn "sport = :22" | grep -q .', together_ms)
  }
  t.is(await letIn(t, n1, 'bob@demo', bobs_password, 'id -un; pwd; keyctl show | grep -c xos:'), 'bob@demo\n/home/bob\n2\n')

  await n1.put(Buffer.from("for try in {1..60}; do ssh -o BatchMode=yes n2 true && break; sleep 2; done\nssh -o BatchMode=yes n2 'id -un; pwd; cat /proc/sys/kernel/hostname; cat /proc/self/cgroup; echo $XOS_SESSION'; echo $XOS_SESSION; ls -A ~/.ssh\n"), '/run/node.sh')
  const said = await alice.run('bash /run/node.sh 2> node.err; cat node.err > /dev/null')
  const [user, home, host, group, session, first] = said.output.split('\n')
  t.deepEqual([user, home, host], ['alice@demo', '/home/alice', 'n2'], said.output)
  t.regex(group ?? '', /^0::\//)
  t.regex(session ?? '', /^[0-9a-f]{32}$/)
  t.not(session, first, 'a session of its own')
}

/** Guesses: the name waits at this node, also for who knows the password; the admin ends that. */
async function lockedOut (t: ExecutionContext, n1: Guest): Promise<void> {
  const log = async (since: string): Promise<string> => await n1.must(`journalctl --output cat --unit xosd --no-pager --after-cursor='${since}'`)
  const cursor = async (): Promise<string> => /-- cursor: (.*)/.exec(await n1.must('journalctl --lines 0 --show-cursor --unit xosd --no-pager'))?.[1] ?? ''
  const start = await cursor()
  let counted = start
  for (const end = performance.now() + 900_000; ;) {
    // Four guesses are free; from the tenth on it waits for half a minute and more, which is longer than the next prompt of the same connection takes.
    while ((await log(counted)).split('XOS_WRONG_PASSWORD').length <= 10 && performance.now() < end) await ssh(n1, 'bob@demo', ['guess-1', 'guess-2', 'guess-3'], 'true')
    const before = await cursor()
    const { status } = await ssh(n1, 'bob@demo', ['guess-4', bobs_password], 'true')
    const [first, second] = [...(await log(before)).matchAll(/XOS_WRONG_PASSWORD|XOS_LOCKED/g)].map(([code]) => code)
    if (status !== 0 && first === 'XOS_WRONG_PASSWORD' && second === 'XOS_LOCKED') break
    // The wait was over before the right password came, which forgives the name: from the start. Or it began before the guess: once more.
    if (status === 0) counted = await cursor()
    if (performance.now() > end) throw new Error(`no right password was refused while the name waits: ${await log(start)}`)
  }
  t.regex(await log(start), /logins of 'bob@demo' from '[^']+' wait for [0-9]+ s after too many wrong passwords/)
  t.notRegex(await log(start), /guess-|second-horse/, 'a password is never logged')
  await n1.must('xvo member unlock demo bob', { timeout_ms: together_ms })
}

/** A service of a user's own that only KILL ends, and that hides where his systemd itself is. */
const stubborn = `#!/bin/bash
echo $$ > /sys/fs/cgroup/user.slice/user-${bob_uid}.slice/user@${bob_uid}.service/init.scope/cgroup.procs || exit 1
trap "" HUP INT TERM
while :; do sleep 1; done
`

/** Revoked while logged in at the console and, from there, on the other node: the credential leaves the kernel, and all of the user's processes end. */
async function revoked (t: ExecutionContext, n1: Guest, n2: Guest): Promise<void> {
  const bob = await consoleLogin(n1, 'bob@demo', bobs_password)
  await bob.run('(nohup xlocal sleep 1000 > /dev/null 2>&1 &)')
  await bob.run('for try in {1..60}; do ssh -o BatchMode=yes n2 true && break; sleep 2; done 2> /dev/null')
  await bob.run("(nohup ssh -o BatchMode=yes n2 'xlocal sleep 1000' > /dev/null 2>&1 &)")
  await n2.until(`pgrep -u ${bob_uid} -x sleep`, together_ms)
  // His own systemd waits a minute and a half for what does not want to end, if it is let.
  await n1.put(Buffer.from(stubborn), '/run/stubborn', '0755')
  const own = await bob.run('xlocal systemd-run --user --quiet /run/stubborn')
  t.is(own.status, 0, own.output)
  await n1.until(`grep user@${bob_uid}.service/init.scope /proc/$(pgrep -u ${bob_uid} -x stubborn)/cgroup`, together_ms)
  t.regex(await n1.must('grep xos: /proc/keys'), /xos_cred +xos:credential: [1-9]/)
  const begun = performance.now()
  await n1.must('xvo member revoke demo bob', { timeout_ms: together_ms })
  await Promise.all([n1, n2].map(async (g) => {
    await noTraces([g], bob_uid)
    const told_s = (performance.now() - begun) / 1000
    const at = (await g.must(`journalctl --output short-unix --no-pager | sed -n '/credentials of revoked members wiped/,$ p' | grep -E 'credentials of|Stopped user@${bob_uid}|xos-session-[0-9a-f]+[.]scope: Deactivated' | cut -d ' ' -f 1`)).trim().split('\n').map(Number)
    t.log(`nothing of bob is on '${g.name}' ${(Math.max(...at) - (at[0] ?? 0)).toFixed(1)} s after it heard of the revocation, which is seen ${Math.round(told_s)} s after the command`)
  }))
  for (const g of [n1, n2]) await g.until("journalctl --output cat --unit xosd --no-pager | grep 'credentials of revoked members wiped in the kernel'", together_ms)
  await n1.console.expect(/login: $/, together_ms)
  t.not((await ssh(n1, 'bob@demo', [bobs_password], 'true')).status, 0)
}

test.serial('members log in at the console and by ssh, are locked out, log out without a trace, and lose everything when revoked', async (t) => {
  t.timeout(2_400_000)
  const grid: GuestGrid = await foundGrid(t, ['n1', 'n2'], { modules: ['xos_cred', 'xos_exec'] })
  const [n1, n2] = grid.guests as [Guest, Guest]
  await n1.must('xvo member add demo bob --password-stdin', { input: `${bobs_password}\n`, timeout_ms: together_ms })
  const alice = await consoleLogin(n1, grid.user, grid.password)
  await atTheConsole(t, n1, alice)
  await nothingToSwap(t, n1, alice)
  await overTheNetwork(t, n1, n2, alice)
  await alice.exit()
  await noTraces([n1, n2], alice_uid)
  t.is(await n1.must('stat -c %U /dev/ttyS0'), 'root\n')
  await lockedOut(t, n1)
  await revoked(t, n1, n2)

  for (const g of [n1, n2]) {
    await g.until("xnode status --json | grep -q '\"sessions\": 0'", together_ms)
    // Homes stay for ten minutes after their last user, and are gone then.
    await g.must('findmnt -rn /home/alice')
    await g.must("date -s '+11 minutes' > /dev/null")
    await g.until("! findmnt -rno TARGET | grep '^/home/'", together_ms)
    t.is(await g.must('systemctl --failed --plain --no-legend'), '')
    t.is(await g.splats(), '')
  }
})
