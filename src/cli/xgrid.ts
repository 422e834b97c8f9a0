#!/usr/bin/env node
// xgrid: the personal grid from outside. Started by src/setup/xgrid under Node 24; it runs on the machine, never on a node.
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { isatty } from 'node:tty'
import { XosError } from '../core/errors.ts'
import { become, becomeHelper, enterArguments } from '../grid/container.ts'
import { withGrid } from '../grid/lock.ts'
import { add } from '../grid/ops/add.ts'
import { crash } from '../grid/ops/crash.ts'
import { setCable } from '../grid/ops/cut.ts'
import { down } from '../grid/ops/down.ts'
import { remove } from '../grid/ops/remove.ts'
import { requireNode, requireRunning } from '../grid/ops/require.ts'
import { status, type GridStatus, type NodeSummary } from '../grid/ops/status.ts'
import { up, type UpResult } from '../grid/ops/up.ts'
import { gridPaths, nodePaths, type GridPaths } from '../grid/paths.ts'
import { list, readGrid } from '../grid/state.ts'
import { addUser, createdUsers, passwordFile, readPassword } from '../grid/users.ts'
import { commonExitStatus, defineCommand, jsonOption, type Call, type Command, type Stream } from './lib/command.ts'
import { runCommand } from './lib/main.ts'
import { UsageError } from './lib/parse.ts'
import { formatTable, tableWidth } from './lib/table.ts'
import { formatBytes } from './lib/units.ts'

const gridOption = { grid: { kind: 'text', value: 'NAME', summary: 'which grid (default: $XOS_GRID, or `default`)' } } as const
const nodeOption = { node: { kind: 'text', value: 'NODE', summary: 'which node (default: n1)' } } as const
const nodeArgument = { name: 'NODE', summary: 'a node: n1, n2 …' } as const
const terminal_environment = ['TERM', 'COLORTERM', 'LANG', 'LC_ALL']

const gridOf = (call: Call): GridPaths => gridPaths((call.options['grid'] as string | undefined) ?? call.env['XOS_GRID'] ?? 'default')
const nodeOf = (call: Call): string => (call.options['node'] as string | undefined) ?? 'n1'
const argument = (call: Call): string => call.args[0] ?? ''

const upCommand = defineCommand({
  name: 'up',
  summary: 'bring the grid up, or what of it is down',
  description: ['Starts the nodes that do not run, founds the VO `demo` with the user `alice` when the grid is new, and waits until logins work on all nodes. ' +
    'Data of an earlier life of the grid are there again. On a terminal alice is logged in then, unless `--detach`.'],
  options: { ...gridOption, nodes: { kind: 'number', value: 'N', integer: true, min: 1, max: 32, summary: 'how many nodes (default: as before, or 3)' },
    detach: { kind: 'flag', summary: 'leave it running and return, also on a terminal' } },
  run: async (call) => {
    const grid = gridOf(call)
    const result = await withGrid(grid, 'bring nodes up', () => up(grid, { nodes: call.options.nodes ?? null, say: (line) => void call.err.write(`${line}\n`), signal: call.signal }))
    if (result.started.length === 0) {
      throw new XosError('XOS_GRID_UP', `grid '${grid.name}' is up already (${result.nodes.join(', ')}): log in with 'xgrid login alice@demo', or take it down with 'xgrid down'`)
    }
    announce(call, grid, result)
    if (!call.options.detach && isatty(0) && isatty(1)) login(call, grid, 'alice@demo', 'n1', true)
  },
})

function announce(call: Call, grid: GridPaths, result: UpResult): void {
  if (result.created) call.out.write(`The password of ${result.created.user} is ${result.created.password} (shown once; 'xgrid user show alice' tells it to root)\n`)
  const name = grid.name === 'default' ? '' : ` --grid ${grid.name}`
  call.out.write(`Grid '${grid.name}' is up: ${result.nodes.join(', ')}. Log in: npx xgrid login${name} alice@demo   Take it down: npx xgrid down${name}\n`)
}

const statusCommand = defineCommand({
  name: 'status',
  summary: 'show the grid and its nodes',
  description: ['The exit status is 0 also when the grid is down.'],
  options: { ...gridOption, json: jsonOption },
  run: async (call) => {
    const found = await status(gridOf(call))
    if (call.options.json) return call.json(found)
    call.out.write(statusText(found, call))
  },
})

