// Needs root and the anchor root, which the bench installs on its first run:
//
//   this process ── unshare ── pid 1 of the pen (n1: 10.79.0.1) ══ veth ══ n2: 10.79.0.2

import test from 'ava'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pen } from './pen.ts'
import { buildPrograms, programNames } from './programs.ts'

const path = '/var/lib/xos/anchors/bookworm'
const why = process.getuid?.() !== 0 ? 'needs root' : !existsSync(`${path}/usr/sbin/sshd`) ? `needs the anchor root '${path}'; any run of the bench makes it` : null
const penTest = why === null ? test.serial : test.skip
if (why !== null) console.log(`skipped: test/bench/anchors/pen.test.ts: ${why}`)

function stateDirectory(t: { teardown: (release: () => void) => void }): string {
  const state = mkdtempSync(join(tmpdir(), 'xos-pen-'))
  t.teardown(() => { rmSync(state, { recursive: true, force: true }) })
  return state
}

penTest('a pen has two nodes that reach each other, and nothing of the machine', async (t) => {
  const pen = await Pen.open({ path, state: stateDirectory(t) })
  t.teardown(() => pen.close())
  const { stdout } = await pen.sh(`
    python3 -c 'import socket; s = socket.create_server(("10.79.0.1", 7)); print(s.accept()[1][0])' &
    for i in $(seq 50); do ip netns exec n2 bash -c ': < /dev/tcp/10.79.0.1/7' 2> /dev/null && break; sleep 0.1; done; wait`)
  t.is(stdout.trim(), '10.79.0.2')
  t.is((await pen.sh('ls /sys/class/net')).stdout.trim().split(/\s+/).join(' '), 'eth0 lo')
  const outside = readFileSync('/proc/self/mountinfo', 'utf8')
  t.false(outside.includes('/mnt/upper'))
})

penTest('what is written in a pen goes with it, except in its state directory', async (t) => {
  const state = stateDirectory(t)
  const pen = await Pen.open({ path, state })
  t.teardown(() => pen.close())
  await pen.write('/etc/of-the-pen', 'x')
  await pen.write('/state/kept', 'y')
  await pen.close()
  t.false(existsSync(`${path}/etc/of-the-pen`))
  t.is(readFileSync(`${state}/kept`, 'utf8'), 'y')
  t.false(existsSync(`/proc/${pen.pid}`))
})

penTest('a pen dies with its bench, also by KILL', async (t) => {
  const script = `import { Pen } from ${JSON.stringify(new URL('pen.ts', import.meta.url).pathname)}
    const pen = await Pen.open({ path: ${JSON.stringify(path)}, state: ${JSON.stringify(stateDirectory(t))} })
    console.log(pen.pid)
    setInterval(() => {}, 1000)`
  const bench = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { bench.kill('SIGKILL') })
  const pid = await new Promise<number>((resolve, reject) => {
    bench.stdout.once('data', (text: Buffer) => { resolve(Number(text.toString())) })
    bench.once('exit', () => { reject(new Error('the bench ended')) })
  })
  t.true(existsSync(`/proc/${pid}`))
  bench.kill('SIGKILL')
  for (let attempt = 0; attempt < 100 && existsSync(`/proc/${pid}`); attempt++) await new Promise((resolve) => { setTimeout(resolve, 50) })
  t.false(existsSync(`/proc/${pid}`))
})

penTest('the measuring programs are built, marked local, and refuse what they cannot measure', async (t) => {
  const pen = await Pen.open({ path, state: stateDirectory(t) })
  t.teardown(() => pen.close())
  const programs = await buildPrograms(pen)
  t.deepEqual([...programs.keys()].sort(), [...programNames].sort())
  for (const binary of programs.values()) t.is(binary[9], 0x78)

  const numbers = async (script: string): Promise<Record<string, number>> => JSON.parse((await pen.sh(script)).stdout)
  t.is((await numbers('bench-spawn --count 7 -- true'))['count'], 7)
  t.is((await numbers('bench-keystroke --local --count 70 -- cat'))['count'], 70)
  const phases = []
  for (const phase of ['create', 'stat', 'read', 'rename', 'unlink']) phases.push((await numbers(`bench-files ${phase} /tmp/files 250`))['operations'])
  t.deepEqual(phases, [250, 250, 250, 250, 250])
  t.is((await numbers('bench-files tree /tmp/tree.tar 120'))['operations'], 120)
  t.is((await pen.sh('tar -tf /tmp/tree.tar | grep -c "[.]js$"; test ! -e /tmp/files')).stdout.trim(), '120')

  const refused = async (script: string): Promise<string> => {
    const { status, stderr } = await pen.sh(script, { mayFail: true })
    t.not(status, 0, script)
    return stderr
  }
  t.regex(await refused('bench-spawn -- false'), /'false' ended with wait status 0x100/)
  t.regex(await refused('bench-spawn -- /no/such'), /cannot start '\/no\/such'/)
  t.regex(await refused('bench-keystroke --wait 300 -- cat'), /raw mode: is it remote/)
  t.regex(await refused('bench-keystroke -- false'), /ended at once/)
  t.regex(await refused('bench-files stat /tmp/nothing 1'), /cannot stat/)
  t.regex(await refused('bench-files stat /tmp -1'), /want a number/)
})
