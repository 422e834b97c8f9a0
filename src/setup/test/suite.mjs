// One suite: a program that reports tests by lines, counted while it runs. Failures are shown at once, the rest goes to a log.
import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { Transform } from 'node:stream'
import { finished } from 'node:stream/promises'

/** @typedef {{passed: number, failed: number, skipped: number}} Counts */
/** @typedef {{name: string, result: 'passed' | 'failed' | 'skipped'}} Test */

/** Of what a failed test printed, so many lines are shown; the log has all. */
const shown_lines = 200

/** Carriage returns become spaces: a program's line of progress is no line of the report, which would end where it begins. */
const withoutReturns = () => new Transform({ transform: (bytes, _, done) => done(null, bytes.map((/** @type {number} */ byte) => (byte === 13 ? 32 : byte))) })

/**
 * Runs `argv` and gives each line to `read`, which says what it means: a test with its result, or null for anything else. What follows a failed
 * test is shown with it as long as `belongs` says that it is of that test.
 * @param {{title: string, argv: readonly string[], cwd: string, env?: NodeJS.ProcessEnv, log: string, signal: AbortSignal,
 *   reader: {read: (line: string) => Test | null, belongs: (line: string) => boolean}, out?: NodeJS.WritableStream}} suite
 * @returns {Promise<Counts>} a suite that ends badly without a failed test counts as one failed test
 */
export async function runSuite(suite) {
  const out = suite.out ?? process.stdout
  suite.signal.throwIfAborted()
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const log = createWriteStream(suite.log)
  const [program = '', ...args] = suite.argv
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', program, ...args], { cwd: suite.cwd, env: suite.env ?? process.env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  // The group: ava's workers, and the guests that end with them, outlive ava otherwise.
  const stop = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
    } catch {
      // It has just ended.
    }
  }
  suite.signal.addEventListener('abort', stop, { once: true })
  let toShow = 0
  const take = (line) => {
    log.write(`${line}\n`)
    const test = suite.reader.read(line)
    if (test === null) {
      if (!suite.reader.belongs(line)) toShow = 0
      else if (toShow > 0 && !/^\s*$|^ok\b/.test(line)) {
        toShow--
        out.write(`      ${line.trimEnd()}\n`)
      }
      return
    }
    counts[test.result]++
    toShow = test.result === 'failed' ? shown_lines : 0
    if (test.result === 'failed') out.write(`    ✗ ${test.name}\n`)
    else if (test.result === 'skipped') out.write(`    - skipped: ${test.name}\n`)
  }
  const last = []
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream.pipe(withoutReturns()) }).on('line', (line) => {
      last.push(line)
      if (last.length > 15) last.shift()
      take(line)
    })
  }
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (...end) => resolve(end))
  })
  suite.signal.removeEventListener('abort', stop)
  log.end()
  await finished(log)
  suite.signal.throwIfAborted()
  if (code !== 0 && counts.failed === 0) {
    counts.failed++
    out.write(`    ✗ ${suite.title} ended with ${signal ?? code}; its last lines:\n${last.map((line) => `      ${line}\n`).join('')}`)
  }
  if (code === 0 && counts.passed + counts.failed + counts.skipped === 0) {
    counts.failed++
    out.write(`    ✗ ${suite.title} ran no test\n`)
  }
  out.write(`    ${suite.title}: ${counts.passed} passed, ${counts.failed} failed${counts.skipped ? `, ${counts.skipped} skipped` : ''}\n`)
  return counts
}

/** The Test Anything Protocol, as ava prints it. */
export const tap = {
  /** @param {string} line @returns {Test | null} */
  read(line) {
    const match = /^(not )?ok \d+ - (.*)$/.exec(line)
    if (!match) return null
    const name = match[2] ?? ''
    const directive = /#\s*(SKIP|TODO)\b/i.test(name)
    return { name, result: directive ? 'skipped' : match[1] ? 'failed' : 'passed' }
  },
  /** @param {string} line */
  belongs: (line) => /^(\s|$)/.test(line),
}

/** ctest with --output-on-failure: `3/12 Test  #3: wire .....   Passed    0.11 sec`, and after a failed one what it printed. */
export const ctest = {
  /** @param {string} line @returns {Test | null} */
  read(line) {
    const match = /^\s*\d+\/\d+\s+Test\s+#\d+:\s+(.+?)\s+\.*\s*(Passed|\*\*\*.*?)\s+[\d.]+ sec/.exec(line)
    if (!match) return null
    const how = match[2] ?? ''
    return { name: how === 'Passed' ? match[1] : `${match[1]} (${how.replaceAll('*', '').trim()})`, result: how === 'Passed' ? 'passed' : /Skipped/.test(how) ? 'skipped' : 'failed' }
  },
  /** Not the start of the next, nor the summary. @param {string} line */
  belongs: (line) => !/^\s+Start\s+\d+:|^\d+% tests passed/.test(line),
}
