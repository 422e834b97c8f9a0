// What a topic (exec, fs, checkpoint) is made of, and how its rounds are run.

import { reason } from './errors.ts'
import type { Bar } from './statistics.ts'
import type { Unit } from './table.ts'

export interface Measure { readonly id: string, readonly label: string, readonly unit: Unit }

/** One step of a round; it yields one sample of each of its measures. */
export interface Probe {
  readonly ids: readonly string[]
  run(round: number): Promise<Readonly<Record<string, number>>>
}

export interface Topic {
  readonly name: string
  readonly measures: readonly Measure[]
  readonly bars: readonly Bar[]
  readonly probes: readonly Probe[]
}

export interface Samples {
  readonly values: Map<string, number[]>
  /** Why a measure has no (or not all) samples. */
  readonly missing: Map<string, string>
  readonly notes: string[]
}

export interface RoundOptions {
  readonly rounds: number
  readonly signal: AbortSignal
  say(text: string): void
}

/**
 * Runs all probes, one after the other, `rounds` times: what is to be compared is measured minutes apart at most, under the same noise.
 * A probe that fails is reported and not tried again; the others go on. Rejects only when aborted.
 */
export async function runRounds(probes: readonly Probe[], samples: Samples, options: RoundOptions): Promise<void> {
  const failed = new Set<Probe>()
  for (let round = 1; round <= options.rounds; round++) {
    options.say(`round ${round} of ${options.rounds}`)
    for (const probe of probes) {
      options.signal.throwIfAborted()
      if (failed.has(probe)) continue
      try {
        const found = await probe.run(round)
        for (const id of probe.ids) record(samples, id, found[id])
      } catch (error) {
        options.signal.throwIfAborted()
        failed.add(probe)
        const why = reason(error)
        const known = [...samples.missing.values()].includes(why)
        for (const id of probe.ids) samples.missing.set(id, why)
        if (!known) options.say(`cannot ${probe.ids.length === 0 ? 'prepare' : `measure ${probe.ids.join(', ')}`}: ${why}`)
      }
    }
  }
}

function record(samples: Samples, id: string, value: number | undefined): void {
  if (value === undefined || !Number.isFinite(value)) {
    samples.missing.set(id, 'the measurement gave no number')
    return
  }
  const values = samples.values.get(id) ?? []
  samples.values.set(id, values)
  values.push(value)
}

export function noSamples(): Samples {
  return { values: new Map(), missing: new Map(), notes: [] }
}
