import { join } from 'node:path'
import { XosError } from '../core/errors.ts'
import { tryLock } from '../setup/lib/lock.mjs'
import type { GridPaths } from './paths.ts'

/** Runs `work` while no other xgrid changes the same grid. Throws XOS_GRID_BUSY, naming the process that does. */
export async function withGrid<T>(grid: GridPaths, what: string, work: () => Promise<T>): Promise<T> {
  const lock = tryLock(join(`${grid.run}.lock`), what)
  if (!('release' in lock)) {
    const { pid, what: doing } = lock.holder
    throw new XosError('XOS_GRID_BUSY', `cannot ${what} on grid '${grid.name}': process ${pid} is at it ('${doing}'); wait until it is done, or end it with 'kill ${pid}' and try again`, { pid })
  }
  try {
    return await work()
  } finally {
    lock.release()
  }
}
