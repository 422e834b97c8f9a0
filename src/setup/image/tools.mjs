// The tools root: Debian with what builds images and kernel modules and runs guests, so that nothing of it is installed by hand.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { enterCommand } from '../build/chroot.mjs'
import { SetupError } from '../lib/errors.mjs'
import { run } from '../lib/run.mjs'
import { ensureImageRoot, imageRoot } from './root.mjs'

const FLAVOURS = ['tools']

/** Path of the tools root (image/tools/packages), and whether it is there. */
export function toolsRoot() {
  return imageRoot(FLAVOURS)
}

/** Makes the tools root unless it is there. @param {{log: string, signal?: AbortSignal, note?: (text: string) => void}} options @returns {Promise<string>} its path */
export async function ensureToolsRoot(options) {
  return await ensureImageRoot({ ...options, flavours: FLAVOURS })
}

/**
 * The command line that runs `command` in the tools root, in mount and pid namespaces of its own: when the first process of it is killed,
 * so is everything that it started. @param {string} root @param {readonly string[]} command @param {readonly string[]} [binds] folders to be seen inside, besides the clone
 */
export function toolsCommand(root, command, binds = []) {
  return enterCommand(root, command, binds)
}

/** Runs it to its end. Options as for run(), and `binds`. @param {string} root @param {readonly string[]} command @param {Parameters<typeof run>[2] & {binds?: readonly string[]}} options @returns {Promise<string>} standard output */
export async function runTool(root, command, options) {
  const [program = '', ...args] = toolsCommand(root, command, options.binds)
  return await run(program, args, { what: `'${command.join(' ')}' in the tools root`, ...options })
}

/**
 * The kernel of the tools root, which is that of guests: kernel, modules and headers of one version.
 * @param {string} root @returns {{version: string, image: string, modules: string, headers: string}} `headers`: path inside the tools root
 */
export function toolsKernel(root) {
  const versions = readdirSync(join(root, 'usr/lib/modules')).filter((name) => /^\d/.test(name)).sort()
  const version = versions.at(-1)
  if (version === undefined) throw new SetupError('XOS_SETUP_KERNEL', `cannot find a kernel in the tools root '${root}': usr/lib/modules is empty; remove that folder and start again`)
  return { version, image: join(root, 'boot', `vmlinuz-${version}`), modules: join(root, 'usr/lib/modules', version), headers: `/usr/lib/modules/${version}/build` }
}
