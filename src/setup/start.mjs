// npm start: sets up what is missing, brings the personal grid up, and logs alice in when there is a terminal.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from './lib/errors.mjs'
import { build, clone } from './lib/paths.mjs'
import { createProgress } from './lib/progress.mjs'
import { program, setUp } from './setup.mjs'

const xgrid = join(clone, 'src/setup/xgrid')
const user = 'alice@demo'

await program(async (signal) => {
  const progress = createProgress(process.stdout)
  const begun = performance.now()
  progress.say('XtreemOS: setting up a personal grid on this machine (details in build/setup.log)')
  const { missing } = await setUp('npm start', { progress, signal })
  if (missing.length > 0) throw new SetupError('XOS_BUILD_INCOMPLETE', `cannot bring the grid up: ${missing.join(', ')} did not come out of the build`)

  const before = JSON.parse((await xgridOutput(['status', '--json'], signal)).output)
  if (before.state === 'up') {
    progress.say(`  ✓ grid '${before.grid}' is up already: ${before.nodes.map((node) => node.node).join(', ')}${isOutdated(before) ? "; it runs the build of before ('npx xgrid down' and 'npm start' for the new one)" : ''}`)
  } else {
    const { output } = await progress.step('bring up the grid', 6, () => xgridOutput(['up', '--detach'], signal))
    const password = /^The password of .*$/m.exec(output)
    if (password) progress.say(`\n  ${password[0]}`)
  }
  progress.end()
  process.stdout.write(`  ready after ${Math.round((performance.now() - begun) / 1000)} s\n`)
  process.stdout.write(`\n  npx xgrid status            the grid at a glance\n  npx xgrid login ${user}  log in again, also with --node n2\n  npx xgrid down              take it down\n\n`)
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    process.stdout.write(`  The grid is running. Enter it with: npx xgrid login ${user}   or: npx xgrid exec ${user} -- CMD\n`)
    return 0
  }
  process.stdout.write(`  Logging ${user} in on node n1. Ctrl-D leaves the shell; the grid stays.\n`)
  return await login()
})

/** Output of an xgrid command; its error is ours. */
async function xgridOutput(args, signal) {
  const child = spawn(xgrid, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => { output += chunk })
  child.stderr.setEncoding('utf8').on('data', (chunk) => { errors += chunk })
  // TERM: xgrid undoes what it began.
  const stop = () => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  const status = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  signal.removeEventListener('abort', stop)
  signal.throwIfAborted()
  if (status !== 0) throw new SetupError('XOS_SETUP_GRID', errors.trim().replace(/^xgrid: /, ''))
  return { output }
}

/** The login has the terminal until it ends: ^C is its, not ours. */
async function login() {
  process.removeAllListeners('SIGINT')
  process.on('SIGINT', () => {})
  const child = spawn(xgrid, ['login', '--auto', user], { stdio: 'inherit' })
  const status = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 1))
  })
  process.stdout.write("The grid goes on running; 'npx xgrid down' takes it down.\n")
  void status
  return 0
}

/** Whether the running nodes stand on another build than the clone's. */
function isOutdated(status) {
  try {
    const { inputs } = JSON.parse(readFileSync(join(build, 'stage.json'), 'utf8'))
    return status.nodes.some((node) => node.build !== null && node.build !== inputs)
  } catch {
    return false
  }
}
