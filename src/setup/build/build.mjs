// Everything that is built: TypeScript and native code side by side, then the stage.
import { join } from 'node:path'
import { toolsRoot } from '../image/tools.mjs'
import { build } from '../lib/paths.mjs'
import { buildModules } from './kmod.mjs'
import { buildNative } from './native.mjs'
import { makeStage } from './stage.mjs'
import { buildTypeScript } from './typescript.mjs'

/**
 * @param {string} root the image root
 * @param {{log: string, progress: ReturnType<typeof import('../lib/progress.mjs').createProgress>, signal?: AbortSignal}} options
 * @returns {Promise<{typeErrors: string[], missing: string[]}>}
 */
export async function buildAll(root, options) {
  const { progress, log, signal } = options
  const [typescript, native] = await settle([
    progress.step('compile TypeScript', 3, () => buildTypeScript({ log, signal })),
    progress.step('build the native code', 80, (note) => buildNative(root, { log, signal, note })),
  ])
  const { missing } = await progress.step('lay out the files of a node', 3, async () => makeStage(join(build, 'native')))
  if (typescript.errors.length > 0) progress.say(`  ! ${typescript.errors.length} type errors, for instance ${typescript.errors[0]} (all in ${log})`)
  if (missing.length > 0) progress.say(`  ! not built: ${missing.join(', ')}`)
  void native
  return { typeErrors: typescript.errors, missing: [...missing, ...await buildKernelModules(options)] }
}

/** Where the tools root is (system tests and images make it); a node of the personal grid does without modules. Returns what did not come out. */
async function buildKernelModules({ progress, log, signal }) {
  const tools = toolsRoot()
  if (!tools.ready) return []
  try {
    await progress.step('build the kernel modules', 10, () => buildModules(tools.path, { log, signal }))
    return []
  } catch (error) {
    signal?.throwIfAborted()
    progress.say(`  ! ${error.message}`)
    return ['kernel modules']
  }
}

/** Like Promise.all, but waits for all before it fails: nothing goes on behind an error's back. @template {unknown[]} T @param {{[K in keyof T]: Promise<T[K]>}} promises @returns {Promise<T>} */
export async function settle(promises) {
  const results = await Promise.allSettled(promises)
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
  return results.map((result) => result.value)
}
