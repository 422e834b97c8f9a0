// `npm test -- conformance [NAME]`: programs of Debian and random operations on a mounted volume (native/mount/test/conformance). Not part of a whole run: it
// takes a quarter of an hour.
import { join } from 'node:path'
import { enterCommand } from '../build/chroot.mjs'
import { ensureImageRoot } from '../image/root.mjs'
import { build, clone } from '../lib/paths.mjs'
import { setupLog } from '../setup.mjs'
import { runSuite } from './suite.mjs'

/** What the suite prints: `ok   name (1.2 s)`, `FAIL name: …` and after it why, `skip name: why`. */
export const reader = {
  /** @param {string} line @returns {{name: string, result: 'passed' | 'failed' | 'skipped'} | null} */
  read(line) {
    const match = /^(ok|FAIL|skip) +(\S.*)$/.exec(line)
    if (!match) return null
    return { name: match[2] ?? '', result: match[1] === 'ok' ? 'passed' : match[1] === 'FAIL' ? 'failed' : 'skipped' }
  },
  /** @param {string} line */
  belongs: (line) => !/^\d+ passed/.test(line),
}

/**
 * Runs the suite in a root of its own (image/conformance), with the programs that nodes get.
 * @param {string | undefined} name of tests to run, or a part of it
 * @param {{environment: Record<string, string>, progress: {step: <T>(title: string, seconds: number, work: (note: (text: string) => void) => Promise<T>) => Promise<T>, say: (text: string) => void}, signal: AbortSignal}} options
 */
export async function conformance(name, { environment, progress, signal }) {
  const root = await progress.step('make the root of the conformance suite', 150, (note) => ensureImageRoot({ flavours: ['conformance'], log: setupLog, signal, note }))
  progress.say('  conformance of the file system (some minutes)')
  const words = Object.entries(environment).map(([key, value]) => `${key}=${value}`)
  const argv = enterCommand(root, ['env', ...words, 'python3', 'native/mount/test/conformance/main.py', join(build, 'native'), ...(name === undefined ? [] : [name])])
  return await runSuite({ title: 'conformance', argv, cwd: clone, log: join(build, 'test-conformance.log'), signal, reader })
}
