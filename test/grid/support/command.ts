import { spawn } from 'node:child_process'
import type { Finished, RunOptions as CommandOptions } from '../../support/command.ts'

export type { Finished }

export interface RunOptions extends CommandOptions {
  readonly env?: NodeJS.ProcessEnv
}

/** Runs a program of the machine to its end. The status is as a shell has it: 128 + N for signal N. */
export function run (argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return start(argv, options).finished
}

export interface Running {
  readonly pid: number
  readonly finished: Promise<Finished>
  /** Resolves when standard output holds what `pattern` matches; rejects when the command ends before. */
  seen(pattern: RegExp): Promise<RegExpExecArray>
  kill(signal: NodeJS.Signals): void
}

export function start (argv: readonly string[], options: RunOptions = {}): Running {
  const [program = '', ...args] = argv
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: options.env ?? process.env })
  const timeout_ms = options.timeout_ms ?? 60_000
  let stdout = ''
  let stderr = ''
  let ended = false
  const watchers = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
    for (const watch of watchers) watch()
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { stderr += chunk })
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const finished = new Promise<Finished>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`'${argv.join(' ')}' did not end within ${timeout_ms / 1000} s; it said:\n${stdout}${stderr}`))
    }, timeout_ms)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      ended = true
      for (const watch of watchers) watch()
      resolve({ status: code ?? 128 + signals[signal as keyof typeof signals], stdout, stderr })
    })
  })
  finished.catch(() => {})
  return {
    pid: child.pid ?? 0,
    finished,
    seen: (pattern) => new Promise((resolve, reject) => {
      const watch = (): void => {
        const match = pattern.exec(stdout)
        if (match === null && !ended) return
        watchers.delete(watch)
        if (match !== null) resolve(match)
        else reject(new Error(`'${argv.join(' ')}' ended without ${String(pattern)}; it said:\n${stdout}${stderr}`))
      }
      watchers.add(watch)
      watch()
    }),
    kill: (signal) => void child.kill(signal),
  }
}

const signals = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGPIPE: 13, SIGTERM: 15 } as const
