// A personal grid for one test file: up before its first test, down and purged after its last, also when they fail.
//
//   import test from 'ava'
//   import { gridFor } from './support/grid.ts'
//   const grid = gridFor(test, { nodes: 3 })
//   test.serial('alice has her uid', async (t) => { t.is((await grid.exec('id -u')).stdout.trim(), '1879113729') })
//
// The name ends in the pid of this process: `npm test` takes down the grids of runs that were killed.
import type { TestFn } from 'ava'
import { existsSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GridStatus } from '../../../src/grid/ops/status.ts'
import { run, start, type Finished, type RunOptions, type Running } from './command.ts'

const root = new URL('../../../', import.meta.url).pathname
const xgridProgram = `${root}src/setup/xgrid`
const up_timeout_ms = 180_000

export interface ExecOptions extends RunOptions {
  /** Default n1. */
  readonly node?: string
  /** Default alice@demo. */
  readonly user?: string
}

export interface TestGrid {
  readonly name: string
  /** Runs `xgrid ARG…` on this grid. */
  xgrid(args: readonly string[], options?: RunOptions): Promise<Finished>
  /** A shell line (or, as an array, a command) in a fresh login session of a user; as `xgrid exec` does it. */
  exec(command: string | readonly string[], options?: ExecOptions): Promise<Finished>
  /** The same, without waiting for its end. */
  startExec(command: string | readonly string[], options?: ExecOptions): Running
  /** A shell line as root of a node. */
  root(node: string, line: string, options?: RunOptions): Promise<Finished>
  status(): Promise<GridStatus>
  /** Waits until `check` holds, asking every 100 ms; fails after a minute (or `timeout_ms`) with `what`. */
  until(what: string, check: () => Promise<boolean>, timeout_ms?: number): Promise<void>
}

export interface GridOptions {
  /** Default 3. */
  readonly nodes?: number
  /** Members besides alice, by their names without @demo. */
  readonly users?: readonly string[]
  /** False: the tests bring it up themselves; it is still taken down at the end. */
  readonly up?: boolean
}

export function gridFor (test: TestFn, options: GridOptions = {}): TestGrid {
  const grid = testGrid(`test-${basename(process.argv.find((word) => word.endsWith('.test.ts')) ?? 'grid', '.test.ts').slice(0, 12)}-${process.pid}`)
  test.before('the grid comes up', async (t) => {
    t.timeout(up_timeout_ms)
    if (options.up === false) return
    await expectDone(grid.xgrid(['up', '--detach', '--nodes', String(options.nodes ?? 3)], { timeout_ms: up_timeout_ms }), 'xgrid up')
    for (const user of options.users ?? []) await expectDone(grid.xgrid(['user', 'add', user]), `xgrid user add ${user}`)
  })
  test.after.always('the grid goes down', async (t) => {
    t.timeout(up_timeout_ms)
    if (process.env['XOS_KEEP_GRID']) return t.log(`grid '${grid.name}' is kept: xgrid status --grid ${grid.name}`)
    await expectDone(grid.xgrid(['down', '--purge'], { timeout_ms: up_timeout_ms }), 'xgrid down')
    if (traces(grid.name).length > 0) throw new Error(`the grid left something behind: ${traces(grid.name).join(', ')}`)
  })
  return grid
}

function testGrid (name: string): TestGrid {
  const environment = { ...process.env, XOS_GRID: name }
  const execArguments = (command: string | readonly string[], { node = 'n1', user = 'alice@demo' }: ExecOptions): string[] =>
    [xgridProgram, 'exec', '--node', node, user, '--', ...(typeof command === 'string' ? ['bash', '-c', command] : command)]
  const xgrid = (args: readonly string[], options: RunOptions = {}): Promise<Finished> => run([xgridProgram, ...args], { env: environment, ...options })
  return {
    name,
    xgrid,
    exec: (command, options = {}) => run(execArguments(command, options), { env: environment, ...options }),
    startExec: (command, options = {}) => start(execArguments(command, options), { env: environment, ...options }),
    root: (node, line, options = {}) => xgrid(['shell', node, '--', 'sh', '-c', line], options),
    status: async () => JSON.parse((await expectDone(xgrid(['status', '--json']), 'xgrid status')).stdout) as GridStatus,
    async until (what, check, timeout_ms = 60_000) {
      const end = performance.now() + timeout_ms
      while (!await check()) {
        if (performance.now() > end) throw new Error(`${what}: not within ${timeout_ms / 1000} s`)
        await sleep(100)
      }
    },
  }
}

export async function expectDone (running: Promise<Finished>, what: string): Promise<Finished> {
  const finished = await running
  if (finished.status !== 0) throw new Error(`${what} ended with ${finished.status}:\n${finished.stdout}${finished.stderr}`)
  return finished
}

/** What the machine still shows of a grid: its folders and the mounts that name it. */
export function traces (name: string): string[] {
  const folders = [`/run/xos-grid/${name}`, `/run/xos-grid/${name}.lock`, `/var/lib/xos/grids/${name}`].filter((path) => existsSync(path))
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter((line) => line.includes(`/${name}/`))
  return [...folders, ...mounts]
}
