import { XosError } from '../../core/errors.ts'
import { killNode } from '../node.ts'
import type { GridPaths } from '../paths.ts'
import { requireNode } from './require.ts'

/** A power cut of one node: kill -9 of its init, and with it of everything in it. Its disk stays; 'xgrid up' or 'add' boots it again. */
export async function crash(grid: GridPaths, node: string): Promise<void> {
  const run = requireNode(grid, node)
  if (run.state !== 'up') throw new XosError('XOS_NODE_DOWN', `cannot crash node '${node}': it is ${run.state} already`)
  await killNode(run.record)
}
