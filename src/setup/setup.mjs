// What `npm start`, `npm test` and `npm run build` have in common: everything that is missing, made; only what changed, made anew.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildAll, settle } from './build/build.mjs'
import { ensureImageRoot, imageRoot } from './image/root.mjs'
import { checkMachine } from './lib/checks.mjs'
import { installPackages, missingPackages } from './lib/debian.mjs'
import { SetupError } from './lib/errors.mjs'
import { tryLock } from './lib/lock.mjs'
import { installNodePackages, linkCommand, packagesAreFresh } from './lib/npm.mjs'
import { build, clone } from './lib/paths.mjs'

export const setupLog = join(build, 'setup.log')

/**
 * @param {string} command what is running, for the one who finds the clone busy: 'npm start'
 * @param {{progress: ReturnType<typeof import('./lib/progress.mjs').createProgress>, signal: AbortSignal}} options
 * @returns {Promise<{root: string, typeErrors: string[], missing: string[]}>}
 */
export async function setUp(command, { progress, signal }) {
  checkMachine({ imageReady: imageRoot().ready })
  mkdirSync(build, { recursive: true })
  const lock = tryLock(join(build, 'setup.lock'), command)
  if (!('release' in lock)) {
    const { pid, what } = lock.holder
    throw new SetupError('XOS_SETUP_BUSY', `cannot set up '${clone}': process ${pid} ('${what}') is setting it up; wait until it is done, or end it with 'kill ${pid}' and start again`)
  }
  try {
    writeFileSync(setupLog, `${command}\n`)
    const common = { log: setupLog, signal }
    const [root] = await settle([
      prepareRoot(progress, common),
      packagesAreFresh() ? null : progress.step('install the npm packages', 15, () => installNodePackages(common)),
    ])
    linkCommand()
    const built = await buildAll(root, { ...common, progress })
    return { root, ...built }
  } finally {
    lock.release()
  }
}

async function prepareRoot(progress, common) {
  const packages = missingPackages()
  if (packages.length > 0) await progress.step(`install Debian packages: ${packages.join(', ')}`, 20, () => installPackages(packages, common))
  if (imageRoot().ready) return await ensureImageRoot(common)
  return await progress.step('make the image root (Debian 13)', 60, (note) => ensureImageRoot({ ...common, note }))
}

/**
 * Runs a set-up program: errors as text, ^C as an abort that leaves nothing half-made.
 * @param {(signal: AbortSignal) => Promise<number>} main returns the exit status
 */
export async function program(main) {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => controller.abort(new SetupError('XOS_INTERRUPTED', `interrupted by ${name}; what was being made is removed, what is finished stays`)))
  try {
    process.exitCode = await main(controller.signal)
  } catch (error) {
    const told = controller.signal.aborted ? controller.signal.reason : error
    const isOurs = told instanceof SetupError
    process.stderr.write(`\nxtreemos: ${isOurs ? told.message : told?.stack ?? told}\n${told?.log ? `The whole log is in '${told.log}'.\n` : ''}`)
    process.exitCode = controller.signal.aborted ? 130 : 1
  }
}
