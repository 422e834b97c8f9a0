// Kernel modules of kmod/, built in the tools root against the headers there. `npm run build` does so when that root is there; tests when they load one.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { runTool, toolsKernel } from '../image/tools.mjs'
import { SetupError } from '../lib/errors.mjs'
import { hashInputs } from '../lib/hash.mjs'
import { waitLock } from '../lib/lock.mjs'
import { build, clone } from '../lib/paths.mjs'

const BUILD_TIMEOUT_MS = 5 * 60_000

/** The folders of kmod/ that hold a module: those with a Kbuild. */
export function moduleNames() {
  const folder = join(clone, 'kmod')
  return existsSync(folder) ? readdirSync(folder).filter((name) => existsSync(join(folder, name, 'Kbuild'))).sort() : []
}

/**
 * Builds one module and its self-test programs, only when something changed: by selftest/Makefile where there is one (its first goal, into
 * its own folder), else each selftest/NAME.c as a static program.
 * @param {string} tools the tools root @param {string} name of its folder in kmod/
 * @param {{log: string, signal?: AbortSignal}} options
 * @returns {Promise<string>} the folder with NAME.ko and selftest/. Throws XOS_BUILD with the compiler's words.
 */
export async function buildModule(tools, name, options) {
  const source = join(clone, 'kmod', name)
  if (!existsSync(join(source, 'Kbuild'))) throw new SetupError('XOS_USAGE', `cannot build the kernel module '${name}': there is no 'kmod/${name}/Kbuild'; there are ${moduleNames().join(', ') || 'none'}`)
  const kernel = toolsKernel(tools)
  const folder = join(build, 'kmod', kernel.version, name)
  const stamp = join(build, 'kmod', kernel.version, `${name}.built`)
  mkdirSync(join(build, 'kmod', kernel.version), { recursive: true })
  const lock = await waitLock(`${stamp}.lock`, `building the kernel module '${name}'`, { timeout_ms: BUILD_TIMEOUT_MS, signal: options.signal })
  if (!('release' in lock)) throw new SetupError('XOS_SETUP_BUSY', `cannot build the kernel module '${name}': process ${lock.holder.pid} has been at it for 5 minutes`)
  try {
    const inputs = hashInputs(clone, [`kmod/${name}`, 'kmod/include', 'src/setup/build/kmod.mjs'], [tools])
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === inputs) return folder
    rmSync(folder, { recursive: true, force: true })
    cpSync(source, folder, { recursive: true })
    if (existsSync(join(clone, 'kmod/include'))) cpSync(join(clone, 'kmod/include'), join(build, 'kmod', kernel.version, 'include'), { recursive: true })
    const told = []
    const settings = { log: options.log, signal: options.signal, timeout_ms: BUILD_TIMEOUT_MS, onLine: (line) => { if (/error:|warning:|undefined!/.test(line)) told.push(line) } }
    try {
      await runTool(tools, ['make', '-C', kernel.headers, `M=${folder}`, 'W=1', 'modules'], settings)
      await buildSelftests(tools, folder, settings)
    } catch (error) {
      options.signal?.throwIfAborted()
      throw new SetupError('XOS_BUILD', `cannot build the kernel module '${name}':\n${told.length > 0 ? told.slice(0, 12).map((line) => `    ${line}`).join('\n') : error.message}`, { cause: error, log: options.log })
    }
    if (!existsSync(join(folder, `${name}.ko`))) throw new SetupError('XOS_BUILD', `cannot build the kernel module '${name}': its Kbuild does not make '${name}.ko'`, { log: options.log })
    writeFileSync(stamp, inputs)
    return folder
  } finally {
    lock.release()
  }
}

/** For tests: the path of a built module. @param {{tools: string}} layers @param {string} name */
export async function kernelModule(layers, name) {
  return join(await buildModule(layers.tools, name, { log: join(build, 'kmod.log') }), `${name}.ko`)
}

/** For tests: the path of a self-test program of a module. @param {{tools: string}} layers @param {string} name @param {string} program */
export async function kernelSelftest(layers, name, program) {
  return join(await buildModule(layers.tools, name, { log: join(build, 'kmod.log') }), 'selftest', program)
}

/** All modules. @param {string} tools @param {{log: string, signal?: AbortSignal}} options @returns {Promise<string[]>} names */
export async function buildModules(tools, options) {
  const names = moduleNames()
  for (const name of names) await buildModule(tools, name, options)
  return names
}

async function buildSelftests(tools, folder, settings) {
  const selftest = join(folder, 'selftest')
  if (existsSync(join(selftest, 'Makefile'))) return void await runTool(tools, ['make', '-C', selftest], settings)
  for (const name of existsSync(selftest) ? readdirSync(selftest) : []) {
    if (!name.endsWith('.c')) continue
    await runTool(tools, ['gcc', '-static', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread', `-I${join(folder, 'uapi')}`, `-I${selftest}`, `-I${join(folder, '../include')}`, '-o', join(selftest, basename(name, '.c')), join(selftest, name)], settings)
  }
}
