// Logging in: the real login, su and passwd of Debian, our PAM modules, the real xosd.
//
//   n1 (registry of VO demo) ─── n2      members: alice (made by the grid), bob, carol (made here)
import test, { type ExecutionContext } from 'ava'
import { expectDone, gridFor } from './support/grid.ts'
import { asked, canLogIn, dialogue, loggedIn, login, prompt, type Dialogue, type Step } from './support/login.ts'

const grid = gridFor(test, { nodes: 2 })
const passwords = { 'bob@demo': 'bobs-first-secret', 'carol@demo': 'carols secret = 100% ä' } as const

const addMember = async (name: 'bob' | 'carol'): Promise<void> => {
  await expectDone(grid.root('n1', `xvo member add demo ${name} --password-stdin`, { input: `${passwords[`${name}@demo`]}\n` }), `xvo member add ${name}`)
}

/** The outputs of the steps that have one; fails when a step did. */
function outputs (t: ExecutionContext, done: Dialogue): string[] {
  t.is(done.error, null)
  return done.results.map(({ output }) => output)
}

const sessions = async (): Promise<number> => (await grid.status()).nodes.reduce((sum, node) => sum + (node.sessions ?? 0), 0)
const noSessions = (): Promise<void> => grid.until('no session is left', async () => await sessions() === 0)

test.serial('a member who is added logs in on every node at once', async (t) => {
  await addMember('bob')
  for (const node of ['n2', 'n1']) {
    const [id, home, tty, left] = outputs(t, await login(grid, node, 'bob@demo', [...loggedIn(passwords['bob@demo']), ['run', 'id'], ['run', 'pwd; echo $HOME $USER $SHELL $XOS_VO'],
      ['run', 'stat -c "%U %a" "$(tty)"'], ['send', 'exit'], ['end']]))
    t.regex(id ?? '', /^uid=1879113730\(bob@demo\) gid=1879113730\(bob@demo\) groups=.*1879113728\(members@demo\)/)
    t.is(home, '/home/bob\n/home/bob bob@demo /bin/bash demo\n')
    t.is(tty, 'bob@demo 600\n')
    t.is(left, '')
  }
  await noSessions()
})

test.serial('names and numbers are the same on every node', async (t) => {
  const look = 'getent passwd alice@demo bob@demo 1879113730; getent group members@demo bob@demo; id bob@demo; getent passwd nobody@demo 1879119999; echo $?'
  const [one, two] = await Promise.all(['n1', 'n2'].map((node) => grid.root(node, look)))
  t.is(one?.stdout, two?.stdout)
  t.regex(one?.stdout ?? '', /^alice@demo:[^:]*:1879113729:1879113729:[^:]*:\/home\/alice:\/bin\/bash\nbob@demo:.*\nbob@demo:/)
  t.regex(one?.stdout ?? '', /members@demo:[^:]*:1879113728:.*alice@demo.*\n[^]*2\n$/)
})

test.serial('who may not is refused: politely to the user, with the reason in the log of the node', async (t) => {
  const refusal = async (user: string, password: string, line: string): Promise<void> => {
    t.is((await login(grid, 'n2', user, [...asked(password), ['expect', `${line}\\s+Login incorrect`]])).error, null, user)
  }
  await refusal('bob@demo', 'wrong', 'Login refused\\.')
  await refusal('nobody@demo', 'wrong', 'Login refused\\.')
  await refusal('bob@foo', passwords['bob@demo'], "The virtual organisation 'foo' is not known here\\.")
  t.is((await login(grid, 'n2', 'bob@demo@demo', [['expect', 'Login incorrect']])).error, null, 'no name, so there is nothing to ask')
  const { stdout } = await grid.xgrid(['logs', 'n2', '--lines', '200'])
  t.regex(stdout, /auth refused.*XOS_WRONG_PASSWORD/)
  t.regex(stdout, /auth refused.*XOS_VO_UNKNOWN/)
  t.notRegex(stdout, new RegExp(passwords['bob@demo']), 'a password is never logged')
  const unknown = await grid.exec('id', { user: 'bob@demo' })
  t.deepEqual([unknown.status > 0 && unknown.status <= 2, unknown.stdout], [true, ''], 'the grid logs in whom it made itself')
  t.is(await sessions(), 0)
})

test.serial('job control works on the terminal of a login', async (t) => {
  const [stopped, ended, interrupted] = outputs(t, await login(grid, 'n1', 'bob@demo', [...loggedIn(passwords['bob@demo']),
    ['send', 'xlocal sleep 1000'], ['expect', 'sleep 1000\\s'], ['type', '\u001a'], ['expect', 'Stopped'], ['run', 'jobs | grep -c Stopped'],
    ['run', 'bg %1; kill %1; wait %1; echo $?'], ['run', 'echo again'], ['send', 'exit'], ['end']]))
  t.is(stopped, '1\n')
  t.regex(ended ?? '', /143\n$/)
  t.is(interrupted, 'again\n')
})