function statusText(found: GridStatus, call: Call): string {
  const users = found.users.length > 0 ? `, users ${found.users.join(' ')}` : ''
  const head = `grid ${found.grid} is ${found.state}${found.vo === null ? '' : `: VO ${found.vo}${users}`}${found.state !== 'down' && !found.network ? ' (its network is gone)' : ''}\n`
  if (found.nodes.length === 0) return `${head}bring it up with 'npm start' or 'xgrid up'\n`
  const number = (value: number | null): string => (value === null ? '' : String(value))
  return head + formatTable<NodeSummary>([
    { title: 'NODE', value: (node) => node.node }, { title: 'STATE', value: (node) => node.state },
    { title: 'ADDRESS', value: (node) => node.address }, { title: 'SESSIONS', align: 'right', value: (node) => number(node.sessions) },
    { title: 'MEMORY', align: 'right', value: (node) => (node.memory_bytes === null ? '' : formatBytes(node.memory_bytes)) },
    { title: 'ROLES', value: (node) => node.roles.join(' ') }, { title: '', value: (node) => node.reason, flexible: true },
  ], found.nodes, tableWidth(call.out))
}

const downCommand = defineCommand({
  name: 'down',
  summary: 'take the grid down; nothing of it goes on running',
  description: ['Ends all processes of the grid, also after `kill -9` of anything, and may be run twice. What users stored stays for the next time.'],
  options: { ...gridOption, purge: { kind: 'flag', summary: 'delete the data, the VO and its users too' } },
  run: async (call) => {
    const grid = gridOf(call)
    const existed = readGrid(grid) !== null
    const nodes = await withGrid(grid, 'take the grid down', () => down(grid, { purge: call.options.purge }))
    const what = call.options.purge && existed ? ' and its data are deleted' : ''
    call.out.write(nodes.length > 0 ? `grid '${grid.name}' is down${what}\n` : `grid '${grid.name}' was not up${what}\n`)
  },
})

const loginCommand = defineCommand({
  name: 'login',
  summary: 'log in on a node, on this terminal',
  description: ['Runs the login program of the node on a terminal of the node; it asks for the password. Ctrl-D ends the session.'],
  options: { ...gridOption, ...nodeOption, auto: { kind: 'flag', summary: 'type the password that the grid keeps' } },
  arguments: [{ name: 'USER@VO', summary: 'a member of a VO' }],
  run: async (call) => login(call as Call, gridOf(call as Call), argument(call as Call), nodeOf(call as Call), call.options.auto),
})

function login(call: Call, grid: GridPaths, user: string, node: string, auto: boolean): never {
  if (!/^[^-\s][^\s]*$/.test(user)) throw new UsageError(`'${user}' is no user: give NAME@VO`)
  const record = requireRunning(grid, node)
  becomeHelper('terminal', enterArguments(record.init, { env: passedEnvironment(call), ...(auto ? { typeSecretFile: passwordFile(grid, user) } : {}) }), ['login', '--', user])
}

const execCommand = defineCommand({
  name: 'exec',
  summary: 'run one command as a user, with a full login but no terminal',
  description: ['Logs the user in through the same PAM stack as a terminal does, with the password that the grid keeps (for users that it created only), and runs the command in the session. ' +
    'Standard streams are passed through. The exit status is the command\'s; 128 + N when signal N ended it.'],
  options: { ...gridOption, ...nodeOption },
  arguments: [{ name: 'USER@VO', summary: 'a user that this grid created' }],
  rest: { name: 'CMD', summary: 'the command and its arguments', repeated: true },
  run: async (call) => {
    const grid = gridOf(call as Call)
    const user = argument(call as Call)
    if (call.rest.length === 0) throw new UsageError('the command is missing: xgrid exec USER@VO -- CMD ARG…')
    const record = requireRunning(grid, nodeOf(call as Call))
    const args = enterArguments(record.init, { env: passedEnvironment(call as Call), secretFile: passwordFile(grid, user) })
    becomeHelper('enter', args, ['/usr/lib/xos/bin/xenter', '--password-fd', '{secret-fd}', user, '--', ...call.rest])
  },
})

