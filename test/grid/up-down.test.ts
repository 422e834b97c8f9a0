// A grid comes up, is seen, goes down and leaves nothing; whatever is killed meanwhile.
// Needs: root, the image root, the build.
import test from 'ava'
import { existsSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { gridFor, traces } from './support/grid.ts'
import { run, start } from './support/command.ts'
import { holderPid, namespaces, nodeRecord, processesIn } from './support/processes.ts'

const grid = gridFor(test, { up: false })
const up = ['up', '--detach', '--nodes', '2']
const xgridProgram = new URL('../../src/setup/xgrid', import.meta.url).pathname
const interfaces = async (): Promise<string> => (await run(['ip', '-o', 'link'])).stdout.replace(/^\d+: (\S+):.*$/gm, '$1')

test.serial('before it is up, commands say so and how to bring it up', async (t) => {
  for (const args of [['exec', 'alice@demo', '--', 'true'], ['login', 'alice@demo'], ['crash', 'n1'], ['shell', 'n1', '--', 'true'], ['add', 'n4']]) {
    const { status, stderr } = await grid.xgrid(args)
    t.is(status, 1, args.join(' '))
    t.regex(stderr, /is not up; bring it up with/)
  }
  t.is((await grid.status()).state, 'down')
  t.is((await grid.xgrid(['down'])).status, 0)
})

test.serial('it comes up with containers of their own, on a network of its own', async (t) => {
  const before = await interfaces()
  const { status, stdout, stderr } = await grid.xgrid(up, { timeout_ms: 180_000 })
  t.is(status, 0, stderr)
  t.regex(stdout, /The password of alice@demo is \S{8,}/)
  const seen = await grid.status()
  t.is(seen.state, 'up')
  t.deepEqual(seen.nodes.map(({ node, state, address }) => [node, state, address]), [['n1', 'ready', '10.77.0.1'], ['n2', 'ready', '10.77.0.2']])
  t.is(await interfaces(), before)
  const own = [process.pid, nodeRecord(grid.name, 'n1').init.pid, nodeRecord(grid.name, 'n2').init.pid].flatMap(namespaces)
  t.is(new Set(own).size, 15)
  t.is((await grid.root('n1', 'hostname; ping -c1 -W5 n2 >/dev/null && echo reached')).stdout, 'n1\nreached\n')
  t.is((await grid.root('n1', 'ip route show default')).stdout, '')
})

test.serial('its passwords are readable by root only', (t) => {
  for (const path of ['', '/users', '/users/alice@demo']) t.is(statSync(`/var/lib/xos/grids/${grid.name}${path}`).mode & 0o077, 0, path)
  t.is(statSync(`/run/xos-grid/${grid.name}`).mode & 0o077, 0)
})

test.serial('up again is refused with a word on what to do', async (t) => {
  const { status, stderr } = await grid.xgrid(up)
  t.is(status, 1)
  t.regex(stderr, /is up already.*xgrid down/s)
})

test.serial('a change beside another one is refused, naming the process', async (t) => {
  const first = start([xgridProgram, 'add', 'n3'], { env: { ...process.env, XOS_GRID: grid.name }, timeout_ms: 120_000 })
  await grid.until('the lock is taken', async () => existsSync(`/run/xos-grid/${grid.name}.lock`))
  const { status, stderr } = await grid.xgrid(['add', 'n4'])
  t.is(status, 1)
  t.regex(stderr, /process \d+ is at it \('add a node'\); wait/)
  t.is((await first.finished).status, 0)
  t.is((await grid.xgrid(['remove', 'n3'])).status, 0)
  t.deepEqual((await grid.status()).nodes.map(({ node }) => node), ['n1', 'n2'])
})

test.serial('bad nodes and options are refused with status 1 or 2', async (t) => {
  for (const [args, says, wanted] of [
    [['crash', 'n9'], /no node 'n9'/, 1], [['crash', 'web'], /nodes are named n1, n2/, 1], [['add', 'n0'], /nodes are named/, 1], [['remove', 'n1'], /has the registry/, 1],
    [['heal', 'n2'], /is not cut off/, 1], [['frobnicate'], /unknown subcommand/, 2], [['up', '--nodes', 'many'], /nodes/, 2], [['exec', 'alice@demo'], /command is missing/, 2],
    [['exec', 'root', '--', 'true'], /did not create/, 1], [['exec', 'mallory@demo', '--', 'true'], /did not create/, 1], [['exec', '../../x@demo', '--', 'true'], /did not create/, 1],
  ] as const) {
    const { status, stderr } = await grid.xgrid(args)
    t.is(status, wanted, `${args.join(' ')}: ${stderr}`)
    t.regex(stderr, says)
  }
})

test.serial('down leaves no process, namespace, mount or interface, and can be said twice', async (t) => {
  const pids = [nodeRecord(grid.name, 'n1').init.pid, nodeRecord(grid.name, 'n2').init.pid]
  const own = [...pids.flatMap(namespaces), readlinkSync(`/proc/${holderPid(grid.name)}/ns/net`)]
  t.true(processesIn(own).length > 4)
  t.is((await grid.xgrid(['down'])).status, 0)
  t.deepEqual(processesIn(own), [])
  t.deepEqual(traces(grid.name), [`/var/lib/xos/grids/${grid.name}`])
  t.is((await grid.xgrid(['down'])).status, 0)
})

test.serial('it comes up again with its data and its VO', async (t) => {
  const { status, stdout, stderr } = await grid.xgrid(up, { timeout_ms: 180_000 })
  t.is(status, 0, stderr)
  t.notRegex(stdout, /password/)
  t.is((await grid.status()).state, 'up')
})

test.serial('after kill -9 of keepers, inits and the network holder, down still leaves nothing', async (t) => {
  const [n1, n2] = [nodeRecord(grid.name, 'n1'), nodeRecord(grid.name, 'n2')]
  const own = [...namespaces(n1.init.pid), ...namespaces(n2.init.pid), readlinkSync(`/proc/${holderPid(grid.name)}/ns/net`)]
  process.kill(n1.keeper.pid, 'SIGKILL')
  process.kill(n2.init.pid, 'SIGKILL')
  process.kill(holderPid(grid.name), 'SIGKILL')
  await grid.until('all processes of the grid are gone', async () => processesIn(own).length === 0)
  const seen = await grid.status()
  t.is(seen.state, 'partly')
  t.false(seen.network)
  t.deepEqual(seen.nodes.map(({ state }) => state), ['crashed', 'crashed'])
  t.is((await grid.xgrid(['down'])).status, 0)
  t.deepEqual(traces(grid.name), [`/var/lib/xos/grids/${grid.name}`])
})

test.serial('an up that is killed with -9 leaves nothing that down does not find', async (t) => {
  const running = start([xgridProgram, ...up], { env: { ...process.env, XOS_GRID: grid.name } })
  await grid.until('n1 is on record', async () => existsSync(`/run/xos-grid/${grid.name}/nodes/n1.json`))
  const own = namespaces(nodeRecord(grid.name, 'n1').init.pid)
  running.kill('SIGKILL')
  await running.finished
  t.is((await grid.xgrid(['down'])).status, 0)
  t.deepEqual(processesIn(own), [])
  t.deepEqual(traces(grid.name), [`/var/lib/xos/grids/${grid.name}`])
})

test.serial('an up that is interrupted undoes what it did', async (t) => {
  const running = start([xgridProgram, ...up], { env: { ...process.env, XOS_GRID: grid.name } })
  await grid.until('n1 is on record', async () => existsSync(`/run/xos-grid/${grid.name}/nodes/n1.json`))
  running.kill('SIGINT')
  t.is((await running.finished).status, 130)
  t.false(existsSync(`/run/xos-grid/${grid.name}`))
})

test.serial('purge deletes the data', async (t) => {
  t.is((await grid.xgrid(['down', '--purge'])).status, 0)
  t.deepEqual(traces(grid.name), [])
  t.false(readFileSync('/proc/mounts', 'utf8').includes(grid.name))
})
