import { XosError } from '../../core/errors.ts'
import { setLink } from '../network.ts'
import type { GridPaths } from '../paths.ts'
import { writeNodeRecord } from '../state.ts'
import { requireHolder, requireRunning } from './require.ts'

/** Pulls the network cable of a node (`connected` false), or puts it back. */
export async function setCable(grid: GridPaths, node: string, connected: boolean): Promise<void> {
  const record = requireRunning(grid, node)
  if (record.cut !== connected) throw new XosError('XOS_NODE_LINK', connected ? `node '${node}' is not cut off` : `node '${node}' is cut off already; 'xgrid heal ${node}' connects it`, { node })
  await setLink(requireHolder(grid), node, connected)
  writeNodeRecord(grid, { ...record, cut: !connected })
}
