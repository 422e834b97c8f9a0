// One suite: a program that reports tests by lines, counted while it runs. Failures are shown at once, the rest goes to a log.
import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'

/** @typedef {{passed: number, failed: number, skipped: number}} Counts */

/**
 * Runs `argv` and gives each line to `read`, which says what it means: a test with its result, or null for anything else.
 * @param {{title: string, argv: readonly string[], cwd: string, env?: NodeJS.ProcessEnv, log: string, signal: AbortSignal,
 *   read: (line: string) => {name: string, result: 'passed' | 'failed' | 'skipped'} | null, out?: NodeJS.WritableStream}} suite
 * @returns {Promise<Counts>} a suite that ends badly without a failed test counts as one failed test
 */
export async function runSuite(suite) {
  const out = suite.out ?? process.stdout
  suite.signal.throwIfAborted()
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const log = createWriteStream(suite.log)
  const [program = '', ...args] = suite.argv
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', program, ...args], { cwd: suite.cwd, env: suite.env ?? process.env, stdio: ['ignore', 'pipe', 'pipe'] })
  const stop = () => child.kill('SIGTERM')
  suite.signal.addEventListener('abort', stop, { once: true })
  let failing = false
  const take = (line) => {
    log.write(`${line}\n`)
    const test = suite.read(line)
    if (test === null) {
      if (failing && /^\s/.test(line)) out.write(`      ${line.trimEnd()}\n`)
      else failing = false
      return
    }
    counts[test.result]++
    failing = test.result === 'failed'
    if (failing) out.write(`    ✗ ${test.name}\n`)
    else if (test.result === 'skipped') out.write(`    - skipped: ${test.name}\n`)
  }
  const last = []
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
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

/** A line of the Test Anything Protocol, as ava prints it. @param {string} line */
export function readTap(line) {
  const match = /^(not )?ok \d+ - (.*)$/.exec(line)
  if (!match) return null
  const name = match[2] ?? ''
  const directive = /#\s*(SKIP|TODO)\b/i.test(name)
  return { name, result: directive ? 'skipped' : match[1] ? 'failed' : 'passed' }
}

/** A line of ctest: `3/12 Test  #3: wire .....   Passed    0.11 sec`. @param {string} line */
export function readCtest(line) {
  const match = /^\s*\d+\/\d+\s+Test\s+#\d+:\s+(.+?)\s+\.*\s*(Passed|\*\*\*.*?)\s+[\d.]+ sec/.exec(line)
  if (!match) return null
  const how = match[2] ?? ''
  return { name: how === 'Passed' ? match[1] : `${match[1]} (${how.replaceAll('*', '').trim()})`, result: how === 'Passed' ? 'passed' : /Skipped/.test(how) ? 'skipped' : 'failed' }
}
