import { basename } from 'node:path'
import type { GridPaths } from '../paths.ts'
import { nodeAddress } from '../paths.ts'
import { isAlive } from '../../setup/lib/process.mjs'
import { nodeStatus } from '../daemon.ts'
import { nodeRun, readGrid, readHolder, startedNodes } from '../state.ts'
import { createdUsers } from '../users.ts'

export interface GridStatus {
  readonly grid: string
  /** `partly`: some nodes are not ready, or the network is gone. */
  readonly state: 'up' | 'partly' | 'down'
  readonly vo: string | null
  readonly users: readonly string[]
  readonly network: boolean
  readonly nodes: readonly NodeSummary[]
}

export interface NodeSummary {
  readonly node: string
  readonly address: string
  /** `ready`, or what keeps it from it: a state of its own xosd, `silent` (xosd does not answer), `cut`, `crashed`, `down`. */
  readonly state: string
  readonly reason: string
  readonly roles: readonly string[]
  readonly pid: number | null
  readonly started_ms: number | null
  readonly sessions: number | null
  readonly memory_bytes: number | null
  /** Hash of the build that the node stands on. */
  readonly build: string | null
}

/** What is on record of the grid and what its nodes say themselves, asked side by side. */
export async function status(grid: GridPaths): Promise<GridStatus> {
  const file = readGrid(grid)
  const started = startedNodes(grid)
  const holder = readHolder(grid)
  const nodes = await Promise.all((file?.nodes ?? started).map((node) => summary(grid, node)))
  const network = holder !== null && isAlive(holder)
  const ready = nodes.filter((node) => node.state === 'ready').length
  const state = started.length === 0 ? 'down' : ready === nodes.length && network ? 'up' : 'partly'
  return { grid: grid.name, state, vo: file?.vo ?? null, users: createdUsers(grid), network, nodes }
}

async function summary(grid: GridPaths, node: string): Promise<NodeSummary> {
  const { state, record } = nodeRun(grid, node)
  const common = { node, address: nodeAddress(node), pid: record?.init.pid ?? null, started_ms: record?.started_ms ?? null, build: record === null ? null : basename(record.stage) }
  if (state !== 'up') {
    const reason = state === 'crashed' ? `its processes are gone; 'xgrid add ${node}' boots it again` : ''
    return { ...common, pid: null, state, reason, roles: [], sessions: null, memory_bytes: null }
  }
  const told = await nodeStatus(record.init)
  const own = { roles: told?.roles ?? [], sessions: told?.sessions ?? null, memory_bytes: told?.memory_bytes ?? null }
  if (record.cut) return { ...common, ...own, state: 'cut', reason: `its cable is pulled; 'xgrid heal ${node}' puts it back` }
  if (told === null) return { ...common, ...own, state: 'silent', reason: `its xosd does not answer; see 'xgrid logs ${node}'` }
  return { ...common, ...own, state: told.state, reason: told.reason }
}
