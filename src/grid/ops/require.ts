import { XosError } from '../../core/errors.ts'
import type { ProcessIdentity } from '../../setup/lib/process.mjs'
import { isAlive } from '../../setup/lib/process.mjs'
import type { GridPaths } from '../paths.ts'
import { nodeNumber } from '../paths.ts'
import { nodeRun, readGrid, readHolder, startedNodes, type NodeRecord, type NodeRun } from '../state.ts'

/** Throws XOS_GRID_DOWN unless something of the grid was started. */
export function requireGrid(grid: GridPaths): void {
  if (startedNodes(grid).length === 0) throw new XosError('XOS_GRID_DOWN', `grid '${grid.name}' is not up; bring it up with 'npm start' or 'xgrid up'${grid.name === 'default' ? '' : ` --grid ${grid.name}`}`)
}

/** The node's run. Throws XOS_GRID_DOWN, XOS_NODE_NAME or XOS_NO_NODE. */
export function requireNode(grid: GridPaths, node: string): NodeRun {
  requireGrid(grid)
  nodeNumber(node)
  const nodes = readGrid(grid)?.nodes ?? []
  if (!nodes.includes(node)) throw new XosError('XOS_NO_NODE', `grid '${grid.name}' has no node '${node}' (it has ${nodes.join(', ')}); add it with 'xgrid add ${node}'`, { node })
  return nodeRun(grid, node)
}

/** The record of a node that runs; throws XOS_NODE_DOWN otherwise. */
export function requireRunning(grid: GridPaths, node: string): NodeRecord {
  const run = requireNode(grid, node)
  if (run.state !== 'up') throw new XosError('XOS_NODE_DOWN', `node '${node}' is ${run.state}; boot it with 'xgrid up' or 'xgrid add ${node}'`, { node })
  return run.record
}

/** The holder of the grid's network; throws XOS_NETWORK when it is gone. */
export function requireHolder(grid: GridPaths): ProcessIdentity {
  const holder = readHolder(grid)
  if (holder !== null && isAlive(holder)) return holder
  throw new XosError('XOS_NETWORK', `the network of grid '${grid.name}' is gone (its process was killed): the nodes are cut off from each other; take the grid down with 'xgrid down' and up again`)
}
