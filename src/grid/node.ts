// One node: started from the layers with a fresh upper one, its data bound to /var/lib/xos; stopped by the end of its init.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ProcessIdentity } from '../setup/lib/process.mjs'
import { startTime } from '../setup/lib/process.mjs'
import { XosError } from '../core/errors.ts'
import { lastLines } from '../setup/lib/run.mjs'
import { runInNode, startHelper } from './container.ts'
import { connectNode } from './network.ts'
import type { GridPaths } from './paths.ts'
import { nodeAddress, nodePaths } from './paths.ts'
import { gone, killAll } from './processes.ts'
import type { Layers } from './stage.ts'
import { list, nodeRun, writeNodeRecord } from './state.ts'

const all_roles = ['registry', 'dir', 'mrc', 'osd', 'relay', 'mount']
const other_roles = ['osd', 'relay', 'mount']
const hosts_known = 16
const stop_services_ms = 6_000
const keeper_end_ms = 1_000

export interface StartOptions {
  readonly holder: ProcessIdentity
  readonly layers: Layers
  /** Token of an invitation; null when the node belongs to its VO already, or founds it. */
  readonly join: string | null
}

/** Whether the node has been admitted to a VO in an earlier life. */
export function hasCertificate(grid: GridPaths, node: string): boolean {
  return existsSync(join(nodePaths(grid, node).data, 'node/cert.pem'))
}

/** Starts the node and returns its init. The node is on record before it runs; when anything fails, nothing of it is left. */
export async function startNode(grid: GridPaths, node: string, options: StartOptions): Promise<ProcessIdentity> {
  const paths = nodePaths(grid, node)
  prepareFolders(grid, node, options.join)
  const starting = startHelper(['run', '--name', node, '--lower', options.layers.stage, '--lower', options.layers.image,
    '--upper', paths.upper, '--work', paths.work, '--mountpoint', paths.mountpoint,
    '--bind', `${paths.data}:/var/lib/xos`, '--bind', `${paths.log}:/var/log/xos`, '--', '/usr/lib/xos/node-init'], `start node '${node}'`, paths.initLog)
  try {
    const pid = Number(/^pid (\d+)$/.exec(await starting.line())?.[1])
    const start = identify(pid)
    writeNodeRecord(grid, { node, init: start, keeper: starting.process, ...options.layers, started_ms: Date.now(), cut: false })
    await connectNode(options.holder, node, pid)
    starting.go()
    await starting.line()
    starting.detach()
    return start
  } catch (error) {
    starting.kill()
    rmSync(paths.record, { force: true })
    throw error
  }
}

function identify(pid: number): ProcessIdentity {
  const start = startTime(pid)
  if (start === null) throw new XosError('XOS_CONTAINER', `the init of a node (process ${pid}) died at once`)
  return { pid, start }
}

function prepareFolders(grid: GridPaths, node: string, join_token: string | null): void {
  const paths = nodePaths(grid, node)
  rmSync(dirname(paths.upper), { recursive: true, force: true })
  for (const folder of [paths.upper, paths.work, paths.data, paths.log, paths.mountpoint, join(paths.upper, 'etc/xos')]) mkdirSync(folder, { recursive: true, mode: 0o755 })
  writeFileSync(join(paths.upper, 'etc/hostname'), `${node}\n`)
  const names = Array.from({ length: hosts_known }, (_, index) => `n${index + 1}`)
  writeFileSync(join(paths.upper, 'etc/hosts'), `127.0.0.1 localhost\n${names.map((name) => `${nodeAddress(name)} ${name}`).join('\n')}\n`)
  writeFileSync(join(paths.upper, 'etc/xos/node.json'), `${JSON.stringify({
    node, address: nodeAddress(node), roles: node === 'n1' ? all_roles : other_roles, ...(join_token === null ? {} : { join: join_token }),
  }, null, 2)}\n`, { mode: 0o600 })
}

/** Ends the node: its services first, then its init and all in it. Its data stay. Harmless when it is down. */
export async function stopNode(grid: GridPaths, node: string): Promise<void> {
  const run = nodeRun(grid, node)
  if (run.state === 'up') {
    try {
      await runInNode(run.record.init, ['sh', '-c', 'sv -w 3 stop /run/service/*'], { timeout_ms: stop_services_ms })
    } catch { /* data is safe against kill -9, so it only takes longer next time */ }
  }
  await endNode(grid, node)
}

/** Kills the node as a power cut would, and forgets that it was started. */
export async function endNode(grid: GridPaths, node: string): Promise<void> {
  const { record } = nodeRun(grid, node)
  if (record === null) return
  await killNode(record)
  const paths = nodePaths(grid, node)
  rmSync(dirname(paths.upper), { recursive: true, force: true })
  rmSync(paths.record, { force: true })
}

/** Kills init (with it everything in the node) and its keeper. Throws XOS_STUCK when the kernel does not let them go. */
export async function killNode(record: { readonly node: string; readonly init: ProcessIdentity; readonly keeper: ProcessIdentity }): Promise<void> {
  // The keeper reaps its init and ends by itself; killed together, the init would stay a zombie until the machine's own init looks.
  const stuck = await killAll([record.init])
  await gone([record.keeper], keeper_end_ms)
  const left = [...stuck, ...await killAll([record.keeper])]
  if (left.length > 0) {
    throw new XosError('XOS_STUCK', `cannot end node '${record.node}': process ${left[0]!.pid} does not die (a hanging disk or file system?); try again later`, { node: record.node })
  }
}

/** The last lines of a node's logs, for an error: what its init and its daemons said. */
export function logTail(grid: GridPaths, node: string): string {
  const { log, initLog } = nodePaths(grid, node)
  const parts = [['init', initLog], ...list(log).map((name) => [name, join(log, name, 'current')] as const)] as const
  return parts.flatMap(([name, path]) => {
    try {
      const lines = lastLines(readFileSync(path, 'utf8').slice(-8000), name === 'xosd' ? 10 : 4)
      return lines === '' ? [] : [`  last lines of ${name} on ${node}:\n${lines}`]
    } catch {
      return []
    }
  }).join('\n')
}
