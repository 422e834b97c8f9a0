import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { XosError } from '../../core/errors.ts'
import { callNode } from '../daemon.ts'
import { hasCertificate, stopNode } from '../node.ts'
import type { GridPaths } from '../paths.ts'
import { nodePaths } from '../paths.ts'
import { readGrid, writeGrid } from '../state.ts'
import { requireNode, requireRunning } from './require.ts'

/** Takes a node out of the VO and out of the grid for good, with its data. n1 has the registry and stays. */
export async function remove(grid: GridPaths, node: string): Promise<void> {
  requireNode(grid, node)
  if (node === 'n1') throw new XosError('XOS_NODE_NEEDED', `cannot remove node 'n1': it has the registry of the VO; take the whole grid down with 'xgrid down --purge'`)
  const registry = requireRunning(grid, 'n1')
  if (hasCertificate(grid, node)) await callNode(registry.init, 'node-revoke', { node })
  await stopNode(grid, node)
  rmSync(dirname(nodePaths(grid, node).data), { recursive: true, force: true })
  const file = readGrid(grid)
  if (file !== null) writeGrid(grid, { ...file, nodes: file.nodes.filter((each) => each !== node) })
}