test.serial("a session's keys are for this session only, and gone after its end", async (t) => {
  const loop = 'setsid bash -c \'while keyctl pipe $0 >/dev/null 2>&1; do sleep 0.1; done; echo gone > ~/keys\' $(keyctl search @s user xos:session) </dev/null >/dev/null 2>&1 &'
  const first = grid.startExec(`rm -f ~/keys; ${loop} echo key $(keyctl search @s user xos:session) ring $(keyctl id @s) credential $(keyctl search @s user xos:credential); ` +
    'keyctl pipe $(keyctl search @s user xos:session); echo; keyctl pipe $(keyctl search @s user xos:credential); echo end; read line')
  const input = first.seen(/key (\d+) ring (\d+) credential (\d+)\n([0-9a-f]{32}:[0-9a-f]{32})\n(-----BEGIN CERTIFICATE-----[^]*)end\n/)
  const [, key, ring, credential] = await input
  const other = await grid.exec(`for id in ${key} ${credential}; do keyctl pipe $id; keyctl link $id @s; keyctl setperm $id 0x3f3f3f3f; done 2>&1; keyctl link ${ring} @s 2>&1; keyctl list ${ring} 2>&1`)
  t.notRegex(other.stdout, /[0-9a-f]{32}|BEGIN|xos:/)
  t.is((await grid.root('n1', `keyctl pipe ${key}`)).status === 0, false, 'not even for root outside')
  await first.finished
  await grid.until('the session is over and its keys are gone', async () => (await grid.exec('cat ~/keys 2>/dev/null')).stdout === 'gone\n')
  await noSessions()
})

test.serial('nothing of the environment of the caller gets into a session', async (t) => {
  const evil = { XOS_LOGIN_HANDLE: '0'.repeat(32), XOS_SESSION: '0'.repeat(32), BASH_ENV: '/tmp/evil', EVIL: '1', IFS: 'x', PYTHONPATH: '/tmp' }
  const { stdout } = await grid.exec(['env'], { env: { ...process.env, XOS_GRID: grid.name, ...evil } })
  t.deepEqual(stdout.split('\n').map((line) => line.split('=')[0]).filter((name) => name !== '' && name !== '_').sort(),
    ['HOME', 'LANG', 'LOGNAME', 'PATH', 'SHELL', 'SSH_AUTH_SOCK', 'TERM', 'USER', 'XOS_NODE_HOME', 'XOS_SESSION', 'XOS_VO'])
  t.notRegex(stdout, /0{32}|LOGIN_HANDLE/)
})

test.serial('setuid programs work in a session; su opens a session inside of it', async (t) => {
  await addMember('carol')
  const [first, id, second, back, mount] = outputs(t, await login(grid, 'n1', 'bob@demo', [...loggedIn(passwords['bob@demo']), ['run', 'keyctl search @s user xos:session'],
    ['send', 'su - carol@demo'], ...loggedIn(passwords['carol@demo']), ['run', 'id -un; pwd'], ['run', 'keyctl search @s user xos:session'], ['send', 'exit'], ['expect', 'logout'], ['expect', prompt],
    ['run', 'id -un; keyctl search @s user xos:session'], ['run', 'mount -t tmpfs none /mnt 2>/dev/null; echo $?'], ['send', 'exit'], ['end']]))
  t.is(id, 'carol@demo\n/home/carol\n')
  t.not(first, second)
  t.is(back, `bob@demo\n${first}`)
  t.not(mount, '0\n')
  await noSessions()
})

test.serial('a member changes the password; the old one is refused from then on', async (t) => {
  const changed = await login(grid, 'n2', 'bob@demo', [...loggedIn(passwords['bob@demo']), ['send', 'passwd'], ['expect', '[Cc]urrent.*assword: '], ['send', passwords['bob@demo']],
    ['expect', '[Nn]ew .*assword: '], ['send', 'bobs-second-secret'], ['expect', '[Rr]etype.*assword: '], ['send', 'bobs-second-secret'], ['expect', prompt], ['run', 'true'], ['send', 'exit'], ['end']])
  t.is(changed.error, null)
  t.is((await login(grid, 'n1', 'bob@demo', loggedIn('bobs-second-secret'))).error, null)
  t.is((await login(grid, 'n1', 'bob@demo', [...asked(passwords['bob@demo']), ['expect', 'Login refused\\.']])).error, null)
})

