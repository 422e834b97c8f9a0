// Our side: a personal grid of its own, named 'bench', driven as a user would drive it.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { XosError } from '../../src/core/errors.ts'
import { gridPaths, nodePaths } from '../../src/grid/paths.ts'
import { nodeRun } from '../../src/grid/state.ts'
import type { Programs } from './anchors/programs.ts'
import { type RunOptions, type RunResult, run } from './run.ts'
import { Shell } from './shell.ts'

const xgrid = fileURLToPath(new URL('../../src/cli/xgrid.ts', import.meta.url))
const build = fileURLToPath(new URL('../../src/setup/build.mjs', import.meta.url))
const name = 'bench'
const user = 'alice@demo'

export const gridNodes = ['n1', 'n2', 'n3'] as const
export type GridNode = typeof gridNodes[number]

export class Grid {
  /** Brings the grid up: minutes the first time (the image is built), seconds later. Throws `XOS_BENCH_GRID`. */
  static async up(say: (text: string) => void, signal: AbortSignal): Promise<Grid> {
    if (!existsSync(xgrid)) throw new XosError('XOS_BENCH_GRID', `cannot find '${xgrid}'`)
    if (gridNodes.some((node) => nodeRun(gridPaths(name), node).state === 'up')) {
      throw new XosError('XOS_BENCH_GRID', `cannot use the grid '${name}': it is up already; take it down with 'npx xgrid down --grid ${name}'`)
    }
    say('grid: building what is not up to date')
    const built = await run([process.execPath, build], { timeout_ms: 30 * 60_000, signal, mayFail: true })
    // Type errors do not stop a build; what really fails, the next step tells better.
    if (built.status !== 0) say(`grid: the build says: ${(built.stderr.trim() || built.stdout.trim()).split('\n')[0] ?? ''}`)
    say(`grid: bringing up '${name}'`)
    const grid = new Grid()
    try {
      await grid.xgrid(['up', '--detach', '--nodes', String(gridNodes.length)], { timeout_ms: 15 * 60_000, signal })
    } catch (error) {
      await grid.down()
      throw error
    }
    return grid
  }

  xgrid(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const [command = '', ...others] = words
    return run([process.execPath, xgrid, command, '--grid', name, ...others], options)
  }

  /** A login session of alice on a node; ends with its shell's `close`. */
  session(node: GridNode): Promise<Shell> {
    return Shell.open([process.execPath, xgrid, 'exec', '--grid', name, '--node', node, user, '--', 'bash'], `session on ${node}`)
  }

  /** Runs a script as root of a node, outside of all sessions. */
  root(node: GridNode, script: string, options: RunOptions = {}): Promise<RunResult> {
    const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', ...options.env }
    return run([...this.#enter(node), 'bash', '-ec', script], { ...options, env })
  }

  /** A shell as root of a node, outside of all sessions. */
  rootShell(node: GridNode): Promise<Shell> {
    return Shell.open([...this.#enter(node), 'env', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'bash'], `root of ${node}`)
  }

  /** The node's first process, as the host sees it. */
  init(node: GridNode): number {
    const found = nodeRun(gridPaths(name), node)
    if (found.state !== 'up') throw new XosError('XOS_BENCH_GRID', `cannot enter node '${node}': it is ${found.state}`)
    return found.record.init.pid
  }

  /** Where the node's own state is on the machine's disk. */
  dataDirectory(node: GridNode): string {
    return nodePaths(gridPaths(name), node).data
  }

  #enter(node: GridNode): string[] {
    return ['nsenter', '--target', String(this.init(node)), '--mount', '--net', '--pid', '--uts', '--ipc', '--root', '--wd', '--']
  }

  /** Puts the measuring programs on every node, in the layer that goes with it. */
  async install(programs: Programs): Promise<void> {
    for (const node of gridNodes) {
      for (const [program, binary] of programs) {
        const path = `/usr/local/bin/bench-${program}`
        await this.root(node, `cat > ${path}; chmod 755 ${path}`, { input: binary })
      }
    }
  }

  /** Twice is no error: what is left of a failed start goes too. */
  async down(): Promise<void> {
    await this.xgrid(['down'], { timeout_ms: 120_000, mayFail: true })
  }
}
