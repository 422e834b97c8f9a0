import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { SetupError } from './errors.mjs'

/**
 * Runs a program and keeps its output: in the log file, and its last lines for the error. The program dies with us: it is
 * started through setpriv --pdeathsig, and an abort sends TERM, then KILL after 5 s.
 * @param {string} program @param {readonly string[]} args
 * @param {{log?: string, cwd?: string, env?: NodeJS.ProcessEnv, input?: string, signal?: AbortSignal, timeout_ms?: number, what?: string, onLine?: (line: string) => void}} [options]
 * @returns {Promise<string>} standard output. Throws SetupError XOS_SETUP_COMMAND with the last lines when it does not end with 0.
 */
export async function run(program, args, options = {}) {
  options.signal?.throwIfAborted()
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], {
    cwd: options.cwd, env: options.env ?? process.env, stdio: ['pipe', 'pipe', 'pipe'],
  })
  const log = options.log ? createWriteStream(options.log, { flags: 'a' }) : null
  log?.on('error', () => {})
  log?.write(`\n$ ${[program, ...args].join(' ')}\n`)
  let stdout = ''
  let tail = ''
  let partial = ''
  const take = (chunk) => {
    log?.write(chunk)
    tail = (tail + chunk).slice(-4000)
    if (!options.onLine) return
    const lines = (partial + chunk).split('\n')
    partial = lines.pop() ?? ''
    for (const line of lines) options.onLine(line)
  }
  child.stdout.setEncoding('utf8').on('data', (chunk) => { stdout += chunk; take(chunk) })
  child.stderr.setEncoding('utf8').on('data', take)
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const stop = () => {
    child.kill('SIGTERM')
    setTimeout(() => child.kill('SIGKILL'), 5000).unref()
  }
  options.signal?.addEventListener('abort', stop, { once: true })
  const timer = options.timeout_ms ? setTimeout(stop, options.timeout_ms) : null
  const begun = performance.now()
  try {
    const [code, signal] = await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => resolve([code, signal]))
    })
    options.signal?.throwIfAborted()
    if (code === 0) return stdout
    const late = options.timeout_ms && performance.now() - begun >= options.timeout_ms
    const how = late ? `took longer than ${options.timeout_ms / 1000} s` : signal ? `was ended by ${signal}` : `ended with ${code}`
    throw new SetupError('XOS_SETUP_COMMAND', `${options.what ?? `'${program} ${args.join(' ')}'`} ${how}:\n${lastLines(tail, 12)}`, { log: options.log })
  } catch (error) {
    if (error.code === 'ENOENT') throw new SetupError('XOS_SETUP_COMMAND', `cannot run 'setpriv': it is missing; install the Debian package 'util-linux'`)
    throw error
  } finally {
    if (timer) clearTimeout(timer)
    options.signal?.removeEventListener('abort', stop)
    log?.end()
  }
}

/** The last `count` lines that are not empty, indented. @param {string} text @param {number} count */
export function lastLines(text, count) {
  return text.split('\n').filter((line) => line.trim() !== '').slice(-count).map((line) => `    ${line}`).join('\n')
}