test.serial('a hangup, and a login that is killed, end the session', async (t) => {
  for (const end of ['hang up', 'kill'] as const) {
    outputs(t, await login(grid, 'n1', 'bob@demo', [...loggedIn('bobs-second-secret'), [end]]))
    await noSessions()
  }
  const running = grid.startExec('echo begun; exec xlocal sleep 1000')
  await running.seen(/begun/)
  await grid.root('n1', 'pkill -KILL -x xenter')
  await running.finished
  await noSessions()
})

test.serial('a revoked member is refused on every node, and running sessions lose the grid', async (t) => {
  const running = grid.startExec('echo begun; exec xlocal sleep 1000', { user: 'alice@demo' })
  await running.seen(/begun/)
  t.is((await login(grid, 'n2', 'carol@demo', [...loggedIn(passwords['carol@demo']), ['send', 'exit'], ['end']])).error, null)
  await expectDone(grid.root('n1', 'xvo member revoke demo carol'), 'xvo member revoke')
  for (const node of ['n1', 'n2']) {
    await grid.until(`carol is refused on ${node}`, async () => !await canLogIn(grid, node, 'carol@demo', passwords['carol@demo']))
  }
  t.is((await grid.exec('id -un')).stdout, 'alice@demo\n', 'others are not concerned')
  running.kill('SIGTERM')
  await running.finished
})

test.serial('guesses make the name wait, for everybody alike and a minute at most; an admin ends it on every node', async (t) => {
  const guess = async (user: string): Promise<string> => (await login(grid, 'n2', user, [...asked('guess'), ['read', 'Login refused|Too many failed logins; try again in [0-9]+ seconds']])).results[0]?.output ?? ''
  for (const user of ['bob@demo', 'nobody-at-all@demo']) {
    const said: string[] = []
    for (let count = 0; count < 12 && !said.at(-1)?.startsWith('Too many'); count++) said.push(await guess(user))
    t.regex(said.at(-1) ?? '', /^Too many/, `${user}: ${said.join(' | ')}`)
    t.true(said.length > 4, 'the first failures cost nothing')
  }
  t.true(await canLogIn(grid, 'n1', 'bob@demo', 'bobs-second-secret'), 'not where the guesses did not come from')
  const shown = JSON.parse((await expectDone(grid.root('n1', 'xvo member show demo bob --json'), 'xvo member show')).stdout) as { places: { node: string, failures: number }[] }
  t.true(shown.places.some(({ node, failures }) => node === 'n2' && failures >= 4))
  await expectDone(grid.root('n1', 'xvo member unlock demo bob'), 'xvo member unlock')
  await grid.until('bob gets in on n2', () => canLogIn(grid, 'n2', 'bob@demo', 'bobs-second-secret'), 20_000)
  t.notRegex((await grid.root('n1', 'xvo member show demo bob')).stdout, /at node n2/)
})

test.serial('a password that somebody else made is changed at the first login, by rules that are told', async (t) => {
  await expectDone(grid.root('n1', "xvo login-policy demo password-length-min=12 && printf 'for-one-login-only\\n' | xvo member passwd demo bob --password-stdin --change"), 'xvo member passwd')
  const old: Step[] = [['expect', '[Cc]urrent.*assword: '], ['send', 'for-one-login-only']]
  const wish = (password: string): Step[] => [['expect', '[Nn]ew .*assword: '], ['send', password]]
  const again = (password: string): Step[] => [['expect', '[Rr]etype.*assword: '], ['send', password]]
  const changed = await login(grid, 'n2', 'bob@demo', [...asked('for-one-login-only'), ['expect', 'Your password has expired'], ...old,
    ...wish('password'), ['expect', 'BAD PASSWORD'], ...wish('zebra-Quartz-77-lamp'), ...again('zebra-Quartz-77-lamp'), ['expect', prompt], ['run', 'id -un'], ['send', 'exit'], ['end']])
  t.is(changed.error, null)
  t.is(changed.results[0]?.output, 'bob@demo\n')
  t.true(await canLogIn(grid, 'n1', 'bob@demo', 'zebra-Quartz-77-lamp'))
  const passwd = (password: string, told: string): Promise<Dialogue> => login(grid, 'n1', 'bob@demo', [...loggedIn('zebra-Quartz-77-lamp'), ['send', 'passwd'], ['expect', '[Cc]urrent.*assword: '], ['send', 'zebra-Quartz-77-lamp'],
    ...wish(password), ...again(password), ['expect', told], ['expect', prompt], ['send', 'exit'], ['end']])
  t.is((await passwd('qZ7-mn!4xW', 'it needs at least 12 characters')).error, null)
  t.is((await passwd('bobs-second-secret', 'it must differ from your last 3')).error, null)
  await expectDone(grid.root('n1', "xvo login-policy demo password-length-min=8 password-history=0 && printf 'bobs-second-secret\\n' | xvo member passwd demo bob --password-stdin"), 'xvo login-policy')
})

