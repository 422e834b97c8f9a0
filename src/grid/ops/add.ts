import { XosError } from '../../core/errors.ts'
import type { GridPaths } from '../paths.ts'
import { nodeNumber } from '../paths.ts'
import { gridLayers } from '../stage.ts'
import { nodeRun, readGrid, writeGrid } from '../state.ts'
import { logTail, endNode } from '../node.ts'
import { requireGrid, requireHolder } from './require.ts'
import { bringUp, invitation, type UpOptions } from './up.ts'

/** Boots a node: a new one, which is invited to the VO, or one that crashed or was down, with its data. */
export async function add(grid: GridPaths, node: string, options: Pick<UpOptions, 'say' | 'signal'>): Promise<void> {
  requireGrid(grid)
  nodeNumber(node)
  const file = readGrid(grid)
  if (file === null) throw new XosError('XOS_GRID_DOWN', `grid '${grid.name}' has lost its state; take it down with 'xgrid down --purge' and up again`)
  if (nodeRun(grid, node).state === 'up') throw new XosError('XOS_NODE_UP', `cannot add node '${node}': it is up already`, { node })
  const holder = requireHolder(grid)
  try {
    await bringUp(grid, node, holder, gridLayers(grid), node === 'n1' ? null : await invitation(grid, node), options)
  } catch (error) {
    const tail = logTail(grid, node)
    await endNode(grid, node)
    throw error instanceof XosError ? new XosError(error.code, `${error.message}\n${tail}`, {}, { cause: error }) : error
  }
  const nodes = [...new Set([...file.nodes, node])].sort((a, b) => nodeNumber(a) - nodeNumber(b))
  writeGrid(grid, { ...file, nodes })
}
