// npm run image -- FLAVOUR: from declarations to image files.
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { settle } from '../build/build.mjs'
import { SetupError } from '../lib/errors.mjs'
import { waitLock } from '../lib/lock.mjs'
import { build } from '../lib/paths.mjs'
import { commandLine, makeUnifiedKernel } from './boot-files.mjs'
import { readFlavour } from './flavour.mjs'
import { makeIdentity } from './identity.mjs'
import { makeInitrd } from './initrd.mjs'
import { makeKernelModules } from './kernel-modules.mjs'
import { findKeys } from './keys.mjs'
import { makeOutputs } from './outputs.mjs'
import { findPrograms, packagedPrograms } from './programs.mjs'
import { ensureImageRoot, imageRoot } from './root.mjs'
import { makeRootImage } from './root-image.mjs'
import { ensureToolsRoot, runTool, toolsKernel, toolsRoot } from './tools.mjs'

/**
 * @typedef {{flavour: string, output?: string, version?: string, keyFolder?: string, outputs?: readonly string[], gridRoot: string, packages?: string, log: string, signal: AbortSignal,
 *   progress: ReturnType<typeof import('../lib/progress.mjs').createProgress>}} ImageOptions
 * `gridRoot`: the root that our programs are built in; `packages`: a folder with our packages, which are made if it is not given; `outputs`: instead of the flavour's
 */

/** @param {ImageOptions} options @returns {Promise<{version: string, rootHash: string, files: {path: string, bytes: number, sha256: string}[]}>} */
export async function buildImage(options) {
  const flavour = readFlavour(options.flavour)
  const { log, signal, progress } = options
  const folder = join(build, 'image', flavour.name)
  mkdirSync(folder, { recursive: true })
  const lock = await waitLock(join(build, 'image', `${flavour.name}.lock`), 'npm run image', { timeout_ms: 1000, signal })
  if (!('release' in lock)) throw new SetupError('XOS_SETUP_BUSY', `cannot make the image '${flavour.name}': process ${lock.holder.pid} is making one already; wait until it is done, or end it with 'kill ${lock.holder.pid}' and start again`)
  const work = join(folder, 'work')
  try {
    const roots = await prepareRoots(flavour, { log, signal, progress })
    rmSync(work, { recursive: true, force: true })
    mkdirSync(work, { recursive: true })
    const context = makeContext(flavour, roots.tools, work, options)
    mkdirSync(context.output, { recursive: true })
    return await makeAll(context, roots.base, options)
  } catch (error) {
    throw explain(error, flavour, log)
  } finally {
    rmSync(work, { recursive: true, force: true })
    lock.release()
  }
}

/**
 * Makes the tools root and the flavour's root of packages, side by side, unless they are there: the mirror, the disk and dpkg take turns in being what one of them waits for.
 * @param {import('./flavour.mjs').Flavour} flavour @param {Pick<ImageOptions, 'log' | 'signal' | 'progress'>} options @returns {Promise<{tools: string, base: string}>} paths
 */
export async function prepareRoots(flavour, { log, signal, progress }) {
  const common = { log, signal }
  const [tools, base] = await settle([
    toolsRoot().ready ? ensureToolsRoot(common) : progress.step('make the tools root', 100, (note) => ensureToolsRoot({ ...common, note })),
    imageRoot(flavour.roots).ready ? ensureImageRoot({ ...common, flavours: flavour.roots })
      : progress.step(`make the root of '${flavour.name}' (Debian 13)`, 60, (note) => ensureImageRoot({ ...common, flavours: flavour.roots, note })),
  ])
  return { tools, base }
}

/** @returns {import('./context.mjs').Context} */
function makeContext(flavour, tools, work, { output, version, log, signal }) {
  const { version: kernel, modules } = toolsKernel(tools)
  const where = output ?? join(build, 'image', flavour.name)
  return {
    flavour, identity: makeIdentity(flavour.name, version), kernel: { version: kernel, modules, inside: `/usr/lib/modules/${kernel}` }, tools, work, output: where,
    tool: (command, { environment = {}, binds = [], ...options } = {}) => runTool(tools, ['env', ...Object.entries(environment).map(([name, value]) => `${name}=${value}`), ...command],
      { log, signal, timeout_ms: 5 * 60_000, what: `'${command[0]}'`, ...options, binds: [...binds, where] }),
  }
}

async function makeAll(context, base, { keyFolder, outputs, gridRoot, packages, log, signal, progress }) {
  const { flavour, identity, work, tool } = context
  const keys = await findKeys(keyFolder, tool)
  if (keys.isDevelopment) progress.say(`  ! signed with this clone's development keys ('${keys.folder}'); for images that others use give your own with --key FOLDER`)
  const [programs] = await settle([
    flavour.programs.length === 0 ? [] : packages !== undefined ? findPrograms(flavour.programs, packages) : progress.step('make our Debian packages', 20, (note) => packagedPrograms(flavour.programs, gridRoot, { log, signal, note })),
    progress.step('make our kernel modules', 10, () => makeKernelModules(context, keys, { log, signal })),
  ])
  const [root, initrd] = await settle([
    progress.step(`make the root of ${flavour.name} ${identity.version}`, 30, (note) => makeRootImage({ ...context, note }, { base, programs, files: { 'usr/lib/xos/update.pub': readFileSync(keys.updatePublic, 'utf8') } })),
    makeInitrd(context),
  ])
  const line = commandLine(flavour, root)
  const uki = await makeUnifiedKernel(context, { line, initrd, name: `xos-${identity.version}.efi`, keys })
  const made = { root, initrd, line, uki, linux: join(work, 'kernel/linux'), keys, base, programs }
  const files = await progress.step(`make ${(outputs ?? flavour.outputs).join(', ')}`, 15, (note) => makeOutputs({ ...context, note }, made, outputs ?? flavour.outputs))
  return { version: identity.version, rootHash: root.hash, files }
}

function explain(error, flavour, log) {
  if (/No space left|ENOSPC/i.test(String(error?.message))) {
    return new SetupError('XOS_SETUP_DISK', `cannot make the image '${flavour.name}': the disk (or memory for a tmpfs) is full; about 3 GB are needed below '${build}', free some and start again`, { cause: error, log })
  }
  return error
}
