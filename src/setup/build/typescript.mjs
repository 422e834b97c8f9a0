import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { hashInputs } from '../lib/hash.mjs'
import { build, clone, node24 } from '../lib/paths.mjs'
import { run } from '../lib/run.mjs'

/**
 * Compiles src/ and native/**\/*.ts to build/dist. A type error does not stop the output: it is reported, and counted by `npm test`.
 * @param {{log: string, signal?: AbortSignal}} options
 * @returns {Promise<{errors: string[]}>} messages of the compiler
 */
export async function buildTypeScript(options) {
  const stamp = join(build, 'dist.json')
  const inputs = hashInputs(clone, ['src', 'native', 'tsconfig.json', 'package-lock.json'])
  const last = existsSync(stamp) ? JSON.parse(readFileSync(stamp, 'utf8')) : null
  if (last?.inputs === inputs) return { errors: last.errors }
  mkdirSync(dirname(stamp), { recursive: true })
  rmSync(join(build, 'dist'), { recursive: true, force: true })
  let errors = []
  try {
    await run(node24, [join(clone, 'node_modules/typescript/bin/tsc'), '-p', clone, '--pretty', 'false'], { log: options.log, signal: options.signal, cwd: clone, timeout_ms: 10 * 60_000, onLine: (line) => {
      if (/ error TS\d+:/.test(line)) errors.push(line)
    } })
  } catch (error) {
    if (errors.length === 0) throw error
  }
  errors = [...new Set(errors)]
  writeFileSync(stamp, JSON.stringify({ inputs, errors }))
  return { errors }
}