function passedEnvironment(call: Call): string[] {
  return terminal_environment.flatMap((name) => (call.env[name] === undefined ? [] : [`${name}=${call.env[name]}`]))
}

const shellCommand = defineCommand({
  name: 'shell',
  summary: 'a root shell inside a node, for the curious',
  description: ['With a command: runs it in the node as root, with the streams passed through.'],
  options: { ...gridOption },
  arguments: [nodeArgument],
  rest: { name: 'CMD', summary: 'a command instead of the shell', optional: true, repeated: true },
  run: async (call) => {
    const record = requireRunning(gridOf(call as Call), argument(call as Call))
    const args = enterArguments(record.init, { env: passedEnvironment(call as Call) })
    if (call.rest.length > 0) becomeHelper('enter', args, call.rest)
    becomeHelper('terminal', args, ['bash', '-l'])
  },
})

const crashCommand = defineCommand({
  name: 'crash', summary: 'kill a node as a power cut would', description: ['Its disk stays: `xgrid add` or `xgrid up` boots it again.'],
  options: { ...gridOption }, arguments: [nodeArgument],
  run: async (call) => {
    const grid = gridOf(call as Call)
    await withGrid(grid, 'crash a node', () => crash(grid, argument(call as Call)))
    call.out.write(`node ${argument(call as Call)} crashed\n`)
  },
})

const cable = (name: 'cut' | 'heal', summary: string, done: string): Command => defineCommand({
  name, summary, description: ['The node goes on running either way.'], options: { ...gridOption }, arguments: [nodeArgument],
  run: async (call) => {
    const grid = gridOf(call as Call)
    await withGrid(grid, `${name} a node`, () => setCable(grid, argument(call as Call), name === 'heal'))
    call.out.write(`node ${argument(call as Call)} is ${done}\n`)
  },
}) as Command

const addCommand = defineCommand({
  name: 'add', summary: 'boot a node: a new one, or one that crashed', description: ['A new node is invited to the VO and joins it; one that crashed comes back with its data.'],
  options: { ...gridOption }, arguments: [nodeArgument],
  run: async (call) => {
    const grid = gridOf(call as Call)
    await withGrid(grid, 'add a node', () => add(grid, argument(call as Call), { say: (line) => void call.out.write(`${line}\n`), signal: call.signal }))
  },
})

const removeCommand = defineCommand({
  name: 'remove', summary: 'take a node out of the VO and the grid', description: ['For good: its data are deleted.'],
  options: { ...gridOption }, arguments: [nodeArgument],
  run: async (call) => {
    const grid = gridOf(call as Call)
    await withGrid(grid, 'remove a node', () => remove(grid, argument(call as Call)))
    call.out.write(`node ${argument(call as Call)} is removed\n`)
  },
})

const logsCommand = defineCommand({
  name: 'logs',
  summary: 'show the last lines of the logs of the nodes',
  description: ['Of one node, or of all. Logs outlive a crash.'],
  options: { ...gridOption, follow: { kind: 'flag', short: 'f', summary: 'go on showing what is added' },
    lines: { kind: 'number', value: 'N', short: 'n', integer: true, min: 1, max: 100_000, summary: 'lines of each log (default: 20)' } },
  arguments: [{ ...nodeArgument, optional: true }],
  run: async (call) => {
    const grid = gridOf(call as Call)
    const node = call.args[0]
    if (node !== undefined) requireNode(grid, node)
    const nodes = node === undefined ? readGrid(grid)?.nodes ?? [] : [node]
    const files = nodes.flatMap((each) => {
      const { log, initLog } = nodePaths(grid, each)
      return [initLog, ...list(log).sort().map((daemon) => join(log, daemon, 'current'))].filter((file) => list(join(file, '..')).includes(file.slice(file.lastIndexOf('/') + 1)))
    })
    if (files.length === 0) throw new XosError('XOS_NO_LOG', `grid '${grid.name}' has no logs; it was never up`)
    become('/usr/bin/tail', ['tail', '-n', String(call.options.lines ?? 20), ...(call.options.follow ? ['-F'] : []), '-v', ...files])
  },
})

