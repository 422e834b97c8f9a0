import { rmSync } from 'node:fs'
import { killAll, reaped } from '../processes.ts'
import { stopNode } from '../node.ts'
import type { GridPaths } from '../paths.ts'
import { nodeRun, readHolder, startedNodes } from '../state.ts'
import { XosError } from '../../core/errors.ts'

/**
 * Ends all that runs of the grid, also what is left after kill -9 of anything, and the grid's run folder with it. Data stay, unless `purge`.
 * Harmless when nothing runs. Returns the nodes that were on record.
 */
export async function down(grid: GridPaths, options: { readonly purge: boolean }): Promise<string[]> {
  const nodes = startedNodes(grid)
  const holder = readHolder(grid)
  const processes = nodes.flatMap((node) => {
    const { record } = nodeRun(grid, node)
    return record === null ? [] : [record.init, record.keeper]
  })
  // The registry last: the others tell it that they go.
  await Promise.all(nodes.filter((node) => node !== 'n1').map((node) => stopNode(grid, node)))
  if (nodes.includes('n1')) await stopNode(grid, 'n1')
  const left = await killAll([holder])
  if (left.length > 0) throw new XosError('XOS_STUCK', `cannot end the network of grid '${grid.name}': process ${left[0]!.pid} does not die; try again later`)
  await reaped(holder === null ? processes : [...processes, holder])
  rmSync(grid.run, { recursive: true, force: true })
  if (options.purge) rmSync(grid.state, { recursive: true, force: true })
  return nodes
}
