import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { XosError } from '../core/errors.ts'
import { imageRoot } from '../setup/image/root.mjs'
import { build, stage } from '../setup/lib/paths.mjs'
import type { GridPaths } from './paths.ts'
import { list, nodeRun, startedNodes } from './state.ts'

/** The two lower layers of a node's root. */
export interface Layers { readonly image: string; readonly stage: string }

/**
 * The image root and a copy of build/stage of the grid's own: a build beside a running grid must not pull files from under it.
 * Hard links where the file system allows. Copies that no running node stands on are removed.
 */
export function gridLayers(grid: GridPaths): Layers {
  const image = imageRoot()
  const stamp = join(build, 'stage.json')
  if (!image.ready) throw new XosError('XOS_NOT_BUILT', `cannot start nodes: the image root '${image.path}' is not there; run 'npm start', which makes it`)
  if (!existsSync(stage) || !existsSync(stamp)) throw new XosError('XOS_NOT_BUILT', `cannot start nodes: '${stage}' is not there; run 'npm start' or 'npm run build'`)
  const inputs = (JSON.parse(readFileSync(stamp, 'utf8')) as { inputs: string }).inputs
  const folder = join(grid.state, 'stage')
  const copy = join(folder, inputs)
  const inUse = new Set(startedNodes(grid).map((node) => nodeRun(grid, node)).map((run) => (run.state === 'up' ? run.record.stage : null)))
  for (const name of list(folder)) {
    if (join(folder, name) !== copy && !inUse.has(join(folder, name))) rmSync(join(folder, name), { recursive: true, force: true })
  }
  if (!existsSync(copy)) {
    mkdirSync(folder, { recursive: true, mode: 0o755 })
    const partial = `${copy}.partial`
    rmSync(partial, { recursive: true, force: true })
    copyTree(stage, partial)
    renameSync(partial, copy)
  }
  return { image: image.path, stage: copy }
}

function copyTree(source: string, target: string): void {
  try {
    execFileSync('cp', ['-al', source, target], { stdio: ['ignore', 'ignore', 'ignore'] })
  } catch {
    // Another file system, or one without hard links.
    rmSync(target, { recursive: true, force: true })
    execFileSync('cp', ['-a', '--reflink=auto', source, target], { stdio: ['ignore', 'ignore', 'pipe'] })
  }
}
