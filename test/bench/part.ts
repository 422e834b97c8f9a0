// A topic is put together from parts: a part is one question with its measures, bars and probes.

import type { Bar } from './statistics.ts'
import type { Measure, Probe, Topic } from './topic.ts'

export interface Part {
  readonly measures: readonly Measure[]
  readonly bars: readonly Bar[]
  readonly probes: readonly Probe[]
}

export function topicOf(name: string, parts: readonly Part[]): Topic {
  return {
    name,
    measures: parts.flatMap((part) => part.measures),
    bars: parts.flatMap((part) => part.bars),
    probes: parts.flatMap((part) => part.probes),
  }
}

/** A probe of one measure. */
export function probe(id: string, measure: () => Promise<number>): Probe {
  return { ids: [id], run: async () => ({ [id]: await measure() }) }
}

/** Something that runs scripts: a shell in a session, a pen. */
export interface Runner {
  sh: (script: string, options?: { readonly timeout_ms?: number, readonly mayFail?: boolean }) => Promise<{ readonly stdout: string, readonly stderr: string, readonly status: number, readonly elapsed_ms: number }>
}

/** Runs a measuring program and returns one field (a path with dots) of the JSON line that it prints last. */
export async function field(runner: Runner, script: string, path: string, timeout_ms = 120_000): Promise<number> {
  const { stdout } = await runner.sh(script, { timeout_ms })
  const line = stdout.trim().split('\n').at(-1) ?? ''
  let value: unknown
  try {
    value = path.split('.').reduce<unknown>((at, name) => (at as Readonly<Record<string, unknown>>)[name], JSON.parse(line))
  } catch { /* told below */ }
  if (typeof value === 'number') return value
  throw new Error(`'${script.slice(0, 200)}' printed no number '${path}': ${line.slice(0, 300)}`)
}
