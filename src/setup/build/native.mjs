import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hashInputs } from '../lib/hash.mjs'
import { build, clone } from '../lib/paths.mjs'
import { SetupError } from '../lib/errors.mjs'
import { runInRoot } from './chroot.mjs'

/** For a developer whose tree does not compile in one part: build the others. What is missing is told when the stage is laid out. */
const KEEP_GOING = Boolean(process.env['XOS_KEEP_GOING'])
const SOURCES = ['native', 'pam', 'kmod/xos_exec/uapi', 'kmod/xos_proxy/uapi', 'src/grid/container', 'src/proto']

/**
 * Compiles the native code inside the image root, only what changed; with `sanitize` into a folder of its own.
 * @param {string} root the image root
 * @param {{log: string, sanitize?: boolean, signal?: AbortSignal, note?: (text: string) => void}} options
 * @returns {Promise<string>} the build folder
 */
export async function buildNative(root, options) {
  const folder = join(build, options.sanitize ? 'native-sanitize' : 'native')
  const stamp = join(folder, '.xos-built')
  const inputs = hashInputs(clone, SOURCES, [root, String(Boolean(options.sanitize))])
  if (read(stamp) === inputs) return folder
  // A cache of another root names compilers and libraries that may be gone: start afresh.
  if (existsSync(folder) && read(join(folder, '.xos-root')) !== root) rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, '.xos-root'), root)
  const told = []
  const settings = { log: options.log, signal: options.signal, timeout_ms: 30 * 60_000, onLine: (line) => {
    const percent = /^\[\s*(\d+%)\]/.exec(line)
    if (percent) options.note?.(percent[1])
    else if (/error:|Error [0-9]|undefined reference/.test(line) && told.length < 8) told.push(`    ${line}`)
  } }
  try {
    await runInRoot(root, ['cmake', '-S', join(clone, 'native'), '-B', folder, '-G', 'Unix Makefiles', `-DXOS_SANITIZE=${options.sanitize ? 'ON' : 'OFF'}`], settings)
    await runInRoot(root, ['cmake', '--build', folder, '-j2', '--target', options.sanitize ? 'all' : 'product', ...(KEEP_GOING ? ['--', '-k'] : [])], settings)
  } catch (error) {
    if (KEEP_GOING) return folder
    options.signal?.throwIfAborted()
    if (!/No space left/.test(String(error?.message))) {
      throw new SetupError('XOS_BUILD', `cannot build the native code in '${folder}':\n${told.length > 0 ? told.join('\n') : error.message}`, { cause: error, log: options.log })
    }
    throw new SetupError('XOS_SETUP_DISK', `cannot build the native code in '${folder}': the disk is full; free some 500 MB and start again`, { cause: error, log: options.log })
  }
  writeFileSync(stamp, inputs)
  return folder
}

function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
