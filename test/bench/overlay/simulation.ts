// One run of the simulator, as a program of its own: its memory and CPU time are what is measured.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Figures } from '../../../src/sim/experiment.ts'
import type { RunResult, Spent } from '../../../src/sim/run.ts'

const program = new URL('../../../src/sim/main.ts', import.meta.url).pathname

export interface Simulation {
  readonly result: RunResult
  /** What the machine spent on each cycle. */
  readonly spent: readonly Spent[]
}

interface Options {
  readonly seed: number
  readonly cycles?: number
  readonly signal: AbortSignal
}

async function said(scenario: string, nodes: number, options: Options): Promise<{ readonly stdout: string, readonly stderr: string }> {
  const words = [program, '--json', '--scenario', scenario, '--nodes', String(nodes), '--seed', String(options.seed), ...(options.cycles === undefined ? [] : ['--cycles', String(options.cycles)])]
  return await promisify(execFile)(process.execPath, words, { signal: options.signal, maxBuffer: 64 * 2 ** 20 })
}

/** Runs `npm run sim` and reads its figures. */
export async function simulate(scenario: string, nodes: number, options: Options): Promise<Simulation> {
  const { stdout, stderr } = await said(scenario, nodes, options)
  const last = stderr.trim().split('\n').at(-1) ?? ''
  return { result: JSON.parse(stdout) as RunResult, spent: (JSON.parse(last) as { spent: readonly Spent[] }).spent }
}

/** The same for topics, shapes and the DHT: their totals, by name. */
export async function totalsOf(experiment: string, nodes: number, options: Options): Promise<Figures['totals']> {
  return (JSON.parse((await said(experiment, nodes, options)).stdout) as Figures).totals
}