const userAdd = defineCommand({
  name: 'user add', summary: 'add a member to the VO, with a password that the grid keeps', description: ['The password is printed once.'],
  options: { ...gridOption, admin: { kind: 'flag', summary: 'with the role admin' } }, arguments: [{ name: 'NAME', summary: 'the name without @VO' }],
  run: async (call) => {
    const grid = gridOf(call as Call)
    requireRunning(grid, 'n1')
    const { user, password } = await withGrid(grid, 'add a user', () => addUser(grid, argument(call as Call), call.options.admin ? ['admin'] : []))
    call.out.write(`${user} can log in on every node; the password is ${password}\n`)
  },
})

const userShow = defineCommand({
  name: 'user show', summary: 'tell the password of a user that the grid created', description: [],
  options: { ...gridOption }, arguments: [{ name: 'NAME', summary: 'with or without @VO' }],
  run: async (call) => {
    const grid = gridOf(call as Call)
    const name = argument(call as Call)
    call.out.write(`${readPassword(grid, name.includes('@') ? name : `${name}@${readGrid(grid)?.vo ?? 'demo'}`)}\n`)
  },
})

const userList = defineCommand({
  name: 'user list', summary: 'the users that the grid created', description: [], options: { ...gridOption, json: jsonOption },
  run: async (call) => {
    const users = createdUsers(gridOf(call as Call))
    if (call.options.json) return call.json(users)
    for (const user of users) call.out.write(`${user}\n`)
  },
})

export const command: Command = {
  name: 'xgrid',
  section: 8,
  summary: 'the personal grid on this machine',
  description: [
    'A personal grid is a few nodes on one machine, each a container entered from the image root, on a network of their own. It needs root. `npm start` sets up what is missing and brings one up.',
    'Grids of different names live side by side and know nothing of each other.',
  ],
  options: {},
  subcommands: [upCommand, statusCommand, downCommand, loginCommand, execCommand, crashCommand, cable('cut', 'pull the network cable of a node', 'cut off'),
    cable('heal', 'put the cable back', 'connected again'), addCommand, removeCommand, logsCommand, shellCommand, userAdd, userShow, userList] as unknown as Command[],
  environment: [{ name: 'XOS_GRID', summary: 'which grid, when `--grid` is not given' }],
  files: [{ name: '/var/lib/xos/grids/NAME', summary: 'data of the nodes and passwords; deleted by `xgrid down --purge`' }, { name: '/run/xos-grid/NAME', summary: 'what runs now' }],
  examples: [{ text: 'three nodes', line: 'xgrid up --detach' }, { text: 'a command as alice on n2', line: 'xgrid exec --node n2 alice@demo -- id' }, { text: 'pull the plug', line: 'xgrid crash n2' }],
  exitStatus: commonExitStatus,
  seeAlso: [['xos', 7]],
}

/** Streams that write at once and leave the descriptors as they are: Node's own would make a pipe non-blocking, also for what `exec` becomes. */
function plainStream(fd: number): Stream {
  return {
    get isTTY() { return isatty(fd) },
    get columns() { return isatty(fd) ? process.stdout.columns : undefined },
    write(text) {
      try {
        writeSync(fd, text)
        return true
      } catch {
        process.exit(1)
      }
    },
  }
}

/** `xgrid --grid NAME VERB` as well as `xgrid VERB --grid NAME`. */
function globalGrid(argv: readonly string[]): { argv: readonly string[]; grid: string | undefined } {
  const [first, second] = argv
  if (first === '--grid') return { argv: argv.slice(2), grid: second }
  if (first?.startsWith('--grid=')) return { argv: argv.slice(1), grid: first.slice(7) }
  return { argv, grid: undefined }
}

async function main(): Promise<void> {
  const controller = new AbortController()
  const stop = (): void => controller.abort(new DOMException('interrupted', 'AbortError'))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop)
  const { argv, grid } = globalGrid(process.argv.slice(2))
  const err = plainStream(2)
  if (process.getuid?.() !== 0 && !argv.includes('--help') && !argv.includes('--version')) {
    err.write("xgrid: a personal grid needs root: namespaces, mounts and logins are its work; run it with sudo\n")
    process.exitCode = 1
    return
  }
  process.exitCode = await runCommand(command, argv, {
    out: plainStream(1), err, env: grid === undefined ? process.env : { ...process.env, XOS_GRID: grid }, signal: controller.signal,
  })
}

if (import.meta.main) await main()
