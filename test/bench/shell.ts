// A shell that stays open, in a login session for instance, and runs one script after the other: a login a measurement would cost more
// than what is measured, and the sessions of a user are long.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { XosError } from '../../src/core/errors.ts'
import { dieWithParent, killGroup } from './run.ts'

export interface ShellResult { readonly status: number, readonly stdout: string, readonly stderr: string, readonly elapsed_ms: number }

export interface ShellOptions { readonly timeout_ms?: number, readonly mayFail?: boolean }

interface Waiting { readonly mark: string, resolve(status: number): void, reject(error: Error): void }

export class Shell {
  readonly #child: ChildProcess
  readonly #name: string
  #out = ''
  #err = ''
  #waiting: Waiting | undefined
  #ended: string | undefined

  private constructor(child: ChildProcess, name: string) {
    this.#child = child
    this.#name = name
    child.stdout?.setEncoding('utf8').on('data', (text: string) => { this.#out += text; this.#look() })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { this.#err = (this.#err + text).slice(-20_000); this.#look() })
    child.stdin?.on('error', () => {})
    child.on('error', (error) => { this.#end(error.message) })
    child.on('close', (code, signal) => { this.#end(`it ended with ${signal ?? `status ${code}`}: ${this.#err.trim().slice(-1_000)}`) })
  }

  /** Starts `argv`, a shell that reads its standard input, and waits until it answers. Throws `XOS_BENCH_SHELL`. */
  static async open(argv: readonly string[], name: string, timeout_ms = 60_000): Promise<Shell> {
    const child = spawn(dieWithParent[0], [...dieWithParent.slice(1), ...argv], { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
    const shell = new Shell(child, name)
    try {
      await shell.sh(':', { timeout_ms })
      return shell
    } catch (error) {
      await shell.close()
      throw error
    }
  }

  /** Whether it has ended, by itself or by `close`. */
  get ended(): boolean { return this.#ended !== undefined }

  /** Runs a script (standard input is /dev/null) and returns its output. One at a time. Throws `XOS_BENCH_SHELL`. */
  async sh(script: string, options: ShellOptions = {}): Promise<ShellResult> {
    if (this.#waiting !== undefined) throw new XosError('XOS_BENCH_SHELL', `cannot run a second script in '${this.#name}' beside the first`)
    this.#out = ''
    this.#err = ''
    const mark = `bench-${randomUUID()}`
    const began = performance.now()
    const done = this.#answer(mark, script, options.timeout_ms ?? 60_000)
    this.#child.stdin?.write(`( set -e\n${script}\n) < /dev/null\nprintf '\\n%s %d\\n' ${mark} $?; echo ${mark} >&2\n`)
    const status = await done.finally(() => { this.#waiting = undefined })
    const elapsed_ms = performance.now() - began
    this.#err = this.#err.replace(`${mark}\n`, '')
    const stdout = this.#out.slice(0, this.#out.lastIndexOf(`\n${mark}`))
    if (status !== 0 && options.mayFail !== true) {
      throw new XosError('XOS_BENCH_SHELL', `cannot run '${brief(script)}' in '${this.#name}': status ${status}: ${(this.#err.trim() || stdout.trim()).slice(-1_500)}`)
    }
    return { status, stdout, stderr: this.#err, elapsed_ms }
  }

  #answer(mark: string, script: string, timeout_ms: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => { reject(new XosError('XOS_BENCH_SHELL', `cannot run '${brief(script)}' in '${this.#name}': ${why}`)) }
      if (this.#ended !== undefined) { fail(this.#ended); return }
      const timer = setTimeout(() => {
        fail(`it did not end within ${timeout_ms} ms: ${this.#err.trim().slice(-500)}`)
        // What hangs would answer into the next script: this shell is of no use any more.
        killGroup(this.#child)
      }, timeout_ms)
      this.#waiting = {
        mark,
        resolve: (status) => { clearTimeout(timer); resolve(status) },
        reject: (error) => { clearTimeout(timer); fail(error.message) },
      }
    })
  }

  #look(): void {
    const waiting = this.#waiting
    if (waiting === undefined) return
    const found = new RegExp(`\\n${waiting.mark} (\\d+)\\n`).exec(this.#out)
    // The mark comes on both streams: they are read apart, and what a script said on stderr belongs to its result.
    if (found !== null && this.#err.includes(waiting.mark)) waiting.resolve(Number(found[1]))
  }

  #end(why: string): void {
    this.#ended ??= why
    this.#waiting?.reject(new Error(this.#ended))
  }

  /** Ends the shell: end of input first, so that a session can log out; the signal after 10 s. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return
    const ended = new Promise<void>((resolve) => { this.#child.once('exit', () => { resolve() }) })
    const timer = setTimeout(() => { killGroup(this.#child) }, 10_000)
    this.#child.stdin?.end()
    await ended
    clearTimeout(timer)
  }
}

/** A shell that is opened on first use, and again when it has ended: what killed a session is told by the script that it killed, once. */
export function lasting(open: () => Promise<Shell>): () => Promise<Shell> {
  let shell: Promise<Shell> | undefined
  return async () => {
    if (shell !== undefined && (await shell).ended) shell = undefined
    return (shell ??= open())
  }
}

function brief(script: string): string {
  const text = script.trim().replace(/\s+/g, ' ')
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
