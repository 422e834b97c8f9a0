// One run of the simulator, as a program of its own: its memory and CPU time are what is measured.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { RunResult, Spent } from '../../../src/sim/run.ts'

const program = new URL('../../../src/sim/main.ts', import.meta.url).pathname

export interface Simulation {
  readonly result: RunResult
  /** What the machine spent on each cycle. */
  readonly spent: readonly Spent[]
}

/** Runs `npm run sim` and reads its figures. */
export async function simulate(scenario: string, nodes: number, options: { readonly seed: number, readonly cycles?: number, readonly signal: AbortSignal }): Promise<Simulation> {
  const words = [program, '--json', '--scenario', scenario, '--nodes', String(nodes), '--seed', String(options.seed), ...(options.cycles === undefined ? [] : ['--cycles', String(options.cycles)])]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, words, { signal: options.signal, maxBuffer: 64 * 2 ** 20 })
  const last = stderr.trim().split('\n').at(-1) ?? ''
  return { result: JSON.parse(stdout) as RunResult, spent: (JSON.parse(last) as { spent: readonly Spent[] }).spent }
}
