import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from './errors.mjs'
import { run } from './run.mjs'

/** Program → Debian package that has it, of what set-up and the grid use on the machine itself. */
const PROGRAMS = { mmdebstrap: 'mmdebstrap', ip: 'iproute2', unshare: 'util-linux', nsenter: 'util-linux', setpriv: 'util-linux', mount: 'mount', cp: 'coreutils', tail: 'coreutils' }
/** Keys of trixie's archive; a Debian 12 of before 2025 does not have them yet. */
const KEYS = ['gpg', 'pgp'].map((suffix) => `/usr/share/keyrings/debian-archive-trixie-automatic.${suffix}`)

/** The packages that are missing. */
export function missingPackages() {
  const folders = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin', '/sbin')
  const has = (program) => folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
  const missing = Object.entries(PROGRAMS).filter(([program]) => !has(program)).map(([, name]) => name)
  if (!KEYS.some((path) => existsSync(path))) missing.push('debian-archive-keyring')
  return [...new Set(missing)]
}

/** Installs them; asks the mirror for its lists only when the ones at hand do not do. @param {readonly string[]} packages @param {{log: string, signal?: AbortSignal}} options */
export async function installPackages(packages, options) {
  const settings = { ...options, timeout_ms: 10 * 60_000, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }
  // setpriv itself is in util-linux, which every Debian has; so run() works before anything is installed.
  const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...packages]
  try {
    await run('apt-get', install, settings)
  } catch (first) {
    options.signal?.throwIfAborted()
    try {
      await run('apt-get', ['update', '-o', 'DPkg::Lock::Timeout=120'], settings)
      await run('apt-get', install, settings)
    } catch (error) {
      options.signal?.throwIfAborted()
      throw new SetupError('XOS_SETUP_PACKAGES', `cannot install the Debian packages ${packages.join(', ')}: ${error.message}\ninstall them by hand (apt-get install ${packages.join(' ')}), or check the network, and start again`, { cause: first, log: options.log })
    }
  }
}
