import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { XosError } from '../core/errors.ts'
import { build } from '../setup/lib/paths.mjs'
import type { ProcessIdentity } from '../setup/lib/process.mjs'
import { identify } from '../setup/lib/process.mjs'

/** The static helper, see container/main.cc. */
const helper = join(build, 'native/container/xos-container')
const answer_timeout_ms = 20_000

/** Throws XOS_NOT_BUILT when the clone was not built. */
export function containerHelper(): string {
  if (existsSync(helper)) return helper
  throw new XosError('XOS_NOT_BUILT', `cannot find '${helper}': this clone is not built yet; run 'npm start' or 'npm run build'`)
}

/**
 * A helper that was started and waits for our `go` on a pipe: if we are gone before, it undoes what it did and ends. So a process is
 * on record before it has anything that could be left behind.
 */
export interface Starting {
  readonly process: ProcessIdentity
  /** The next line it says. Throws XOS_CONTAINER on `error …`, its end, or after 20 s. */
  line(): Promise<string>
  go(): void
  /** Leaves it running by itself. */
  detach(): void
  kill(): void
}

/** @param errorLog file that takes its standard error (and with `run` the output of the node's init) */
export function startHelper(args: readonly string[], what: string, errorLog: string): Starting {
  const log = openSync(errorLog, 'a', 0o640)
  let child: ChildProcess
  try {
    child = spawn(containerHelper(), args, { detached: true, cwd: '/', stdio: ['pipe', 'pipe', log], env: { PATH: process.env['PATH'] ?? '' } })
  } finally {
    closeSync(log)
  }
  const lines: string[] = []
  const waiting: ((line: string) => void)[] = []
  const take = (line: string): void => {
    const next = waiting.shift()
    if (next) next(line)
    else lines.push(line)
  }
  createInterface({ input: child.stdout! }).on('line', take).on('close', () => take('error it ended'))
  child.on('error', (error) => take(`error ${error.message}`))
  child.stdin!.on('error', () => {})
  const identity = child.pid === undefined ? null : identify(child.pid)
  if (identity === null) throw new XosError('XOS_CONTAINER', `cannot ${what}: '${helper}' did not start; see '${errorLog}'`)

  return {
    process: identity,
    async line() {
      const line = lines.shift() ?? await new Promise<string>((resolve) => {
        waiting.push(resolve)
        setTimeout(resolve, answer_timeout_ms, `error no answer within ${answer_timeout_ms / 1000} s`).unref()
      })
      if (line.startsWith('error ')) throw new XosError('XOS_CONTAINER', `cannot ${what}: ${line.slice(6)} (see also '${errorLog}')`)
      return line
    },
    go: () => void child.stdin!.write('go\n'),
    detach() {
      child.stdin!.destroy()
      child.stdout!.destroy()
      child.unref()
    },
    kill: () => void child.kill('SIGKILL'),
  }
}

/** The words before the command of `xos-container enter` or `terminal`. */
export function enterArguments(init: ProcessIdentity, options: { readonly env?: readonly string[]; readonly secretFile?: string; readonly typeSecretFile?: string } = {}): string[] {
  return [
    '--pid', String(init.pid), '--start', String(init.start),
    ...(options.env ?? []).flatMap((pair) => ['--env', pair]),
    ...(options.secretFile === undefined ? [] : ['--secret', options.secretFile]),
    ...(options.typeSecretFile === undefined ? [] : ['--type-secret', options.typeSecretFile]),
  ]
}

/** Replaces this process by the helper: streams, signals and exit status are then exactly the command's. Does not return. */
export function becomeHelper(verb: 'enter' | 'terminal', args: readonly string[], command: readonly string[]): never {
  return become(containerHelper(), ['xos-container', verb, ...args, '--', ...command])
}

/** execve(2) with our environment. */
export function become(file: string, argv: readonly string[]): never {
  if (process.execve === undefined) throw new XosError('XOS_INTERNAL', 'this Node cannot replace itself: xgrid needs Node 24')
  process.execve(file, [...argv], process.env as Record<string, string>)
  throw new XosError('XOS_INTERNAL', `cannot run '${file}'`)
}

/** Runs a command in a node as its root and returns what it printed; for the grid's own chores. */
export async function runInNode(init: ProcessIdentity, command: readonly string[], options: { readonly timeout_ms: number; readonly input?: string }): Promise<{ status: number; output: string }> {
  const child = spawn(containerHelper(), ['enter', ...enterArguments(init), '--', ...command], { stdio: ['pipe', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => { output = (output + chunk).slice(-65_536) })
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeout_ms)
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve({ status: code ?? 137, output }))
    })
  } finally {
    clearTimeout(timer)
  }
}
