import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from './errors.mjs'
import { clone, node24 } from './paths.mjs'
import { run } from './run.mjs'

/** Whether node_modules holds what package-lock.json says (npm notes what it installed in a lock file of its own there). */
export function packagesAreFresh() {
  const [wanted, installed] = [readLock(join(clone, 'package-lock.json')), readLock(join(clone, 'node_modules/.package-lock.json'))]
  if (!wanted || !installed || !existsSync(node24)) return false
  return Object.entries(wanted).every(([path, entry]) => path === '' || (installed[path] ? installed[path].version === entry.version : Boolean(entry.optional)))
}

/** npm ci. No install script is needed: binaries come as packages. @param {{log: string, signal?: AbortSignal}} options */
export async function installNodePackages(options) {
  try {
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { ...options, cwd: clone, timeout_ms: 10 * 60_000, what: "'npm ci'" })
  } catch (error) {
    options.signal?.throwIfAborted()
    if (/ENOSPC/.test(error.message)) throw new SetupError('XOS_SETUP_DISK', `cannot install the npm packages: the disk is full; free some 600 MB and start again`, { cause: error, log: options.log })
    if (/ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|network/i.test(error.message)) {
      throw new SetupError('XOS_SETUP_NETWORK', `cannot install the npm packages: the registry does not answer; check the network and start again\n${error.message}`, { cause: error, log: options.log })
    }
    throw error
  }
}

/** `npx xgrid` finds the clone's own command among those of its packages. */
export function linkCommand() {
  const link = join(clone, 'node_modules/.bin/xgrid')
  mkdirSync(join(clone, 'node_modules/.bin'), { recursive: true })
  rmSync(link, { force: true })
  symlinkSync('../../src/setup/xgrid', link)
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return null
  }
}