test.serial('a node that is cut off lets in who was there before, on this node only, as the policy says', async (t) => {
  t.true(await canLogIn(grid, 'n2', 'bob@demo', 'bobs-second-secret'))
  await grid.until('n2 keeps a verifier', async () => (await grid.root('n2', 'grep -c bob /var/lib/xos/node/offline.json')).status === 0)
  t.is((await grid.root('n2', 'stat -c "%U %a" /var/lib/xos/node/offline.json')).stdout, 'root 600\n')
  await expectDone(grid.xgrid(['cut', 'n2']), 'xgrid cut')
  const offline = await login(grid, 'n2', 'bob@demo', [...asked('bobs-second-secret'), ['expect', 'you are logged in to this node only'], ['expect', prompt],
    ['run', 'id -un; keyctl search @s user xos:credential 2>/dev/null | wc -l; cd /; xrun hostname; ssh-add -l 2>/dev/null | wc -l'], ['send', 'exit'], ['end']])
  t.is(offline.error, null)
  t.is(offline.results[0]?.output, 'bob@demo\n0\nn2\n0\n')
  t.is((await login(grid, 'n2', 'bob@demo', [...asked('wrong'), ['expect', 'Login refused\\.']])).error, null)
  t.is((await login(grid, 'n2', 'alice@demo', [...asked('any'), ['expect', 'Login refused|The grid cannot be reached; try again later']])).error, null)
  await expectDone(grid.xgrid(['heal', 'n2']), 'xgrid heal')
  await grid.until('n2 hears the registry', async () => (await grid.status()).nodes.every(({ state }) => state === 'ready'))
  await expectDone(grid.root('n1', 'xvo login-policy demo offline-hours-max=0'), 'xvo login-policy')
  await grid.until('n2 knows the policy', async () => (await grid.root('n2', 'grep -c . /var/lib/xos/vo/membership.json')).status === 0 &&
    Buffer.from((JSON.parse((await grid.root('n2', 'cat /var/lib/xos/vo/membership.json')).stdout) as { payload: string }).payload, 'base64').includes('"offline_hours_max":0'))
})

test.serial('a node that is cut off from the registry says so, and its own users log in as ever', async (t) => {
  await expectDone(grid.xgrid(['cut', 'n2']), 'xgrid cut')
  const away = await login(grid, 'n2', 'bob@demo', [...asked('bobs-second-secret'), ['expect', 'The grid cannot be reached; try again later\\.']])
  t.is(away.error, null)
  await grid.root('n2', 'useradd -m -s /bin/bash local && echo local:native-secret | chpasswd')
  t.is((await login(grid, 'n2', 'local', [...loggedIn('native-secret'), ['run', '/usr/bin/true'], ['send', 'exit'], ['end']])).error, null)
  await expectDone(grid.xgrid(['heal', 'n2']), 'xgrid heal')
  await grid.until('bob logs in again', () => canLogIn(grid, 'n2', 'bob@demo', 'bobs-second-secret'))
})

// In brackets, so that the shell which looks for it does not find itself.
const daemon = '/dist/src/daemon/[m]ain.js'

test.serial('an agent that hangs, or is away, does not hang a login', async (t) => {
  await expectDone(grid.root('n2', `pkill -STOP -f '${daemon}'`), 'stop xosd')
  t.is((await login(grid, 'n2', 'bob@demo', [...asked('bobs-second-secret'), ['expect', 'The grid cannot be reached; try again later\\.']])).error, null)
  t.is((await grid.root('n2', 'getent passwd bob@demo; ls -l /home')).status, 0, 'names need no daemon')
  await expectDone(grid.root('n2', `pkill -CONT -f '${daemon}'; sv -w 20 force-stop /run/service/xosd; pgrep -f '${daemon}'; test $? = 1`), 'end xosd')
  t.is((await dialogue(grid, 'n2', ['/usr/bin/login', 'bob@demo'], [...asked('bobs-second-secret'), ['expect', 'The grid cannot be reached; try again later\\.']])).error, null)
  await expectDone(grid.root('n2', 'sv up /run/service/xosd'), 'start xosd')
  await grid.until('bob logs in again', () => canLogIn(grid, 'n2', 'bob@demo', 'bobs-second-secret'))
})
