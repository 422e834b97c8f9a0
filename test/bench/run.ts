import { type ChildProcess, spawn } from 'node:child_process'
import { XosError } from '../../src/core/errors.ts'

export interface RunOptions {
  /** Milliseconds after which the command is killed; default 60 s. */
  readonly timeout_ms?: number
  /** Written to the command's standard input, which is then closed; default: /dev/null. */
  readonly input?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly signal?: AbortSignal
  /** Do not throw when the exit status is not 0. */
  readonly mayFail?: boolean
}

export interface RunResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  readonly elapsed_ms: number
}

/**
 * Runs a command to its end and returns its output. The command dies with the bench (PR_SET_PDEATHSIG by setpriv), so a killed bench
 * leaves nothing running. Throws `XOS_BENCH_COMMAND` when the command fails or outlives its bound.
 */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const timeout_ms = options.timeout_ms ?? 60_000
  const signals = [AbortSignal.timeout(timeout_ms), ...(options.signal === undefined ? [] : [options.signal])]
  const began = process.hrtime.bigint()
  const result = await collect(argv, options, AbortSignal.any(signals))
  const elapsed_ms = Number(process.hrtime.bigint() - began) / 1e6
  if (result.status !== 0 && options.mayFail !== true) {
    const why = result.stderr.trim().slice(-2_000) || result.stdout.trim().slice(-500)
    options.signal?.throwIfAborted()
    const how = result.killed ? `did not end within ${timeout_ms} ms` : `ended with status ${result.status}`
    throw new XosError('XOS_BENCH_COMMAND', `cannot run '${argv.join(' ').slice(0, 300)}': it ${how}${why === '' ? '' : `: ${why}`}`)
  }
  return { status: result.status, stdout: result.stdout, stderr: result.stderr, elapsed_ms }
}

/** Prefix that makes a command die with its parent. */
export const dieWithParent = ['setpriv', '--pdeathsig', 'KILL', '--'] as const

/** Kills a child that leads its own process group (`detached`), with all that it started in that group. */
export function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

interface Collected { status: number; killed: boolean; stdout: string; stderr: string }

function collect(argv: readonly string[], options: RunOptions, signal: AbortSignal): Promise<Collected> {
  return new Promise((resolve, reject) => {
    const child = spawn(dieWithParent[0], [...dieWithParent.slice(1), ...argv], {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
      detached: true,
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    let killed = false
    const kill = (): void => { killed = true; killGroup(child) }
    if (signal.aborted) kill()
    signal.addEventListener('abort', kill, { once: true })
    child.stdout?.on('data', (part: Buffer) => out.push(part))
    child.stderr?.on('data', (part: Buffer) => err.push(part))
    child.on('error', reject)
    child.on('close', (code) => {
      signal.removeEventListener('abort', kill)
      const text = { stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
      resolve({ status: code ?? 137, killed, ...text })
    })
    // A command that ends without reading its input is judged by its status, not by EPIPE.
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input)
  })
}
