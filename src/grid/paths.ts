import { join } from 'node:path'
import { XosError } from '../core/errors.ts'
import { gridRun, gridState } from '../setup/lib/paths.mjs'

/** Where a grid keeps itself. `state` outlives it (data of nodes, passwords); `run` is what is running now and goes with it. */
export interface GridPaths {
  readonly name: string
  readonly state: string
  readonly run: string
}

/** Throws XOS_GRID_NAME unless the name is made of 1 to 32 letters, digits and dashes. */
export function gridPaths(name: string): GridPaths {
  if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/.test(name)) {
    throw new XosError('XOS_GRID_NAME', `bad name of a grid '${name}': use 1 to 32 letters, digits and dashes`)
  }
  return { name, state: join(gridState, name), run: join(gridRun, name) }
}

export interface NodePaths {
  /** Bound to /var/lib/xos and /var/log/xos of the node; they outlive it. */
  readonly data: string
  readonly log: string
  /** The writable layer of its root: fresh at each start. */
  readonly upper: string
  readonly work: string
  /** Empty folder; the node mounts its root here, in its own mount namespace only. */
  readonly mountpoint: string
  readonly record: string
  /** What the first process of the node and its supervisor say. */
  readonly initLog: string
}

export function nodePaths(grid: GridPaths, node: string): NodePaths {
  const state = join(grid.state, 'nodes', node)
  return {
    data: join(state, 'data'),
    log: join(state, 'log'),
    upper: join(state, 'layer/upper'),
    work: join(state, 'layer/work'),
    mountpoint: join(grid.run, 'mountpoint'),
    record: join(grid.run, 'nodes', `${node}.json`),
    initLog: join(state, 'log/init.log'),
  }
}

/** The number of a node: 3 for 'n3'. Throws XOS_NODE_NAME for anything but n1 to n200. */
export function nodeNumber(node: string): number {
  const number = /^n([1-9][0-9]{0,2})$/.exec(node)?.[1]
  if (number === undefined || Number(number) > 200) {
    throw new XosError('XOS_NODE_NAME', `bad name of a node '${node}': nodes are named n1, n2, … n200`)
  }
  return Number(number)
}

export function nodeAddress(node: string): string {
  return `10.77.0.${nodeNumber(node)}`
}
