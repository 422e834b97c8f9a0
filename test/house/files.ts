// The files of the tree, as the tests of the house see them.
import { readdirSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'

/** The root of the checkout, with a slash at its end. */
export const root = new URL('../../', import.meta.url).pathname

const skipped = new Set(['node_modules', 'build', '.git'])

/** Paths, relative to the root, of all files below `directory` that are no build product. */
export function * filesBelow (directory: string = root): Generator<string> {
  for (const name of readdirSync(directory).sort()) {
    if (skipped.has(name)) continue
    const path = join(directory, name)
    const found = statSync(path, { throwIfNoEntry: false })
    if (found?.isDirectory()) yield * filesBelow(path)
    else if (found?.isFile()) yield relative(root, path)
  }
}
