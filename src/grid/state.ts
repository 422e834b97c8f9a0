import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ProcessIdentity } from '../setup/lib/process.mjs'
import { isAlive } from '../setup/lib/process.mjs'
import type { GridPaths } from './paths.ts'
import { nodeNumber, nodePaths } from './paths.ts'

/** What a grid is, in grid.json below its state: kept while it is down. */
export interface GridFile {
  readonly name: string
  readonly vo: string
  readonly nodes: readonly string[]
  /** The clone that last brought it up. */
  readonly clone: string
}

/** A node that was started, in nodes/NODE.json below the grid's run folder. */
export interface NodeRecord {
  readonly node: string
  readonly init: ProcessIdentity
  readonly keeper: ProcessIdentity
  readonly image: string
  readonly stage: string
  readonly started_ms: number
  readonly cut: boolean
}

export type NodeRun = { readonly state: 'up' | 'crashed'; readonly record: NodeRecord } | { readonly state: 'down'; readonly record: null }

export function readGrid(grid: GridPaths): GridFile | null {
  return readJson<GridFile>(join(grid.state, 'grid.json'))
}

export function writeGrid(grid: GridPaths, file: GridFile): void {
  mkdirSync(grid.state, { recursive: true, mode: 0o700 })
  writeJson(join(grid.state, 'grid.json'), file)
}

/** Whether the node runs, was started and is dead, or is not started. */
export function nodeRun(grid: GridPaths, node: string): NodeRun {
  const record = readJson<NodeRecord>(nodePaths(grid, node).record)
  if (record === null) return { state: 'down', record: null }
  return { state: isAlive(record.init) ? 'up' : 'crashed', record }
}

export function writeNodeRecord(grid: GridPaths, record: NodeRecord): void {
  writeJson(nodePaths(grid, record.node).record, record)
}

/** All nodes with a record, in the order of their numbers. */
export function startedNodes(grid: GridPaths): string[] {
  return list(join(grid.run, 'nodes')).filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5)).sort((a, b) => nodeNumber(a) - nodeNumber(b))
}

export function readHolder(grid: GridPaths): ProcessIdentity | null {
  return readJson<ProcessIdentity>(join(grid.run, 'holder.json'))
}

export function writeHolder(grid: GridPaths, holder: ProcessIdentity): void {
  writeJson(join(grid.run, 'holder.json'), holder)
}

/** Null when there is none; a file that cannot be read as JSON counts as none, for it is written by rename and never half. */
function readJson<T>(path: string): T | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch {
    return null
  }
}

function writeJson(path: string, value: unknown): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writeFileSync(`${path}.${process.pid}`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
  renameSync(`${path}.${process.pid}`, path)
}

export function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
