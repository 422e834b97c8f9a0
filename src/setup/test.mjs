// npm test: sets up what is missing and runs everything, of the system tests a part. `npm test -- unit|native|grid|system [FILE…]` runs one of them, whole;
// `npm test -- conformance [NAME]` what is no part of everything, `npm test -- --help` tells.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { buildNative } from './build/native.mjs'
import { enterCommand } from './build/chroot.mjs'
import { ensureGuestLayers } from './guest/layers.mjs'
import { SetupError } from './lib/errors.mjs'
import { build, clone, gridRun, gridState, node24 } from './lib/paths.mjs'
import { tryLock } from './lib/lock.mjs'
import { startTime } from './lib/process.mjs'
import { createProgress } from './lib/progress.mjs'
import { program, setUp, setupLog } from './setup.mjs'
import { readArguments, USAGE } from './test/arguments.mjs'
import { conformance } from './test/conformance.mjs'
import { ctest, tap, runSuite } from './test/suite.mjs'
import { systemTests } from './test/system.mjs'

const avaProgram = join(clone, 'node_modules/.bin/ava')
const testEnvironment = {
  PATH: `${dirname(node24)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`, NODE_OPTIONS: '--disable-warning=ExperimentalWarning', FORCE_COLOR: '0',
}

await program(async (signal) => {
  const wish = readArguments(process.argv.slice(2))
  if (wish.help) {
    process.stdout.write(`${USAGE}\n`)
    return 0
  }
  const { part, files } = wish
  const wanted = (name) => part === undefined || part === name
  const progress = createProgress(process.stdout)
  const { root, typeErrors, missing } = await setUp('npm test', { progress, signal })
  const lock = tryLock(join(build, 'test.lock'), 'npm test')
  if (!('release' in lock)) throw new SetupError('XOS_SETUP_BUSY', `cannot test '${clone}': process ${lock.holder.pid} ('npm test') is testing it; wait until it is done, or end it with 'kill ${lock.holder.pid}' and start again`)
  process.once('exit', () => lock.release())
  removeStaleGrids()
  const results = []
  if (part === undefined) results.push(built(typeErrors, missing))
  if (wanted('unit')) {
    progress.say('  unit and contract tests')
    // Inside the image root, like everything that is built: the addons are made for its libraries, not for this machine's.
    const patterns = files.length > 0 ? files : ['test/**/*.test.ts', '!test/grid/**', '!test/system/**']
    results.push(await ava('unit and contract', enterCommand(root, ['env', ...words({ ...knobs(), ...testEnvironment }), avaProgram, '--tap', ...patterns]), process.env, signal))
  }
  if (wanted('native')) results.push(await native(root, files, { progress, signal }))
  if (wanted('grid')) {
    progress.say('  grid tests (each brings up a personal grid of its own)')
    const patterns = files.length > 0 ? files : ['test/grid/**/*.test.ts']
    results.push(await ava('grid', [avaProgram, '--tap', '--serial', '--concurrency', '1', '--timeout', '5m', ...patterns], { ...process.env, ...testEnvironment }, signal))
  }
  if (wanted('system')) results.push(await system(part === 'system', files, { progress, signal }))
  if (part === 'conformance') results.push(await conformance(files[0], { environment: knobs(), progress, signal }))
  progress.end()
  const sum = (key) => results.reduce((total, counts) => total + counts[key], 0)
  const skipped = sum('skipped')
  process.stdout.write(`\n${sum('passed')} passed, ${sum('failed')} failed${skipped ? `, ${skipped} skipped` : ''}\n`)
  return sum('failed') > 0 ? 1 : 0
})

/** The build as two tests: no type error, and every part came out of it. */
function built(typeErrors, missing) {
  for (const error of typeErrors.slice(0, 20)) process.stdout.write(`    ✗ ${error}\n`)
  for (const name of missing) process.stdout.write(`    ✗ '${name}' did not come out of the build\n`)
  const failed = (typeErrors.length > 0 ? 1 : 0) + (missing.length > 0 ? 1 : 0)
  return { passed: 2 - failed, failed, skipped: 0 }
}

/** A build that fails counts as a failed test: the other parts still run. */
async function native(root, files, { progress, signal }) {
  let folder
  try {
    folder = await progress.step('build the native code with sanitizers', 180, (note) => buildNative(root, { log: setupLog, sanitize: true, signal, note }))
  } catch (error) {
    signal.throwIfAborted()
    process.stdout.write(`    ✗ ${error.message}\n`)
    return { passed: 0, failed: 1, skipped: 0 }
  }
  progress.say('  native tests')
  const argv = enterCommand(root, ['ctest', '--test-dir', folder, '--timeout', '600', '-j2', '--output-on-failure', ...(files[0] ? ['-R', files[0]] : [])])
  return await runSuite({ title: 'native', argv, cwd: clone, log: join(build, 'test-native.log'), signal, reader: ctest })
}

/** Guests in QEMU. As a part of everything only what fits the time of a run; what is left out is told. */
async function system(whole, files, { progress, signal }) {
  const { patterns, leftOut } = systemTests(whole, files)
  try {
    await progress.step('make the guest of the system tests', 150, (note) => ensureGuestLayers({ log: setupLog, signal, note }))
  } catch (error) {
    signal.throwIfAborted()
    process.stdout.write(`    ✗ ${error.message}\n`)
    return { passed: 0, failed: 1, skipped: 0 }
  }
  progress.say('  system tests (guests in QEMU; the first boots one and keeps it)')
  if (leftOut.length > 0) progress.say(`    left out, for the emulated machines are slow and a whole run should take less than half an hour: ${leftOut.join(', ')}; 'npm run test:system' runs all`)
  return await ava('system', [avaProgram, '--tap', '--serial', '--concurrency', '1', '--timeout', '15m', ...patterns], { ...process.env, ...testEnvironment }, signal)
}

function ava(title, argv, env, signal) {
  return runSuite({ title, argv, cwd: clone, env, log: join(build, `test-${title.split(' ')[0]}.log`), signal, reader: tap })
}

/** What asks tests for more rounds than usual (`XOS_FUZZ_ROUNDS`, `XOS_OVERLAY_SOAK_S`, …): the root is entered with a clean environment. */
function knobs() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => /^XOS_(FUZZ|OVERLAY|ROUNDS)/.test(name)))
}

function words(env) {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`)
}

/** Grids of test runs that were killed: their names end in the pid of the run (test/grid/support/grid.ts). */
function removeStaleGrids() {
  const names = new Set([gridRun, gridState].flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : [])))
  for (const name of names) {
    const pid = /^test-.*-(\d+)$/.exec(name)?.[1]
    if (pid !== undefined && startTime(Number(pid)) === null) spawnSync(join(clone, 'src/setup/xgrid'), ['down', '--purge', '--grid', name], { stdio: 'ignore' })
  }
}
