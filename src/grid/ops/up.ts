// xgrid up: the network, n1 and its VO, alice, then the other nodes.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { XosError } from '../../core/errors.ts'
import { clone } from '../../setup/lib/paths.mjs'
import type { ProcessIdentity } from '../../setup/lib/process.mjs'
import { callNode, waitForNode } from '../daemon.ts'
import { ensureNetwork } from '../network.ts'
import { endNode, hasCertificate, logTail, startNode } from '../node.ts'
import type { GridPaths } from '../paths.ts'
import { down } from './down.ts'
import { gridLayers, type Layers } from '../stage.ts'
import { nodeRun, readGrid, startedNodes, writeGrid } from '../state.ts'
import { ensureUser } from '../users.ts'

export const ready_timeout_ms = 60_000
const default_nodes = 3
const vo = 'demo'

export interface UpOptions {
  /** How many nodes; null: as many as the grid had, or 3. */
  readonly nodes: number | null
  readonly say: (line: string) => void
  readonly signal?: AbortSignal
}

export interface UpResult {
  readonly nodes: readonly string[]
  /** Nodes that were not running before. */
  readonly started: readonly string[]
  /** alice's password when she was created by this call, else null. */
  readonly created: { readonly user: string; readonly password: string } | null
}

/** Brings up what is not up. What it started is ended again when it fails. */
export async function up(grid: GridPaths, options: UpOptions): Promise<UpResult> {
  const before = readGrid(grid)
  refuseForeignGrid(grid, before?.clone)
  const nodes = options.nodes === null ? [...before?.nodes ?? names(default_nodes)] : names(options.nodes)
  const missing = nodes.filter((node) => nodeRun(grid, node).state !== 'up')
  mkdirSync(grid.state, { recursive: true, mode: 0o700 })
  const layers = gridLayers(grid)
  writeGrid(grid, { name: grid.name, vo, nodes: [...new Set([...before?.nodes ?? [], ...nodes])], clone })
  mkdirSync(join(grid.run, 'nodes'), { recursive: true, mode: 0o700 })
  const started: string[] = []
  try {
    const holder = await ensureNetwork(grid)
    let created: UpResult['created'] = null
    if (missing.includes('n1')) {
      started.push('n1')
      await bringUp(grid, 'n1', holder, layers, null, options)
    }
    created = await found(grid, options)
    const others = missing.filter((node) => node !== 'n1')
    started.push(...others)
    await settled(others.map(async (node) => bringUp(grid, node, holder, layers, await invitation(grid, node), options)))
    return { nodes, started, created }
  } catch (error) {
    const tail = error instanceof XosError && typeof error.data['node'] === 'string' ? `\n${logTail(grid, error.data['node'])}` : ''
    for (const node of started) await endNode(grid, node)
    if (!startedNodes(grid).some((node) => nodeRun(grid, node).state === 'up')) await down(grid, { purge: false })
    throw tail === '' ? error : new XosError((error as XosError).code, `${(error as XosError).message}\n${tail}`, {}, { cause: error })
  }
}

/** Starts one node and waits until logins work there; n1 of a new grid until it waits for its VO. */
export async function bringUp(grid: GridPaths, node: string, holder: ProcessIdentity, layers: Layers, join_token: string | null, options: Pick<UpOptions, 'say' | 'signal'>): Promise<void> {
  await endNode(grid, node)
  const founding = node === 'n1' && !hasCertificate(grid, node)
  const init = await startNode(grid, node, { holder, layers, join: join_token })
  const wanted = founding ? ['waiting', 'ready'] : ['ready']
  await waitForNode(node, init, (status) => wanted.includes(status.state), founding ? 'waiting for its VO' : 'ready', { timeout_ms: ready_timeout_ms, signal: options.signal })
  if (!founding) options.say(`node ${node} is ready`)
}

/** The VO and its first member, unless they are there. */
async function found(grid: GridPaths, options: UpOptions): Promise<UpResult['created']> {
  const run = nodeRun(grid, 'n1')
  if (run.state !== 'up') throw new XosError('XOS_NODE_DOWN', `node 'n1' is not up`, { node: 'n1' })
  const { init } = run.record
  const status = await waitForNode('n1', init, () => true, 'answering', { timeout_ms: ready_timeout_ms, signal: options.signal })
  if (status.vo === null) {
    await callNode(init, 'vo-create', { vo }, 30_000)
    await waitForNode('n1', init, (each) => each.state === 'ready', 'ready', { timeout_ms: ready_timeout_ms, signal: options.signal })
    options.say(`node n1 is ready and founded the VO '${vo}'`)
  }
  return await ensureUser(grid, 'alice', ['admin'])
}

/** A token with which the node joins the VO; null when it has its certificate. */
export async function invitation(grid: GridPaths, node: string): Promise<string | null> {
  if (hasCertificate(grid, node)) return null
  const run = nodeRun(grid, 'n1')
  if (run.state !== 'up') throw new XosError('XOS_NODE_DOWN', `cannot invite node '${node}': 'n1', which has the registry, is ${run.state}; bring it up with 'xgrid up'`)
  return (await callNode(run.record.init, 'node-invite', { node })).token
}

/** A grid of another clone that is up is not ours to change. */
function refuseForeignGrid(grid: GridPaths, owner: string | undefined): void {
  const running = startedNodes(grid).filter((node) => nodeRun(grid, node).state === 'up')
  if (running.length === 0 || owner === undefined || owner === clone) return
  throw new XosError('XOS_GRID_UP', `cannot bring grid '${grid.name}' up: it is up already, from '${owner}' (${running.join(', ')}); ` +
    `take it down with 'xgrid down', or give this one another name with --grid NAME`)
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `n${index + 1}`)
}

/** Waits for all, then fails with the first failure: nothing goes on behind an error's back. */
async function settled(promises: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(promises)).find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}
