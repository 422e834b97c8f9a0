// The grid's network: a bridge in a network namespace of its own, which lives as long as its holder process. The machine's own
// network is not touched, and has no way in.
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { XosError } from '../core/errors.ts'
import type { ProcessIdentity } from '../setup/lib/process.mjs'
import { isAlive } from '../setup/lib/process.mjs'
import { startHelper } from './container.ts'
import type { GridPaths } from './paths.ts'
import { nodeAddress } from './paths.ts'
import { readHolder, writeHolder } from './state.ts'

const bridge = 'grid'
const command_timeout_ms = 10_000

/** The running holder of the grid's network, started if there is none. */
export async function ensureNetwork(grid: GridPaths): Promise<ProcessIdentity> {
  const present = readHolder(grid)
  if (present !== null && isAlive(present)) return present
  mkdirSync(grid.run, { recursive: true, mode: 0o700 })
  const starting = startHelper(['hold'], `make the network of grid '${grid.name}'`, join(grid.run, 'holder.log'))
  try {
    await starting.line()
    writeHolder(grid, starting.process)
    starting.go()
    await starting.line()
    await ip(starting.process.pid, [`link add ${bridge} type bridge stp_state 0 forward_delay 0`, `link set ${bridge} up`])
  } catch (error) {
    starting.kill()
    throw error
  }
  starting.detach()
  return starting.process
}

/** Gives a node that is being started its interface eth0, on the bridge. */
export async function connectNode(holder: ProcessIdentity, node: string, init_pid: number): Promise<void> {
  // The kernel takes a dead node's interface away in its own time.
  await ip(holder.pid, [`link delete ${node}`]).catch(() => {})
  await ip(holder.pid, [
    `link add ${node} type veth peer name eth0 netns ${init_pid}`,
    `link set ${node} master ${bridge}`,
    `link set ${node} up`,
  ])
  await ip(init_pid, [`address add ${nodeAddress(node)}/24 dev eth0`, 'link set eth0 up'])
}

/** Pulls the node's cable, or puts it back. */
export async function setLink(holder: ProcessIdentity, node: string, connected: boolean): Promise<void> {
  await ip(holder.pid, [`link set ${node} ${connected ? 'up' : 'down'}`])
}

async function ip(pid: number, lines: readonly string[]): Promise<void> {
  const child = spawn('nsenter', ['-t', String(pid), '-n', 'ip', '-batch', '-'], { stdio: ['pipe', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { stderr += chunk })
  child.stdin.on('error', () => {})
  child.stdin.end(`${lines.join('\n')}\n`)
  const timer = setTimeout(() => child.kill('SIGKILL'), command_timeout_ms)
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', resolve)
    })
    if (code !== 0) throw new XosError('XOS_NETWORK', `cannot set up the grid's network ('ip ${lines.join("', 'ip ")}'): ${stderr.trim() || 'ip was ended'}`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new XosError('XOS_NETWORK', `cannot set up the grid's network: 'nsenter' or 'ip' is missing; install the Debian packages util-linux and iproute2`)
    throw error
  } finally {
    clearTimeout(timer)
  }
}
